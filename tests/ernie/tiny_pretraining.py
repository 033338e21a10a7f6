"""Small sample files that two layers can learn from, and train.py in this process."""

import contextlib
import gzip
import io
import json

import numpy as np

from tests.ernie.tiny_model import CONFIG, VOCABULARY, Ran, flags

PRETRAIN_SETTINGS = {
    'use_cuda': False,
    'batch_size': 110,
    'max_seq_len': 17,
    'num_train_steps': 12,
    'warmup_steps': 0,
    'learning_rate': 1e-3,
    'skip_steps': 3,
    'validation_steps': 100,
    'save_steps': 100,
    'buffer_size': 20,
}
CLS, SEP = 1, 2


def pair(rng, positive):
    """A line of ERNIE 1.0: two parts whose tokens are of one half of the vocabulary, or of both."""
    low, high = (5, 20) if rng.random() < 0.5 else (20, 35)
    first = rng.integers(low, high, rng.integers(2, 7)).tolist()
    other = (low, high) if positive else ((20, 35) if low == 5 else (5, 20))
    second = rng.integers(*other, rng.integers(2, 7)).tolist()
    ids = [CLS, *first, SEP, *second, SEP]
    types = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    segments = [-1, *units(rng, len(first)), -1, *units(rng, len(second)), -1]
    return [ids, types, list(range(len(ids))), segments]


def units(rng, length):
    """Segment labels of `length` tokens: units of one to three."""
    labels = (rng.random(length) < 0.4).astype(int)
    labels[0] = 0
    return labels.tolist()


def first_form(count, seed):
    """Lines of ERNIE 1.0."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        positive = i % 2
        lists = pair(rng, positive)
        lines.append(';'.join([*(' '.join(map(str, values)) for values in lists), str(positive)]))
    return lines


def task_form(task, task_id, count, seed):
    """Lines of one task. `capitalization`: even ids are capitals; `sentence_distance`: by the halves of both parts."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        lists = pair(rng, i % 2)
        label = [-1 if x in (CLS, SEP) else x % 2 for x in lists[0]] if task == 'capitalization' else [2 * (i % 2)]
        fields = [*(' '.join(map(str, values)) for values in lists), str(task_id)]
        lines.append(';'.join([*fields, f'{task}={" ".join(map(str, label))}', 'knowledge_masking=']))
    return lines


def write_files(folder, name, *blocks, probability=1.1):
    """A gz file of each block of lines, and their list; returns the path of the list as text."""
    folder.mkdir(exist_ok=True)
    paths = []
    for i, lines in enumerate(blocks):
        paths.append(folder / f'{name}_{i}.gz')
        with gzip.open(paths[-1], 'wt', encoding='ascii') as f:
            f.write('\n'.join(lines) + '\n')
    listed = folder / f'{name}_filelist'
    listed.write_text(''.join(f'{path}\t{probability}\n' for path in paths))
    return str(listed)


def write_config(folder, **changes):
    """Flags of a model configuration and a vocabulary in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps({**CONFIG, **changes}))
    (folder / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return {'ernie_config_path': folder / 'config.json', 'vocab_path': folder / 'vocab.txt'}


def run_train(**values):
    """`train.main` in this process with `PRETRAIN_SETTINGS` and these flags. Returns `Ran`."""
    import train

    with contextlib.redirect_stderr(io.StringIO()) as log, contextlib.redirect_stdout(io.StringIO()) as out:
        train.main(flags(**(PRETRAIN_SETTINGS | values)))
    return Ran(log.getvalue(), out.getvalue())
