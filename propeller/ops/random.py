"""Random numbers of the fused operators.

Their dropout masks are not stored: each follows from a seed and from the dropout's number in its program, its *site*
(`csrc/philox.h`). The seed is drawn in each run from Paddle's own generator, whose state checkpoints hold: a training
that is resumed draws what it would have drawn.
"""

import itertools
import weakref
from typing import NamedTuple

from propeller import graph
from propeller.graph import paddle
from propeller.ops.checks import require_one
from propeller.recompute import same_in_both_passes

_SEEDS = 2**31 - 1  # the most that Paddle draws from: steps that share their masks are rare and far apart
_programs = weakref.WeakKeyDictionary()  # `graph.Program` -> (its seed, its sites)


class Mask(NamedTuple):
    """What the mask of one dropout follows from.

    Attributes:
        seed: int64 value [1], the same for all dropouts of a program, another one in each run.
        site: int, number of the dropout in its program.
    """

    seed: object
    site: int


def dropout_seed():
    """The `Mask` of the next dropout of the program being built; in a segment's second pass, that of its first."""
    return same_in_both_passes(_next)


def seed_and_site(dropout, mask):
    """What a fused operator with dropout takes.

    Args:
        dropout: probability.
        mask: `Mask`; None: the next one of the program being built.
    Returns:
        (seed, None without dropout; site, int).
    Raises:
        ValueError: a mask of other types.
    """
    if not dropout:
        return None, 0
    seed, site = mask or dropout_seed()
    require_one('dropout: the seed of mask', seed, 'int64')
    if not isinstance(site, int) or not 0 <= site < 2**32:
        raise ValueError(f'ops.dropout: the site of mask is {site!r}, expected a whole number below 2^32.')
    return seed, site


def _next():
    program = graph.building()
    if program not in _programs:
        _programs[program] = paddle.randint(0, _SEEDS, [1], 'int64'), itertools.count()
    seed, sites = _programs[program]
    return Mask(seed, next(sites))
