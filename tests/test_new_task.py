"""What docs/pretraining.md promises: a task of one file and one line is built, read, trained and scored."""

import gzip
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

from propeller.storage import open_tensors
from tests.ernie.building_texts import write_documents
from tests.ernie.tiny_model import BAD, FILLING, GOOD, VOCABULARY, flags, records
from tests.ernie.tiny_pretraining import PRETRAIN_SETTINGS, write_config

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r'^<!-- file: (ernie/pretrain/tasks/\w+\.py) -->\n```python\n(.*?)^```$', re.S | re.M)


def add_task(tree):
    """A copy of the programs in `tree`, with the task of the page: its file, and its line in the table."""
    for name in ('ernie', 'propeller'):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns('__pycache__'))
    shutil.copy(ROOT / 'train.py', tree)
    ((path, source),) = EXAMPLE.findall((ROOT / 'docs/pretraining.md').read_text(encoding='utf-8'))
    (tree / path).write_text(source, encoding='utf-8')
    table = tree / 'ernie/pretrain/tasks/__init__.py'
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


def test_a_task_of_one_file_and_one_line(tmp_path):
    tree, built = tmp_path / 'tree', tmp_path / 'built'
    add_task(tree)
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
