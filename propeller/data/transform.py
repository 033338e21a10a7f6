"""What a function of the user makes of a whole pass over a data set."""

from collections.abc import Iterable

from propeller.errors import UserError, quoted


class _Pass:
    """The elements of a data set: an iterator, which gives another one when it is called."""

    def __init__(self, dataset):
        self._dataset, self._iterator = dataset, iter(dataset)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._iterator)

    def __call__(self):
        return iter(self._dataset)


def applied(transform, dataset):
    """The iterable that `transform` makes of a data set; see `Dataset.apply`. Raises `UserError` where it is none."""
    items = transform(_Pass(dataset))
    items = items() if callable(items) and not isinstance(items, Iterable) else items
    if not isinstance(items, Iterable):
        raise UserError(f'apply: found {quoted(items)} as what transform gives, expected an iterator.')
    return items
