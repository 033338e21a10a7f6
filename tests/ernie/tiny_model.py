"""A small random ERNIE as a real model folder, and small real-looking data sets, for the tests of fine-tuning."""

import contextlib
import io
import json
from typing import NamedTuple

import numpy as np

from ernie.checkpoint import backbone_shapes
from ernie.config import ErnieConfig
from propeller.storage.fluid import write_variable

CONFIG = {
    'vocab_size': 61,
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'max_position_embeddings': 17,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.2,
}
TASK_CONFIG = {**CONFIG, 'use_task_id': True, 'task_type_vocab_size': 3}
GOOD, BAD = '好美赞棒香', '差丑烂坏臭'
FILLING = '的一是不了人我在有他这中大来上国个到说们'
VOCABULARY = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *GOOD, *BAD, *FILLING, 'fine', '##ly', 'poor', ',', '。']


def random_parameters(config=CONFIG, seed=0):
    """dict name -> float32 array of the encoder: words N(0, 1), other tables N(0, 0.05), weights N(0, 0.2), biases 0.

    Words that differ that much can be told apart within a few dozen steps, whatever the seed.
    """
    rng = np.random.default_rng(seed)

    def values(name, shape):
        if len(shape) == 1:
            return np.full(shape, float(name.endswith('_scale')), np.float32)
        std = 1.0 if name == 'word_embedding' else 0.05 if name.endswith('_embedding') else 0.2
        return (std * rng.standard_normal(shape)).astype(np.float32)

    return {name: values(name, shape) for name, shape in backbone_shapes(ErnieConfig(config)).items()}


def write_model(folder, parameters=None, config=CONFIG, vocabulary=VOCABULARY):
    """`params/` (fluid layout), `vocab.txt`, `ernie_config.json` under `folder`, which is returned."""
    (folder / 'params').mkdir(parents=True)
    for name, value in (random_parameters(config) if parameters is None else parameters).items():
        write_variable(folder / 'params' / name, value)
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary) + '\n', encoding='utf-8')
    (folder / 'ernie_config.json').write_text(json.dumps(config))
    return folder


def sentences(count, seed, words=(BAD, GOOD), most=9):
    """`count` pairs (text, class): filling of random length with one or two characters that tell the class."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        label = int(rng.integers(len(words))) if i >= len(words) else i
        text = list(rng.choice(list(FILLING), rng.integers(1, most)))
        for _ in range(rng.integers(1, 3)):
            text.insert(rng.integers(len(text) + 1), str(rng.choice(list(words[label]))))
        rows.append((''.join(text), label))
    return rows


def write_table(path, header, rows):
    """A TSV file with a header; returns the path as text."""
    lines = ['\t'.join(header), *('\t'.join(map(str, row)) for row in rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return str(path)


def flags(**values):
    """`--name value` for every argument; True and False as words, None left out, an empty tuple as a bare switch."""
    result = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            value = 'true' if value else 'false'
        result += [f'--{name}'] if value == () else [f'--{name}', str(value)]
    return result


class Ran(NamedTuple):
    """What a run wrote to stderr and stdout."""

    log: str
    out: str


SETTINGS = {
    'use_cuda': False,
    'cache': False,
    'max_seq_len': 15,
    'batch_size': 8,
    'learning_rate': 0.01,
    'random_seed': 1,
    'max_checkpoints': 0,
}


def run(**values):
    """`run_classifier.main` in this process with `SETTINGS` and these flags. Returns `Ran`."""
    import run_classifier

    with contextlib.redirect_stderr(io.StringIO()) as log, contextlib.redirect_stdout(io.StringIO()) as out:
        run_classifier.main(flags(**(SETTINGS | values)))
    return Ran(log.getvalue(), out.getvalue())


def messages(log):
    """The lines of a log without their prefix."""
    return [line.partition('\t')[2] for line in log.splitlines()]


def table(path, rows, header=('text_a', 'label')):
    """`write_table` with the columns of single texts."""
    return write_table(path, header, rows)


def records(folder, phase):
    """The records of one phase in the `metrics.jsonl` of a run."""
    found = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
    return [r for r in found if r['phase'] == phase]


def probabilities(path, column=1):
    """The probabilities of a prediction file, [N, C]."""
    cells = [line.split('\t') for line in path.read_text(encoding='utf-8').splitlines()]
    return np.array([[float(x) for x in row[column][1:-1].split()] for row in cells])
