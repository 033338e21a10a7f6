"""What lies beside the tensors is translated: vocabulary, tokenizer, classes; the tokenizers library as oracle."""

import json

import numpy as np
import pytest

from ernie.checkpoint import open_model
from ernie.checkpoint.__main__ import main
from ernie.checkpoint.convert import convert
from ernie.checkpoint.huggingface_check import check_ids, sample_texts
from ernie.checkpoint.labels_json import read_saved_labels
from ernie.checkpoint.model_folder import read_labels
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.inference.folder import ModelFolder
from ernie.run.outputs import model_files
from ernie.tokenization import CharTokenizer, FullTokenizer
from ernie.tokenizers.vocabulary import load_vocab
from propeller.errors import UserError
from propeller.storage import write_safetensors
from tests.ernie.checkpoint_models import (
    BACKBONE,
    HUGGINGFACE_CONFIG,
    as_huggingface,
    huggingface_folder,
    model_folder,
    parameters,
)
from tests.ernie.tiny_inference import write_checkpoint

VALUES = parameters()
# Ids with gaps and out of order, as `token<TAB>id`; 31 rows in the word table.
GAPS = {'[PAD]': 0, '[CLS]': 2, '[SEP]': 3, '[UNK]': 29, '[MASK]': 5, '的': 9, '好': 7, 'Abc': 11, 'abc': 12, 'e': 13}
GAPS |= {'##s': 14, '##bc': 15, 'caf': 16, '##é': 17, '##e': 18, ',': 20, 'a': 21}


def gapped(folder, values=VALUES, **files):
    model_folder(folder, values)
    (folder / 'vocab.txt').write_text(''.join(f'{t}\t{i}\n' for t, i in reversed(GAPS.items())), encoding='utf-8')
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / f'{name}.json').write_text(text, encoding='utf-8')
    return folder


def head(name, width):
    return {
        f'{name}_w': np.arange(12.0 * width, dtype=np.float32).reshape(12, width),
        f'{name}_b': np.ones(width, 'f4'),
    }


@pytest.mark.parametrize('lower', [True, False])
def test_a_vocabulary_with_gaps_keeps_its_ids(tmp_path, lower):
    gapped(tmp_path / 'm', tokenizer_config={'do_lower_case': lower, 'strip_accents': False})
    done = convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    assert done.checked[0].startswith('the same token ids for 100 texts in t') and done.notes == []
    with open(tmp_path / 'hf' / 'vocab.txt', encoding='utf-8') as f:
        lines = [line.rstrip('\n') for line in f.readlines()]
    assert len(lines) == 30 and {token: lines.index(token) for token in GAPS} == GAPS
    config = json.loads((tmp_path / 'hf' / 'tokenizer_config.json').read_text())
    assert config['tokenizer_class'] == 'BertTokenizer' and config['model_max_length'] == 9
    assert config['do_lower_case'] is lower and config['strip_accents'] is False
    convert(tmp_path / 'hf', tmp_path / 'back', 'fluid')  # the fillers are gone again
    assert load_vocab(tmp_path / 'back' / 'vocab.txt') == GAPS
    assert 'unused_gap' not in (tmp_path / 'back' / 'vocab.txt').read_text(encoding='utf-8')
    assert folder_tokenizer(tmp_path / 'back').settings == ('FullTokenizer', lower, False, True)


def test_a_copied_vocabulary_would_be_found_out(tmp_path):
    """As the converter wrote it before: `token<TAB>id` on the lines, which the library takes for tokens."""
    gapped(tmp_path / 'm')
    convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    tokenizer = FullTokenizer(tmp_path / 'm' / 'vocab.txt')
    assert check_ids(str(tmp_path / 'hf'), tokenizer, 'm')
    lines = [f'{token}\n' for token, _ in sorted(GAPS.items(), key=lambda item: item[1])]  # without the gaps
    (tmp_path / 'hf' / 'vocab.txt').write_text(''.join(lines), encoding='utf-8')
    with pytest.raises(UserError, match='gives other ids for the text'):
        check_ids(str(tmp_path / 'hf'), tokenizer, 'm')


def test_sample_texts_hold_every_kind_and_no_special_token():
    texts = sample_texts(GAPS)
    assert len(texts) == 100 == len(sample_texts({'[PAD]': 0}))
    for part in ('京', 'é', '😀', 'Ａ', '\x00', '\u3000', 'ab' * 50 + ' '):
        assert any(part in text for text in texts)
    assert not any('[PAD]' in text for text in texts)


NAMES = ['差', '中', '好']
TAGS = ['O', 'B-PER', 'I-PER']
CLASSIFIER = {'task': 'classification', 'kind': 'classify', 'num_labels': 3, 'labels': NAMES, 'for_cn': True,
              'label_map': {'差': 0, '中': 1, '好': 2}, 'max_seq_len': 8, 'task_id': 0}  # fmt: skip


@pytest.mark.parametrize(
    ('kind', 'problem', 'names'),
    [
        ('classify', 'single_label_classification', NAMES),
        ('multilabel', 'multi_label_classification', NAMES),
        ('regression', 'regression', ['0']),
    ],
)
def test_names_of_classes_there_and_back(tmp_path, kind, problem, names):
    labels = CLASSIFIER | {'kind': kind, 'labels': names, 'num_labels': len(names)}
    labels |= {'label_map': None} if kind == 'regression' else {}
    gapped(tmp_path / 'm', VALUES | head('_cls_out', len(names)), labels=labels)
    convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface')
    config = json.loads((tmp_path / 'hf' / 'config.json').read_text(encoding='utf-8'))
    shown = names if kind != 'regression' else ['LABEL_0']
    assert config['id2label'] == {str(i): name for i, name in enumerate(shown)} and config['problem_type'] == problem
    assert config['label2id'] == {name: i for i, name in enumerate(shown)}
    (tmp_path / 'hf' / 'labels.json').unlink()  # as a folder that others made
    found = read_saved_labels(tmp_path / 'hf')
    assert {key: found[key] for key in ('task', 'kind', 'labels', 'num_labels', 'label_map')} == {
        key: labels[key] for key in ('task', 'kind', 'labels', 'num_labels', 'label_map')
    }
    convert(tmp_path / 'hf', tmp_path / 'back', 'safetensors')
    assert read_labels(tmp_path / 'back')['labels'] == names


def classifier(folder, names=('差', '中', '好'), architecture='BertForSequenceClassification', **config):
    tensors = as_huggingface(VALUES, prefix='bert.')
    tensors |= {'classifier.weight': np.ones((len(names), 12), 'f4'), 'classifier.bias': np.zeros(len(names), 'f4')}
    values = {**HUGGINGFACE_CONFIG, 'architectures': [architecture]}
    values['id2label'] = {str(i): name for i, name in enumerate(names)}
    return huggingface_folder(folder, tensors, values | config)


def test_a_classifier_of_hugging_face_predicts_its_names(tmp_path):
    folder = ModelFolder(classifier(tmp_path / 'hf'))
    assert folder.spec.name == 'classification' and folder.codec.kind == 'classify'
    scores = [np.array([[0.1, 0.2, 0.7]], 'f4')]
    assert folder.codec.decode({}, None, [[scores[0][0]]])['label'] == '好'
    assert folder.settings['for_cn'] is False and folder.settings['max_seq_len'] == 9
    plain = ModelFolder(classifier(tmp_path / 'plain', [f'LABEL_{i}' for i in range(3)]))
    assert plain.settings['labels'] == ['0', '1', '2']
    tagger = ModelFolder(classifier(tmp_path / 'tags', TAGS, 'BertForTokenClassification'))
    assert tagger.spec.name == 'sequence_labeling' and tagger.codec.names == TAGS and tagger.codec.scheme == 'IOB'


def test_heads_of_paddlenlp_go_by_the_class(tmp_path):
    """All its classes call their head `classifier`, also that of reading."""
    folder = classifier(tmp_path / 'hf', ['a', 'b'], id2label=None)
    names = {'classifier.weight': np.ones((12, 2), 'f4'), 'classifier.bias': np.zeros(2, 'f4')}
    names |= {f'ernie.{row[2]}': VALUES[row[0]] for row in BACKBONE}
    write_safetensors(folder / 'model.safetensors', names)
    values = {k: v for k, v in HUGGINGFACE_CONFIG.items() if k not in ('model_type', 'architectures')}
    for kind, head_name in (('SequenceClassification', '_cls_out_w'), ('QuestionAnswering', 'cls_mrc_out_w')):
        values['init_class'] = f'ErnieFor{kind}'
        (folder / 'config.json').write_text(json.dumps(values))
        model = open_model(folder)
        assert model.source == 'paddlenlp' and head_name in model and model.unmapped == []
    assert read_labels(folder)['task'] == 'mrc'


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        ({'id2label': {'0': 'a', '2': 'b', '1': 'a'}}, "'a' twice in id2label"),
        ({'id2label': {'0': 'a', '1': 'b', '3': 'c'}}, 'no id 2 in id2label'),
        ({'id2label': ['a', 'b', 'c']}, 'id2label'),
        ({'label2id': {'差': 2}}, "'差' as 2 in label2id"),
        ({'problem_type': 'ranking'}, "problem_type 'ranking'"),
        ({'problem_type': 'regression'}, 'problem_type regression with 3 classes'),
    ],
)
def test_classes_that_cannot_be(tmp_path, config, found):
    with pytest.raises(UserError) as e:
        read_saved_labels(classifier(tmp_path / 'hf', **config))
    assert str(e.value).startswith(f'{tmp_path}/hf/config.json: found {found}')


def test_contradictions_between_the_two_files(tmp_path):
    folder = classifier(tmp_path / 'hf')
    for labels, found in (
        (CLASSIFIER | {'labels': ['好', '中', '差']}, "labels ['好', '中', '差'], expected ['差', '中', '好'], as in"),
        (CLASSIFIER | {'labels': ['好', '好', '差']}, "the label '好' twice, expected each name once"),
        ({'task': 'mrc'}, "task 'mrc', expected 'classification'"),
    ):
        (folder / 'labels.json').write_text(json.dumps(labels))
        with pytest.raises(UserError) as e:
            read_saved_labels(folder)
        assert str(e.value).startswith(f'{folder}/labels.json: found {found}')


def test_the_program_says_what_it_checked_and_what_does_not_hold(tmp_path, capsys):
    labels = {'task': 'sequence_labeling', 'labels': TAGS, 'num_labels': 3, 'use_crf': True, 'task_id': 2}
    gapped(tmp_path / 'm', VALUES | head('cls_seq_label_out', 3) | {'crfw': np.ones((5, 3), 'f4')}, labels=labels)
    main(['convert', str(tmp_path / 'm'), str(tmp_path / 'hf'), '--to', 'huggingface'])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith('checked: the same token ids for 100 texts in t')
    assert lines[2].startswith('note: the CRF over the labels has no place there')
    assert lines[3] == 'note: the model was trained with task id 2: give it as task_type_ids'
    (tmp_path / 'm' / 'tokenizer_config.json').write_bytes(CharTokenizer(tmp_path / 'm' / 'vocab.txt').config_file(9))
    main(['convert', str(tmp_path / 'm'), str(tmp_path / 'char'), '--to', 'huggingface'])
    out = capsys.readouterr().out
    assert 'note: CharTokenizer has no counterpart there, so token ids were not compared' in out
    assert 'checked' not in out and json.loads((tmp_path / 'char' / 'labels.json').read_text())['use_crf'] is True


def test_a_folder_with_tokenizer_json_alone_goes_into_every_format(tmp_path):
    tokenizers = pytest.importorskip('tokenizers')
    folder = huggingface_folder(tmp_path / 'hf', as_huggingface(VALUES))
    vocab = {token: i for i, token in enumerate(sorted(GAPS, key=GAPS.get))}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token='[UNK]'))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.save(str(folder / 'tokenizer.json'))
    (folder / 'vocab.txt').unlink()
    for to in ('fluid', 'safetensors', 'huggingface'):
        convert(folder, tmp_path / to, to)
        assert load_vocab(tmp_path / to / 'vocab.txt') == vocab
        assert folder_tokenizer(tmp_path / to).settings.do_lower_case is False


def test_the_model_card_goes_along_and_changes_nothing(tmp_path):
    ours = write_checkpoint(tmp_path / 'ours')
    before, files = open_model(ours), model_files(str(ours))
    (ours / 'README.md').write_text('---\ntags: [ernie]\n---\n投诉\n', encoding='utf-8')
    assert list(open_model(ours)) == list(before) and model_files(str(ours)) == files
    for to in ('huggingface', 'safetensors', 'fluid'):
        convert(ours, tmp_path / to, to)
        assert (tmp_path / to / 'README.md').read_bytes() == (ours / 'README.md').read_bytes()
        assert read_saved_labels(tmp_path / to)['labels'] == read_saved_labels(ours)['labels']


def test_a_token_that_comes_twice_keeps_its_later_id_there(tmp_path):
    gapped(tmp_path / 'm')
    lines = [*GAPS, 'abc', 'e']  # one token a line
    (tmp_path / 'm' / 'vocab.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    assert convert(tmp_path / 'm', tmp_path / 'hf', 'huggingface').checked
    found = load_vocab(tmp_path / 'hf' / 'vocab.txt')
    assert found['abc'] == len(GAPS) and found['e'] == len(GAPS) + 1 and len(found) == len(GAPS)


@pytest.mark.parametrize('odd', [None, 1, 'x', [], ['a'], {}, {'0': 1}, {'0': []}, [[1]]])
@pytest.mark.parametrize(
    'key',
    ['id2label', 'label2id', 'problem_type', 'architectures', 'model_type', 'max_position_embeddings', 'init_args'],
)
def test_odd_values_in_a_configuration_are_errors_of_ours(tmp_path, key, odd):
    folder = classifier(tmp_path / 'hf', **{key: odd})
    try:
        open_model(folder)
        read_saved_labels(folder)
    except UserError as e:
        assert 'config.json: ' in str(e)


@pytest.mark.parametrize('kind', ['base', '_cls_out', 'cls_seq_label_out', 'cls_mrc_out'])
def test_transformers_computes_the_same(tmp_path, kind):
    pytest.importorskip('torch')
    pytest.importorskip('transformers')
    from ernie.inference.huggingface_check import check_outputs

    values = VALUES if kind == 'base' else VALUES | head(kind, 2 if kind == 'cls_mrc_out' else 3)
    done = convert(gapped(tmp_path / 'm', values), tmp_path / 'hf', 'huggingface', check=check_outputs)
    assert done.checked[0].startswith('the same token ids for 100 texts in transformers')
    assert done.checked[1].startswith('the same hidden states' + ('' if kind == 'base' else ' and scores'))
