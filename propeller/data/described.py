"""Name, shapes and types of a data set, and its inputs in a static program."""

import itertools
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Optional

from propeller.data import feeding
from propeller.data.values import checked_shapes, checked_types, kinds_of
from propeller.errors import UserError

if TYPE_CHECKING:
    from propeller.graph import Feed

Shapes = list[list[int]]


class Described:
    """What a `Dataset` says of its elements.

    `data_shapes` and `data_types` are taken from the first element if they are not set; its values must be numpy arrays
    then. Two data sets are equal when name, shapes and types agree.

    Attributes:
        name: what the inputs of a program are called after.
    """

    name: str | None = None
    _source: Optional['Described'] = None  # whose elements these are, with their shapes and types
    _batch_width: int | None = None  # of batches, -1 where it varies; None where elements are none
    _found: tuple[Shapes, list[str]] | None = None  # in the first element

    def __init__(self, data_shapes: Shapes | None, data_types: list[str] | None) -> None:
        self.data_shapes, self.data_types = data_shapes, data_types  # type: ignore[assignment]
        self.told: set[str] = set()  # what the log has said of these elements

    def __iter__(self) -> Generator[Any, None, None]:
        raise NotImplementedError

    @property
    def data_shapes(self) -> Shapes:
        """List of shapes, one per value of an element; -1 for sizes that vary."""
        return self._kinds()[0]

    @data_shapes.setter
    def data_shapes(self, value: Shapes | None) -> None:
        self._shapes = None if value is None else checked_shapes(value)

    @property
    def data_types(self) -> list[str]:
        """List of dtype names, one per value of an element."""
        return self._kinds()[1]

    @data_types.setter
    def data_types(self, value: list[str] | None) -> None:
        self._types = None if value is None else checked_types(value)

    def input_shapes(self) -> Shapes:
        """`data_shapes` if they are set; else those of the first element with -1 for the size of a batch."""
        dataset: Described | None = self
        while dataset is not None:
            if dataset._shapes is not None:
                return dataset._shapes
            dataset = dataset._source
        return [[-1, *shape[1:]] if shape else [] for shape in self.data_shapes]

    def _kinds(self):
        shapes, types = self._shapes, self._types
        if shapes is None or types is None:
            found = self._source._kinds() if self._source else self._first_kinds()
            shapes, types = found[0] if shapes is None else shapes, found[1] if types is None else types
        if len(shapes) != len(types):
            raise UserError(f'{self._place()}: found {len(shapes)} shapes and {len(types)} types, expected as many.')
        return shapes, types

    def _first_kinds(self):
        if self._found is None:
            iterator = iter(self)
            first = list(itertools.islice(iterator, 1))
            iterator.close()
            if not first:
                raise UserError(f'{self._place()}: found no element, expected one to take shapes and types from.')
            self._found = kinds_of(first[0], self._place(), self._batch_width)
        return self._found

    def _place(self):
        return f'data set {self.name}' if self.name else 'data set'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Described):
            return NotImplemented
        return (self.name, self.data_shapes, self.data_types) == (other.name, other.data_shapes, other.data_types)

    # ------------------------------------------------------------------------------------------- inputs of a program

    def features(self) -> list[Any]:
        """The inputs `{name}_placeholder_{i}` in Paddle's default program, one for each value of an element.

        Raises:
            UserError: the data set has no name.
        """
        return feeding.placeholders(self)

    placeholders = features

    def feeds(self) -> 'list[Feed]':
        """The same as descriptions: list of `Feed` (name, shape, type)."""
        return feeding.feeds_of(self)

    def start(self, places: Any = None) -> Iterator[dict[str, Any]]:
        """Feeds for `Executor.run`: one dict for each element, name of input -> tensor, made ahead in a thread.

        Args:
            places: place of Paddle, or a list of one; None: the GPU of this process, or else the processor.

        Raises:
            UserError: no name, several places; at iteration: an element does not fit the inputs.
        """
        return feeding.feeder(self, places)

    def checked_from(self, start: int = 0) -> Iterator[list[Any]]:
        """The elements from number `start` on as lists of arrays.

        Raises:
            UserError: one has other shapes or types than `input_shapes` and `data_types`: its number, found, expected.
        """
        return feeding.checked_from(self, start)
