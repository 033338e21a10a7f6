"""What is read of a text that does not fit, of HTML line breaks and of Korean, against `tokenizers`."""

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer
from tokenizers.processors import TemplateProcessing

from ernie.config import ErnieConfig
from ernie.reader.classify import RowEncoder
from ernie.reader.fitting import TRUNCATIONS, kept_tokens, without_html_breaks
from ernie.tasks.codec import TextCodec
from ernie.tokenization import FullTokenizer
from tests.ernie.tiny_model import CONFIG

SPECIAL = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]']
_WORDS = 'the film was good bad not at all br / < > . ! one two three four five six'
WORDS = _WORDS.split()


def tokenizer_of(folder, tokens, **settings):
    path = folder / 'vocab.txt'
    path.write_text('\n'.join([*SPECIAL, *tokens]) + '\n', encoding='utf-8')
    return FullTokenizer(str(path), **settings)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from(TRUNCATIONS))
def test_what_is_kept_is_the_beginning_the_end_or_both(count, length, truncation):
    tokens = list(range(count))
    kept = kept_tokens(tokens, length, truncation)
    assert len(kept) == min(count, length) and kept == sorted(set(kept))
    left_out = sorted(set(tokens) - set(kept))
    assert left_out == list(range(left_out[0], left_out[-1] + 1)) if left_out else kept == tokens
    if left_out and length:
        assert (0 in kept, count - 1 in kept) in {
            'head': [(True, False)], 'tail': [(False, True)], 'head+tail': [(True, True), (False, True)]
        }[truncation]  # fmt: skip


def test_the_published_share_of_head_and_tail():
    kept = kept_tokens(list(range(2000)), 510, 'head+tail')
    assert kept == [*range(128), *range(2000 - 382, 2000)]


def test_tail_keeps_what_tokenizers_keeps_of_texts_and_pairs(tmp_path):
    ours = tokenizer_of(tmp_path, WORDS)
    theirs = BertWordPieceTokenizer(str(tmp_path / 'vocab.txt'))._tokenizer
    pair = '[CLS] $A [SEP] $B:1 [SEP]:1'
    theirs.post_processor = TemplateProcessing(
        single='[CLS] $A [SEP]', pair=pair, special_tokens=[('[CLS]', 1), ('[SEP]', 2)]
    )
    draw = random.Random(3)
    text = lambda most: ' '.join(draw.choices(WORDS[:8], k=draw.randint(1, most)))  # noqa: E731
    for length in (7, 12):
        encoder = RowEncoder(ours, length, None, 'predict', None, True, 'tail')
        theirs.enable_truncation(length, direction='left')
        for _ in range(30):
            a = text(20)
            assert encoder.encode(a)[0] == theirs.encode(a).ids
        a, b = text(20), 'good'
        ids, split, left_out = encoder.encode(a, b)
        found = theirs.encode(a, b)
        assert ids == found.ids and split == found.type_ids.index(1)
        assert left_out == max(len(a.split()) + 1 + 3 - length, 0)


def test_line_breaks_part_words_and_leave_no_tokens(tmp_path):
    text = 'Not bad<br /><br/>at all.<BR>Good < bad<br>!'
    made = without_html_breaks(text)
    assert len(made) == len(text) and made.split() == ['Not', 'bad', 'at', 'all.', 'Good', '<', 'bad', '!']
    tokenizer = tokenizer_of(tmp_path, WORDS)
    encoder = RowEncoder(tokenizer, 30, None, 'predict', None, True, drop_html_breaks=True)
    pieces = [tokenizer.inv_vocab[i] for i in encoder.encode(text)[0][1:-1]]
    assert pieces == ['not', 'bad', 'at', 'all', '.', 'good', '<', 'bad', '!']
    plain = RowEncoder(tokenizer, 30, None, 'predict', None, True)
    assert [tokenizer.inv_vocab[i] for i in plain.encode(text)[0][2:8]] == ['bad', '<', 'br', '/', '>', '<']


def test_a_codec_reads_as_the_settings_of_the_model_say(tmp_path):

    tokenizer = tokenizer_of(tmp_path, WORDS)
    settings = {'max_seq_len': 5, 'for_cn': True, 'columns': ['text_a']}
    for more, expected in (
        ({}, 'one two three'),
        ({'truncation': 'tail', 'drop_html_breaks': True}, 'four five six'),
    ):
        codec = TextCodec.__new__(type('Codec', (TextCodec,), {'decode': None, 'cells': None}))
        codec.__init__(ErnieConfig(CONFIG), tokenizer, settings | more)
        windows = codec.encode({'text_a': 'one two three<br />four five six'})
        assert [tokenizer.inv_vocab[i] for i in windows.ids[0][1:-1]] == expected.split() and windows.cut


KOREAN = [
    '개그코드가 내코드네~ ㅋㅋ 현실성은 없고!',
    '음악이너무 좋습니다ㅠㅠ',
    'ㅎㅎ 독 립 영 화 굿굿Good',
    '잼없다.. ㄱㄱ',
]


@pytest.mark.parametrize('lower', [False, True])
def test_korean_is_cut_as_bert_cuts_it(tmp_path, lower):
    """Cased: syllables and jamo stay. Lower-cased, accents are stripped by NFD, which makes jamo of syllables."""
    text = unicodedata.normalize('NFD', ' '.join(KOREAN)) if lower else ' '.join(KOREAN)
    letters = sorted({char for char in text.lower() if not char.isspace()} | set('Goodgod~!.'))
    ours = tokenizer_of(tmp_path, [*letters, *(f'##{char}' for char in letters)], do_lower_case=lower)
    theirs = BertWordPieceTokenizer(str(tmp_path / 'vocab.txt'), lowercase=lower)
    for sentence in KOREAN:
        ids = ours.encode(sentence)
        assert ids == theirs.encode(sentence, add_special_tokens=False).ids
        assert ours.vocab['[UNK]'] not in ids
        kept = ''.join(ours.inv_vocab[i].removeprefix('##') for i in ids)
        assert unicodedata.normalize('NFC', kept) == (sentence.lower() if lower else sentence).replace(' ', '')
