"""Tokenizers and builders of the client and the examples."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.tokenization import load_vocab
from ernie.tokenizers import subword
from ernie.utils import data
from ernie.utils.data import CharTokenizer, SpaceTokenizer, build_1_pair, build_2_pair, expand_dims, wordpiece
from propeller.data.dataset import Dataset
from tests.ernie.reference_tokenizer import GOLDEN, SMALL_VOCAB


def official_vocab():
    path = Path(os.environ.get('ERNIE_TEST_DATA', '')) / 'ernie_official/vocab.txt'
    return load_vocab(path) if path.exists() else pytest.skip('ERNIE_TEST_DATA names no folder with a vocabulary')


@pytest.mark.parametrize('vocab', [lambda: SMALL_VOCAB, official_vocab], ids=['small', 'official'])
@pytest.mark.parametrize('text, char, space', [(row[0], *row[3:]) for row in GOLDEN])
def test_golden_cases(vocab, text, char, space):
    vocab = vocab()
    for form in (text, text.encode()):
        assert CharTokenizer(vocab)(form) == char.split()
        assert SpaceTokenizer(vocab)(form) == space.split()


def test_case_is_kept_on_request():
    assert SpaceTokenizer(['Ab'], lower=False)(b'Ab ab') == ['Ab', '[UNK]']
    assert CharTokenizer(['A', '##b', '中'], lower=False)('Ab中ab'.encode()) == ['A', '##b', '中', '[UNK]']


@pytest.mark.parametrize('tokenizer', [SpaceTokenizer(['a']), CharTokenizer(['a'])])
def test_bytes_that_are_not_utf8_raise(tokenizer):
    with pytest.raises(UnicodeDecodeError):
        tokenizer(b'a \xd6\xd0')


def test_wordpiece_gives_pieces_and_their_places():
    vocab = {'un', '##aff', '##able', '\u2581un', 'aff', 'able'}
    assert wordpiece('unaffable', vocab) == (['un', '##aff', '##able'], [(0, 2), (2, 5), (5, 9)])
    styled = wordpiece('unaffable', vocab, sentencepiece_style_vocab=True)
    assert styled == (['\u2581un', 'aff', 'able'], [(0, 2), (2, 5), (5, 9)])
    assert wordpiece('unaffablex', vocab, '?') == (['?'], [(0, 10)])
    assert wordpiece('a' * 101, {'a', '##a'}) == (['[UNK]'], [(0, 101)])


def test_sentencepiece_style_char_tokenizer():
    tokenizer = CharTokenizer(['\u2581中', '国', '\u2581ab', 'c'], sentencepiece_style_vocab=True)
    assert tokenizer('中国 ABC'.encode()) == ['\u2581中', '[UNK]', '\u2581ab', 'c']


@given(st.text(alphabet='aZ09é中\u3000\u200b .\t_', max_size=30), st.booleans())
def test_char_tokenizer_keeps_every_character_that_is_no_space(text, lower):
    """With a vocabulary of all single characters nothing is unknown, so the pieces are the text."""
    characters = 'aAzZ09éÉ中\u200b._'
    tokenizer = CharTokenizer([*characters, *('##' + c for c in characters)], lower)
    pieces = tokenizer(text.encode())
    assert ''.join(p.removeprefix('##') for p in pieces) == re.sub(r'\s', '', text.lower() if lower else text)
    assert [p for p in pieces if p.startswith('##') and p[2] not in 'aAzZ09'] == []


def test_the_subword_tokenizer_is_at_its_old_place():
    assert data.WSSPTokenizer is subword.WSSPTokenizer


# --- pairs


def test_pairs_that_fit():
    ids, types = build_1_pair([5, 6, 7], 5, 1, 2)
    assert (ids.tolist(), types.tolist()) == ([1, 5, 6, 7, 2], [0] * 5)
    ids, types = build_2_pair(np.array([5, 6, 7]), np.array([8, 9]), 9, 1, 2)
    assert (ids.tolist(), types.tolist()) == ([1, 5, 6, 7, 2, 8, 9, 2], [0, 0, 0, 0, 0, 1, 1, 1])
    assert (ids.dtype, types.dtype) == (np.int64, np.int64)


def test_empty_texts():
    assert build_1_pair([], 2, 1, 2)[0].tolist() == [1, 2]
    ids, types = build_2_pair([], [], 3, 1, 2)
    assert (ids.tolist(), types.tolist()) == ([1, 2, 2], [0, 0, 1])


@pytest.mark.parametrize('length_a', range(8))
@pytest.mark.parametrize('length_b', range(8))
def test_cut_pairs_keep_both_texts_and_all_separators(length_a, length_b):
    for max_seqlen in range(3, 20):
        a, b = list(range(100, 100 + length_a)), list(range(200, 200 + length_b))
        ids, types = build_2_pair(a, b, max_seqlen, 1, 2)
        while len(a) + len(b) > max_seqlen - 3:
            (a if len(a) > len(b) else b).pop()
        assert ids.tolist() == [1, *a, 2, *b, 2]
        assert types.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1)


def test_a_cut_single_text_keeps_its_separator():
    assert build_1_pair(range(10, 30), 7, 1, 2)[0].tolist() == [1, 10, 11, 12, 13, 14, 2]


def test_no_room_for_the_separators():
    with pytest.raises(ValueError, match='max_seqlen is 1'):
        build_1_pair([5], 1, 1, 2)
    with pytest.raises(ValueError, match='max_seqlen is 2'):
        build_2_pair([5], [6], 2, 1, 2)


def test_expand_dims():
    a, b = expand_dims(np.zeros((3, 7)), np.arange(5))
    assert (a.shape, b.shape) == ((3, 7, 1), (5, 1))


def test_interleave_takes_turns_until_both_end():
    first = Dataset.from_list([np.array([i]) for i in (0, 1, 2, 3)])
    second = Dataset.from_list([np.array([i]) for i in (10, 11)])
    both = data.interleave(first, second)
    assert [int(x[0]) for x in both] == [0, 10, 1, 11, 2, 3]
    assert [int(x[0]) for x in both] == [0, 10, 1, 11, 2, 3]
    assert [int(x[0]) for x in data.interleave(second, first)] == [10, 0, 11, 1, 2, 3]
