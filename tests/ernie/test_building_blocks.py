"""Cuts of a stream into shards, splits and blocks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.pretrain.building import blocks
from ernie.pretrain.building.blocks import Cuts, count_items, cut_blocks, is_held_out

SIZES = st.lists(st.integers(1, 400), max_size=120)


def cut(sizes, done=(), **cuts):
    """The blocks of items (number, size), with small blocks."""
    items = list(enumerate(sizes))
    old, blocks.BLOCK_CHARACTERS = blocks.BLOCK_CHARACTERS, 200
    try:
        totals = count_items(items, lambda item: item[1])
        return list(cut_blocks('documents', items, lambda item: item[1], Cuts(**cuts), 0, totals, done))
    finally:
        blocks.BLOCK_CHARACTERS = old


@given(SIZES, st.integers(1, 3000), st.sampled_from([0.0, 0.3]))
def test_every_item_is_in_one_block_and_in_order(sizes, characters, share):
    found = cut(sizes, characters=characters, valid_share=share, seed=3)
    for split in ('train', 'valid'):
        numbers = [number for block in found if block.split == split for number, _ in block.items]
        expected = [
            i for i in range(len(sizes)) if is_held_out('documents', i, Cuts(0, 0, share, 3)) == (split == 'valid')
        ]
        assert numbers == expected
    shards = [block.shard for block in found]
    assert shards == sorted(shards)
    assert all(block.items for block in found)
    found.sort(key=lambda block: (block.shard, block.split))
    for _, members in itertools.groupby(found, lambda block: (block.shard, block.split)):
        group = list(members)
        assert [block.number for block in group] == list(range(len(group)))
        assert len(group) == 1 or all(len(block.items) > 1 for block in group)
        # What is left over joins the block before it.
        assert len(group) == 1 or sum(size for _, size in group[-1].items) >= 100


@given(SIZES.filter(bool), st.integers(1, 9))
def test_the_number_of_shards_is_kept(sizes, shards):
    shards = min(shards, len(sizes))
    found = cut(sizes, shards=shards)
    assert {block.shard for block in found} == set(range(shards))
    if len(set(sizes)) == 1:
        counts = [sum(len(b.items) for b in found if b.shard == s) for s in range(shards)]
        assert max(counts) - min(counts) <= 1


@given(SIZES, st.integers(1, 3000), st.sets(st.integers(0, 6)))
def test_finished_shards_are_left_out_and_change_nothing(sizes, characters, done):
    everything = cut(sizes, characters=characters, valid_share=0.2)
    rest = cut(sizes, characters=characters, valid_share=0.2, done=done)
    assert rest == [block for block in everything if block.shard not in done]


def test_blocks_stay_small():
    found = cut([10] * 500, characters=10**9)
    assert {sum(size for _, size in block.items) for block in found[:-1]} == {200}
    assert sum(size for _, size in found[-1].items) <= 300


@pytest.mark.parametrize('share', [0.1, 0.5])
def test_held_out_share(share):
    held = [is_held_out('documents', i, Cuts(0, 0, share, 1)) for i in range(4000)]
    assert abs(sum(held) / 4000 - share) < 0.03
    other = [is_held_out('documents', i, Cuts(0, 0, share, 2)) for i in range(4000)]
    assert held != other
