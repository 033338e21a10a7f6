"""Folders of runs as trainings leave them, without a training: for the tests of reports."""

import json

import numpy as np

from ernie.metrics.outcomes import class_outcomes
from ernie.metrics.report import class_report
from ernie.report.facts import write_facts
from ernie.report.sets import write_set
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from propeller.train.record import MetricsFile

NAMES = ['投诉<b>', '칭찬 & "인용"', 'a|b_c']
EVIL = '</td><script>alert(1)</script><img src="http://evil.example/x.png" onerror="x">'


class Rows:
    """What a task has read."""

    def __init__(self, path, labels):
        self.path, self.labels, self.lines = str(path), labels, np.arange(2, 2 + len(labels))

    def __len__(self):
        return len(self.labels)


def write_run(folder, dev, seed=0, skill=1.0, step=20, **settings):
    """A run of `folder` whose classifier was scored on `dev`, a file of 3 classes; `skill`: how good it is."""
    (folder / 'best').mkdir(parents=True)
    lines = dev.read_text(encoding='utf-8').splitlines()[1:]
    labels = np.array([int(line.split('\t')[1]) for line in lines])
    rng = np.random.default_rng(seed)
    scores = rng.gumbel(size=(len(labels), 3)) + skill * 2 * (labels[:, None] == np.arange(3))
    probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    outcomes = class_outcomes(labels, probabilities, NAMES)
    report = class_report(labels, probabilities.argmax(-1), 3, NAMES)
    acc = report['accuracy']
    values = {'loss': 0.5, 'acc': acc, 'data_num': len(labels), 'elapsed': 1.0}
    facts = {'file': str(dev), 'place': 0, 'step': step, 'values': values, 'main_value': acc, 'report': report}
    texts = lambda wanted: ((row, {'text_a': lines[row].split('\t')[0]}) for row in wanted)  # noqa: E731
    write_set(folder / 'reports', 'dev', Rows(dev, labels), texts, outcomes, facts)
    scored = {'file': str(dev), 'step': step, 'epoch': 0, **values, 'main_value': acc}
    (folder / 'best/metrics.json').write_text(json.dumps(scored))
    (folder / 'best/labels.json').write_text('{}')
    with MetricsFile(folder / 'metrics.jsonl') as f:
        for at in (10, 20, 30):
            f.append('train', at, 0, {'loss': 3 / at, 'learning_rate': 1e-4, 'steps_per_second': 1.0})
            f.append('dev', at, 0, {'loss': 0.5, 'acc': acc, 'file': str(dev)})
    given = {'train_set': 'train.tsv', 'dev_set': str(dev), 'checkpoints': str(folder), **settings}
    run_yaml.write_settings(str(folder), FinetuneSettings(**given), 'finetune classification')
    write_facts(folder, FACTS)
    return folder


def write_dev(path, count=90):
    """A dev set of `count` rows, one of which holds HTML."""
    rng = np.random.default_rng(1)
    texts = [EVIL if i == 0 else f'第{i}条 리뷰 {i}' for i in range(count)]
    rows = [f'{text}\t{label}' for text, label in zip(texts, rng.integers(3, size=count), strict=True)]
    path.write_text('\n'.join(['text_a\tlabel', *rows]) + '\n', encoding='utf-8')
    return path


FACTS = {
    'version': '1.2',
    'task': 'classification',
    'kind': 'classify',
    'columns': ['text_a'],
    'languages': ['zh', 'ko'],
    'seconds': 3725.0,
    'model': {
        'path': 'models/base_zh',
        'origin': {'name': 'multilingual-e5-small', 'weights': 'intfloat/multilingual-e5-small (MIT licence)'},
        'parameters': 21_000_000,
        'layers': 12,
        'hidden': 384,
        'vocabulary': 8000,
    },
    'train': {
        'file': 'data/train.tsv',
        'rows': 1234,
        'tokens_mean': 21.5,
        'tokens_most': 64,
        'max_seq_len': 64,
        'cut': 7,
        'classes': [[NAMES[0], 1000], [NAMES[1], 230], [NAMES[2], 4]],
    },
    'dev': [{'file': 'data/dev.tsv', 'rows': 90}],
}
