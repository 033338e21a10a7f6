"""The table at the end of a distillation: teacher, student without it, student; score, size, speed on this machine."""

import json
import math
import os
import time
from typing import NamedTuple

from ernie.checkpoint.strict import match_parameters
from ernie.distill.layer_tasks import RECORD
from ernie.inference.find import find_model
from ernie.run.evaluation import Evaluated
from ernie.run.outputs import model_files
from ernie.run.predictor import Predictor
from ernie.run.source import Source
from propeller.errors import bad_input, quoted
from propeller.log import get_logger
from propeller.session import Session
from propeller.storage.atomic import output_file
from propeller.storage.values import load_values
from propeller.width import padded, width_of

log = get_logger(__name__)

FILE = 'compared.json'  # in the folder of the run
_TENSORS = ('.safetensors', '.pdparams', '.pdiparams', '.bin')
_HEADER = ('', 'score', 'parameters', 'file', 'rows/s')


class Measured(NamedTuple):
    """A model on the first dev set.

    Attributes:
        name: `teacher`, `without distillation` or `student`.
        folder: of the model; None for one that was not trained, and then all others are None too.
        score: what chooses the best checkpoint of the task; None without a dev set.
        parameters: how many numbers. bytes: of the files of its parameters.
        rows_per_second: of its prediction in float32 by the executor, in batches as the run evaluates them.
    """

    name: str
    folder: str | None = None
    score: float | None = None
    parameters: int | None = None
    bytes: int | None = None
    rows_per_second: float | None = None


class _Clocked(Predictor):
    """Counts rows and seconds of its batches without the first of each pass, in which a program gets ready."""

    rows = seconds = 0

    def batches(self, rows, labelled):
        passes, first = super().batches(rows, labelled), True
        while True:
            started = time.monotonic()
            found = next(passes, None)
            if found is None:
                return
            if not first:
                self.seconds += time.monotonic() - started
                self.rows += len(found[0])
            first = False
            yield found


def comparison(run, teacher, student, plain):
    """Measure the models of a run, print the table, and write it into the folder of the run.

    Args:
        run: `Distillation`, trained.
        teacher: `Teacher`.
        student: folder of its checkpoint.
        plain: the student without distillation: a checkpoint or the folder of a training; None: there is none.
    Returns:
        list of `Measured`.
    """
    without = _measured(run, 'without distillation', find_model(plain)) if plain else Measured('without distillation')
    found = [_measured(run, 'teacher', teacher.path), without, _measured(run, 'student', student)]
    sets = run.evaluator.scored_sets()
    log.info('')
    for line in table(found, f'{run.task.measure} on {sets[0][0]}' if sets else ''):
        log.info('%s', line)
    if not plain:
        log.info('The student without distillation was not trained: --with_plain true, or --plain RUN.')
    with output_file(os.path.join(run.args.checkpoints, FILE)) as f:
        f.write(json.dumps([one._asdict() for one in found], ensure_ascii=False, indent=1) + '\n')
    return found


def table(models, score):
    """Lines of the table. models: list of `Measured`. score: what the score is; '' for none."""
    rows = [(*_HEADER[:1], score or _HEADER[1], *_HEADER[2:]), *map(_cells, models)]
    widths = [max(width_of(row[i]) for row in rows) for i in range(len(_HEADER))]
    return ['  '.join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(one):
    texts = (
        None if one.score is None else f'{one.score:.4f}',
        one.parameters and _millions(one.parameters),
        one.bytes and f'{one.bytes / 1e6:.1f} MB',
        one.rows_per_second and f'{one.rows_per_second:.1f}',
    )
    return (one.name, *(text or '-' for text in texts))


def _millions(count):
    return f'{count / 1e6:.1f} million' if count >= 1e6 else f'{count:,}'


def _measured(run, name, folder):
    """`Measured` of a model on the first dev set of a run. Raises `UserError`: it is not one of the same task."""
    source = Source(folder)
    base = run.task.base
    tokenizer = source.tokenizer(by_characters=base.spec.by_characters)
    if tokenizer.fingerprint() != run.task.tokenizer.fingerprint():
        raise bad_input(folder, 'another vocabulary, or texts that are cut otherwise', 'those of the student')
    task = base(run.task.args, source.config, tokenizer, {**run.plan.teacher.saved, **source.saved})
    labels = [getattr(one, 'label_names', None) for one in (task, run.task)]
    if labels[0] != labels[1]:
        raise bad_input(folder, f'the labels {quoted(labels[0])}', quoted(labels[1]))
    args = run.args
    session = Session(args.use_cuda, seed=1, fused_ops=args.fused_ops)
    predictor = _Clocked(session, task, args.predict_batch_size or args.batch_size, args.in_tokens)
    sets = run.evaluator.scored_sets()
    program = predictor.program(labelled=bool(sets))
    session.initialize(program)
    match = match_parameters(program.parameters(), source.tensors)
    load_values(session, match.load, source.tensors)
    score = None
    if sets:
        score = _score(task, predictor, *sets[0])
    count = sum(map(math.prod, program.parameters().values()))
    speed = predictor.rows / predictor.seconds if predictor.seconds else None
    return Measured(name, folder, score, count, _size(folder), speed)


def _score(task, predictor, path, rows):
    values = Evaluated(*task.evaluate(predictor, rows, path)).values
    if not predictor.rows:  # one batch: what was made ready is measured now
        started = time.monotonic()
        task.evaluate(predictor, rows, path)
        predictor.rows, predictor.seconds = len(rows), time.monotonic() - started
    return task.main_value(values)


def _size(folder):
    """Bytes of the files of the parameters."""
    files = model_files(folder)
    tensors = [path for path in files if path.endswith(_TENSORS) and os.path.basename(path) != 'optimizer.safetensors']
    return sum(os.path.getsize(path) for path in tensors or files if os.path.basename(path) != RECORD)
