"""Cuts a stream of items into shards, train and valid, and blocks: the same cuts whatever computes them.

A shard becomes one train file and one valid file. It is made of blocks, each small enough to be held in memory and to
be given to a process; samples mix items of one block only.
"""

import hashlib
from typing import NamedTuple

BLOCK_CHARACTERS = 1 << 18
SPLITS = ('train', 'valid')


class Block(NamedTuple):
    """Neighbouring items of one shard and split.

    shard: its number. split: `train` or `valid`. kind: `documents`, `dialogues` or `queries`. number: counts the blocks
    of the shard and split. items: list.
    """

    shard: int
    split: str
    kind: str
    number: int
    items: list


class Cuts(NamedTuple):
    """Where shards end: after about `characters` each, or, with `shards`, in so many parts of about the same size.

    characters: text of one shard. shards: 0, or the number of shards of each kind of input, for which `totals`
    (items, characters) must be known. valid_share: share of the items held out. seed: of that choice.
    """

    characters: int = 20_000_000
    shards: int = 0
    valid_share: float = 0.0
    seed: int = 0


def count_items(items, size_of):
    """-> (items, characters) of an iterable."""
    count = characters = 0
    for item in items:
        count += 1
        characters += size_of(item)
    return count, characters


def cut_blocks(kind, items, size_of, cuts, first_shard=0, totals=(0, 0), done=(), key_of=None):
    """Iterates over the blocks of one kind of input, shard by shard.

    A block is closed at `BLOCK_CHARACTERS`; what is left at the end of a shard joins the block before it unless it is
    half as large, so that no block is too small for choosing items at random.

    Args:
        kind: `documents`, `dialogues` or `queries`.
        items: iterable, in the order of the input.
        size_of: item -> characters.
        cuts: `Cuts`.
        first_shard: number of the first shard.
        totals: (items, characters) of all, for `cuts.shards`.
        done: numbers of shards whose blocks are left out.
        key_of: item -> what decides whether it is held out, so that items of one key stay together; None: its number.

    Yields:
        `Block`.

    Returns:
        the number after that of the last shard.
    """
    shard = first_shard - 1
    for shard, members in _shards(items, size_of, cuts, first_shard, totals):
        if shard in done:
            for _ in members:
                pass
            continue
        splits = {split: _Blocks(shard, split, kind) for split in SPLITS}
        for index, item in members:
            split = SPLITS[is_held_out(kind, key_of(item) if key_of else index, cuts)]
            yield from splits[split].add(item, size_of(item))
        for blocks in splits.values():
            yield from blocks.rest()
    return shard + 1


def is_held_out(kind, key, cuts):
    """Whether the items of this key belong to `valid`: by hash, so that it does not depend on the other items."""
    if not cuts.valid_share:
        return False
    digest = hashlib.blake2b(f'{cuts.seed}/{kind}/{key}'.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'big') < cuts.valid_share * 2**64


def _shards(items, size_of, cuts, first_shard, totals):
    """Yields (number, iterator of (index, item)); the iterator must be used up before the next is asked for."""
    stream = enumerate(items)
    state = {'characters': 0, 'ended': False}

    def members(number):
        in_shard = 0
        for index, item in stream:
            yield index, item
            size = size_of(item)
            in_shard += size
            state['characters'] += size
            if _is_last(number, index, in_shard):
                return
        state['ended'] = True

    def _is_last(number, index, in_shard):
        if not cuts.shards:
            return in_shard >= cuts.characters
        if number == cuts.shards - 1:
            return False
        # A shard never takes the items that the later ones need to have one each.
        return (
            state['characters'] >= totals[1] * (number + 1) / cuts.shards
            or totals[0] - index - 1 <= cuts.shards - number - 1
        )

    number = 0
    while not state['ended']:
        yield first_shard + number, members(number)
        number += 1


class _Blocks:
    """Collects the items of one shard and split; the last full block is held back until its successor is half full."""

    def __init__(self, shard, split, kind):
        self._block = Block(shard, split, kind, 0, [])
        self._size = 0
        self._held = None

    def add(self, item, size):
        self._block.items.append(item)
        self._size += size
        if self._held and self._size >= BLOCK_CHARACTERS // 2 and len(self._block.items) > 1:
            yield self._held
            self._held = None
        if self._size >= BLOCK_CHARACTERS and len(self._block.items) > 1 and not self._held:
            self._held = self._block
            self._block = self._block._replace(number=self._block.number + 1, items=[])
            self._size = 0

    def rest(self):
        if self._held:
            yield self._held._replace(items=self._held.items + self._block.items)
        elif self._block.items:
            yield self._block


def characters_of(kind):
    """A function: item of this kind -> its characters."""
    return {
        'documents': lambda document: sum(map(len, document.paragraphs)),
        'dialogues': lambda turns: sum(map(len, turns)),
        'queries': lambda row: len(row[0]) + len(row[1]),
    }[kind]


class BlockResult(NamedTuple):
    """What a block became: compressed sample lines, counts, and the first samples of the first block."""

    shard: int
    split: str
    kind: str
    data: bytes
    counts: dict
    first: list
