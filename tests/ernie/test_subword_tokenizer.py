"""ERNIE tiny's tokenizer behind the protocol: equal to the plain form, aligned to the text, chosen and recorded by
model folders.
"""

import json
import pickle
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.settings.predict import EncodeSettings
from ernie.tokenization import SubwordCharTokenizer
from ernie.tokenizers.subword import SubwordCutter, SubwordTokenizer
from ernie.tokenizers.subword_files import MODEL, PICKLED, PLAIN
from ernie.tokenizers.word_list import load_word_dict, words_as_text
from ernie.utils.data import CharTokenizer as FamilyB
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_subword import SENTENCES, WORDS, plain_pieces, subword_folder, train

ODD = [
    '',
    ' ',
    '\n',
    '½ İstanbul ½½ ａｂｃ ΑΣ',
    'x\u200b y\u3000z',
    'x\u2581y',
    'é e\u0301 한국어',
    '\x1c',
    '龘龘 \x00 ﷺ',
    '\ufffd',
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp('tiny')
    subword_folder(made)
    return made


@pytest.fixture(scope='module')
def cutter(folder):
    return SubwordCutter(folder / 'subword' / MODEL, WORDS)


def reference(text, cutter):
    return plain_pieces(text, WORDS, cutter.model)


@pytest.mark.parametrize('text', [*SENTENCES, *ODD, ' '.join(SENTENCES * 9)])
def test_pieces_are_those_of_the_plain_form(cutter, text):
    assert cutter(text) == reference(text, cutter)
    assert cutter.aligned(text).ids == reference(text, cutter)


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet=[*' \n\u2581½İaiΣ北京大学服务员的很ﷺ', '\u0301', '\u200b'], max_size=40))
def test_any_text(cutter, text):
    assert cutter(text) == cutter.aligned(text).ids == reference(text, cutter)


@pytest.mark.parametrize(
    'options',
    [
        {'model_type': 'bpe'},
        {'model_type': 'char'},
        {'byte_fallback': True, 'vocab_size': 400},
        {'remove_extra_whitespaces': False},
        {'split_by_whitespace': False},
        {'treat_whitespace_as_suffix': True},
    ],
)
def test_models_of_all_kinds(tmp_path, options):
    (tmp_path / 'a.model').write_bytes(train(**options))
    made = SubwordCutter(tmp_path / 'a.model', WORDS)
    for text in [*SENTENCES[:3], *ODD]:
        assert made(text) == reference(text, made)
        found = made.aligned(text)
        assert found.ids == reference(text, made)
        assert all(0 <= start < end <= len(text) for start, end in zip(found.starts, found.ends, strict=True))


@pytest.mark.parametrize('suffix', [True, False])
def test_a_mark_alone_stands_for_a_character_of_its_word(tmp_path, suffix):
    (tmp_path / 'a.model').write_bytes(train(treat_whitespace_as_suffix=suffix))
    found = SubwordCutter(tmp_path / 'a.model', WORDS).aligned('北京 龘 x\u200b')
    alone = [i for i, piece in enumerate(found.ids) if piece == '\u2581']
    assert alone
    for i in alone:
        word = i - 1 if suffix else i + 1
        expected = found.ends[word] - 1 if suffix else found.starts[word]
        assert (found.starts[i], found.ends[i]) == (expected, expected + 1)


def test_a_token_for_what_the_model_does_not_know(tmp_path, cutter):
    tokens = {*subword_folder(tmp_path), '龘'}
    text = '北京龘龘，龘䶮'
    assert '龘' not in SubwordTokenizer(tmp_path / 'vocab.txt').tokenize(text)
    with open(tmp_path / 'vocab.txt', 'a', encoding='utf-8') as f:
        f.write('龘\n')
    expected = [piece if piece in tokens else '[UNK]' for piece in reference(text, cutter)]
    assert SubwordTokenizer(tmp_path / 'vocab.txt').tokenize(text) == expected
    assert expected.count('龘') == 3 and '[UNK]' in expected


def test_slices_of_the_text(folder):
    tokenizer = SubwordTokenizer(folder / 'vocab.txt')
    text = ' 服务员  İ ½ 北京'
    found = tokenizer.encode_aligned(text)
    covered = {i for start, end in zip(found.starts, found.ends, strict=True) for i in range(start, end)}
    assert found.ids == tokenizer.encode(text)
    assert covered == {i for i, char in enumerate(text) if char != ' '}
    slices = [text[start:end] for start, end in zip(found.starts, found.ends, strict=True)]
    assert slices[-1] in '北京' and '½' in slices and 'İ' in slices
    assert sorted(found.starts) == found.starts
    assert tokenizer.encode('北\ud800') == tokenizer.encode('北\ufffd')


def test_unknown_pieces_and_letter_case(folder):
    tokenizer = SubwordTokenizer(folder / 'vocab.txt')
    assert tokenizer.tokenize('龘')[-1] == '[UNK]'
    assert tokenizer.encode('WiFi') == tokenizer.encode('WIFI') or 'WIFI' not in WORDS
    assert not tokenizer.cuts_ideographs
    pickled = pickle.loads(pickle.dumps(tokenizer))
    assert pickled.encode(SENTENCES[0]) == tokenizer.encode(SENTENCES[0])
    assert pickled.fingerprint() == tokenizer.fingerprint()


def test_characters_for_tagging(folder):
    tokenizer = SubwordCharTokenizer(folder / 'vocab.txt')
    oracle = FamilyB(tokenizer.vocab, sentencepiece_style_vocab=True)
    for text in [*SENTENCES, *ODD]:
        assert tokenizer.tokenize(text) == oracle(text)
        assert tokenizer.encode_aligned(text).ids == tokenizer.encode(text)
    assert tokenizer.tokenize('北') == ['\u2581北']


# ------------------------------------------------------------ folders


def test_a_folder_chooses_it_and_keeps_it(folder, tmp_path):
    found = folder_tokenizer(folder)
    assert found.settings.tokenizer == 'SubwordTokenizer' and not found.is_recorded
    tokenizer = found.make(folder / 'vocab.txt')
    for name, content in tokenizer.files(512).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    kept = folder_tokenizer(tmp_path)
    assert kept.is_recorded and kept.make(tmp_path / 'vocab.txt').fingerprint() == tokenizer.fingerprint()
    assert found.for_characters().settings.tokenizer == 'SubwordCharTokenizer'

    same = folder / 'subword' / MODEL, folder / 'subword' / PICKLED
    assert kept.with_files(*same) is kept
    other = tmp_path / 'other.txt'
    other.write_text('北京\n')
    with pytest.raises(UserError, match=r'other\.txt: found other words than .*which the model was trained with'):
        kept.with_files(same[0], other)
    for name in ('FullTokenizer', 'SubwordCharTokenizer'):
        with pytest.raises(UserError, match=f'--tokenizer {name}, expected SubwordTokenizer'):
            kept.with_flags(tokenizer=name)
    (tmp_path / 'subword' / PICKLED).write_bytes(pickle.dumps({'北京'}))
    with pytest.raises(UserError, match=r'dict\.wordseg\.pickle: found SHA-256 .* that the model was trained with'):
        folder_tokenizer(tmp_path)


def test_the_same_words_in_another_form_are_the_same_dictionary(folder, tmp_path):
    tokenizer = SubwordTokenizer(folder / 'vocab.txt')
    for name, content in tokenizer.files(512).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'subword' / PICKLED).unlink()
    (tmp_path / 'subword' / PLAIN).write_bytes(words_as_text(WORDS | {'x'}))
    kept = folder_tokenizer(tmp_path)
    assert kept.make(tmp_path / 'vocab.txt').fingerprint() == tokenizer.fingerprint()
    assert kept.with_files(folder / 'subword' / MODEL, folder / 'subword' / PICKLED) is kept
    (tmp_path / 'subword' / PLAIN).write_bytes(words_as_text(WORDS - {'北京'}))
    with pytest.raises(UserError, match=r'dict\.wordseg\.txt: found SHA-256 .*the words that the model was trained'):
        folder_tokenizer(tmp_path)
    config = json.loads((tmp_path / 'tokenizer_config.json').read_text())
    del config['subword']['words']  # as earlier folders were written: the bytes alone tell
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(config))
    (tmp_path / 'subword' / PLAIN).unlink()
    (tmp_path / 'subword' / PICKLED).write_bytes(pickle.dumps({'北京'}))
    with pytest.raises(UserError, match=r'dict\.wordseg\.pickle: found SHA-256'):
        folder_tokenizer(tmp_path)
    shutil.copy(folder / 'subword' / PICKLED, tmp_path / 'subword')
    assert folder_tokenizer(tmp_path).is_recorded


def test_flags_choose_it_where_the_folder_says_nothing(folder, tmp_path):
    shutil.copy(folder / 'vocab.txt', tmp_path)
    files = folder / 'subword' / MODEL, folder / 'subword' / PICKLED
    found = folder_tokenizer(tmp_path).with_files(*files)
    assert found.make(tmp_path / 'vocab.txt').fingerprint() == SubwordTokenizer(folder / 'vocab.txt').fingerprint()
    assert folder_tokenizer(tmp_path).with_files() == folder_tokenizer(tmp_path)
    for given_files, missing in (((files[0], None), 'word_dict'), ((None, files[1]), 'sentence_piece_model')):
        with pytest.raises(UsageError, match=f'found no --{missing}'):
            folder_tokenizer(tmp_path).with_files(*given_files)
    with pytest.raises(UsageError, match='--sentence_piece_model: found no --word_dict'):
        EncodeSettings(sentence_piece_model='a.model').checked()
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'tokenizer_class': 'BertTokenizer'}))
    with pytest.raises(UserError, match='found the tokenizer FullTokenizer, expected none beside --sentence_piece'):
        folder_tokenizer(tmp_path).with_files(*files)
    with pytest.raises(UsageError, match='--sentence_piece_model and --word_dict are missing'):
        SubwordTokenizer(tmp_path / 'vocab.txt')


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        (lambda f: (f / 'subword' / MODEL).unlink(), f'no {MODEL}'),
        (lambda f: (f / 'subword' / PICKLED).unlink(), f'neither {PICKLED} nor {PLAIN}'),
        (lambda f: (f / 'subword' / PLAIN).write_text('北京\n'), f'both {PICKLED} and {PLAIN}'),
        (lambda f: (f / 'subword' / MODEL).write_bytes(b''), 'an empty file'),
        (lambda f: (f / 'subword' / MODEL).write_bytes(b'no model'), 'content that sentencepiece cannot read'),
        (lambda f: (f / 'subword' / MODEL).write_bytes(train(['abc xyz uvw'] * 5, vocab_size=20)), 'pieces in'),
        (lambda f: (f / 'vocab.txt').write_text('[PAD]\n北\n'), 'no token [CLS], [SEP], [UNK], [MASK]'),
        (lambda f: (f / 'tokenizer_config.json').write_text('{"tokenizer_class": "BertTokenizer"}'), 'FullTokenizer'),
        (
            lambda f: (f / 'tokenizer_config.json').write_text(
                '{"tokenizer_class": "SubwordTokenizer", "subword": {"a": 1}}'
            ),
            'subword',
        ),
    ],
)
def test_what_cannot_be_used_is_named(folder, tmp_path, change, found):
    shutil.copytree(folder, tmp_path / 'm')
    change(tmp_path / 'm')
    with pytest.raises(UserError) as caught:
        folder_tokenizer(tmp_path / 'm').make(tmp_path / 'm' / 'vocab.txt')
    assert found in str(caught.value) and '\n' not in str(caught.value)


def test_a_config_without_its_files(tmp_path, folder):
    shutil.copy(folder / 'vocab.txt', tmp_path)
    (tmp_path / 'tokenizer_config.json').write_text('{"tokenizer_class": "SubwordTokenizer"}')
    with pytest.raises(UserError, match='subword: found no such folder'):
        folder_tokenizer(tmp_path)


def test_the_folder_of_paddlenlp(tmp_path, folder):
    for path in (folder / 'vocab.txt', folder / 'subword' / MODEL, folder / 'subword' / PICKLED):
        shutil.copy(path, tmp_path)
    (tmp_path / 'tokenizer_config.json').write_text('{"tokenizer_class": "ErnieTinyTokenizer"}')
    tokenizer = folder_tokenizer(tmp_path).make(tmp_path / 'vocab.txt')
    assert tokenizer.encode(SENTENCES[0]) == SubwordTokenizer(folder / 'vocab.txt').encode(SENTENCES[0])


def test_dictionaries_as_text(tmp_path):
    from ernie.pretrain.word_list import main

    path, target = tmp_path / 'words.pickle', tmp_path / 'words.txt'
    path.write_bytes(pickle.dumps(WORDS | {'\n', ''}))
    main([str(path), '--output', str(target)])
    assert target.read_text(encoding='utf-8').splitlines() == sorted(WORDS)
    assert load_word_dict(target) == WORDS
    target.write_bytes('\ufeff北京\r\n\r\n大学'.encode())
    assert load_word_dict(target) == {'北京', '大学'}
    for content, found in (
        (b'ab\n\xff\n', ':2: found byte 0xff'),
        ('北京\t7\n'.encode(), ':1: found 2 fields'),
        (b'\n\n', 'no word'),
        ('["北京", "大学"]'.encode(), 'no word of 2 to 5 characters'),
        (pickle.dumps({'北京'}, 0), 'a pickle of an old protocol'),
    ):
        target.write_bytes(content)
        with pytest.raises(UserError, match=found):
            load_word_dict(target)
    path.write_bytes(pickle.dumps({'a\nb'}))
    with pytest.raises(UserError, match=r"the word 'a\\\\nb'|the word"):
        main([str(path)])


def test_build_subword(tmp_path):
    from ernie.pretrain.build_subword import main

    corpus = tmp_path / 'corpus.txt'
    lines = ['房间 很 干净 ， 服务员 态度 好 。', '北京 大学 在 北京 。', 'the WiFi 很 慢'] * 40
    corpus.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    out = tmp_path / 'out'
    flags = ['--input', str(corpus), '--lexer', 'spaces', '--size', '80', '--processes', '1', '--output', str(out)]
    main([*flags, '--report', str(tmp_path / 'report.json')])
    tokenizer = folder_tokenizer(out).make(out / 'vocab.txt')
    assert {'房间', '服务员', '北京'} <= load_word_dict(out / 'subword' / PLAIN)
    assert '[UNK]' not in tokenizer.tokenize('房间很干净，北京大学')
    assert '[UNK]' not in SubwordCharTokenizer(out / 'vocab.txt').tokenize('房间很干净')
    figures = json.loads((tmp_path / 'report.json').read_text())
    assert figures['held_out_lines'] == 2 and 0 < figures['pieces_per_character'] < 2
    with pytest.raises(UserError, match='exists already'):
        main(flags)
