"""What docs/pretraining.md and docs/tasks.md promise: a task is one file and one line, and goes all the way."""

import gzip
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from propeller.storage import open_tensors
from tests.ernie.building_texts import write_documents
from tests.ernie.tiny_model import BAD, FILLING, GOOD, SETTINGS, VOCABULARY, flags, records, table, write_model
from tests.ernie.tiny_pretraining import PRETRAIN_SETTINGS, write_config

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r'^<!-- file: (ernie/[\w/]+\.py) -->\n```python\n(.*?)^```$', re.S | re.M)


def add_file(tree, page):
    """A copy of the packages in `tree` with the file that a page shows; its path there."""
    for name in ('ernie', 'propeller'):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns('__pycache__'))
    ((path, source),) = EXAMPLE.findall((ROOT / page).read_text(encoding='utf-8'))
    (tree / path).write_text(source, encoding='utf-8')
    return path


def add_pretraining_task(tree):
    """The task of docs/pretraining.md: its file, and its line in the table."""
    path, table = add_file(tree, 'docs/pretraining.md'), tree / 'ernie/pretrain/tasks/__init__.py'
    shutil.copy(ROOT / 'train.py', tree)
    head, opening, entries = table.read_text(encoding='utf-8').partition('    for task in (\n')
    assert opening
    line = f'from ernie.pretrain.tasks.{Path(path).stem} import SentenceOrder\n'
    table.write_text(head.replace('from ', line + 'from ', 1) + opening + '        SentenceOrder,\n' + entries)


def run(tree, *command):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write_corpus(path, count):
    """Documents of two sentences: something good, then something bad."""
    rng = random.Random(5)
    fill = lambda: ''.join(rng.choices(FILLING, k=rng.randint(0, 4)))  # noqa: E731
    sentences = lambda: [f'{fill()}{rng.choice(words)}{fill()}。' for words in (GOOD, BAD)]  # noqa: E731
    write_documents(path, [[''.join(sentences())] for _ in range(count)])


def labelled(path):
    """(text, label) of each line of a sample file."""
    with gzip.open(path, 'rt', encoding='ascii') as f:
        rows = [line.rstrip('\n').split(';') for line in f]
    assert {row[4] for row in rows} == {'9'}
    return [(''.join(VOCABULARY[int(i)] for i in row[0].split()), row[5]) for row in rows]


def test_a_pretraining_task(tmp_path):
    tree, built = tmp_path / 'tree', tmp_path / 'built'
    add_pretraining_task(tree)
    config = write_config(
        tmp_path / 'config',
        use_task_id=True,
        task_type_vocab_size=10,
        hidden_size=24,
        num_hidden_layers=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    write_corpus(tmp_path / 'text.txt', 500)
    building = {'input': tmp_path / 'text.txt', 'output': built, 'vocab_path': config['vocab_path'], 'max_seq_len': 17}
    printed = run(
        *(tree, '-m', 'ernie.pretrain.build_data'),
        *flags(**building, tasks='sentence_order', valid_share=0.2, processes=1),
    )
    assert re.search(r'^train: sentence_order 0: \d+ \(\d\d\.\d %\), 1: \d+ \(\d\d\.\d %\)$', printed, re.M)
    found = [row for split in ('train', 'valid') for row in labelled(built / f'{split}-00000.gz')]
    assert len(found) == 500
    for text, label in found:
        first, second = text.removeprefix('[CLS]').removesuffix('[SEP]').split('[SEP]')
        in_order = bool(set(first) & set(GOOD)) and bool(set(second) & set(BAD))
        assert label == f'sentence_order={int(in_order)}'
    training = {
        'train_filelist': built / 'train_filelist',
        'valid_filelist': built / 'valid_filelist',
        'checkpoints': tmp_path / 'c',
        'batch_size': 400,
        'num_train_steps': 120,
        'learning_rate': 5e-3,
        'skip_steps': 1,
        'validation_steps': 120,
    }
    log = run(tree, 'train.py', *flags(**{**PRETRAIN_SETTINGS, **config, **training, 'tasks': 'sentence_order'}))
    assert re.search(r'stage 1, tasks: sentence_order loss \d\.\d{4}, acc \d\.\d{4}, share 1\.000$', log, re.M)
    steps, (valid,) = records(tmp_path / 'c', 'train'), records(tmp_path / 'c', 'valid')
    assert len(steps) == 120
    assert 0.2 < steps[0]['sentence_order_acc'] < 0.8
    assert valid['sentence_order_acc'] > 0.9
    assert valid['loss'] == valid['sentence_order_loss'] < 0.4
    parameters = open_tensors(tmp_path / 'c' / 'step_120')
    assert parameters['sentence_order_fc.w_0'].shape == (24, 2)
    assert not [name for name in parameters if name.startswith(('next_sent', 'mask_lm'))]


# ------------------------------------------------------------------------------------------------ fine-tuning

ALL_THE_WAY = """
import json, sys
import ernie
from ernie.command import main
verbs, checkpoint, pairs = json.loads(sys.argv[1])
for verb in verbs:
    assert main(verb) == 0
with ernie.load(checkpoint, engine='executor') as model:
    print(*(json.dumps(result) for result in model(tuple(pair) for pair in pairs)), sep='\\n')
"""


def pairs_of_words(count, seed):
    """[(text, text, whether both are good or both are bad)]."""
    rng = random.Random(seed)
    texts = lambda kind: ''.join(rng.sample(FILLING, 2)) + rng.choice((BAD, GOOD)[kind]) + rng.choice(FILLING)  # noqa: E731
    kinds = [(rng.randrange(2), rng.randrange(2)) for _ in range(count)]
    return [(texts(a), texts(b), float(a == b)) for a, b in kinds]


@pytest.mark.slow
def test_a_fine_tuning_task(tmp_path):
    """In one process: trains, trains half of it and resumes, exports, predicts; and `ernie.load`."""
    tree, model = tmp_path / 'tree', write_model(tmp_path / 'm')
    add_file(tree, 'docs/tasks.md')
    path = tree / 'ernie/tasks/table.py'
    path.write_text(
        path.read_text(encoding='utf-8').replace('    mrc=', "    similarity='ernie.tasks.similarity:SPEC',\n    mrc=")
    )
    columns, sets = ['text_a', 'text_b', 'label'], {}
    for seed, name in enumerate(('train', 'dev')):
        sets[name] = table(tmp_path / f'{name}.tsv', pairs_of_words((300, 60)[seed], seed), columns)
    new = pairs_of_words(7, 9)
    lines = tmp_path / 'new.jsonl'
    lines.write_text(''.join(json.dumps({'text_a': a, 'text_b': b}) + '\n' for a, b, _ in new))
    settings = {**SETTINGS, 'init_pretraining_params': model, 'train_set': sets['train'], 'batch_size': 30}
    settings |= {'epoch': 6, 'validation_steps': 30, 'save_steps': 30, 'learning_rate': 0.01, 'warmup_proportion': 0}
    whole = {**settings, 'checkpoints': tmp_path / 'a', 'dev_set': sets['dev'], 'test_set': sets['dev']}
    part = {**settings, 'checkpoints': tmp_path / 'b', 'do_val': False, 'do_test': False}
    exported = tmp_path / 'e' / 'best_inference_model'
    verbs = [
        ['finetune', 'compare', *flags(**whole, test_save=tmp_path / 'p')],
        ['finetune', 'compare', *flags(**part, max_steps=30)],
        ['finetune', 'compare', *flags(**part, resume=True)],
        ['export', *flags(init_checkpoint=tmp_path / 'a/best', save_inference_model_path=tmp_path / 'e')],
        ['predict', *flags(init_checkpoint=exported, predict_set=lines, carry=False, task='similarity')],
    ]
    done = run(
        tree, '-c', ALL_THE_WAY, json.dumps([verbs, tmp_path / 'a/best', [pair[:2] for pair in new]], default=str)
    )
    found = [json.loads(line)['similarity'] for line in done.splitlines() if line.startswith('{"similarity"')]
    assert len(found) == 14 and max(abs(a - b) for a, b in zip(found[:7], found[7:], strict=True)) < 1e-5
    assert [value > 0.5 for value in found[:7]] == [bool(label) for _, _, label in new]
    assert records(tmp_path / 'a', 'dev')[-1]['pearson'] > 0.8
    assert len((tmp_path / 'p.5.60').read_text().splitlines()) == 60
    ends = [(tmp_path / name / 'step_60' / 'model.safetensors').read_bytes() for name in 'ab']
    assert ends[0] == ends[1]
    labels = json.loads((tmp_path / 'a/best/labels.json').read_text())
    assert (labels['task'], labels['width'], labels['columns']) == ('similarity', 8, ['text_a', 'text_b'])
    (tmp_path / 'a/best/labels.json').write_text(json.dumps(labels | {'width': 0}))
    again = [sys.executable, '-m', 'ernie', 'export', *flags(init_checkpoint=tmp_path / 'a/best')]
    refused = subprocess.run(list(map(str, again)), cwd=tree, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and 'labels.json: found width 0, expected a whole number from 1' in refused.stderr
