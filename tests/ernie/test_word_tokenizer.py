"""`WordTokenizer`: whole words, cut by a lexer or at spaces, as slices of the original text."""

import json
import pickle

import pytest

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.distill.segmented import Segmenter
from ernie.tokenizers.words import WordTokenizer
from propeller.errors import UserError

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '房间', '很', '小', 'room', ',']


@pytest.fixture
def vocab(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(WORDS) + '\n', encoding='utf-8')
    return tmp_path / 'vocab.txt'


def slices(tokenizer, text):
    found = tokenizer.encode_aligned(text)
    return [(WORDS[i], text[s:e]) for i, s, e in zip(*found, strict=True)]


def test_words_between_spaces(vocab):
    assert slices(WordTokenizer(vocab), ' 房间  很\u3000小 Room 房间很') == [
        ('房间', '房间'),
        ('很', '很'),
        ('小', '小'),
        ('room', 'Room'),
        ('[UNK]', '房间很'),
    ]
    assert WordTokenizer(vocab, do_lower_case=False).encode('Room room') == [1, 8]


def test_words_of_a_lexer_are_those_of_the_segmented_text(vocab):
    pytest.importorskip('rjieba')
    tokenizer = WordTokenizer(vocab, lexer='rjieba')
    for text in ('房间很小，room  坏', '这 个房间\t很小', 'Room很小'):
        words = Segmenter('rjieba')(text).texts
        assert [part for _, part in slices(tokenizer, text)] == words
        assert tokenizer.encode(text) == WordTokenizer(vocab).encode(' '.join(words))
    assert slices(tokenizer, '房间[UNK]小') == [('房间', '房间'), ('[UNK]', '[UNK]'), ('小', '小')]
    assert tokenizer.encode('') == tokenizer.encode(' \u3000') == []
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode('房间[UNK]小') == [5, 1, 7] and again.fingerprint() == tokenizer.fingerprint()
    assert tokenizer.fingerprint() != WordTokenizer(vocab).fingerprint()


def test_the_folder_says_the_lexer(vocab, tmp_path):
    made = WordTokenizer(vocab, lexer='words')
    for name, content in made.files(99).items():
        (tmp_path / name).write_bytes(content)
    found = folder_tokenizer(tmp_path).settings.make(vocab)
    assert isinstance(found, WordTokenizer) and found.lexer == 'words'
    assert found.tokenize('Room,小') == ['room', ',', '小']


def test_a_lexer_that_nobody_knows(vocab, tmp_path):
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'lexer': 'jeiba'}))
    with pytest.raises(UserError, match=r"tokenizer_config.json: found lexer 'jeiba', expected one of .* Did you mean"):
        WordTokenizer(vocab)


def test_a_text_that_nobody_segmented(vocab, caplog):
    tokenizer = WordTokenizer(vocab)
    for text in ('房间 很 小', '没见过 房间', '不认识的词'):
        tokenizer.encode(text)
    assert not caplog.text
    for _ in range(2):
        tokenizer.encode('这个房间真的很小')
    assert caplog.text.count('reads words with spaces between them') == 1
