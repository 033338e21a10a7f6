"""Data folders and command lines for the tests of the examples."""

import contextlib
import io
import json
import sys
from pathlib import Path

from tests.ernie.tiny_model import BAD, CONFIG, GOOD, VOCABULARY, sentences, write_model

ROOT = Path(__file__).resolve().parents[2]
SIZES = {'train': 48, 'dev': 17, 'test': 9}
HPARAMS = {
    'learning_rate': 0.01,
    'warmup_proportion': 0.1,
    'weight_decay': 0.01,
    'use_fp16': 0,
    'num_label': 2,
    'batch_size': 8,
}


def write_tiny_model(folder):
    """A folder of the layout of 2019, with room for 64 tokens."""
    return write_model(folder, config={**CONFIG, 'max_position_embeddings': 64}, vocabulary=VOCABULARY)


def classes(folder):
    """`text<TAB>label` in two files a folder; returns `folder`."""
    for name, count in SIZES.items():
        rows = [f'{text}\t{label}' for text, label in sentences(count, seed=count)]
        write(folder / name / 'part-0', rows[: count // 2])
        write(folder / name / 'part-1', rows[count // 2 :])
    return folder


def pairs(folder, names=tuple(SIZES)):
    """`qid<TAB>text<TAB>text<TAB>label`, three texts a question."""
    for name in names:
        rows = enumerate(sentences(SIZES[name], seed=SIZES[name]))
        write(folder / name / 'part-0', [f'{i // 3}\t{text[:2]}\t{text}\t{label}' for i, (text, label) in rows])
    return folder


def label_of(character):
    return 'B-PER' if character in GOOD else 'B-LOC' if character in BAD else 'O'


def names(folder):
    """`tokens<TAB>labels`: what is good is a person, what is bad a place."""
    for name, count in SIZES.items():
        texts = [text for text, _ in sentences(count, seed=count)]
        write(folder / name / 'part-0', ['\x02'.join(t) + '\t' + '\x02'.join(map(label_of, t)) for t in texts])
    return folder


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def flags(model, data, out, *more, hparams=(), **run_config):
    """The words of a command line; hparams: changes of `HPARAMS`, None leaves one out."""
    settings = {'model_dir': str(out), 'max_steps': 4, 'eval_steps': 2, 'log_steps': 1, **run_config}
    learnt = {name: value for name, value in {**HPARAMS, **dict(hparams)}.items() if value is not None}
    return [
        *('--data_dir', str(data), '--vocab_file', str(model / 'vocab.txt'), '--max_seqlen', '32'),
        *('--run_config', json.dumps({k: v for k, v in settings.items() if v is not None})),
        *('--hparam', str(model / 'ernie_config.json'), '--hparam', json.dumps(learnt)),
        *('--warm_start_from', str(model / 'params'), *more),
    ]


def run(program, words, monkeypatch=None, stdin=b''):
    """`program.main` in this process -> the lines that it prints. stdin: bytes."""
    if monkeypatch:
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(stdin)))
    with contextlib.redirect_stdout(io.StringIO()) as out:
        program.main(words)
    return out.getvalue().splitlines()
