"""ERNIE tiny's tokenizer: segmentation, the pickled word list, sentencepiece."""

import pickle
import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.tokenizers.subword import WSSPTokenizer
from ernie.tokenizers.word_list import WordList, load_word_dict
from propeller.errors import UserError
from tests.ernie.tiny_subword import SENTENCES, WORDS, train


def write_dict(tmp_path, content, protocol=4):
    path = tmp_path / 'dict.wordseg.pickle'
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


def test_the_longest_listed_word_wins_within_five_characters():
    segment = WordList(WORDS | {'中华人民共和国'}).segment
    assert segment('今天北京大学的笔记本电脑') == ['今天', '北京大学', '的', '笔记本电脑']
    assert segment('中华人民共和国') == ['中华', '人民', '共', '和', '国']
    assert segment('北京大') == ['北京', '大']
    assert segment('') == []


@settings(max_examples=200)
@given(
    text=st.text(alphabet='ab中文 \n<s>\u2581\0龘😀', max_size=40),
    words=st.sets(st.text(alphabet='ab中文 \n<s>\u2581', min_size=1, max_size=5), max_size=12),
)
def test_segmentation_equals_a_longest_first_alternation(text, words):
    alternatives = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    oracle = re.compile('|'.join([*alternatives, '.']), re.DOTALL)
    parts, made = oracle.findall(text), WordList(words | {'<s>', '<unk>'} if '<' not in text else words)
    assert made.segment(text) == parts
    assert made.joined(text, lower=True) == ' '.join(part.lower() for part in parts if part != ' ')


@pytest.mark.parametrize('kind', [set, frozenset, list, tuple, dict.fromkeys])
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_word_lists_of_any_plain_container(tmp_path, kind, protocol):
    assert load_word_dict(write_dict(tmp_path, kind(sorted(WORDS)), protocol)) == WORDS


class Hostile:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, 'w')


@pytest.mark.parametrize('wrap', [lambda h: h, lambda h: {'词', h}, lambda h: {'词': [h]}])
def test_a_hostile_word_list_is_refused_and_not_run(tmp_path, wrap):
    target = tmp_path / 'made_by_the_pickle'
    path = write_dict(tmp_path, pickle.dumps(wrap(Hostile(target))))
    with pytest.raises(UserError, match=re.escape(str(path))):
        WSSPTokenizer(tmp_path / 'absent.model', path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists(), 'the file must do harm in an ordinary unpickler, or the test proves nothing'


@pytest.mark.parametrize(
    'content, found',
    [(7, 'a pickled int'), ({'词', b'w'}, "the entry b'w'"), ('词', 'a pickled str'), (['a\0b'], "the word 'a\\x00b'")],
)
def test_what_is_no_word_list_is_named(tmp_path, content, found):
    path = write_dict(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_word_dict(path)
    assert str(error.value).startswith(f'{path}: found {found}, expected ')


def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sentencepiece', None)
    with pytest.raises(UserError, match='pip install sentencepiece'):
        WSSPTokenizer(tmp_path / 'any.model', None, ws=False)


@pytest.fixture(scope='module')
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('sentencepiece') / 'tiny.model'
    path.write_bytes(train(remove_extra_whitespaces=False))
    return path


def test_pieces_of_segmented_lower_cased_words(tmp_path, model_file):
    import sentencepiece

    words = write_dict(tmp_path, WORDS)
    model = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    segmented = '早 餐 的 种 类 太 少 wifi 也 很 慢 ， 不 推 荐 。'
    tokenizer = WSSPTokenizer(model_file, words)
    assert tokenizer(SENTENCES[4].encode()) == model.encode(segmented, out_type=str)
    assert tokenizer(SENTENCES[4]) == tokenizer(SENTENCES[4].encode())
    joined = ''.join(tokenizer(SENTENCES[0].encode())).replace('\u2581', '')
    assert joined == unicodedata.normalize('NFKC', SENTENCES[0])
    # Words are looked up before they are lower-cased: `wifi` is not listed, so its letters are parts of their own.
    assert tokenizer(b'wifi') == model.encode('w i f i', out_type=str) != tokenizer(b'WiFi')
    cased = WSSPTokenizer(model_file, words, lower=False)
    assert cased(b'This WiFi') == model.encode('T h is WiFi', out_type=str) != tokenizer(b'This WiFi')


def test_without_segmentation_the_words_are_those_between_spaces(model_file):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    tokenizer = WSSPTokenizer(model_file, None, ws=False)
    assert tokenizer('今天 This  Hotel'.encode()) == model.encode('今天 this  hotel', out_type=str)
    assert tokenizer(b'') == []
    with pytest.raises(UnicodeDecodeError):
        tokenizer(b'\xff')


def test_model_files_that_are_none_are_named(tmp_path):
    pytest.importorskip('sentencepiece')
    broken = tmp_path / 'broken.model'
    broken.write_bytes(b'no model at all')
    for path, found in ((tmp_path / 'absent.model', 'no such file'), (broken, 'content that')):
        with pytest.raises(UserError) as error:
            WSSPTokenizer(path, None, ws=False)
        assert str(error.value).startswith(f'{path}: found {found}')
