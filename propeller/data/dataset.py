"""Lazy data sets: a source, then operations that each make a new data set."""

import collections
import functools
import gzip
import inspect
import itertools
import math
import os
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np

from propeller.data.order import repeat, shuffle, shuffle_from
from propeller.data.padding import pad_rows
from propeller.data.prefetch import prefetch
from propeller.errors import UserError, bad_input
from propeller.inputs import open_data

FORMATS = (None, 'GZIP')
Shapes = list[list[int]]


class Dataset:
    """A sequence of elements, which every `iter()` makes again. An element is one value, or a tuple or list of them.

    `data_shapes` and `data_types` are taken from the first element if they are not set; its values must be numpy arrays
    then. Two data sets are equal when name, shapes and types agree.

    Attributes:
        share: (shards, index) of the last `shard` that these elements went through; None without one. A `Learner` does
            not share out again what each process of a job has its own share of.
    """

    name: str | None = None
    share: tuple[int, int] | None = None

    def __init__(
        self,
        make_iterator: Callable[[], Iterable[Any]],
        data_shapes: Shapes | None = None,
        data_types: list[str] | None = None,
        start_at: Callable[[int], Iterable[Any]] | None = None,
        count: Callable[[], float | None] | None = None,
    ) -> None:
        """Args:
        make_iterator: function without arguments that starts a new iterator.
        data_shapes: list of shapes, one per value of an element.
        data_types: list of dtype names.
        start_at: function (number) -> an iterator that begins with that element, without making those before it. None:
            to begin in the middle, the elements before are made and dropped.
        count: function () -> what `count` gives; None: not known.
        """
        self._make_iterator = make_iterator
        self._data_shapes = data_shapes
        self._data_types = data_types
        self._start_at, self._count = start_at, count

    def __iter__(self) -> Iterator[Any]:
        return iter(self._make_iterator())

    def iterate_from(self, start: int) -> Iterator[Any]:
        """An iterator of the elements from number `start` on, where training goes on after a break.

        Of the elements before, none is made by a list, a file (whose lines are passed over), `map`, `take`, `shard`,
        `buffered`, `padded_batch` and what has a `start_at`; nor by `repeat` and `shuffle` with a seed where the count
        of their elements is known. Those of `filter`, `interleave` and `apply` are made again.
        """
        if start and self._start_at:
            return iter(self._start_at(start))
        return itertools.islice(iter(self), start, None) if start else iter(self)

    def count(self) -> float | None:
        """Number of elements, infinity where there is no end; None where that is not known before they are made."""
        return self._count() if self._count else None

    # -------------------------------------------------------------------------------------------------------- sources

    @classmethod
    def from_generator_func(
        cls,
        gen: Callable[[], Iterator[Any]],
        data_shapes: Shapes | None = None,
        data_types: list[str] | None = None,
        start_at: Callable[[int], Iterable[Any]] | None = None,
        count: Callable[[], float | None] | None = None,
    ) -> Self:
        """What the generator function `gen` yields; it is called without arguments at each pass.

        Args:
            start_at, count: see `Dataset`.

        Raises:
            ValueError: `gen` is not a generator function.
        """
        if not inspect.isgeneratorfunction(gen):
            raise ValueError(f'{gen!r} must be a generator function')
        return cls(gen, data_shapes, data_types, start_at, count)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], format: str | None = None) -> Self:
        """Lines of a file as bytes, line end included.

        Args:
            path: the file.
            format: None, or 'GZIP' for a gzip file.

        Raises:
            ValueError: the format is another one.
            UserError: at iteration: the file cannot be read, is empty or is not gzip.
        """
        if format not in FORMATS:
            raise ValueError(f'format {format!r} must be one of {FORMATS}')

        expected = f'{format or "text"} lines'

        def lines(start=0):
            line = None
            try:
                with open_data(path, expected) as raw, gzip.open(raw) if format == 'GZIP' else raw as f:
                    for line in itertools.islice(f, start):  # noqa: B007 - whether there was a line
                        pass
                    for line in f:  # noqa: UP028 - the same
                        yield line
            except (OSError, EOFError, zlib.error) as e:
                raise bad_input(path, f'a file that cannot be read ({e})', expected) from e
            if line is None:
                raise bad_input(path, 'an empty file', 'at least one line')

        # A FIFO, which can be read once, has no count.
        count = functools.cache(lambda: sum(1 for _ in lines()) if os.path.isfile(path) else None)
        return cls(lines, start_at=lines, count=count)

    @classmethod
    def from_list(cls, elements: list[Any]) -> Self:
        """The elements of a list.

        Raises:
            ValueError: it is not a list.
        """
        if not isinstance(elements, list):
            raise ValueError(f'expected a list, found {type(elements).__name__}')
        return cls(lambda: iter(elements), start_at=lambda start: iter(elements[start:]), count=lambda: len(elements))

    # ---------------------------------------------------------------------------------------------- shapes and types

    @property
    def data_shapes(self) -> Shapes:
        """List of shapes, one per value of an element."""
        return self._infer()[0]

    @data_shapes.setter
    def data_shapes(self, value: Shapes | None) -> None:
        self._data_shapes = value

    @property
    def data_types(self) -> list[str]:
        """List of dtype names, one per value of an element."""
        return self._infer()[1]

    @data_types.setter
    def data_types(self, value: list[str] | None) -> None:
        self._data_types = value

    def _infer(self):
        if self._data_shapes is None or self._data_types is None:
            iterator = iter(self)
            try:
                first = next(iterator)
            except StopIteration:
                raise UserError(
                    f'data set {self.name!r}: found no element, expected one to take shapes from.'
                ) from None
            finally:
                _close(iterator)
            values = first if isinstance(first, (tuple, list)) else [first]
            for value in values:
                if not isinstance(value, (np.ndarray, np.generic)):
                    raise ValueError(f'elements must be numpy arrays to take shapes from, not {type(value).__name__}')
            shapes, types = [list(value.shape) for value in values], [value.dtype.name for value in values]
            self._data_shapes = shapes if self._data_shapes is None else self._data_shapes
            self._data_types = types if self._data_types is None else self._data_types
        return self._data_shapes, self._data_types

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dataset):
            return NotImplemented
        return (self.name, self.data_shapes, self.data_types) == (other.name, other.data_shapes, other.data_types)

    # ----------------------------------------------------------------------------------------------------- operations

    def apply(self, transform: Callable[[Iterator[Any]], Iterable[Any]]) -> 'Dataset':
        """A data set of what `transform`, a function from an iterator to an iterator, makes of each pass."""
        return self._derived(lambda: transform(iter(self)))

    def _derived(self, make_iterator, start_at=None, count=None):
        derived = Dataset(make_iterator, start_at=start_at, count=count)
        derived.name, derived.share = self.name, self.share
        return derived

    def _seekable(self, start_at, count=None):
        return self._derived(lambda: start_at(0), start_at, count or self.count)

    def _counted(self, number_of):
        """Function that gives `number_of` the count where that is a number."""
        return lambda: n if (n := self.count()) in (None, math.inf) else number_of(n)

    def map(self, fn: Callable[..., Any]) -> 'Dataset':
        """`fn(element)`, or `fn(*element)` where the element is a tuple or a list.

        What it gives must depend on the element alone: after a break it is not called for the elements before.
        """
        return self._seekable(lambda start: (_call(fn, element) for element in self.iterate_from(start)))

    def filter(self, fn: Callable[..., Any]) -> 'Dataset':
        """The elements for which `fn` (called as in `map`) is true."""
        return self._derived(lambda: (element for element in self if _call(fn, element)))

    def shuffle(self, buffer_size: int, seed: Any = None) -> 'Dataset':
        """Random order within a reservoir: a random one of `buffer_size` held elements goes out as the next comes in.

        Args:
            buffer_size: elements held, at least 1.
            seed: None, or any seed of Python's `random`: every pass then has the same order.
        """
        if buffer_size < 1:
            raise ValueError(f'buffer_size {buffer_size} must be at least 1')
        return self._derived(
            lambda: shuffle(self, buffer_size, random.Random(seed)),
            seed is not None and (lambda start: shuffle_from(self, buffer_size, random.Random(seed), start)),
            self.count,
        )

    def repeat(self, n: int = -1) -> 'Dataset':
        """The data set `n` times over, without end if negative. Each round iterates anew, nothing is kept.

        An iteration without end over a data set without elements ends at once.
        """
        rounds = math.inf if n < 0 else n
        count = self._counted(lambda number: number * rounds if number else 0) if rounds else lambda: 0
        return self._seekable(lambda start: repeat(self, rounds, start), count)

    def interleave(self, map_fn: Callable[..., Iterable[Any]], cycle_length: int, block_length: int = 1) -> 'Dataset':
        """`map_fn` makes an iterable of each element; `cycle_length` of them are open and give `block_length` items in
        turn. One that is used up is replaced by that of the next element.
        """
        if cycle_length < 1 or block_length < 1:
            raise ValueError(f'cycle_length {cycle_length} and block_length {block_length} must be at least 1')
        return self._derived(lambda: _interleave(self, map_fn, cycle_length, block_length))

    def shard(self, num_shards: int, index: int) -> 'Dataset':
        """Every `num_shards`-th element, from number `index` on."""
        if not 0 <= index < num_shards:
            raise ValueError(f'index {index} must be in 0 .. {num_shards - 1}')
        derived = self._seekable(
            lambda start: itertools.islice(self.iterate_from(index + start * num_shards), 0, None, num_shards),
            self._counted(lambda number: len(range(index, number, num_shards))),
        )
        derived.share = (num_shards, index)
        return derived

    def take(self, count: int = 1) -> 'Dataset':
        """The first `count` elements."""
        return self._seekable(
            lambda start: itertools.islice(self.iterate_from(start), max(count - start, 0)),
            lambda: None if (number := self.count()) is None else min(number, count),
        )

    def buffered(self, size: int = 10) -> 'Dataset':
        """The same elements, up to `size` of them made ahead in a thread."""
        return self._seekable(lambda start: _buffered(self.iterate_from(start), size))

    def padded_batch(self, batch_size: int, pad_value: Any = 0, max_seqlen: int | None = None) -> 'Dataset':
        """Batches: a list of one array per value of an element. The last batch may be smaller.

        Args:
            batch_size: elements of a batch.
            pad_value: one value, or a list of one per value of an element.
            max_seqlen: width of the padded arrays (longer rows are cut); None is the longest of the batch.

        Returns:
            data set of lists: scalars are stacked to [B], 1-D arrays padded to [B, T], others stacked to [B, ...].
        """
        if batch_size < 1:
            raise ValueError(f'batch_size {batch_size} must be at least 1')
        return self._seekable(
            lambda start: _padded_batches(self.iterate_from(start * batch_size), batch_size, pad_value, max_seqlen),
            self._counted(lambda number: -(-number // batch_size)),
        )


def _call(fn, element):
    return fn(*element) if isinstance(element, (tuple, list)) else fn(element)


def _close(iterator):
    if hasattr(iterator, 'close'):
        iterator.close()


def _interleave(elements, map_fn, cycle_length, block_length):
    waiting = (iter(_call(map_fn, element)) for element in elements)
    lanes = collections.deque(itertools.islice(waiting, cycle_length))
    while lanes:
        lane = lanes.popleft()
        count = 0
        for item in itertools.islice(lane, block_length):
            count += 1
            yield item
        if count < block_length:  # used up: the next element takes its place in the circle
            lane = next(waiting, None)
        if lane is not None:
            lanes.append(lane)


def _buffered(elements, size):
    with prefetch(elements, size) as items:
        yield from items


def _padded_batches(elements, batch_size, pad_value, max_seqlen):
    iterator = iter(elements)
    while batch := list(itertools.islice(iterator, batch_size)):
        rows = [element if isinstance(element, (tuple, list)) else [element] for element in batch]
        columns = list(zip(*rows, strict=True))
        pad_values = pad_value if isinstance(pad_value, (tuple, list)) else [pad_value] * len(columns)
        yield [_stack(column, pad, max_seqlen) for column, pad in zip(columns, pad_values, strict=True)]


def _stack(column, pad_value, max_seqlen):
    arrays = [np.asarray(value) for value in column]
    if arrays[0].ndim != 1:
        return np.stack(arrays)
    return pad_rows(arrays, pad_value, np.result_type(*arrays), max_seqlen)
