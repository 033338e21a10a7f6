"""Orders of data: batches that people labelled and batches that a teacher labelled in turn; rows of like length."""

import contextlib
import itertools
import math
import random

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


def by_length(rows, batch_size, seed, batches=50):
    """A `Dataset` of the same rows, of which those of like length are in one batch: LSTMs compute the padding too.

    Args:
        rows: without end; the first value of each has a length.
        batch_size: rows of a batch.
        seed: of the order of the batches.
        batches: how many are filled from the rows that come, sorted by length.
    """
    size = batches * batch_size

    def start_at(start):
        window, passed = divmod(start, size)
        with contextlib.closing(rows.iterate_from(window * size)) as items:
            while taken := sorted(itertools.islice(items, size), key=lambda row: len(row[0])):
                order = [taken[i : i + batch_size] for i in range(0, len(taken), batch_size)]
                random.Random(f'{seed} {window}').shuffle(order)
                yield from itertools.islice(itertools.chain.from_iterable(order), passed, None)
                window, passed = window + 1, 0

    return Dataset(lambda: start_at(0), None, None, start_at, rows.count, lambda: rows.seekable)
