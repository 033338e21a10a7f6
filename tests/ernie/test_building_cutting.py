"""Sentences that are too long: their parts are the sentence again, none is too long, and words stay whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.pretrain.building import cutting
from ernie.pretrain.building.cutting import cut_text, cut_words
from ernie.pretrain.building.lexers import LEXERS
from ernie.pretrain.building.units import UnitEncoder
from ernie.tokenization import FullTokenizer
from tests.ernie.building_texts import write_vocabulary


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocab') / 'vocab.txt'
    return FullTokenizer(write_vocabulary(path, '今天很热abcé，', extra=['##a', '##b', '##c', 'ab']))


TEXT = st.text(st.sampled_from('今天很热abcÉé\u0301，  ?x\u200b'), max_size=60)


@given(TEXT, st.integers(1, 12), st.integers(1, 12))
def test_nothing_is_lost_and_nothing_too_long(tokenizer, text, longest, size):
    size = min(size, longest)
    parts = cut_text(text, tokenizer, longest, size)
    assert ''.join(parts) == text
    whole = tokenizer.encode(text)
    if len(whole) <= longest:
        assert parts == [text]
    else:
        assert len(parts) > 1 and all(parts)
        # Pieces inside of a word that was cut anew may be more than they were.
        assert all(len(tokenizer.encode(part)) <= 2 * size for part in parts)


@given(st.text(st.sampled_from('今天很热，'), min_size=1, max_size=200), st.integers(4, 20))
def test_chinese_tokens_stay(tokenizer, text, size):
    parts = cut_text(text, tokenizer, size, size)
    assert [i for part in parts for i in tokenizer.encode(part)] == tokenizer.encode(text)
    assert all(size // 2 < len(tokenizer.encode(part)) <= size for part in parts[:-1])


def test_where_it_is_cut(tokenizer):
    assert cut_text('今天今天，今天很热很热', tokenizer, 8, 8) == ['今天今天，', '今天很热很热']
    assert cut_text('abc abc abc abc abc', tokenizer, 6, 6) == ['abc abc abc ', 'abc abc']
    assert cut_text('今天今天热热abcabc今天', tokenizer, 8, 8) == ['今天今天热热', 'abcabc今天']  # not inside of a word
    assert cut_text('abcabcabcabc', tokenizer, 4, 4)[0] == 'abcab'  # there is no other place
    assert cut_text('今天', tokenizer, 2, 2) == ['今天']


def test_long_texts_are_cut_in_bounded_memory(tokenizer, monkeypatch):
    monkeypatch.setattr(cutting, '_CHUNK', 40)
    monkeypatch.setattr(cutting, '_LOOK_BACK', 10)
    text = '今天很热' * 200 + ' ab' * 100
    parts = cut_text(text, tokenizer, 16, 16)
    assert ''.join(parts) == text and max(len(tokenizer.encode(part)) for part in parts) <= 16


def test_words_are_kept():
    assert cut_words(list('abcdef'), lambda word: 2, 12, 5) == [list('abcdef')]
    assert cut_words(list('abcdef'), lambda word: 2, 11, 5) == [list('ab'), list('cd'), list('ef')]
    assert cut_words(['x', 'long', 'y'], len, 5, 2) == [['x'], ['long'], ['y']]


@pytest.mark.parametrize('lexer', ['none', 'spaces'])
def test_sentences_are_counted(tokenizer, lexer):
    separator = ' ' if lexer == 'spaces' else ''
    text = separator.join('今天，很热' * 10)
    encoder = UnitEncoder(tokenizer, LEXERS[lexer](), longest=16)
    sentences = encoder.sentences(text + separator + '。' + separator + separator.join('今天。'))
    assert encoder.cut == 1
    assert ''.join(sentence.text for sentence in sentences) == '今天，很热' * 10 + '。今天。'
    assert all(0 < len(sentence.ids) == len(sentence.segments) <= 4 for sentence in sentences)
    assert len(UnitEncoder(tokenizer, LEXERS[lexer]()).sentences(text)) == 1
