"""What a search keeps on disk: its plan, the outcome of each try, the table of them."""

import json
import os
from typing import NamedTuple

from ernie.finetune.try_space import SEARCHED
from ernie.reader.dataset_folder import data_digest, is_regular
from ernie.settings.fields import AUTO
from propeller.errors import UsageError, bad_input, one_line, quoted
from propeller.inputs import read_json_object
from propeller.storage.atomic import output_file

TRIES, TABLE = 'tries', 'tries.tsv'
_PLAN, OUTCOME = 'search.json', 'try.json'
_VERSION = 1
DONE, STOPPED, FAILED = 'done', 'stopped', 'failed'
# Settings that may change between two starts of one search: what is shown, and what is done with its winner.
_FREE = (
    *('checkpoints', 'test_set', 'test_save', 'diagnostic', 'diagnostic_save', 'do_test', 'cache'),
    *('skip_steps', 'verbose', 'log_level', 'log_dir', 'cpu_threads', 'predict_batch_size'),
)
_FILES = ('train_set', 'dev_set')


class Outcome(NamedTuple):
    """How a try ended.

    Attributes:
        number: of the try, from 1.
        settings: dict name -> number of each of `SEARCHED`; {} where it failed before they were known.
        status: `DONE`, `STOPPED` (at the time limit) or `FAILED`.
        score: the best on the first dev set; None where there is none.
        best_step: after which update that was; None where there is none.
        steps: updates in all.
        seconds: that it took.
        error: why it failed; ''.
    """

    number: int
    settings: dict
    status: str
    score: float | None
    best_step: int | None
    steps: int
    seconds: float
    error: str = ''


def best_of(outcomes):
    """The `Outcome` with the highest score, of equals the first; None where none has a score."""
    scored = [o for o in outcomes if o.score is not None]
    return max(scored, key=lambda o: (o.score, -o.number), default=None)


class TryFiles:
    """The files of a search below its folder. root: the folder of `--checkpoints`."""

    def __init__(self, root):
        self.root, self.folder = root, os.path.join(root, TRIES)
        self.plan, self.table = os.path.join(self.folder, _PLAN), os.path.join(root, TABLE)

    def place(self, number):
        """The folder of a try."""
        return os.path.join(self.folder, f'{number:02d}')

    def exists(self):
        """Whether a search has begun here."""
        return os.path.isfile(self.plan)

    # ------------------------------------------------------------ the plan

    def write_plan(self, args, task):
        """Begin. args: `FinetuneSettings`, with a seed. task: its name."""
        os.makedirs(self.folder, exist_ok=True)
        self._write(self.plan, {'version': _VERSION, **_plan_of(args, task)})

    def check_plan(self, args, task):
        """Returns the seed of the search that goes on here.

        Raises:
            UsageError: it is another one: of other data, or other settings.
        """
        found, wanted = read_json_object(self.plan, 'the plan of a search'), _plan_of(args, task)
        if found.get('version') != _VERSION:
            raise bad_input(self.plan, f'version {quoted(found.get("version"))}', f'{_VERSION}')
        old, new = found.get('settings'), wanted['settings']
        old = old if isinstance(old, dict) else {}
        seed = old.get('random_seed')
        if args.random_seed is None and type(seed) is int:
            new['random_seed'] = seed
        named = ['task'] if found.get('task') != task else []
        named += [f'--{name} {quoted(old.get(name))}' for name in new if old.get(name) != new[name]]
        named += [f'other content of --{name}' for name in _FILES if found.get(name) != wanted[name]]
        if named:
            raise UsageError(
                f'{self.folder}: found a search with {", ".join(named[:4])}; expected the same settings, to go on '
                f'with it. Choose another --checkpoints, or delete it with --overwrite_checkpoints true.'
            )
        return seed if type(seed) is int else 0

    # ------------------------------------------------------------ the tries

    def outcome(self, number):
        """The `Outcome` of a try; None where it has none yet."""
        path = os.path.join(self.place(number), OUTCOME)
        if not os.path.isfile(path):
            return None
        found = read_json_object(path, 'the outcome of a try')
        fields = set(Outcome._fields)
        if set(found) != fields or not isinstance(found['settings'], dict):
            raise bad_input(path, quoted(sorted(found)), ', '.join(sorted(fields)), advice='Delete the file.')
        return Outcome(**found)

    def outcomes(self):
        """The `Outcome`s of all tries that have one, by number."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        numbers = sorted(int(name) for name in names if name.isdecimal() and len(name) <= 6)
        return [o for o in map(self.outcome, numbers) if o]

    def keep(self, outcome):
        """Record how a try ended; it is not done again."""
        os.makedirs(self.place(outcome.number), exist_ok=True)
        self._write(os.path.join(self.place(outcome.number), OUTCOME), outcome._asdict())

    def write_table(self, outcomes):
        """`tries.tsv`: a line for each try."""
        best = best_of(outcomes)
        with output_file(self.table) as f:
            f.write(
                '\t'.join(('try', *SEARCHED, 'dev_score', 'best_step', 'steps', 'seconds', 'status', 'chosen')) + '\n'
            )
            for o in outcomes:
                status = o.status if not o.error else f'{o.status}: {o.error}'
                numbers = [o.settings.get(name) for name in SEARCHED]
                cells = [o.number, *numbers, o.score, o.best_step, o.steps, round(o.seconds), status, o is best]
                f.write('\t'.join(_cell(value) for value in cells) + '\n')

    @staticmethod
    def _write(path, value):
        with output_file(path) as f:
            f.write(json.dumps(value, ensure_ascii=False, indent=1) + '\n')


def table_lines(outcomes):
    """The table for people, a line a try under a header."""
    best = best_of(outcomes)
    rows = [('try', 'rate', 'batch', 'epochs', 'length', 'dev score', 'step', 'of', 'seconds', '')]
    for o in outcomes:
        numbers = [_shown(o.settings.get(name)) for name in SEARCHED]
        score = '-' if o.score is None else f'{o.score:.4f}'
        word = 'chosen' if o is best else '' if o.status == DONE else o.status
        rows.append((str(o.number), *numbers, score, _shown(o.best_step), str(o.steps), f'{o.seconds:.0f}', word))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ['  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _plan_of(args, task):
    files = {name: _digest(getattr(args, name)) for name in _FILES}
    settings = {name: value for name, value in args.recorded().items() if name not in _FREE and name not in _FILES}
    return {'task': task, 'settings': json.loads(json.dumps(settings)), **files}


def _digest(paths):
    return [data_digest(path) if is_regular(path) else path for path in paths.split(',')] if paths else None


def _shown(value):
    return '-' if value in (None, AUTO) else f'{value:g}'


def _cell(value):
    if isinstance(value, bool):
        return 'yes' if value else ''
    if isinstance(value, float):
        return f'{value:.6g}'
    return '' if value is None else one_line(str(value).replace('\t', ' '))
