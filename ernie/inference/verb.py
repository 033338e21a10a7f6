"""The verb `ernie predict`: texts, questions, files or standard input in; answers, lines or tables out."""

import contextlib
import os
import sys
import time
from typing import NamedTuple

from ernie.inference import program
from ernie.inference.cluster import check_cluster, predict_on_cluster
from ernie.inference.engines import MODEL_ENGINES, default_engine
from ernie.inference.find import find_model
from ernie.inference.given import is_terminal, read_given, rows_of
from ernie.inference.results import (
    STDOUT,
    WRITERS,
    Layout,
    ending_of,
    format_of,
    open_writer,
    output_of,
    write_results,
)
from ernie.inference.stream import STDIN, count_lines
from ernie.run.outputs import read_files
from ernie.tasks.codec import Selection
from propeller.args import print_arguments
from propeller.distribution import require_single_process
from propeller.errors import UsageError
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.atomic import check_output

log = get_logger(__name__)

_PREDICTIONS = 'predictions'  # name of the results of what has no name


class Place(NamedTuple):
    """Where results come from and go to: source: a file, `-`, or None for texts that are typed. form: of `WRITERS`."""

    source: str | None
    path: str
    form: str


def predict(args):
    """Do what the flags ask for.

    Args:
        args: `PredictVerbSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    if not args.do_prediction:
        program.infer(args.replace(init_checkpoint=args.init_checkpoint or args.model, model=None))
        return
    require_single_process('ernie predict')
    flags, args = args, args.checked()
    print_arguments(flags, log)
    given = read_given(args)
    on_cluster = check_cluster(args, given) if args.engine_cluster == 'ray' else None
    places = [] if on_cluster else places_of(args, given)
    args = args.replace(init_checkpoint=find_model(args.init_checkpoint))
    for place in places:
        check_output(place.path, '--output', [*read_files(args), *given.files])
    folder = program.open_folder(args)
    args = args.replace(engine=_engine(args, folder, given.is_typed, bool(on_cluster)))
    log.debug('engine: %s', args.engine)
    program.check_precision(args, folder)
    if on_cluster:
        selection = _selection(args, folder, on_cluster)
        if folder.exported:
            program.check_exported(args, folder)
        predict_on_cluster(args, given, folder, selection, on_cluster)
        return
    rows = rows_of(given, folder.codec.columns) if given.is_typed else None
    with contextlib.ExitStack() as stack:
        prediction = _open(args, folder, stack)
        for remark in folder.codec.remarks():
            log.debug('%s', remark)
        for place in places:
            _predict_one(args, folder, prediction, place, rows)


def places_of(args, given):
    """The `Place`s of the results.

    Raises:
        UsageError: there is no place for them, or one for several files.
    """
    sources = list(given.files) or [None]
    is_folder = args.output.endswith('/') or os.path.isdir(args.output)
    if len(sources) > 1 and args.output == STDOUT:
        raise UsageError(f'{len(sources)} files: give --output FOLDER, where each of them gets a file of results.')
    if not is_folder and len(sources) == 1:
        return [Place(sources[0], args.output, _form(args))]
    form = args.format or 'jsonl'
    paths = {}
    for source in sources:
        path = os.path.join(args.output, _result_name(source, sources) + ending_of(form))
        if path in paths:
            raise UsageError(
                f'{paths[path]} and {source}: their results would have one name, {path}. Predict them apart.'
            )
        paths[path] = source
    return [Place(source, path, form) for path, source in paths.items()]


def _result_name(source, sources):
    """The name of the results of a file, without ending: its own, or with its ending where another has the same."""
    if source in (None, STDIN):
        return _PREDICTIONS
    name = os.path.basename(source.rstrip('/'))
    stems = [os.path.splitext(os.path.basename(other.rstrip('/')))[0] for other in sources]
    stem = os.path.splitext(name)[0]
    return stem if stems.count(stem) == 1 else name


def _form(args):
    by_name = format_of(args.output)
    if args.format and by_name not in (None, 'text', args.format):
        raise UsageError(
            f'--format {args.format} and --output {args.output}: the two do not go together. Leave one out.'
        )
    form = args.format or by_name
    if args.output != STDOUT:
        return form or 'jsonl'
    if form and WRITERS[form].binary:
        raise UsageError(f'--format {form} needs --output FILE: it is not for reading.')
    return form or ('text' if sys.stdout.isatty() else 'jsonl')


def _open(args, folder, stack):
    """The `Prediction`."""
    device = program.choose_device(args)
    if folder.exported:
        program.check_exported(args, folder)
    elif program.is_opened_directly(args, folder):
        return program.direct_prediction(args, folder, device)
    return program.open_prediction(args, folder, program.exported_model(args, folder, stack), device)


def _engine(args, folder, is_typed, on_cluster):
    """Name of the engine. Where `predictor` would be it for a few typed texts, the checkpoint's own graph is run: an
    export would take longer than they do.
    """
    if args.engine:
        return args.engine
    if folder.exported:
        return MODEL_ENGINES[folder.exported['format']]
    if args.save_inference_model_path or args.export_format or on_cluster:
        return 'predictor'  # other machines may lack a compiler
    name = default_engine(folder.config, args.use_cuda)
    graph_will_do = name == 'predictor' and is_typed and args.precision in (None, 'fp32')
    return 'executor' if graph_will_do else name


def _selection(args, folder, form):
    """`Selection` of the flags. Each form but that of 2019 says how sure an answer is."""
    least = args.min_confidence
    if least is None and form != 'tsv' and 'min_confidence' not in folder.codec.unselectable:
        least = 0.0
    return Selection(args.top_k, least)


def _predict_one(args, folder, prediction, place, rows):
    layout = Layout(folder.codec, _selection(args, folder, place.form), args.carry, args.skip_bad_rows)
    started, name = (
        time.monotonic(),
        {None: 'the command line', STDIN: 'standard input'}.get(place.source, place.source),
    )
    at_once = is_terminal(place.source)
    if at_once and args.input_format == 'auto' and len(folder.codec.columns.required) == 1:
        args = args.replace(input_format='text')  # looking for a header would wait for more lines
    if place.source is not None:
        rows = program.rows_of_file(args, folder, place.source)
    folder.codec.cut = 0
    with output_of(place.path, place.form) as file:
        shown = place.path == STDOUT and sys.stdout.isatty()
        writer = open_writer(place.form, file, layout)
        bar = None if shown else lambda results: progress(results, 'predicting', _total(place.source))
        if at_once:
            log.info('A text a line; Ctrl-D ends.')
        examples = write_results(prediction, rows, writer, name, args.skip_bad_rows, bar, at_once)
    seconds = time.monotonic() - started
    if place.path != STDOUT:
        log.info('%s: %d rows in %.1f s (%.0f a second) -> %s', name, examples, seconds, examples / seconds, place.path)


def _total(source):
    return None if source is None else count_lines(source)
