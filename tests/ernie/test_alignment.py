"""Offsets of tokens into the original text: the same tokens as without them, and slices that stand for them."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ernie.tokenization import CharTokenizer, FullTokenizer
from ernie.tokenizers.alignment import basic_words_aligned, space_words_aligned
from ernie.tokenizers.text import basic_words, fold
from tests.ernie.tiny_model import VOCABULARY

SCRIPTS = st.sampled_from(
    [
        *(
            '今天',
            '𠮷',
            '上海 ',
            'New York',
            'ÄÖ',
            'e\u0301',
            'o\u0302\u0323',
            'İstanbul',
            'ΣΑΣ',
            'ς',
            '한국어',
            'ひらがな',
        ),
        *('👩\u200d💻', '🇨🇳', '❤\ufe0f', '\u200b', '\ufeff', '\u2028', '\u3000', '\x00', '\ufffd', '\t', '\r\n', ' '),
        *('，', '。', '“', '$3.50', "don't", '²', 'ﬁ', '\u0344', '\u0f71\u0f72', '\u09be', 'नमस्ते', 'العَرَبِيَّة'),
    ]
)
TEXTS = st.lists(SCRIPTS | st.text(max_size=4), max_size=12).map(''.join)


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocabulary') / 'vocab.txt'
    pieces = [*VOCABULARY, 'new', 'york', '##e', '##a', 'a', 'e', 'o', 'σ', '##σ', '##ς', '한', '##국', '👩', '##💻']
    path.write_text('\n'.join(dict.fromkeys(pieces)) + '\n', encoding='utf-8')
    return str(path)


@settings(max_examples=400)
@given(TEXTS, st.booleans())
@example('Ａe\u0323\u0302', True)
def test_aligned_words_are_the_words(text, lower):
    assert [word.text for word in basic_words_aligned(text, lower)] == basic_words(text, lower)
    expected = (text.lower() if lower else text).split()
    assert [word.text for word in space_words_aligned(text, lower)] == expected


@settings(max_examples=400)
@given(TEXTS, st.booleans())
def test_every_character_of_a_word_comes_from_its_origin(text, lower):
    for word in basic_words_aligned(text, lower):
        for char, origin in zip(word.text, word.origins, strict=True):
            # A final sigma is the one character that depends on its neighbours.
            assert char in (unicodedata.normalize('NFD', text[origin].lower()) + 'ς' if lower else text[origin])


@pytest.mark.parametrize('kind', [FullTokenizer, CharTokenizer])
@settings(max_examples=300)
@given(text=TEXTS, lower=st.booleans())
def test_aligned_ids_are_the_ids_and_slices_stand_for_them(vocabulary, kind, text, lower):
    tokenizer = kind(vocabulary, lower)
    encoded = tokenizer.encode_aligned(text)
    assert encoded.ids == tokenizer.encode(text)
    for index, start, end in zip(*encoded, strict=True):
        assert 0 <= start < end <= len(text)
        assert end == len(text) or unicodedata.category(text[end]) != 'Mn'
        piece = tokenizer.inv_vocab[index].removeprefix('##')
        if piece != '[UNK]' and kind is FullTokenizer and lower:
            assert fold(piece).replace('ς', 'σ') in fold(text[start:end]).replace('ς', 'σ')


def test_known_offsets(vocabulary):
    text = '  今天 Ｎ New  York\u0301, 👩\u200d💻'
    encoded = FullTokenizer(vocabulary).encode_aligned(text)
    slices = [text[start:end] for start, end in zip(encoded.starts, encoded.ends, strict=True)]
    assert slices == ['今', '天', 'Ｎ', 'New', 'York\u0301', ',', '👩', '💻']
