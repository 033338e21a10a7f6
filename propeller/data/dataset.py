"""Lazy data sets: a source, then operations that each make a new data set."""

import functools
import inspect
import itertools
import math
import operator
import os
import random
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Self

from propeller.data.background import made_ahead
from propeller.data.described import Described, Shapes
from propeller.data.interleave import interleave
from propeller.data.lines import count_lines, read_lines
from propeller.data.order import repeat, shuffle, shuffle_from
from propeller.data.record_file import count_records, read_records
from propeller.data.transform import applied
from propeller.data.values import (
    Batcher,
    batches,
    call,
    check_function,
    closable,
    whole_number,
)
from propeller.errors import UserError, quoted

FORMATS = (None, 'GZIP')


class Dataset(Described):
    """A sequence of elements, which every `iter()` makes again. An element is one value, or a tuple or list of them.

    `data_shapes` and `data_types` are taken from the first element if they are not set; its values must be numpy arrays
    then. Two data sets are equal when name, shapes and types agree.

    Attributes:
        share: (shards, index) of the last `shard` that these elements went through; None without one. A `Learner` does
            not share out again what each process of a job has its own share of.
        seeded: whether every `shuffle` on the way has a seed, without which a resumed run has another order.
    """

    share: tuple[int, int] | None = None
    seeded = True

    def __init__(
        self,
        make_iterator: Callable[[], Iterable[Any]],
        data_shapes: Shapes | None = None,
        data_types: list[str] | None = None,
        start_at: Callable[[int], Iterable[Any]] | None = None,
        count: Callable[[], float | None] | None = None,
        seekable: Callable[[], bool] | None = None,
    ) -> None:
        """Args:
        make_iterator: function without arguments that starts a new iterator.
        data_shapes: list of shapes, one per value of an element.
        data_types: list of dtype names.
        start_at: function (number) -> an iterator that begins with that element, without making those before it. None:
            to begin in the middle, the elements before are made and dropped.
        count: function () -> what `count` gives; None: not known.
        seekable: function () -> what `seekable` says; None: whether both of the above are given.
        """
        self._make_iterator = make_iterator
        self._start_at, self._count, self._seekable = start_at, count, seekable
        super().__init__(data_shapes, data_types)

    def __iter__(self) -> Generator[Any, None, None]:
        """An iterator of its own. Its `close` frees the files and processes behind it; so does dropping it."""
        return closable(self._make_iterator())

    def iterate_from(self, start: int) -> Generator[Any, None, None]:
        """An iterator of the elements from number `start` on, where training goes on after a break.

        Those before are not made where the data set is `seekable`; others are made again and dropped.
        """
        whole_number('iterate_from', 'start', start, 0)
        if start and self._start_at:
            return closable(self._start_at(start))
        return closable(itertools.islice(iter(self), start, None)) if start else iter(self)

    @property
    def seekable(self) -> bool:
        """Whether it begins in the middle without making what comes before, and knows where it ends.

        Lists and files do, and so does what `map`, `shuffle`, `repeat`, `interleave`, `shard`, `take`, `buffered` and
        `padded_batch` make of them; `filter` and `apply` make what does not. A generator function does with `start_at`
        and `count`.
        """
        if self._seekable is not None:
            return self._seekable()
        return self._start_at is not None and self._count is not None

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
            UserError: `gen` is not a generator function.
        """
        if not any(map(inspect.isgeneratorfunction, (gen, getattr(gen, '__call__', None)))):  # noqa: B004
            raise UserError(
                f'from_generator_func: found {quoted(gen)}, expected a generator function: one without arguments that '
                'yields the elements. Write the function, not its call; of a list, from_list makes a data set.'
            )
        return cls(gen, data_shapes, data_types, start_at, count)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], format: str | None = None) -> Self:
        """Lines of a file as bytes, line end included.

        Args:
            path: the file.
            format: None, or 'GZIP' for a gzip file.

        Raises:
            UserError: the format is another one; at iteration: the file cannot be read, is empty or is not gzip.
        """
        if format not in FORMATS:
            raise UserError(f"from_file: found format {quoted(format)}, expected None or 'GZIP'.")
        return cls(
            lambda: read_lines(path, format),
            start_at=lambda start: read_lines(path, format, start),
            count=lambda: count_lines(path, format),
            seekable=lambda: os.path.isfile(path),  # what can be read once only has no count
        )

    @classmethod
    def from_record_file(cls, path: str | os.PathLike[str]) -> Self:
        """Payloads of a gz record file. Those before the first that is wanted are passed over by their lengths.

        Raises:
            UserError: at iteration: it cannot be read, is no record file, is damaged or cut off; names file and record.
        """
        return cls(
            lambda: read_records(path),
            start_at=lambda start: read_records(path, start),
            count=lambda: count_records(path),
        )

    @classmethod
    def from_list(cls, elements: list[Any]) -> Self:
        """The elements of a list.

        Raises:
            UserError: it is not a list.
        """
        if not isinstance(elements, list):
            raise UserError(f'from_list: found {type(elements).__name__}, expected a list.')
        return cls(
            lambda: iter(elements),
            start_at=lambda start: itertools.islice(elements, start, None),
            count=lambda: len(elements),
        )

    # ----------------------------------------------------------------------------------------------------- operations

    @property
    def generator(self) -> Callable[[], Iterator[Any]]:
        """Function without arguments that starts a new iterator, as in 2019."""
        return self.__iter__

    def apply(self, transform: Callable[[Any], Any]) -> 'Dataset':
        """A data set of what `transform` makes of each pass: a function from an iterator to an iterator.

        One of 2019 takes a function that gives an iterator, and returns another such: what it is given can be called
        too, and so may be what it returns.

        Raises:
            UserError: at iteration: `transform` gives what cannot be iterated.
        """
        check_function('apply', transform)
        transformed = functools.partial(applied, transform, self)
        return self._derived(lambda start: itertools.islice(transformed(), start, None), seekable=lambda: False)

    def _derived(self, start_at, count=None, seekable=None, same_elements=False):
        made = Dataset(lambda: start_at(0), None, None, start_at, count, seekable or (lambda: self.seekable))
        made.name, made.share, made.seeded = self.name, self.share, self.seeded
        made._source = self if same_elements else None
        return made

    def _counted(self, number_of):
        """Function that gives `number_of` the count where that is a number."""
        return lambda: n if (n := self.count()) in (None, math.inf) else number_of(n)

    def map(self, fn: Callable[..., Any]) -> 'Dataset':
        """`fn(element)`, or `fn(*element)` where the element is a tuple or a list.

        What it gives must depend on the element alone: after a break it is not called for the elements before.
        """
        check_function('map', fn)
        return self._derived(lambda start: (call(fn, element) for element in self.iterate_from(start)), self.count)

    def filter(self, fn: Callable[..., Any]) -> 'Dataset':
        """The elements for which `fn` (called as in `map`) is true."""
        check_function('filter', fn)

        def kept(start):
            return itertools.islice((element for element in self if call(fn, element)), start, None)

        return self._derived(kept, seekable=lambda: False, same_elements=True)

    def shuffle(self, buffer_size: int, seed: Any = None) -> 'Dataset':
        """Random order within a reservoir: a random one of `buffer_size` held elements goes out as the next comes in.

        Args:
            buffer_size: elements held, at least 1.
            seed: any seed of Python's `random`: every pass then has the same order, which is needed to go on exactly
                after a break. None: each pass draws its order from Python's `random`.

        Raises:
            UserError: `buffer_size` is less than 1.
        """
        size = whole_number('shuffle', 'buffer_size', buffer_size, 1)
        seed = operator.index(seed) if hasattr(seed, '__index__') else seed  # numpy's numbers too
        if seed is not None and not isinstance(seed, (int, float, str, bytes, bytearray)):
            raise UserError(f'shuffle: found seed {quoted(seed)}, expected a number or a text.')

        def shuffled(start):
            rng = random.Random(random.getrandbits(64) if seed is None else seed)
            return shuffle_from(self, size, rng, start) if start else shuffle(iter(self), size, rng)

        made = self._derived(shuffled, self.count, same_elements=True)
        made.seeded = self.seeded and seed is not None
        return made

    def repeat(self, n: int = -1) -> 'Dataset':
        """The data set `n` times over, without end if negative. Each round iterates anew, nothing is kept.

        An iteration without end over a data set without elements ends at once.
        """
        rounds = math.inf if whole_number('repeat', 'n', n, -math.inf) < 0 else n
        count = self._counted(lambda number: number * rounds if number else 0) if rounds else lambda: 0
        return self._derived(lambda start: repeat(self, rounds, start), count, same_elements=True)

    def interleave(self, map_fn: Callable[..., Iterable[Any]], cycle_length: int, block_length: int = 1) -> 'Dataset':
        """`map_fn` makes an iterable, best a `Dataset`, of each element; `cycle_length` of them are open and give
        `block_length` items in turn. One that is used up is replaced by that of the next element.

        Raises:
            UserError: a length is less than 1; at iteration: `map_fn` gives what cannot be iterated.
        """
        check_function('interleave', map_fn)
        lanes = whole_number('interleave', 'cycle_length', cycle_length, 1)
        block = whole_number('interleave', 'block_length', block_length, 1)

        def open_lane(element):
            items = call(map_fn, element)
            if not isinstance(items, Iterable):
                raise UserError(
                    f'interleave: found {quoted(items)} as what map_fn gives, expected a data set or an iterable.'
                )
            return items

        def count():
            if self.count() in (None, math.inf):
                return self.count()
            counts = [lane.count() if isinstance(lane, Dataset) else None for lane in map(open_lane, self)]
            return None if None in counts else sum(counts)

        def seekable():
            return self.seekable and all(
                getattr(items, 'seekable', False) for items in map(open_lane, itertools.islice(self, 1))
            )

        return self._derived(lambda start: interleave(self, open_lane, lanes, block, start), count, seekable)

    def shard(self, num_shards: int, index: int) -> 'Dataset':
        """Every `num_shards`-th element, from number `index` on.

        Raises:
            UserError: `index` is not in 0 .. `num_shards` - 1.
        """
        number = whole_number('shard', 'num_shards', num_shards, 1)
        if not 0 <= whole_number('shard', 'index', index, 0) < number:
            raise UserError(f'shard: found index {index}, expected one of 0 .. {number - 1}.')
        made = self._derived(
            lambda start: itertools.islice(self.iterate_from(index + start * number), 0, None, number),
            self._counted(lambda total: len(range(index, total, number))),
            same_elements=True,
        )
        made.share = (number, index)
        return made

    def take(self, count: int = 1) -> 'Dataset':
        """The first `count` elements. Raises `UserError` for a negative number."""
        most = whole_number('take', 'count', count, 0)
        return self._derived(
            lambda start: itertools.islice(self.iterate_from(start), max(most - start, 0)),
            lambda: None if (number := self.count()) is None else min(number, most),
            same_elements=True,
        )

    def buffered(self, size: int = 10) -> 'Dataset':
        """The same elements, up to `size` of them made ahead in a process of their own, which is forked at each pass.

        What fails there is raised here, with the traceback of that process. The process ends with the iterator.

        Raises:
            UserError: `size` is less than 1; at iteration: the process was killed, or an element cannot be pickled.
        """
        most = whole_number('buffered', 'size', size, 1)
        return self._derived(
            lambda start: made_ahead(lambda: self.iterate_from(start), most), self.count, same_elements=True
        )

    def padded_batch(self, batch_size: int, pad_value: Any = 0, max_seqlen: int | None = None) -> 'Dataset':
        """Batches: a list of one array per value of an element. The last batch may be smaller.

        Args:
            batch_size: elements of a batch.
            pad_value: one value, or a list of one per value of an element.
            max_seqlen: width of the padded arrays (longer rows are cut); None is the longest of the batch.

        Returns:
            data set of lists: scalars are stacked to [B], 1-D arrays padded to [B, T], others stacked to [B, ...].

        Raises:
            UserError: a size is less than 1; at iteration: elements differ in number, rank or type of their values.
        """
        size = whole_number('padded_batch', 'batch_size', batch_size, 1)
        width = None if max_seqlen is None else whole_number('padded_batch', 'max_seqlen', max_seqlen, 1)
        made = self._derived(
            lambda start: batches(self.iterate_from(start * size), size, Batcher(pad_value, width), start * size),
            self._counted(lambda number: -(-number // size)),
        )
        made._batch_width = -1 if width is None else width
        return made
