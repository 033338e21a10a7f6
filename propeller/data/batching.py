"""Which rows go together into a batch, and the stream of batches from any position on."""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from propeller.errors import UserError, quoted
from propeller.progress import progress

# ----------------------------------------------------------------------------------------------------------- planning


def plan_batches(lengths, batch_size, *, in_tokens=False, window=50, shuffle=True, rng=None):
    """The batches of one pass over the data, as row indices. Every row comes exactly once; a partial batch is kept.

    Rows are permuted, cut into windows of about `window` batches, sorted by length inside each window, cut into
    batches, and the batches are permuted: neighbours in length share a batch, so little of it is padding, while
    batches stay random.

    Args:
        lengths: [N] int, length of every row in tokens.
        batch_size: most rows of a batch, or with `in_tokens` most tokens of the padded batch: `count * longest`.
            A row longer than that is a batch of its own.
        in_tokens: whether `batch_size` counts tokens.
        window: size of the windows that are sorted by length, in batches; 0 keeps the (permuted) order.
        shuffle: False leaves out both permutations, for evaluation; with `window=0` that is file order.
        rng: `np.random.Generator`, needed when `shuffle`.

    Returns:
        list of int64 arrays of row indices.

    Raises:
        ValueError: a size is out of its range.
    """
    steps = plan_steps(lengths, batch_size, 1, in_tokens=in_tokens, window=window, shuffle=shuffle, rng=rng)
    return [rows for (rows,) in steps]


def plan_steps(lengths, batch_size, parts, *, in_tokens=False, window=50, shuffle=True, rng=None):
    """The same for updates that are made of `parts` batches, in several processes or one after the other.

    The rows of an update are those that one batch of `parts * batch_size` rows would have, whatever the parts are.

    Args:
        parts: batches of an update. For the others see `plan_batches`.

    Returns:
        list of lists of `parts` int64 arrays, of similar lengths. The last update (before the permutation) may have
        less than the others; its rows are shared out evenly, within the budget of tokens, and when there are fewer rows
        than parts some are empty.
    """
    if batch_size < 1 or window < 0 or parts < 1:
        raise ValueError(f'batch_size {batch_size} and parts {parts} must be at least 1 and window {window} at least 0')
    lengths = np.asarray(lengths, dtype=np.int64)
    order = rng.permutation(len(lengths)) if shuffle else np.arange(len(lengths))
    if window:
        window_of_row = _windows(lengths[order], batch_size * parts * window, in_tokens)
        order = order[np.lexsort((lengths[order], window_of_row))]
    if in_tokens:
        batches = _cut_by_tokens(lengths[order], order, batch_size)
        steps = [batches[first : first + parts] for first in range(0, len(batches), parts)]
        if steps and len(steps[-1]) < parts:
            steps[-1] = _halve_costliest(steps[-1], parts, lengths)
    else:
        size = batch_size * parts
        steps = [_deal(order[first : first + size], parts) for first in range(0, len(order), size)]
    return [steps[i] for i in rng.permutation(len(steps))] if shuffle else steps


def _deal(rows, parts):
    """To each part one row in turn, there and back: parts of rows sorted by length have equally many tokens."""
    turn, part = np.divmod(np.arange(len(rows)), parts)
    part = np.where(turn % 2, parts - 1 - part, part)
    return [rows[part == p] for p in range(parts)]


def _halve_costliest(batches, parts, lengths):
    """Half a batch costs no more than the whole: rows shared out by their number may cost more than the budget."""
    batches = list(batches)
    while len(batches) < parts:
        costs = [len(rows) * max(int(lengths[rows].max()), 1) if len(rows) > 1 else 0 for rows in batches]
        costliest = int(np.argmax(costs))
        batches[costliest : costliest + 1] = np.array_split(batches[costliest], 2)
        if not max(costs):
            batches.sort(key=len, reverse=True)
    return batches


def _windows(lengths, size, in_tokens):
    """Window number of each row, ascending; `size` in rows or tokens."""
    if not in_tokens:
        return np.arange(len(lengths)) // size
    return (np.cumsum(lengths) - lengths) // size


def _cut_by_tokens(lengths, order, budget):
    """Greedy: a row joins while `count * longest`, the row included, stays within the budget. Empty rows count as 1."""
    lengths = np.maximum(lengths, 1)
    batches = []
    start = 0
    while start < len(order):
        most_rows = max(budget // int(lengths[start]), 1)
        longest = np.maximum.accumulate(lengths[start : start + most_rows])
        cost = longest * np.arange(1, len(longest) + 1)  # never falls, so the cut can be searched for
        count = max(int(np.searchsorted(cost, budget, side='right')), 1)
        batches.append(order[start : start + count])
        start += count
    return batches


# ------------------------------------------------------------------------------------------------------------- stream


class Part(NamedTuple):
    """A batch of rows that is computed at once."""

    arrays: list  # what `build` made of the rows
    rows: np.ndarray  # [B] int64, row indices in the data set: puts predictions back into the order of the file
    counted: bool  # False for a stand-in where there are fewer rows than parts: it must not count


class Batch(NamedTuple):
    """What one process computes for one update, with its place in the data."""

    parts: list  # of `Part`, one after the other; a single one without accumulation
    step_rows: int  # rows of the update in all parts of all processes
    epoch: int  # 0-based
    index_in_epoch: int  # 0-based
    position: dict  # where the NEXT batch is, JSON-able, for `BatchStream.seek`
    real_tokens: int  # sum of the lengths of the rows of this process
    fed_tokens: int  # rows * longest: real tokens and padding

    @property
    def arrays(self):
        """The arrays of the only part."""
        (part,) = self.parts
        return part.arrays

    @property
    def rows(self):
        """[B] int64, the rows of the only part."""
        (part,) = self.parts
        return part.rows


_ADDED = {'accumulation': 1}  # settings that positions saved before did not have


class BatchStream:
    """Batches of a data set, epoch after epoch, from any position on.

    The order of an epoch depends on `seed` and the epoch's number only, so a position is a few integers. Iterating
    does not move the stream: each `iter()` starts at the position last sought (at first the beginning).

    Args:
        dataset: anything with `lengths`, [N] int.
        build: function from [B] row indices to a list of arrays.
        batch_size, in_tokens, window, shuffle: as in `plan_batches`.
        seed: int >= 0. Processes that share the data must share it.
        epochs: number of passes; None is without end.
        replica_id: which of the cooperating processes asks, 0 .. num_replicas - 1.
        num_replicas: number of cooperating processes. Each gets its share of every update, and no row comes twice.
        accumulation: parts of an update that one process computes one after the other.
    Raises:
        UserError: a negative seed.
        ValueError: `replica_id` is out of its range.
    """

    def __init__(
        self,
        dataset,
        build,
        batch_size,
        *,
        in_tokens=False,
        window=50,
        shuffle=True,
        seed=0,
        epochs=1,
        replica_id=0,
        num_replicas=1,
        accumulation=1,
    ):
        if seed < 0:
            raise UserError(f'found random seed {seed}, expected an integer that is not negative.')
        if not 0 <= replica_id < num_replicas:
            raise ValueError(f'replica_id {replica_id} must be in 0 .. {num_replicas - 1}')
        self.lengths = np.asarray(dataset.lengths, dtype=np.int64)
        self.build = build
        self.epochs = epochs
        self._settings = {
            'batch_size': int(batch_size),
            'in_tokens': bool(in_tokens),
            'window': int(window),
            'shuffle': bool(shuffle),
            'num_replicas': int(num_replicas),
            'accumulation': int(accumulation),
        }
        self._seed = int(seed)
        self._replica_id = int(replica_id)
        self._start = (0, 0)
        self._counts = {}  # epoch -> updates, of those that were planned
        # The newest plan only: plans are remade from the seed, and one of a large data set is large.
        self._plan = functools.lru_cache(maxsize=1)(self._make_plan)

    def _make_plan(self, epoch):
        rng = np.random.default_rng([self._seed, epoch])
        options = {name: self._settings[name] for name in ('in_tokens', 'window', 'shuffle')}
        parts = self._settings['num_replicas'] * self._settings['accumulation']
        return plan_steps(self.lengths, self._settings['batch_size'], parts, rng=rng, **options)

    def steps_in_epoch(self, epoch):
        """Number of updates of an epoch; with `in_tokens` and `shuffle` it differs a little between epochs."""
        settings = self._settings
        if not settings['in_tokens']:
            batches = -(-len(self.lengths) // settings['batch_size'])
            return -(-batches // (settings['num_replicas'] * settings['accumulation']))
        epoch = epoch if settings['shuffle'] else 0
        if epoch not in self._counts:
            self._counts[epoch] = len(self._plan(epoch))
        return self._counts[epoch]

    @property
    def steps_per_epoch(self):
        """Number of updates of the first epoch."""
        return self.steps_in_epoch(0)

    @property
    def total_steps(self):
        """Number of updates of all epochs; None for a stream without end."""
        return self.steps_of_run()

    def steps_of_run(self, most=None):
        """Number of updates from the beginning to the end, in every process the same.

        Where epochs differ, each is planned once to be counted; to train on it takes hundreds of times as long.

        Args:
            most: the run stops there; None for no such limit.
        Returns:
            int; None for a run without end.
        """
        if self.epochs is None and most is None:
            return None
        if not (self._settings['in_tokens'] and self._settings['shuffle']):
            total = self.steps_in_epoch(0) * (1 if self.epochs is None else self.epochs)
            return total if most is None else most if self.epochs is None and total else min(total, most)
        total, epochs = 0, itertools.count() if self.epochs is None else range(self.epochs)
        for epoch in progress(epochs, 'counting updates', self.epochs, 'epochs'):
            total += self.steps_in_epoch(epoch)
            if not total or (most is not None and total >= most):
                break
        return total if most is None else min(total, most)

    def _position(self, epoch, batch):
        return {'epoch': epoch, 'batch': batch, 'seed': self._seed, 'rows': len(self.lengths), **self._settings}

    @property
    def position(self):
        """Where the next `iter()` starts."""
        return self._position(*self._start)

    def seek(self, position):
        """Lets the next `iter()` start at a position that a batch of an equally made stream carried.

        Raises:
            UserError: the position belongs to other data or other settings; names them, with both values.
        """
        expected = self._position(0, 0)
        if not isinstance(position, dict):
            raise UserError(f'found the data position {quoted(position)}, expected an object.')
        position = {**_ADDED, **position}
        for key in sorted(expected.keys() - {'epoch', 'batch'}):
            if position.get(key) != expected[key]:
                raise UserError(
                    f'found a data position made with {key} {quoted(position.get(key))}, expected {key} '
                    f'{expected[key]}. Resume with the data and settings that the checkpoint was made with.'
                )
        epoch, batch = position.get('epoch'), position.get('batch')
        if type(epoch) is not int or not 0 <= epoch < 1 << 63:
            raise UserError(f'found data position epoch {quoted(epoch)}, expected a whole number from 0 on.')
        if type(batch) is not int or not 0 <= batch <= self.steps_in_epoch(epoch):
            raise UserError(
                f'found data position epoch {epoch}, batch {quoted(batch)}, expected a batch within '
                f'0 .. {self.steps_in_epoch(epoch)}.'
            )
        self._start = (epoch, batch)

    def __iter__(self):
        epoch, index = self._start
        while self.epochs is None or epoch < self.epochs:
            plan = self._plan(epoch)
            if not plan:
                return
            for step in plan[index:]:
                last = index + 1 == len(plan)
                position = self._position(epoch + 1, 0) if last else self._position(epoch, index + 1)
                yield self._batch(step, epoch, index, position)
                index += 1
            epoch, index = epoch + 1, 0

    def _batch(self, step, epoch, index, position):
        own = step[self._replica_id :: self._settings['num_replicas']]
        # The first part has a row whenever the step has one.
        parts = [Part(self.build(rows), rows, True) if len(rows) else self._stand_in(step[0][:1]) for rows in own]
        lengths = [self.lengths[rows] for rows in own if len(rows)]
        return Batch(
            parts=parts,
            step_rows=sum(map(len, step)),
            epoch=epoch,
            index_in_epoch=index,
            position=position,
            real_tokens=int(sum(part.sum() for part in lengths)),
            fed_tokens=int(sum(len(part) * part.max() for part in lengths)),
        )

    def _stand_in(self, row):
        return Part(self.build(row), row, False)
