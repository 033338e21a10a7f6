"""Data sets in turn: batches that people labelled and batches that a teacher labelled."""

import contextlib
import math

from propeller.data.dataset import Dataset


def alternate(first, second):
    """A `Dataset` of an element of `first`, one of `second`, one of `first` ... Both are without end.

    It begins in the middle where they can.
    """

    def start_at(start):
        with contextlib.ExitStack() as opened:
            one, other = (
                opened.enter_context(contextlib.closing(dataset.iterate_from(passed)))
                for dataset, passed in ((first, (start + 1) // 2), (second, start // 2))
            )
            if start % 2:
                one, other = other, one
            for element in one:
                yield element
                following = next(other, None)
                if following is None:
                    return
                yield following

    seekable = first.seekable and second.seekable
    return Dataset(
        lambda: start_at(0),
        start_at=start_at if seekable else None,
        count=(lambda: math.inf) if seekable else None,
    )
