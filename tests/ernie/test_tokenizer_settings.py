"""What the files of a model folder say of its tokenizer: obeyed, refused, written; the tokenizers library as oracle."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.tokenization import BasicTokenizer, FullTokenizer
from ernie.tokenizers import TokenizerSettings
from ernie.tokenizers.alignment import basic_words_aligned
from ernie.tokenizers.text import basic_words
from ernie.tokenizers.vocabulary import as_lines, load_vocab, vocabulary_bytes
from propeller.errors import UserError

WORDS = ['Café', 'cafe', 'Cafe', 'The', 'the', '我', '们', '我们', '我们们', 'É', 'e', 'ΟΔΟΣ', '.', ',']
WORDS += ['##f', '##é', '##e', '##们', 'café', '##c']
VOCABULARY = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *WORDS]
TEXTS = ['Café CAFE café', 'The 我们, the我们们 É.', 'cafe\u0301 İstanbul', '我们café我', '\u3000the\u00a0The\u200b.']


def folder_of(folder, config=None, tokens=VOCABULARY, **files):
    folder.mkdir()
    (folder / 'vocab.txt').write_text('\n'.join(tokens) + '\n', encoding='utf-8')
    if config is not None:
        files['tokenizer_config'] = config
    for name, values in files.items():
        (folder / f'{name}.json').write_text(json.dumps(values), encoding='utf-8')
    return folder


def library(normalizer, tokens=VOCABULARY):
    """The library's BERT tokenizer."""
    made = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token='[UNK]'))
    made.normalizer, made.pre_tokenizer = normalizer, BertPreTokenizer()
    made.post_processor = TemplateProcessing('[CLS] $A [SEP]', special_tokens=[('[CLS]', 1), ('[SEP]', 2)])
    return made


RULES = [(lower, strip, cut) for lower in (True, False) for strip in (None, True, False) for cut in (True, False)]


@pytest.mark.parametrize(('lower', 'strip', 'cut'), RULES)
def test_the_rules_of_the_file_are_those_of_the_library(tmp_path, lower, strip, cut):
    config = {'do_lower_case': lower, 'strip_accents': strip, 'tokenize_chinese_chars': cut}
    found = folder_tokenizer(folder_of(tmp_path / 'm', config)).settings
    assert found == ('FullTokenizer', lower, strip, cut)
    ours = found.make(tmp_path / 'm' / 'vocab.txt')
    theirs = library(BertNormalizer(lowercase=lower, strip_accents=strip, handle_chinese_chars=cut))
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids, text
        assert ours.encode_aligned(text).ids == ours.encode(text)
    assert ours.settings == found
    (tmp_path / 'm' / 'tokenizer_config.json').write_bytes(ours.config_file(64))
    assert folder_tokenizer(tmp_path / 'm').settings == found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=12), rules=st.sampled_from(RULES))
def test_all_three_forms_of_the_words_are_one(text, rules):
    words = basic_words(text, *rules)
    assert BasicTokenizer(*rules).tokenize(text) == words
    assert [word.text for word in basic_words_aligned(text, *rules)] == words


def test_a_folder_that_says_nothing_is_as_in_2019(tmp_path):
    assert folder_tokenizer(folder_of(tmp_path / 'm')).settings == ('FullTokenizer', True, None, True)
    assert folder_tokenizer(None).settings == TokenizerSettings()


def test_a_length_that_transformers_does_not_know_is_read(tmp_path):
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'model_max_length': int(1e30), 'do_lower_case': False}))
    assert folder_tokenizer(tmp_path).settings.do_lower_case is False


def test_a_tokenizer_json_alone(tmp_path):
    made = library(BertNormalizer(lowercase=False, handle_chinese_chars=False))
    made.add_special_tokens(['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]'])
    made.save(str(tmp_path / 'tokenizer.json'))
    found = folder_tokenizer(tmp_path)
    assert found.settings == ('FullTokenizer', False, None, False)
    path = tmp_path / 'tokenizer.json'
    ours = found.settings.make(path)
    assert load_vocab(path) == made.get_vocab()
    assert vocabulary_bytes(path).decode().split('\n') == [*VOCABULARY, '']
    for text in TEXTS:
        ids = [1, *ours.encode(text), 2]
        assert ids == made.encode(text).ids, text


def test_what_checkpoints_said_before_there_was_a_file(tmp_path):
    labels = {'do_lower_case': False, 'tokenizer': 'CharTokenizer'}
    assert folder_tokenizer(folder_of(tmp_path / 'm', labels=labels)).settings[:2] == ('CharTokenizer', False)
    again = TokenizerSettings('CharTokenizer', False)
    (tmp_path / 'm' / 'tokenizer_config.json').write_bytes(again.make(tmp_path / 'm' / 'vocab.txt').config_file(64))
    assert folder_tokenizer(tmp_path / 'm').settings == again
    (tmp_path / 'm' / 'tokenizer_config.json').write_bytes(
        TokenizerSettings().make(tmp_path / 'm' / 'vocab.txt').config_file(64)
    )
    with pytest.raises(UserError, match=r'labels.json: found \w+ \w+, expected \w+, as .*tokenizer_config.json says'):
        folder_tokenizer(tmp_path / 'm')


def test_a_flag_holds_and_its_contradiction_is_told(tmp_path, caplog):
    found = folder_tokenizer(folder_of(tmp_path / 'm', {'do_lower_case': False}))
    assert found.with_flags(do_lower_case=None, tokenizer=None).do_lower_case is False
    assert found.with_flags(do_lower_case=False).do_lower_case is False and not caplog.records
    assert found.with_flags(do_lower_case=True).do_lower_case is True
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f'--do_lower_case true contradicts {tmp_path}/m/tokenizer_config.json, which says false; the flag holds'
    ]


PAD = {'id': 0, 'content': '[PAD]', 'special': True}
WORD = {'id': 30, 'content': 'newword', 'special': False}


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ({'tokenizer_class': 'XLMRobertaTokenizer'}, "tokenizer_class 'XLMRobertaTokenizer', expected BertTokenizer"),
        ({'tokenizer_class': 'PreTrainedTokenizerFast'}, "tokenizer_class 'PreTrainedTokenizerFast'"),
        ({'do_lower_case': 'no'}, "do_lower_case 'no'"),
        ({'strip_accents': 1}, 'strip_accents 1'),
        ({'do_basic_tokenize': False}, 'do_basic_tokenize false'),
        ({'never_split': ['[MASK]', 'C++']}, "never_split ['C++']"),
        ({'unk_token': '<unk>'}, "unk_token '<unk>', expected [UNK]"),
        ({'mask_token': {'content': '<mask>'}}, "mask_token '<mask>', expected [MASK]"),
        (
            {'added_tokens_decoder': {'0': {'content': '[PAD]', 'special': True}, '30': WORD}},
            "added tokens ['newword']",
        ),
    ],
)
def test_what_our_tokenizers_do_not_do_is_refused_by_key(tmp_path, config, found):
    with pytest.raises(UserError) as e:
        folder_tokenizer(folder_of(tmp_path / 'm', config))
    assert str(e.value).startswith(f'{tmp_path}/m/tokenizer_config.json: found {found}')


@pytest.mark.parametrize(
    ('change', 'found'),
    [
        ({'model': {'type': 'BPE', 'vocab': {}}}, "model.type 'BPE', expected WordPiece"),
        ({'model': {'max_input_chars_per_word': 50}}, 'model.max_input_chars_per_word 50, expected 100'),
        ({'model': {'continuing_subword_prefix': ''}}, "model.continuing_subword_prefix ''"),
        ({'model': {'unk_token': '<unk>'}}, "model.unk_token '<unk>'"),
        ({'normalizer': None}, 'normalizer None'),
        ({'normalizer': {'type': 'NFC'}}, "normalizer 'NFC'"),
        ({'normalizer': {'clean_text': False}}, 'normalizer.clean_text False'),
        ({'pre_tokenizer': {'type': 'Whitespace'}}, "pre_tokenizer 'Whitespace'"),
        ({'post_processor': {'type': 'ByteLevel'}}, "post_processor 'ByteLevel'"),
        (
            {'post_processor': {'type': 'BertProcessing', 'sep': ['</s>', 2], 'cls': ['<s>', 0]}},
            'a post_processor with',
        ),
        ({'added_tokens': [WORD]}, "added tokens ['newword']"),
    ],
)
def test_a_tokenizer_json_of_another_kind_is_refused_by_key(tmp_path, change, found):
    values = json.loads(library(BertNormalizer()).to_str())
    for key, value in change.items():
        whole = not isinstance(value, dict) or ('type' in value and key != 'model')
        values[key] = value if whole else values[key] | value
    (tmp_path / 'tokenizer.json').write_text(json.dumps(values))
    with pytest.raises(UserError) as e:
        folder_tokenizer(tmp_path)
    assert str(e.value).startswith(f'{tmp_path}/tokenizer.json: found {found}')


def test_files_that_contradict_each_other(tmp_path, caplog):
    folder = folder_of(tmp_path / 'm', {'do_lower_case': True}, [*VOCABULARY, 'more'])
    library(BertNormalizer(lowercase=False)).save(str(folder / 'tokenizer.json'))
    with pytest.raises(UserError, match=r"tokenizer.json: found id None for 'more', expected 25, as in .*vocab.txt"):
        folder_tokenizer(folder)
    (folder / 'vocab.txt').write_text('\n'.join(VOCABULARY), encoding='utf-8')
    assert folder_tokenizer(folder).settings.do_lower_case is True  # transformers takes this file's, too
    assert 'tokenizer.json says otherwise' in caplog.text
    (folder / 'added_tokens.json').write_text('{"newword": 30}')
    with pytest.raises(UserError, match=r"added_tokens.json: found added tokens \['newword'\]"):
        folder_tokenizer(folder)


# JSON that stands where it should not, in place of any part of a file.
ODD = [None, True, 0, -1, 'x', '[MASK]', [], ['x'], [[]], [{}], {}, {'x': 1}, {'content': [1]}, {'type': 3}, '\ud83d']


def _places(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*path, key))


def _replaced(value, path, odd):
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], odd)
    return copy


def test_odd_values_anywhere_are_errors_of_ours(tmp_path):
    made = library(BertNormalizer(), VOCABULARY[:9])
    made.add_special_tokens(['[PAD]', '[extra]'])
    config = json.loads(FullTokenizer(folder_of(tmp_path / 'm') / 'vocab.txt').config_file(9)) | {
        'never_split': ['[CLS]'],
        'do_basic_tokenize': True,
    }
    config |= {'added_tokens_decoder': {'0': PAD}, 'additional_special_tokens': ['[extra]']}
    files = {'tokenizer': json.loads(made.to_str()), 'tokenizer_config': config, 'added_tokens': {'[extra]': 30}}
    refused = 0
    for name, values in files.items():
        folder = tmp_path / name
        folder.mkdir()
        for path in _places(values):
            for odd in ODD:
                (folder / f'{name}.json').write_text(json.dumps(_replaced(values, path, odd)))
                try:
                    folder_tokenizer(folder)
                    if name == 'tokenizer':
                        load_vocab(folder / 'tokenizer.json')
                except UserError as e:
                    refused += 1
                    assert '\n' not in str(e) and len(str(e)) < 900
    assert refused > 300


def test_lines_keep_the_ids_of_a_vocabulary_with_gaps(tmp_path):
    vocab = {'[UNK]': 7, '[PAD]': 0, '[CLS]': 9, '[SEP]': 3, '[MASK]': 4, 'a': 1, '\u3000': 2, 'b\rc': 5}
    (tmp_path / 'vocab.txt').write_bytes(as_lines(vocab))
    back = load_vocab(tmp_path / 'vocab.txt')
    assert back == {token: index for token, index in vocab.items() if '\r' not in token}
    with open(tmp_path / 'vocab.txt', encoding='utf-8') as f:
        lines = [line.rstrip('\n') for line in f.readlines()]  # as transformers reads it
    assert len(lines) == 10 and all(lines[index] == token for token, index in back.items())
    assert lines[5] == '[unused_gap_5]' and len(set(lines)) == 10


def test_a_pretrained_checkpoint_says_how_its_samples_were_cut(tmp_path, caplog):
    from types import SimpleNamespace

    from ernie.pretrain.trainer import tokenizer_of_samples

    samples, model = folder_of(tmp_path / 's', {'do_lower_case': False}), folder_of(tmp_path / 'm')
    unsaid = SimpleNamespace(folder_tokenizer=folder_tokenizer(model))
    assert tokenizer_of_samples(str(samples / 'train_filelist'), unsaid).do_lower_case is False and not caplog.records
    cased = SimpleNamespace(folder_tokenizer=folder_tokenizer(samples))
    assert tokenizer_of_samples(str(model / 'train_filelist'), cased).do_lower_case is False
    lower = SimpleNamespace(folder_tokenizer=folder_tokenizer(folder_of(tmp_path / 'l', {'do_lower_case': True})))
    assert tokenizer_of_samples(str(samples / 'train_filelist'), lower).do_lower_case is False
    assert 'the samples were cut in another way than the model learnt' in caplog.text
