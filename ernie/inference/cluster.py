"""Prediction on Ray Data: for more rows than one machine predicts in time. The results are those of a local run.

One worker reads each file, in blocks of rows; a pool of workers, each with the model in memory, predicts the blocks and
writes a file for each. No row is in the memory of the process that asks.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import pickle
import tempfile
import warnings

from ernie.inference import program
from ernie.inference.folder import ModelFolder
from ernie.inference.results import Layout, ending_of, open_writer, output_of
from ernie.inference.stream import STDIN
from ernie.reader.columns import free_name
from ernie.reader.rows import BadRow, BadRows
from ernie.run.ray_session import imported, ray_session
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.folders import whole_folder, write_files

log = get_logger(__name__)

FORMS = ('jsonl', 'parquet', 'csv')
ROW, FILE = 'row', 'file'  # columns that tell the order: number of the row in its file, from 1, and which file
_FLAG, _MODULES = '--engine_cluster ray', ('ray', 'ray.data')


def check_cluster(args, given):
    """The form of the results. Raises `UsageError`, `UserError`: what is asked for cannot be had from a cluster."""
    if given.is_typed or STDIN in given.files:
        raise UsageError(f'{_FLAG} reads files: give their paths.')
    if args.output == STDIN:
        raise UsageError(f'{_FLAG}: give --output FOLDER, a new one that all machines of the cluster see.')
    if os.path.lexists(args.output):
        raise bad_input(args.output, 'something that exists', 'a new folder for the results (--output)')
    form = args.format or 'jsonl'
    if form not in FORMS:
        raise UsageError(f'--format {form}: {_FLAG} writes {", ".join(FORMS)}.')
    imported(_FLAG, _MODULES)  # before the model is exported for it
    return form


def predict_on_cluster(args, given, folder, selection, form):
    """Predict files and write the results into a new folder, in parts whose names are in the order of the rows.

    Args:
        args: `PredictVerbSettings`, checked, with its engine.
        given: `Given`.
        folder: `ModelFolder`.
        selection: `Selection`.
        form: of `FORMS`.
    Raises:
        UserError: Ray is missing or cannot be reached, or what a local run raises.
    """
    threads = args.cpu_threads or 1
    with contextlib.ExitStack() as stack:
        model = _model_files(program.exported_model(args, folder, stack)[0])
        ray = stack.enter_context(ray_session(_FLAG, (args.workers or 0) * threads, args.ray_address, _MODULES))
        workers = args.workers or max(int(ray.cluster_resources().get('CPU', 1)) // threads, 1)
        try:
            place = stack.enter_context(whole_folder(args.output))
        except FileExistsError:
            raise bad_input(args.output, 'something that exists', 'a new folder for the results (--output)') from None
        settings = dataclasses.replace(args, cpu_threads=threads)
        layout = {'selection': selection, 'carry': True, 'skips': args.skip_bad_rows}
        worker = ([ray.put(model)], settings, layout, form, os.path.abspath(place))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Ray's advice on how busy its workers are
            _collect(args, given.files, _results(ray, settings, folder, given.files, worker, workers, threads))


def _model_files(folder):
    """dict name -> bytes: an exported model, which machines of a cluster may not see."""
    found = {}
    for place, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(place, name)
            with open(path, 'rb') as f:
                found[os.path.relpath(path, folder)] = f.read()
    return found


def _results(ray, args, folder, files, worker, workers, threads):
    """What the workers say of each block, in the order of the rows."""
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger('ray.data').setLevel(logging.ERROR)
    read = functools.partial(
        _read_blocks, args, folder.codec.columns, folder.spec.name, folder.settings.get('column_names')
    )
    items = [{'number': number, 'path': path, 'several': len(files) > 1} for number, path in enumerate(files)]
    blocks = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        read, batch_size=1, batch_format='numpy', num_cpus=0
    )
    gpus = {'num_gpus': 1} if args.use_cuda else {}
    done = blocks.map(
        _Worker,
        fn_constructor_args=worker,
        concurrency=workers,
        num_cpus=threads,
        **gpus,
    )
    return done.iter_rows()


# What is pickled goes from one process of this program to another, and comes from no file.


def _read_blocks(args, columns, task, learnt, batch):
    """Blocks of rows of one file, as they are read; for `map_batches`.

    batch: dict of arrays with one item: number, path and whether there are several files.
    """
    from ernie.tasks import table

    (number,), (path,), (several,) = (batch[name].tolist() for name in ('number', 'path', 'several'))
    size, block, count = args.batch_size * args.length_window, [], 0
    made = lambda error='': {  # noqa: E731
        'number': [number],
        'block': [count],
        'path': [path],
        'rows': [pickle.dumps(block)],
        'error': [error],
    }
    first = {FILE: path} if several else {}
    try:
        for place, row in enumerate(program.rows_for(args, columns, table.find(task).forms, learnt, path), start=1):
            cells = row.cells if args.carry else {}
            own = {**first, ROW: place}
            block.append(row._replace(cells=own | {free_name(name, own, cells): cells[name] for name in cells}))
            if len(block) == size:
                yield made()
                block, count = [], count + 1
    except UserError as e:
        yield made(str(e))
        return
    if block:
        yield made()


def _fetched(reference):
    import ray

    return ray.get(reference)


class _Worker:
    """Has the model in memory and predicts blocks, each into a file of its own.

    Args:
        model: dict name -> bytes: an exported model; or a list with Ray's reference to it.
        args: `PredictVerbSettings`, with its engine.
        layout: dict of what `Layout` has beside the codec.
        form: of `FORMS`.
        place: folder of the parts.
    """

    def __init__(self, model, args, layout, form, place):
        os.environ['OMP_NUM_THREADS'] = str(args.cpu_threads or 1)  # Paddle reads it when it is loaded
        self._args, self._form, self._place = args, form, place
        with tempfile.TemporaryDirectory() as folder:
            write_files(folder, model if isinstance(model, dict) else _fetched(*model))
            source = ModelFolder(folder)
            device = 0 if args.use_cuda else None
            self._prediction = program.open_prediction(args, source, (folder, source.exported, {}), device)
        self._layout = Layout(source.codec, **layout)

    def __call__(self, item):
        """dict: number of `rows`, how many were too long (`cut`), those left out (`bad`), what ends all (`error`)."""
        rows, codec, bad = pickle.loads(item['rows']), self._layout.codec, []
        codec.cut, count, error = 0, 0, str(item['error'])
        name = f'part-{item["number"]:05d}-{item["block"]:06d}{ending_of(self._form)}'
        try:
            with output_of(os.path.join(self._place, name), self._form) as file:
                writer = open_writer(self._form, file, self._layout)
                for row, result in self._prediction.stream(rows, self._layout.selection):
                    if result is None:
                        if not self._layout.skips:
                            raise row.bad.as_error(item['path'])
                        bad.append(row.bad)
                    writer.write(row, result)
                    count += 1
                writer.finish()
        except UserError as e:
            error = str(e)
        said = [[row.line or 0, row.found, row.expected] for row in bad]
        return {'path': item['path'], 'rows': count, 'cut': codec.cut, 'bad': json.dumps(said), 'error': error}


def _collect(args, files, results):
    """Waits for all blocks; says what a local run says of them.

    Raises:
        UserError: the first row, or file, that ends it.
    """
    skipped, cut, count = {path: BadRows(path) for path in files}, dict.fromkeys(files, 0), dict.fromkeys(files, 0)
    for block in progress(results, 'predicting', count=lambda block: int(block['rows'])):
        if block['error']:
            raise UserError(block['error'])
        path = block['path']
        cut[path] += int(block['cut'])
        count[path] += int(block['rows'])
        for line, found, expected in json.loads(block['bad']):
            skipped[path].add(BadRow(line, found, expected))
    for path in files:
        for message in skipped[path].messages():
            log.warning('empty result for %s', message)
        if cut[path]:
            log.warning('%s: %d of %d rows were too long: what is beyond was left out', path, cut[path], count[path])
    log.info('%d rows -> %s', sum(count.values()), args.output)
