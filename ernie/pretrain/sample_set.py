"""Samples as ragged arrays, and the files they are read from."""

import gzip
import itertools
import zlib
from codecs import BOM_UTF8
from typing import NamedTuple

import numpy as np

from ernie.pretrain.samples import parse_lines
from ernie.pretrain.tasks import TASKS
from ernie.pretrain.tasks.task import NO_LABEL
from propeller.errors import bad_input
from propeller.inputs import open_data

COLUMN = {name: i for i, name in enumerate(TASKS)}
BLOCK_BYTES = 1 << 20
LONGEST_LINE = 1 << 24


class SampleSet(NamedTuple):
    """N samples with `total` tokens in all.

    Attributes:
        token_ids: [total] int32, one sample after the other, special tokens included.
        sentence_types: [total] int8.
        positions: [total] int16.
        segments: [total] int8: 0 first token of a unit, 1 further one, -1 of none.
        offsets: [N + 1] int64, sample i has the tokens `offsets[i]` to `offsets[i + 1]`.
        task_ids: [N] int32.
        labels: [N, tasks] int64 by `COLUMN`, -1 where a task has no label: for a task of sequences the label, for one
            of tokens where the sample's labels begin in `token_labels`, for knowledge_masking 0.
        token_labels: [M] int32.
        lines: [N] int64, 1-based line in the file.
        files: [N] int32, number of the file in the list.
    """

    token_ids: np.ndarray
    sentence_types: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    task_ids: np.ndarray
    labels: np.ndarray
    token_labels: np.ndarray
    lines: np.ndarray
    files: np.ndarray

    @property
    def count(self):
        """N."""
        return len(self.offsets) - 1

    @property
    def lengths(self):
        """[N] int64, tokens of each sample."""
        return np.diff(self.offsets)

    def part(self, start, stop):
        """The samples `start` to `stop`; the arrays are views."""
        stop = min(stop, self.count)
        tokens, rows = slice(self.offsets[start], self.offsets[stop]), slice(start, stop)
        return self._replace(
            **{name: getattr(self, name)[tokens] for name in TOKEN_FIELDS},
            **{name: getattr(self, name)[rows] for name in SAMPLE_FIELDS},
            offsets=self.offsets[start : stop + 1] - self.offsets[start],
        )

    def take(self, rows):
        """The samples of these numbers, in their order."""
        lengths = self.lengths[rows]
        tokens = ranges(self.offsets[rows], lengths)
        return self._replace(
            **{name: getattr(self, name)[tokens] for name in TOKEN_FIELDS},
            **{name: getattr(self, name)[rows] for name in SAMPLE_FIELDS},
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
        )


TOKEN_FIELDS = ('token_ids', 'sentence_types', 'positions', 'segments')
SAMPLE_FIELDS = ('task_ids', 'labels', 'lines', 'files')
_STARTS = [i for name, i in COLUMN.items() if TASKS[name].level == 'token' and TASKS[name].num_classes is not None]


def ranges(starts, lengths):
    """`arange(start, start + length)` of each pair, one after the other: int64 [sum of the lengths]."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def concatenated(sets):
    """The samples of several `SampleSet`s as one."""
    if len(sets) == 1:
        return sets[0]
    names = (*TOKEN_FIELDS, *SAMPLE_FIELDS, 'token_labels')
    joined = {name: np.concatenate([getattr(each, name) for each in sets]) for name in names}
    ends = np.cumsum([len(each.token_labels) for each in sets[:-1]])
    shift = np.repeat([0, *ends], [each.count for each in sets])
    starts = joined['labels'][:, _STARTS]
    joined['labels'][:, _STARTS] = np.where(starts == NO_LABEL, NO_LABEL, starts + shift[:, None])
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([each.lengths for each in sets]))])
    return SampleSet(**joined, offsets=offsets)


def make_set(columns, lines, file):
    """A `SampleSet` from `samples.Columns`.

    Args:
        lines: [N] int, line of each sample.
        file: number of the file.
    """
    labels = np.full((len(columns.lengths), len(COLUMN)), NO_LABEL, np.int64)
    flat, end = [np.empty(0, np.int64)], 0
    for row, name, label in columns.labels:
        if label is None:
            label = 0
        elif TASKS[name].level == 'token':
            flat.append(label)
            label, end = end, end + len(label)
        labels[row, COLUMN[name]] = label
    return SampleSet(
        token_ids=columns.token_ids.astype(np.int32),
        sentence_types=columns.sentence_types.astype(np.int8),
        positions=columns.positions.astype(np.int16),
        segments=columns.segments.astype(np.int8),
        offsets=np.concatenate([[0], np.cumsum(columns.lengths)]),
        task_ids=np.array(columns.task_ids, np.int32),
        labels=labels,
        token_labels=np.concatenate(flat).astype(np.int32),
        lines=np.asarray(lines, np.int64),
        files=np.full(len(labels), file, np.int32),
    )


class Limits(NamedTuple):
    """What a model can take: each one more than the largest id; `tasks` None without task ids."""

    tokens: int
    sentence_types: int
    positions: int
    tasks: int | None = None

    @classmethod
    def of(cls, config, vocab):
        """Those of an `ErnieConfig` and a vocabulary, a dict token -> id that its word table has rows for."""
        tasks = config['task_type_vocab_size'] if config.use_task_id else None
        return cls(max(vocab.values()) + 1, config.sentence_types, config['max_position_embeddings'], tasks)


def check_limits(samples, limits, tasks, path):
    """Each id has a row in its table, and each label a class.

    Args:
        samples: `SampleSet`, of one file.
        limits: `Limits`.
        tasks: list of `PretrainTask`, whose labels are looked at.
        path: the file.

    Raises:
        UserError: names the line, the field and the size of the table.
    """
    ragged = {'token_ids': limits.tokens, 'sentence_types': limits.sentence_types, 'positions': limits.positions}
    for name, most in ragged.items():
        values = getattr(samples, name)
        if values.max(initial=0) >= most:
            token = int(np.argmax(values >= most))
            row = int(np.searchsorted(samples.offsets, token, side='right')) - 1
            _beyond(path, samples, row, name.replace('_', ' ').removesuffix('s'), values[token], most)
    if limits.tasks is not None and samples.task_ids.max(initial=0) >= limits.tasks:
        row = int(np.argmax(samples.task_ids >= limits.tasks))
        _beyond(path, samples, row, 'task id', samples.task_ids[row], limits.tasks)
    for task in tasks:
        column = samples.labels[:, COLUMN[task.name]]
        if task.num_classes is None:
            continue
        if task.level == 'token':
            rows = np.flatnonzero(column >= 0)
            lengths = samples.lengths[rows]
            found = samples.token_labels[ranges(column[rows], lengths)]
            rows = np.repeat(rows, lengths)
        else:
            rows, found = np.arange(samples.count), column
        if found.max(initial=-1) >= task.num_classes:
            i = int(np.argmax(found >= task.num_classes))
            _beyond(path, samples, rows[i], f'{task.name} label', found[i], task.num_classes, 'classes of the task')


def _beyond(path, samples, row, what, found, most, table='rows of the table of the model'):
    advice = '' if 'task' in table else 'Were the samples made with the vocabulary and for the model in use?'
    if what == 'token id':
        table = 'tokens of the vocabulary'
    expected = f'one below {most}, the {table}'
    raise bad_input(path, f'the {what} {found}', expected, int(samples.lines[row]), advice)


# -------------------------------------------------------------------------------------------------------------- files


def read_sets(path, file=0, skip=0):
    """The samples of a file in order, as `SampleSet`s of about `BLOCK_BYTES` bytes of text.

    Args:
        path: gzip if the name ends in `.gz`, else plain text.
        file: number of the file, for the sets.
        skip: lines that are passed over.

    Raises:
        UserError: the file cannot be read, is damaged or empty, or a line is wrong.
    """
    number = 0
    for lines in _blocks(path):
        first, number = number + 1, number + len(lines)
        if number <= skip:
            continue
        lines = lines[max(skip - first + 1, 0) :]
        first = max(first, skip + 1)
        yield make_set(parse_lines(lines, path, first), np.arange(first, first + len(lines)), file)


def _blocks(path):
    """Lists of lines, bytes without their ends."""
    rest, number = b'', 0
    try:
        with open_data(path, 'a file of samples') as raw, gzip.open(raw) if str(path).endswith('.gz') else raw as f:
            first = f.read(BLOCK_BYTES).removeprefix(BOM_UTF8)
            for block in itertools.chain([first], iter(lambda: f.read(BLOCK_BYTES), b'')):
                *lines, rest = (rest + block).split(b'\n')
                if lines:
                    number += len(lines)
                    yield [line.removesuffix(b'\r') for line in lines]
                if len(rest) > LONGEST_LINE:
                    raise bad_input(path, f'a line of more than {LONGEST_LINE} bytes', 'lines of samples', number + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        line = number + 1 if number else None
        raise bad_input(path, f'a damaged gzip file ({e})', 'a whole one', line, 'Copy or make it anew.') from None
    except OSError as e:
        raise bad_input(path, f'a file that cannot be read ({e.strerror or e})', 'a readable file') from None
    if rest:
        yield [rest.removesuffix(b'\r')]
    elif not number:
        raise bad_input(path, 'an empty file', 'a sample a line')
