"""The tokenizers of `inference/`: the same ids and offsets as Python's, and what they refuse."""

import json
import os
import re
import unicodedata
from pathlib import Path

import pytest

from benchmark.acceptance.cpp_mutants import run as run_mutants
from benchmark.acceptance.cpp_tokenizers import (
    code_points,
    differences,
    strings,
    subword_tokenizers,
    telling_vocabulary,
    texts_below,
    tokenizers,
)
from benchmark.acceptance.sentencepiece_files import rules_of, write_subword
from benchmark.cpp import CppTokenizer, load_library, twin_of
from ernie.tokenization import CharTokenizer, FullTokenizer, SubwordCharTokenizer
from ernie.tokenizers.subword import SubwordTokenizer
from ernie.tokenizers.vocabulary import load_vocab
from ernie.tokenizers.words import WordTokenizer
from propeller.errors import UserError
from tests.cpp import built
from tests.ernie.tiny_model import VOCABULARY
from tests.ernie.tiny_subword import SENTENCES, subword_folder, train

pytestmark = pytest.mark.slow  # the first of them may compile the library
SPECIAL = '[PAD]\n[CLS]\n[SEP]\n[UNK]\n[MASK]\n'


@pytest.fixture(scope='module')
def library():
    return load_library(built(target='ernie'))


@pytest.fixture(scope='module')
def vocabulary(tmp_path_factory):
    """A vocabulary that tells characters apart."""
    return telling_vocabulary(tmp_path_factory.mktemp('vocabulary') / 'vocab.txt', every=101)


@pytest.fixture
def folder(tmp_path):
    """Function (vocabulary, further files) -> a folder with them."""

    def write(vocabulary=SPECIAL, **files):
        (tmp_path / 'vocab.txt').write_bytes(vocabulary if isinstance(vocabulary, bytes) else vocabulary.encode())
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / f'{name}.json').write_text(text, encoding='utf-8')
        return tmp_path

    return write


@pytest.fixture(scope='module')
def with_sentencepiece(library, tmp_path_factory):
    """The library, where it was built with sentencepiece."""
    pytest.importorskip('sentencepiece')
    folder = tmp_path_factory.mktemp('tiny')
    subword_folder(folder)
    try:
        with twin_of(library, SubwordTokenizer(folder / 'vocab.txt')):
            return library
    except UserError as e:
        if 'built without sentencepiece' in str(e):
            pytest.skip(str(e))
        raise


def refusal(library, folder):
    with pytest.raises(UserError) as e, CppTokenizer(library, folder):
        pass
    return str(e.value)


def test_the_tables_are_those_of_this_python(library):
    assert library.ernie_unicode_version().decode() == unicodedata.unidata_version


@pytest.mark.parametrize(
    ('made', 'lower'),
    [
        (FullTokenizer, True),
        (FullTokenizer, False),
        (CharTokenizer, True),
        (SubwordCharTokenizer, True),
        (WordTokenizer, True),
    ],
)
def test_code_points(library, vocabulary, made, lower):
    count, _, first = differences(library, made(str(vocabulary), lower), code_points(every=1009))
    assert not first
    assert count > 40_000


def test_random_strings_with_all_settings(library, vocabulary):
    made = list(tokenizers(vocabulary))
    assert len(made) == 18
    for number, tokenizer in enumerate(made):
        assert differences(library, tokenizer, strings(500, seed=number)) == (500, 0, [])


def test_words_that_are_known(library, tmp_path):
    tokens = ['今天', 'paddle', 'new', 'σας', 'σασ', 'i\u0307', '[UNK]x', 'ä']
    (tmp_path / 'vocab.txt').write_text(SPECIAL + '\n'.join(tokens) + '\n', encoding='utf-8')
    tokenizer = WordTokenizer(tmp_path / 'vocab.txt')
    texts = ['今天 PADDLE\u3000New\x1cΣΑΣ Ä [UNK] [UNK]x İ', ' \n', '', 'ΣΑΣ\u200b 今天今天', 'x' * 5000 + ' 今天']
    assert differences(library, tokenizer, texts) == (5, 0, [])
    assert [id for id in tokenizer.encode(texts[0]) if id != 3] == [5, 6, 7, 8, 12, 10]


def test_subwords_of_several_models(with_sentencepiece, tmp_path):
    for tokenizer in subword_tokenizers(tmp_path):
        some = list(code_points(every=1009))[::23]
        assert differences(with_sentencepiece, tokenizer, some) == (len(some), 0, [])
        assert differences(with_sentencepiece, tokenizer, strings(200, seed=9)) == (200, 0, [])


@pytest.mark.parametrize(
    'options',
    [
        *({}, {'model_type': 'bpe'}, {'model_type': 'char'}, {'model_type': 'word'}, {'add_dummy_prefix': False}),
        *(
            {'byte_fallback': True, 'vocab_size': 400},
            {'split_by_whitespace': False},
            {'treat_whitespace_as_suffix': True},
        ),
        {'normalization_rule_name': 'nfkc_cf', 'remove_extra_whitespaces': False},
    ],
)
def test_subwords_of_a_training(with_sentencepiece, tmp_path, options):
    subword_folder(tmp_path, model=train(**options))
    texts = [*SENTENCES, *strings(100, seed=4), '  北京  ΑΣ ½½İ \u3000', 'x\u2581y', '龘龘 \0 ﷺ', '', ' ', '\x1c']
    for lower in (True, False):
        tokenizer = SubwordTokenizer(tmp_path / 'vocab.txt', lower)
        assert differences(with_sentencepiece, tokenizer, texts)[1:] == (0, [])


def test_rules_of_normalisation_are_read_as_sentencepiece_reads_them(with_sentencepiece, folder):
    place = folder('\n'.join([SPECIAL.rstrip(), 'a', 'b', '▁b', '今', '天']) + '\n')
    write_subword(place, rules=rules_of())
    tokenizer = SubwordTokenizer(place / 'vocab.txt')
    assert tokenizer.tokenize('a') == ['▁b']
    assert differences(with_sentencepiece, tokenizer, ['aab 今天a', 'baba', 'a' * 1000]) == (3, 0, [])


def test_without_sentencepiece_its_models_are_refused_and_all_others_read(folder):
    library = load_library(built('-DERNIE_SENTENCEPIECE=OFF', target='ernie'))
    place = folder(SPECIAL + 'a\nb\n')
    assert differences(library, FullTokenizer(str(place / 'vocab.txt')), ['a b']) == (1, 0, [])
    write_subword(place)
    said = refusal(library, place)
    assert 'this was built without sentencepiece. Install it (Debian: apt-get install libsentencepiece-dev)' in said


def test_changed_files_are_read_or_refused(with_sentencepiece):
    counts = run_mutants(with_sentencepiece, 150, seed=1)
    assert set(counts) == {'read', 'refused'}


def test_canonical_ordering_of_marks_that_stay(library, vocabulary):
    # U+302E and U+1D165 are no Mn: they stay, and change places; a nonspacing mark of class 0 keeps them apart.
    tokenizer = FullTokenizer(str(vocabulary))
    texts = ['a\u302e\U0001d165b', 'a\u302e\u0e31\U0001d165b', '\u302e\U0001d165' * 5000 + 'b']
    assert differences(library, tokenizer, texts) == (3, 0, [])


@pytest.mark.skipif('ERNIE_TEST_DATA' not in os.environ, reason='ERNIE_TEST_DATA is not set')
def test_rows_of_data_sets(library):
    data = Path(os.environ['ERNIE_TEST_DATA'])
    for made in (FullTokenizer, CharTokenizer):
        tokenizer = made(str(data / 'ernie_official' / 'vocab.txt'))
        for name in ('chnsenticorp', 'cmrc2018'):
            assert differences(library, tokenizer, list(texts_below(data / name))[::20])[1:] == (0, [])


def test_a_long_word_is_unknown_and_a_long_text_is_not_cut(library, tmp_path):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join([*VOCABULARY, 'a', '##a']) + '\n', encoding='utf-8')
    tokenizer = FullTokenizer(str(path))
    texts = ['a' * 100, 'a' * 101, 'a' * 300_000, '好' * 100_000, "Σ'" * 1000]
    assert differences(library, tokenizer, texts) == (5, 0, [])


@pytest.mark.parametrize(
    'content',
    [b'\xff', b'ab\xc3', b'\xc0\x80', b'\xed\xa0\x80', b'abc\xf4\x90\x80\x80', b'\xe4\xb8', b'\xf0\x80\x80\x80'],
)
def test_bytes_that_are_not_utf8_are_named(library, folder, content):
    with pytest.raises(UnicodeDecodeError) as e:
        content.decode()
    with CppTokenizer(library, folder()) as tokenizer:
        assert tokenizer.call(content) == e.value.start


@pytest.mark.parametrize(
    'content',
    [
        SPECIAL + 'a\nb\n',
        '\ufeff' + SPECIAL + '\n\n a \n\nb\tc\n',
        '[MASK]\t7\n[UNK]\t3\n\n[SEP]\t2\n[CLS]\t1\r\n[PAD]\t0\nb\t 99 \na\t50',
        SPECIAL + 'a\nb\na\n[unused_gap_8]\n',
    ],
)
def test_vocabularies_are_read_alike(library, folder, content):
    path = folder(content) / 'vocab.txt'
    try:
        load_vocab(path)
    except UserError as e:
        assert refusal(library, path.parent) == str(e)
        return
    assert differences(library, FullTokenizer(str(path)), ['a', 'b', 'ab c']) == (3, 0, [])


@pytest.mark.parametrize(
    'content',
    [
        *('', ' \n\n', 'a\nb\n', SPECIAL + '\xff', SPECIAL + 'a\tb\n', '[PAD]\t0\na\n', '[PAD]\t0\na\t1\t2\n'),
        *('[PAD]\t0\na\tx\n', '[PAD]\t0\na\t0\n', '[PAD]\t0\n\t1\n', '[PAD]\t0\na\t-1\n'),
        *('[PAD]\t0\na\t' + '9' * 19 + '\n', '[PAD]\t0\na\t600000\n'),
    ],
)
def test_broken_vocabularies_are_refused_alike(library, folder, content):
    path = folder(content.encode('latin-1')) / 'vocab.txt'
    with pytest.raises(UserError) as e:
        load_vocab(path)
    assert refusal(library, path.parent) == str(e.value)


def test_settings_of_a_folder(library, folder):
    config = {'tokenizer_class': 'BertTokenizer', 'do_lower_case': False}
    place = folder(SPECIAL + 'a\nA\n', tokenizer_config=config, labels={'tokenizer': 'FullTokenizer'})
    with CppTokenizer(library, place) as tokenizer:
        assert tokenizer.encode_aligned('A').ids == [6]


@pytest.mark.parametrize(
    ('files', 'said'),
    [
        ({'tokenizer_config': {'tokenizer_class': 'T5Tokenizer'}}, 'found tokenizer_class .*T5Tokenizer'),
        ({'tokenizer_config': {'tokenizer_class': 'WordTokenizer', 'lexer': 'rjieba'}}, 'rjieba.*expected spaces'),
        ({'tokenizer_config': {'do_lower_case': 1}}, "found do_lower_case '1', expected true or false"),
        ({'tokenizer_config': '[]'}, 'found JSON that is no object'),
        ({'tokenizer_config': '{"a": 1, "a": 2}'}, "found 'a' twice"),
        ({'tokenizer_config': '[' * 100_000}, 'more than 100 levels'),
        ({'tokenizer_config': '{"a": "\\ud800"}'}, 'half of a surrogate pair'),
        (
            {'tokenizer_config': {'do_lower_case': True}, 'labels': {'do_lower_case': False}},
            'another do_lower_case, expected that of tokenizer_config.json',
        ),
    ],
)
def test_what_a_folder_may_not_say(library, folder, files, said):
    assert re.search(said, refusal(library, folder(**files)))


def test_a_folder_that_is_not_there(library, tmp_path):
    assert 'no such file' in refusal(library, tmp_path / 'nothing')


def test_twins_of_one_file_are_apart(library, vocabulary):
    with twin_of(library, FullTokenizer(str(vocabulary))) as a, twin_of(library, CharTokenizer(str(vocabulary))) as b:
        assert a.encode_aligned('好好').ids != b.encode_aligned('好好').ids
