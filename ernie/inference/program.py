"""The program infer_classifyer.py: export, then predict with the exported model."""

import contextlib
import os
import sys
import tempfile
import time

from ernie.inference.engines import ENGINES, check_format, open_engine
from ernie.inference.export import export, target_folder
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import Prediction, output_shapes, result_line
from ernie.inference.stream import STDIN, count_lines, read_rows
from ernie.reader.columns import ColumnNames
from ernie.reader.rows import BadRows
from ernie.run.outputs import read_files
from propeller.args import print_arguments, settings_lines
from propeller.distribution import require_single_process
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.atomic import check_output, output_file

log = get_logger(__name__)

STDOUT = '-'
_SETTINGS = ('num_labels', 'max_seq_len', 'do_lower_case', 'tokenizer', 'for_cn')
_FILES = ('ernie_config_path', 'vocab_path', 'label_map_config')


def infer(args):
    """Do what the flags ask for.

    Args:
        args: `PredictSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    print_arguments(args, log)
    require_single_process('infer_classifyer.py')
    args = args.checked()
    device = choose_device(args)
    _check_places(args)
    given = {name: getattr(args, name) for name in (*_FILES, *_SETTINGS)}
    folder = ModelFolder(args.init_checkpoint, args.task, **given)
    for line in settings_lines('Model Configuration', folder.config.to_dict())[1:]:
        log.info(line)
    log.info('disable gpu' if device is None else 'using gpu')
    with contextlib.ExitStack() as stack:
        if folder.exported:
            _check_exported(args, folder)
            exported, description, opened = folder.path, folder.exported, {}
        else:
            exported, (description, opened) = _export(args, folder, stack)
        if args.predicts:
            engine = open_engine(args.engine, exported, args.precision, args.cpu_threads, device, opened)
            opened.clear()  # each has the model in memory
            shapes = output_shapes(description)
            predict(args, folder, Prediction(folder.codec, engine, shapes, args.batch_size, args.length_window))
        elif args.do_prediction:
            log.info('no --predict_set: nothing to predict')


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
        if args.predict_set != STDIN and not os.path.exists(args.predict_set):
            raise bad_input(args.predict_set, 'no such file', 'a file to predict (--predict_set)')
        check_output(args.output, '--output', read_files(args))
    if args.overwrite and args.save_inference_model_path:
        target = target_folder(args.save_inference_model_path, args.init_checkpoint)
        for path in read_files(args):
            if path != STDIN and os.path.realpath(path).startswith(os.path.realpath(target) + os.sep):
                raise UserError(f'{path}: is read, and lies in {target}, which --overwrite true replaces. Move it.')


def _check_exported(args, folder):
    """An exported model needs no export, but an engine that reads it."""
    if not args.predicts:
        raise UsageError(f'{folder.path} is exported already; give --predict_set to predict with it.')
    check_format(args.engine, folder)


def _export(args, folder, stack):
    """Returns the exported folder and what `export` gives; it vanishes with `stack` when no place for it is given."""
    export_format = args.export_format or ENGINES[args.engine].format
    if not args.save_inference_model_path:
        target = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), 'model')
        return target, export(folder, target, export_format)
    target = target_folder(args.save_inference_model_path, args.init_checkpoint)
    done = export(folder, target, export_format, args.overwrite)
    log.info('save inference model to %s', target)
    return target, done


def predict(args, folder, prediction):
    """Predict `--predict_set` and write the results."""
    for remark in folder.codec.remarks():
        log.info('%s', remark)
    log.info('-------------- prediction results --------------')
    started = time.monotonic()
    with _output(args.output) as file:
        examples = _write_results(args, folder.spec.forms, prediction, file)
    seconds = time.monotonic() - started
    log.info(
        'qps:%s\ttotal_time:%s\ttotal_example:%d\tbatch_size:%d',
        examples / seconds,
        seconds,
        examples,
        args.batch_size,
    )


def _write_results(args, forms, prediction, file):
    """Returns the number of rows."""
    codec, as_json, path = prediction.codec, args.format == 'jsonl', args.predict_set
    name = 'standard input' if path == STDIN else path
    if codec.header() and not as_json:
        print('\t'.join(codec.header()), file=file)
    learnt = codec.settings.get('column_names')
    rows = read_rows(path, codec.columns, args.input_format, forms, ColumnNames.of(args), learnt)
    examples, skipped = 0, BadRows(name)
    for row, result in progress(prediction.stream(rows), 'predicting', count_lines(path)):
        if result is None:
            if not args.skip_bad_rows:
                raise row.bad.as_error(name)
            skipped.add(row.bad)
        print(result_line(codec, row, result, as_json), file=file)
        examples += 1
    for message in skipped.messages():
        log.warning('empty result for %s', message)
    if codec.cut:
        what = '%s: %d of %d rows do not fit into %d tokens: what is beyond was left out'
        log.warning(what, name, codec.cut, examples, codec.settings['max_seq_len'])
    return examples


@contextlib.contextmanager
def _output(path):
    """The file of the results, whole or not there; or standard output, line by line."""
    if path == STDOUT:
        if hasattr(sys.stdout, 'reconfigure'):  # what replaces it in a test or a notebook may lack it
            sys.stdout.reconfigure(encoding='utf-8', line_buffering=True)
        yield sys.stdout
        return
    with output_file(path) as file:
        yield file
