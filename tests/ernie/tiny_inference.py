"""Small random checkpoints of every task, with everything that prediction needs, and runs of infer_classifyer."""

import contextlib
import io
import json
import sys
from unittest import mock

import numpy as np
from safetensors.numpy import save_file

from tests.ernie.tiny_model import BAD, CONFIG, FILLING, GOOD, VOCABULARY, Ran, flags, random_parameters

TAGS = ('O', 'B-PER', 'I-PER', 'B-LOC', 'I-LOC')
LABELS = {
    'classify': ('坏', 'so so', '好'),
    'regression': None,
    'multilabel': ('a', 'b', 'c', 'd'),
}
KINDS = ('classify', 'regression', 'multilabel', 'tagging', 'crf', 'reading')
COMMON = {'max_seq_len': 15, 'tokenizer': 'FullTokenizer', 'do_lower_case': True, 'task_id': 0}


def describe(kind):
    """The `labels.json` of a checkpoint."""
    if kind in LABELS:
        names = list(LABELS[kind] or '0')
        label_map = {name: i for i, name in enumerate(names)} if LABELS[kind] else None
        settings = {'task': 'classification', 'kind': kind, 'num_labels': len(names), 'for_cn': True}
        return COMMON | settings | {'labels': names, 'label_map': label_map}
    if kind == 'reading':
        settings = {'max_query_length': 4, 'doc_stride': 3, 'max_answer_length': 5, 'n_best_size': 3}
        return COMMON | settings | {'task': 'mrc', 'unanswerable': False, 'to_simplified': False}
    settings = {'task': 'sequence_labeling', 'chunk_scheme': 'IOB', 'use_crf': kind == 'crf'}
    return COMMON | settings | {'labels': list(TAGS), 'label_map': {n: i for i, n in enumerate(TAGS)}, 'num_labels': 5}


def write_checkpoint(folder, kind='classify', config=CONFIG, seed=0):
    """A checkpoint folder as run_classifier and its sisters leave it, with random values."""
    folder.mkdir(parents=True)
    settings, rng = describe(kind), np.random.default_rng(seed + 1)
    name = {'reading': 'cls_mrc_out', 'tagging': 'cls_seq_label_out', 'crf': 'cls_seq_label_out'}.get(kind, '_cls_out')
    width = 2 if kind == 'reading' else settings['num_labels']
    shapes = {f'{name}_w': (config['hidden_size'], width), f'{name}_b': (width,)}
    if kind == 'crf':
        shapes['crfw'] = (width + 2, width)
    head = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    save_file(random_parameters(config, seed) | head, folder / 'model.safetensors')
    (folder / 'ernie_config.json').write_text(json.dumps(config))
    (folder / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    (folder / 'labels.json').write_text(json.dumps(settings, ensure_ascii=False), encoding='utf-8')
    return folder


def texts(count, seed=0, most=30):
    """Texts of 0 to `most` characters, longer than the model reads among them, with some of two words in Latin."""
    rng = np.random.default_rng(seed)
    letters = list(GOOD + BAD + FILLING)
    rows = [''.join(rng.choice(letters, rng.integers(0, most))) for _ in range(count)]
    return [text + (' Finely, poor。' if i % 5 == 3 else '') for i, text in enumerate(rows)]


def records(kind, count, seed=0):
    """Records for the task of a checkpoint of this kind."""
    if kind == 'reading':
        pairs = zip(texts(count, seed, 6), texts(count, seed + 1, 60), strict=True)
        return [{'id': str(i), 'question': f'有{q}', 'context': f'在{c}'} for i, (q, c) in enumerate(pairs)]
    if kind in ('tagging', 'crf'):
        return [{'text_a': text} for text in texts(count, seed, 50)]
    pairs = zip(texts(count, seed), texts(count, seed + 1), strict=True)
    return [{'text_a': a} | ({'text_b': b} if i % 2 else {}) for i, (a, b) in enumerate(pairs)]


def infer(stdin=b'', **values):
    """`infer_classifyer.main` in this process with these flags. stdin: bytes. Returns `Ran`."""
    import infer_classifyer

    log, out, given = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(stdin))
    with contextlib.redirect_stderr(log), contextlib.redirect_stdout(out), mock.patch.object(sys, 'stdin', given):
        infer_classifyer.main(flags(**values))
    return Ran(log.getvalue(), out.getvalue())
