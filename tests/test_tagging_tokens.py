"""Every token of a tagging file keeps its row, label and place in the score; new text is cut as the training was."""

import json
import logging

import numpy as np
import pytest
from seqeval.metrics import f1_score

from ernie.inference.folder import ModelFolder
from ernie.reader.sequence_label import SequenceLabelReader
from ernie.reader.token_labels import IGNORED, label_ids
from ernie.tokenization import FullTokenizer
from tests.ernie.tiny_inference import infer, write_checkpoint
from tests.ernie.tiny_model import VOCABULARY, messages, write_model
from tests.ernie.tiny_tagging import label_map, run, sentences, write_conll, write_map, write_rows

NOTHING = [
    '\u200b',
    '\ue000',
    '\ufe0f',
    '\u0301',
    ' ',
    '\u3000',
    '\x07',
    '\ufeff',
]  # the tokenizer makes no piece of them


def with_nothing(rows, seed, longest=12):
    """The rows, some with tokens without text inside and at the ends of entities, some longer than the model reads."""
    rng, made = np.random.default_rng(seed), []
    for i, (tokens, labels) in enumerate(rows):
        tokens, labels = list(tokens), list(labels)
        for _ in range(i % 3):
            at = int(rng.integers(len(tokens) + 1))
            before = labels[at - 1] if at else 'O'
            tokens.insert(at, NOTHING[int(rng.integers(len(NOTHING)))])
            labels.insert(at, before if before == 'O' else f'I{before[1:]}')
        made.append((tokens, labels) if i % 5 else (tokens * 3, labels * 3))
    return [*made, (['\u200b'], ['B-PER']), (['\ue000', '\u3000'], ['O', 'O'])]


class Setting:
    def __init__(self, root):
        self.root = root
        self.model, self.map = write_model(root / 'm'), write_map(root / 'map.json')
        self.train = [*with_nothing(sentences(60, 1), 1), (list('在fine1是'), ['O', *['B-LOC'], *['I-LOC'] * 4, 'O'])]
        self.dev = with_nothing(sentences(20, 2), 2)
        self.files = {name: write_rows(root / f'{name}.tsv', getattr(self, name)) for name in ('train', 'dev')}
        self.files['test'] = write_rows(root / 'test.tsv', self.dev, columns=('text_a',))

    def run(self, name, **values):
        shared = {
            'label_map_config': self.map,
            'init_pretraining_params': self.model,
            'train_set': self.files['train'],
            'dev_set': self.files['dev'],
            'test_set': self.files['test'],
            'test_save': self.root / name / 'test',
            'checkpoints': self.root / name,
            'epoch': 5,
            'learning_rate': 0.02,
            'validation_steps': 1000,
        }
        return run(**(shared | values))


@pytest.fixture(scope='module')
def setting(tmp_path_factory):
    return Setting(tmp_path_factory.mktemp('tokens'))


@pytest.fixture(scope='module', params=[False, True], ids=['softmax', 'crf'])
def trained(request, setting):
    """(folder, log) of a run."""
    name = f'crf_{request.param}'
    return setting.root / name, setting.run(name, use_crf=request.param).log


def written(path):
    rows = [line.split('\t') for line in path.read_text(encoding='utf-8').split('\n')[:-1]]
    return [(tokens.split(' '), labels.split(' '), numbers.split(' ')) for tokens, labels, numbers in rows]


def test_a_label_for_every_token_and_the_score_of_the_file(setting, trained):
    folder, log = trained
    rows = written(folder / 'test.4.final')
    gold = [labels for _, labels in setting.dev]
    assert [tuple(map(len, row)) for row in rows] == [(len(labels),) * 3 for labels in gold]
    for (tokens, labels, numbers), (given, _) in zip(rows, setting.dev, strict=True):
        assert tokens == [''.join(token.split()) or '[UNK]' for token in given]
        assert labels[13:] == ['O'] * len(labels[13:]) and set(numbers[13:]) <= {'0.00000'}
    metrics = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    logged = [entry['f1'] for entry in metrics if entry['phase'] == 'dev']
    assert logged[-1] > 0.1 and logged[-1] == pytest.approx(f1_score(gold, [labels for _, labels, _ in rows]), abs=1e-6)
    dev = setting.files['dev']
    beyond = sum(max(len(labels) - 13, 0) for labels in gold)
    what = f'do not fit into 15 tokens: {beyond} tokens beyond are not learned, and count as labelled O'
    assert any(line.startswith(dev) and what in line for line in messages(log))
    assert 'begin with I-' not in log


def test_new_text_is_cut_as_the_training_was(setting, trained):
    folder, log = trained
    saved = json.loads((folder / 'best/labels.json').read_text())
    assert saved['token_cut'] == {'rule': 'characters', 'tokens': ['space', 'mark', 'invisible']}
    assert any('raw text will be cut as its tokens are: each character is a token' in line for line in messages(log))
    task = ModelFolder(folder / 'best').codec
    reader = SequenceLabelReader(task.tokenizer, 15, label_map(), cache=False)
    rows = reader.read(setting.files['train'])
    for i, (tokens, _) in enumerate(setting.train):
        for text in (''.join(tokens), '\x02'.join(tokens)):
            windows = task.encode({'text_a': text})
            words, start = windows.context.words, 0
            assert [text[a:b] for a, b in zip(words.starts, words.ends, strict=True)] == tokens
            if len(tokens) <= 13:
                assert windows.ids == [rows.row(i)[0].tolist()]
            for token, begin in zip(tokens, words.starts, strict=True):
                start = text.index(token, start)
                assert begin == start
                start += len(token)


def test_a_test_set_of_raw_text_is_cut_the_same_way(setting, trained):
    folder, _ = trained
    path = setting.root / f'raw_{folder.name}.tsv'
    path.write_text('text_a\n在fine1 是\n\u200b\n', encoding='utf-8')
    save = setting.root / f'raw_{folder.name}'
    evaluation = {'do_train': False, 'do_val': False, 'init_pretraining_params': None, 'label_map_config': None}
    setting.run('e', **evaluation, init_checkpoint=folder / 'best', test_set=path, test_save=save, dev_set=None)
    (result,) = setting.root.glob(f'raw_{folder.name}.*.final')
    assert [tokens for tokens, _, _ in written(result)] == [['在', *'fine1', '[UNK]', '是'], ['\u200b']]


# ------------------------------------------------------------------------------------------------ reading


def read(tmp_path, rows, write=write_rows, max_seq_len=15):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    tokenizer = FullTokenizer(str(path))
    return SequenceLabelReader(tokenizer, max_seq_len, label_map(), cache=False).read(write(tmp_path / 'a.txt', rows))


@pytest.mark.parametrize('write', [write_rows, write_conll])
def test_tokens_without_text_keep_their_labels(tmp_path, write):
    rows = [(['的', '\u200b', '一'], ['O', 'B-PER', 'I-PER']), (['\ue000'], ['O']), (['\ufe0f', '了'], ['O', 'O'])]
    made, names = read(tmp_path, rows, write), list(label_map())
    unknown = VOCABULARY.index('[UNK]')
    for i, (tokens, labels) in enumerate(rows):
        ids = made.row(i)[0].tolist()[1:-1]
        assert [index == unknown for index in ids] == [token not in VOCABULARY for token in tokens]
        entries = made.token_labels[made.offsets[i] : made.offsets[i + 1]]
        assert [names[j] for j in label_ids(entries, len(names)) if j != IGNORED] == labels


@pytest.mark.parametrize(
    ('labels', 'bare'),
    [
        (['B-PER', 'I-PER', 'O', 'O', 'O'], 0),
        (['O', 'I-PER', 'O', 'O', 'I-LOC'], 2),
        (['O', 'O', 'B-PER', 'I-PER', 'I-PER'], 0),  # the last two do not fit
        (['O', 'O', 'O', 'I-PER', 'O'], 1),
        (['O', 'O', 'I-LOC', 'I-LOC', 'I-PER'], 2),
    ],
)
def test_the_warning_of_beginnings_looks_at_the_labels_of_the_file(tmp_path, caplog, labels, bare):
    caplog.set_level(logging.WARNING)
    read(tmp_path, [(['\ue000', '的', '\u200b', '一', '是'], labels)], max_seq_len=5)
    said = [record.message for record in caplog.records if 'begin with I-' in record.message]
    assert len(said) == bool(bare) and all(f': {bare} chunks begin' in line for line in said)


@pytest.mark.parametrize('kind', ['tagging', 'crf', 'classify', 'reading'])
def test_new_texts_of_nothing_give_a_result_each(tmp_path, kind):
    folder = write_checkpoint(tmp_path / 'c', kind)
    if kind in ('tagging', 'crf'):
        labels = json.loads((folder / 'labels.json').read_text())
        cut = {'rule': 'characters', 'tokens': ['invisible']}
        (folder / 'labels.json').write_text(json.dumps(labels | {'token_cut': cut}))
    texts = ['\u200b', '好\ue000坏', '\u0301', '', '\ufeff ']
    key = {'reading': 'context'}.get(kind, 'text_a')
    records = [{key: text} | ({'question': '\u200b'} if kind == 'reading' else {}) for text in texts]
    records = [record for record in records if kind != 'reading' or record['context'].strip()]
    lines = ''.join(json.dumps(record) + '\n' for record in records).encode()
    ran = infer(
        lines, init_checkpoint=folder, predict_set='-', save_inference_model_path='', use_cuda=False, format='jsonl'
    )
    assert 'Traceback' not in ran.log and 'do not fit' not in ran.log
    results = [json.loads(line) for line in ran.out.splitlines()]
    assert len(results) == len(records)
    for record, result in zip(records, results, strict=True):
        for entity in result.get('entities', ()):
            assert record['text_a'][entity['start'] : entity['end']] == entity['text'] != ''
        if kind == 'reading' and result['answer']:
            assert record['context'][result['start'] : result['end']] == result['answer']
