"""Tokenizers against the rules written plainly (`reference_tokenizer`), the `tokenizers` library and golden cases."""

import gzip
import json
import os
import pickle
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer
from tokenizers.models import WordPiece

from ernie import tokenization
from ernie.tokenization import (
    BasicTokenizer,
    CharTokenizer,
    FullTokenizer,
    WordpieceTokenizer,
    load_vocab,
    tokenize_chinese_chars,
)
from ernie.tokenizers import text as rules
from propeller.errors import UserError
from tests.ernie import reference_tokenizer as reference
from tests.ernie.reference_tokenizer import GOLDEN, SMALL_VOCAB

SPECIAL = ['[PAD]', '[CLS]', '[SEP]', '[MASK]']
UNK = '[UNK]'


def shared(name):
    folder = os.environ.get('ERNIE_TEST_DATA')
    if not folder or not (Path(folder) / name).exists():
        pytest.skip(f'ERNIE_TEST_DATA names no folder with {name}')
    return Path(folder) / name


def shared_files():
    """Names of the text files under ERNIE_TEST_DATA; train files are the large ones."""
    if not os.environ.get('ERNIE_TEST_DATA'):
        return []
    folder = Path(os.environ['ERNIE_TEST_DATA'])
    names = [str(p.relative_to(folder)) for p in folder.glob('*/**/*') if p.name.endswith(('.tsv', '.json', '.txt.gz'))]
    dev = [name for name in names if Path(name).name.startswith('dev') and name.endswith('.tsv')]
    rest = sorted(set(names) - set(dev))
    return [*sorted(dev), *(pytest.param(name, marks=pytest.mark.slow) for name in rest)]


def texts_of(path):
    """The different texts of a data file: cells of a TSV, strings of a JSON, lines of a gzip file."""
    if path.suffix == '.json':
        stack, texts = [json.loads(path.read_text('utf-8'))], set()
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                texts.add(item)
            elif isinstance(item, (list, dict)):
                stack.extend(item.values() if isinstance(item, dict) else item)
        return texts
    content = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
    return {cell for line in content.decode('utf-8').split('\n') for cell in line.split('\t')}


@pytest.fixture
def vocab_file(tmp_path):
    def write(tokens):
        path = tmp_path / 'vocab.txt'
        path.write_text('\n'.join(tokens) + '\n', encoding='utf-8')
        return str(path)

    return write


# --- golden cases


@pytest.mark.parametrize('text, full, char', [row[:3] for row in GOLDEN])
def test_golden_cases_with_a_small_vocabulary(vocab_file, text, full, char):
    path = vocab_file(SMALL_VOCAB)
    assert FullTokenizer(path).tokenize(text) == full.split()
    assert CharTokenizer(path).tokenize(text) == char.split()


@pytest.mark.parametrize('text, full, char', [row[:3] for row in GOLDEN])
def test_golden_cases_with_the_official_vocabulary(text, full, char):
    path = shared('ernie_official/vocab.txt')
    for tokenizer, expected in ((FullTokenizer(path), full.split()), (CharTokenizer(path), char.split())):
        assert tokenizer.tokenize(text) == expected
        assert tokenizer.encode(text) == tokenizer.convert_tokens_to_ids(expected)
        assert tokenizer.convert_ids_to_tokens(tokenizer.encode(text)) == expected


def test_split_of_mrc_documents():
    text = '我 是ab c\u3000d。'
    assert tokenize_chinese_chars(text) == ['我', ' ', '是', 'ab', ' ', 'c\u3000d。']
    assert tokenize_chinese_chars('x\u202f\t\r\ny\U00020000') == ['x', '\u202f', '\t', '\r', '\n', 'y', '\U00020000']
    assert tokenize_chinese_chars('') == []


# --- against the plain reference

LETTERS = 'abgilmnrsz019αβσςεж가ㄱ\u1100\u1161\u11a8かカ中国的,.-'
FUZZ_VOCAB = [*SPECIAL, *LETTERS, *('##' + c for c in LETTERS if c not in ',.-'), 'ab', '##ab', 'σα', '##ας', UNK]
TRICKY = (
    'ΣσςİıßẞÅﬁ\u0301\u0345\u0327\u302e\u302f\u0f71\U0001d165\U0001d16d\U0001d15e\U00016ff0\u2126\u212b\u037e\u1fef'
    '\u2260가각힣㈀中\U00020000\U0002a6df\U0002a700\U0002f800\uf900\ufa0e\u9fff\u3400\u4dc0\x00\x0b\x1c\x1f\x7f\x85\xa0\xad'
    '\u1680\u2000\u2028\u2029\u200b\u200d\u202f\u205f\u3000\ufeff\ufffd\ufffe\ue000\U0010ffff$+<=>^`|~%#[]_'
)
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=('Cs',)),
        st.sampled_from(TRICKY),
        st.sampled_from(LETTERS),
        st.sampled_from(' \t\r\n'),
    ),
    max_size=60,
)


@pytest.fixture(scope='module')
def fuzz_vocab_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('fuzz') / 'vocab.txt'
    path.write_text('\n'.join(FUZZ_VOCAB), encoding='utf-8')
    return path


@settings(max_examples=400)
@given(text=TEXTS, lower=st.booleans())
@example(text='ΑΣ ΑΣΑ Σ', lower=True)
@example(text='a\u302e\U0001d165\u0301b\U0001d15e\u302f', lower=True)
@example(text='a\u0301中\u0301 \u0301', lower=True)
@example(text='ab' * 50 + ' ' + 'ab' * 50 + 'a', lower=True)
def test_equals_the_reference_on_any_text(fuzz_vocab_file, text, lower):
    vocab = load_vocab(fuzz_vocab_file)
    full, char = FullTokenizer(fuzz_vocab_file, lower), CharTokenizer(fuzz_vocab_file, lower)
    assert full.basic_tokenizer.tokenize(text) == reference.basic_tokenize(text, lower)
    assert full.tokenize(text) == reference.full_tokenize(text, vocab, lower)
    assert char.tokenize(text) == reference.char_tokenize(text, vocab, lower)
    for tokenizer in (full, char):
        assert tokenizer.encode(text) == tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    assert rules.basic_words(text, lower) == reference.basic_tokenize(text, lower)


@pytest.mark.parametrize('lower', [True, False])
def test_every_assigned_character_alone_and_inside_a_word(lower):
    tokenizer = BasicTokenizer(lower)
    step = 1 if lower else 7
    for code in range(0, sys.maxunicode + 1, step):
        char = chr(code)
        if unicodedata.category(char) in ('Cn', 'Co', 'Cs') or 0xAC00 < code < 0xD7A3:
            continue
        text = f'X{char}y {char}'
        assert tokenizer.tokenize(text) == reference.basic_tokenize(text, lower), hex(code)


def test_marks_that_canonical_ordering_moves():
    """U+302E (class 224) and U+1D165 (class 216) are no accents, so they stay, but NFD swaps them."""
    assert BasicTokenizer().tokenize('a\u302e\U0001d165') == ['a\U0001d165\u302e']
    assert BasicTokenizer(False).tokenize('a\u302e\U0001d165') == ['a\u302e\U0001d165']


def test_lone_surrogates_and_invalid_bytes_are_dropped(vocab_file):
    tokenizer = FullTokenizer(vocab_file(SMALL_VOCAB))
    assert tokenizer.tokenize('a\ud800b') == ['ab']
    assert tokenizer.tokenize(b'a\xff b') == ['a', 'b']
    assert tokenizer.encode('今天'.encode()) == tokenizer.encode('今天')
    with pytest.raises(ValueError, match='not int'):
        tokenizer.encode(7)


@pytest.mark.parametrize('name', shared_files())
def test_ids_of_every_text_of_the_shared_data(name):
    texts = texts_of(shared(name))
    tokenizers = [FullTokenizer(shared(f'ernie_official/{vocab}')) for vocab in ('vocab.txt', 'vocab_en.txt')]
    for text in texts:
        words = ' '.join(reference.basic_tokenize(text))
        for tokenizer in tokenizers:
            expected = [tokenizer.vocab[piece] for piece in reference.wordpiece_tokenize(words, tokenizer.vocab)]
            assert tokenizer.encode(text) == expected, text


@pytest.mark.parametrize('name', ['weibo_ner/dev.tsv', 'wnut17_en/dev.tsv', 'lcqmc_sample/dev.tsv'])
def test_char_and_cased_tokenizers_on_real_text(name):
    path = shared('ernie_official/vocab.txt')
    cased, char, char_cased = FullTokenizer(path, False), CharTokenizer(path), CharTokenizer(path, False)
    for text in texts_of(shared(name)):
        assert cased.tokenize(text) == reference.full_tokenize(text, cased.vocab, False)
        assert char.tokenize(text) == reference.char_tokenize(text, char.vocab)
        assert char_cased.encode(text) == char.convert_tokens_to_ids(reference.char_tokenize(text, char.vocab, False))


# --- against the tokenizers library

# Characters on which its rules are others: private use and unassigned ones (it keeps some), and controls that it
# takes for white space. Its Unicode tables may also be newer than Python's.
OTHER_RULES = {'Co', 'Cn', 'Cc'}


@pytest.mark.parametrize('vocab', ['vocab.txt', 'vocab_en.txt'])
@pytest.mark.parametrize('name', ['chnsenticorp/dev.tsv', 'drcd/dev.json', 'cola_en/dev.tsv', 'wnut17_en/dev.tsv'])
def test_equals_the_tokenizers_library(name, vocab):
    ours = FullTokenizer(shared(f'ernie_official/{vocab}'))
    theirs = BertWordPieceTokenizer(
        vocab=ours.vocab, clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
    )
    texts = [text.replace('\x02', ' ') for text in texts_of(shared(name))]
    texts = [text for text in texts if not any(unicodedata.category(c) in OTHER_RULES for c in text)]
    assert len(texts) > 400
    for text in texts:
        assert ours.tokenize(text) == theirs.encode(text, add_special_tokens=False).tokens, text


# --- single rules


def test_char_tokenizer_honours_case(vocab_file):
    path = vocab_file([*SPECIAL, 'Abc', 'abc', UNK])
    assert CharTokenizer(path, do_lower_case=True).tokenize('Abc abc') == ['abc', 'abc']
    assert CharTokenizer(path, do_lower_case=False).tokenize('Abc abc') == ['Abc', 'abc']


def test_wordpiece_length_limit_is_inclusive():
    wordpiece = WordpieceTokenizer({'a', '##a'}, unk_token='?')
    assert wordpiece.tokenize('a' * 100 + ' ' + 'a' * 101) == ['a'] + ['##a'] * 99 + ['?']
    assert WordpieceTokenizer({'a', '##a'}, max_input_chars_per_word=2).tokenize('aa aaa') == ['a', '##a', UNK]


def test_a_word_with_one_unknown_part_is_unknown_as_a_whole():
    wordpiece = WordpieceTokenizer({'un', '##aff', '##able', UNK})
    assert wordpiece.tokenize('unaffable unaffablex') == ['un', '##aff', '##able', UNK]


def test_unknown_token_or_id_is_a_key_error(vocab_file):
    tokenizer = FullTokenizer(vocab_file(SMALL_VOCAB))
    with pytest.raises(KeyError, match='nowhere'):
        tokenizer.convert_tokens_to_ids(['a', 'nowhere'])
    with pytest.raises(KeyError, match='999'):
        tokenizer.convert_ids_to_tokens([0, 999])


def test_caches_stay_bounded_and_right(vocab_file, monkeypatch):
    monkeypatch.setattr(tokenization, '_CACHED_WORDS', 5)
    monkeypatch.setattr(rules, '_CACHED_CHARACTERS', 6)
    tokenizer = FullTokenizer(vocab_file(SMALL_VOCAB))
    text = '今天很热 abc 中国 Paddle2019 12.5 e ar i have ab r ' + 'z' * 500
    for _ in range(3):
        assert tokenizer.tokenize(text) == reference.full_tokenize(text, tokenizer.vocab)
        assert tokenizer.encode(text) == tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
        assert len(tokenizer._ids) <= 5
        assert len(tokenizer.basic_tokenizer._table) <= 6
    assert 'z' * 500 not in tokenizer._ids


def test_goes_to_another_process_without_its_caches(vocab_file):
    tokenizer = FullTokenizer(vocab_file(SMALL_VOCAB))
    ids = tokenizer.encode('今天很热 ΑΣ abc')
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert len(copy._ids) == len(copy.basic_tokenizer._table) == 0
    assert copy.encode('今天很热 ΑΣ abc') == ids


# --- vocabulary files


def test_official_vocabularies():
    chinese, english = (load_vocab(shared(f'ernie_official/{name}')) for name in ('vocab.txt', 'vocab_en.txt'))
    assert (len(chinese), len(english)) == (17964, 30522)
    assert [chinese[t] for t in (*SPECIAL, '，', UNK)] == [0, 1, 2, 3, 4, 17963]
    assert [english[t] for t in ('[PAD]', UNK, '[CLS]', '[SEP]', '[MASK]')] == [0, 100, 101, 102, 103]
    assert list(chinese.values()) == list(range(17964))
    assert list(english.values()) == list(range(30522))


def write(tmp_path, content):
    path = tmp_path / 'v.txt'
    path.write_bytes(content if isinstance(content, bytes) else content.encode('utf-8'))
    return path


def test_explicit_ids_need_no_order_and_no_line_numbers(tmp_path):
    path = write(tmp_path, '[UNK]\t7\r\n[PAD]\t0\n\n[CLS]\t900\n [SEP] \t 3\n[MASK]\t4\n')
    assert load_vocab(path) == {'[UNK]': 7, '[PAD]': 0, '[CLS]': 900, '[SEP]': 3, '[MASK]': 4}


def test_a_blank_line_keeps_its_number(tmp_path):
    path = write(tmp_path, '\ufeff[UNK]\n\n\u3000\nb')
    assert load_vocab(path, required=('[UNK]',)) == {'[UNK]': 0, '\u3000': 2, 'b': 3}


@pytest.mark.parametrize(
    'content, line, message',
    [
        ('a\t0\nb\t1\t2\nc\t3\n', 2, '3 fields'),
        ('a\t0\nb\n', 2, 'one token a line'),
        ('a\n\nb\t1\n', 3, 'token<TAB>id'),
        ('a\t0\nb\tone\n', 2, "id 'one'"),
        ('a\t0\nb\t-1\n', 2, "id '-1'"),
        ('a\t0\nb\t1.5\n', 2, "id '1.5'"),
        ('a\t0\nb\t\n', 2, "id ''"),
        ('a\t0\n\t1\n', 2, 'an id without a token'),
        ('a\t3\nb\t3\n', 2, "id 3, which token 'a' has"),
        (b'a\nb\n\xd6\xd0\n', 3, 'byte 0xd6'),
    ],
)
def test_bad_lines_are_named(tmp_path, content, line, message):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_vocab(path, required=())
    assert str(error.value).startswith(f'{path}:{line}: found {message}')


@pytest.mark.parametrize('content', ['a\nb\na\nc\n', 'a\t0\nb\t1\na\t2\nc\t3\n'])
def test_the_later_id_of_a_token_that_comes_twice_holds(tmp_path, content, caplog):
    path = write(tmp_path, content)
    assert load_vocab(path, required=()) == {'a': 2, 'b': 1, 'c': 3}
    if '\t' not in content:  # the library reads this form only
        assert load_vocab(path, required=()) == WordPiece.read_file(str(path))
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"{path}: token 'a' on line 1 and again on line 3: id 2 of line 3 holds"]


@pytest.mark.parametrize('missing', [*SPECIAL, UNK])
def test_a_missing_special_token_is_named(tmp_path, missing):
    path = write(tmp_path, '\n'.join(t for t in SMALL_VOCAB if t != missing))
    with pytest.raises(UserError) as error:
        FullTokenizer(path)
    assert str(error.value).startswith(f'{path}: found no token {missing}, expected')


def test_an_empty_or_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match='found an empty file'):
        load_vocab(write(tmp_path, '\n \n'))
    with pytest.raises(UserError, match='found no such file'):
        load_vocab(tmp_path / 'absent.txt')
    with pytest.raises(UserError, match='found a folder'):
        load_vocab(tmp_path)


def test_ids_far_beyond_the_tokens_are_refused(tmp_path):
    """A file of one token a line would get a line for each id between them."""
    special = [f'{token}\t{i}' for i, token in enumerate(('[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]'))]
    (tmp_path / 'vocab.txt').write_text('\n'.join([*special, 'x\t400000']))
    assert load_vocab(tmp_path / 'vocab.txt')['x'] == 400_000
    (tmp_path / 'vocab.txt').write_text('\n'.join([*special, 'x\t1000000000']))
    with pytest.raises(UserError, match='found id 1000000000 among 6 tokens, expected ids up to 500012'):
        load_vocab(tmp_path / 'vocab.txt')
