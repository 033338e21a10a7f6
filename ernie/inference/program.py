"""The program infer_classifyer.py: export, then predict with the exported model."""

import contextlib
import os
import tempfile
import time

from ernie.inference.engines import ENGINES, check_engine, check_format, open_engine
from ernie.inference.export import export, target_folder
from ernie.inference.find import find_model
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import Prediction, output_shapes
from ernie.inference.results import Layout, open_writer, output_of, write_results
from ernie.inference.saved_precision import INT8, precision_to_open
from ernie.inference.stream import STDIN, count_lines, read_rows
from ernie.inference.vectors import OF_CLASSES, VectorFolder
from ernie.reader.columns import ColumnNames
from ernie.reader.dataset_folder import is_there, named_split
from ernie.run.outputs import read_files
from ernie.settings.predict import EMBEDDING
from ernie.tasks.codec import Selection
from propeller.args import print_arguments, settings_lines
from propeller.distribution import require_single_process
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.atomic import check_output

log = get_logger(__name__)

_SETTINGS = ('num_labels', 'max_seq_len', 'do_lower_case', 'tokenizer', 'for_cn')
_FILES = ('ernie_config_path', 'vocab_path', 'label_map_config', 'sentence_piece_model', 'word_dict')


def infer(args):
    """Do what the flags ask for.

    Args:
        args: `PredictSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    require_single_process('infer_classifyer.py')
    given, args = args, args.checked()
    print_arguments(given, log)
    device = choose_device(args)
    args = args.replace(init_checkpoint=find_model(args.init_checkpoint))
    _check_places(args)
    folder = open_folder(args)
    check_precision(args, folder)
    log.debug('disable gpu' if device is None else 'using gpu')
    with contextlib.ExitStack() as stack:
        if folder.exported:
            check_exported(args, folder)
        if is_opened_directly(args, folder):
            predict(args, folder, direct_prediction(args, folder, device))
            return
        exported = exported_model(args, folder, stack)
        if args.predicts:
            predict(args, folder, open_prediction(args, folder, exported, device))
        elif args.do_prediction:
            log.info('no --predict_set: nothing to predict')


def export_model(args):
    """Export a model for its task, or with `--task embedding` for vectors of texts.

    Args:
        args: `ExportSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    if args.task != EMBEDDING and args.precision != INT8:
        infer(args)
        return
    require_single_process('ernie export')
    given, args = args, args.checked()
    print_arguments(given, log)
    args = args.replace(init_checkpoint=find_model(args.init_checkpoint))
    folder = _vector_folder(args) if args.task == EMBEDDING else open_folder(args)
    if folder.exported:
        raise UsageError(f'{folder.path} is exported already. Give the checkpoint that it was made of.')
    target = target_folder(args.save_inference_model_path, args.init_checkpoint)
    if args.precision == INT8:
        target = _export_int8(args, folder, target)
    else:
        export(folder, target, args.export_format or ENGINES[args.engine].format, args.overwrite)
    log.info('save inference model to %s', target)


def _vector_folder(args):
    given = {name: getattr(args, name) for name in (*_FILES, *_SETTINGS) if name not in OF_CLASSES}
    return VectorFolder(args.init_checkpoint, args.pooling, args.layer, **given)


def _export_int8(args, folder, target):
    """The folder of the export, after the lines of its report."""
    from ernie.inference.int8 import exporting

    target += exporting.SUFFIX
    sets = args.calibration_set, args.dev_set
    max_drop = exporting.MAX_DROP if args.max_drop is None else args.max_drop
    report = exporting.export_int8(folder, target, args.engine, *sets, max_drop, args.overwrite)
    for line in exporting.report_lines(report):
        log.info('%s', line)
    return target


def open_folder(args):
    """The `ModelFolder` of the settings, its configuration in the log."""
    given = {name: getattr(args, name) for name in (*_FILES, *_SETTINGS)}
    folder = ModelFolder(args.init_checkpoint, args.task, **given)
    folder.codec.check_selection(Selection(args.top_k, args.min_confidence))
    for line in settings_lines('Model Configuration', folder.config.to_dict())[1:]:
        log.debug(line)
    return folder


def check_precision(args, folder):
    """Raises `UsageError` where the model cannot be opened in the precision that is asked for."""
    quantizes = bool(args.engine) and ENGINES[args.engine].quantizes
    precision_to_open(args.precision, folder.exported, folder.path, quantizes)


def is_opened_directly(args, folder):
    """Whether an engine that needs no export runs a checkpoint of which none is asked for."""
    exports = folder.exported or args.save_inference_model_path or args.export_format
    return not exports and not ENGINES[args.engine].needs_export


def direct_prediction(args, folder, device):
    """`Prediction` with the model of a checkpoint. device: of `choose_device`."""
    check_engine(args.engine, args.precision, device is not None)
    engine = ENGINES[args.engine].of(folder, args.precision, args.cpu_threads, device)
    return Prediction(folder.codec, engine, engine.shapes, args.batch_size, args.length_window)


def exported_model(args, folder, stack):
    """(path of an exported model, its `inference.json`, engines that have it open): the folder, or an export of it."""
    if folder.exported:
        return folder.path, folder.exported, {}
    exported, (description, opened) = _export(args, folder, stack)
    return exported, description, opened


def open_prediction(args, folder, exported, device):
    """`Prediction` with what `exported_model` gives. device: of `choose_device`."""
    path, description, opened = exported
    engine = open_engine(args.engine, path, args.precision, args.cpu_threads, device, opened)
    opened.clear()  # each has the model in memory
    return Prediction(folder.codec, engine, output_shapes(description), args.batch_size, args.length_window)


def choose_device(args):
    """GPU number; None for the processor.

    Raises:
        UserError: a GPU is asked for and cannot be used.
    """
    engine = ENGINES[args.engine]
    if args.use_cuda:
        engine.require_gpu()
        return 0
    return 0 if args.use_cuda is None and engine.gpus() else None


def _check_places(args):
    """What would be found out only after the export otherwise."""
    if args.predicts:
        if args.predict_set != STDIN and not is_there(args.predict_set):
            raise bad_input(args.predict_set, 'no such file', 'a file to predict (--predict_set)')
        check_output(args.output, '--output', read_files(args))
    if args.overwrite and args.save_inference_model_path:
        target = target_folder(args.save_inference_model_path, args.init_checkpoint)
        for path in read_files(args):
            if path != STDIN and os.path.realpath(path).startswith(os.path.realpath(target) + os.sep):
                raise UserError(f'{path}: is read, and lies in {target}, which --overwrite true replaces. Move it.')


def check_exported(args, folder):
    """An exported model needs no export, but an engine that reads it."""
    if not args.predicts:
        raise UsageError(f'{folder.path} is exported already; give --predict_set to predict with it.')
    check_format(args.engine, folder)


def _export(args, folder, stack):
    """Returns the exported folder and what `export` gives; it vanishes with `stack` when no place for it is given."""
    export_format = args.export_format or ENGINES[args.engine].format
    if not args.save_inference_model_path:
        target = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), 'model')
        read = export_format == ENGINES[args.engine].format
        return target, export(folder, target, export_format, engines=[args.engine] if read else None)
    target = target_folder(args.save_inference_model_path, args.init_checkpoint)
    done = export(folder, target, export_format, args.overwrite)
    log.info('save inference model to %s', target)
    return target, done


def rows_of_file(args, folder, path):
    """The rows of a file or of standard input, as `Row`, for the model of a `ModelFolder`."""
    return rows_for(args, folder.codec.columns, folder.spec.forms, folder.settings.get('column_names'), path)


def rows_for(args, columns, forms, learnt, path):
    """The same for parts of a model, which another process can be given: see `read_rows`."""
    path = path if path == STDIN else named_split(path, 'test')
    return read_rows(path, columns, args.input_format, forms, ColumnNames.of(args), learnt)


def predict(args, folder, prediction):
    """Predict `--predict_set` and write the results."""
    for remark in folder.codec.remarks():
        log.debug('%s', remark)
    log.debug('-------------- prediction results --------------')
    started, path = time.monotonic(), args.predict_set
    selection = Selection(args.top_k, args.min_confidence)
    layout = Layout(folder.codec, selection, args.carry, args.skip_bad_rows)
    with output_of(args.output, args.format) as file:
        rows = rows_of_file(args, folder, path)
        writer = open_writer(args.format, file, layout)
        bar = lambda results: progress(results, 'predicting', count_lines(path))  # noqa: E731
        name = 'standard input' if path == STDIN else path
        examples = write_results(prediction, rows, writer, name, args.skip_bad_rows, bar)
    seconds = time.monotonic() - started
    log.debug(
        'qps:%s\ttotal_time:%s\ttotal_example:%d\tbatch_size:%d',
        examples / seconds,
        seconds,
        examples,
        args.batch_size,
    )
