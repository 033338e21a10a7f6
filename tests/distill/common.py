"""What the tests of distill/ share."""

import json

from tests.ernie.tiny_model import sentences


def write(path, lines):
    """Write lines; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return path


WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'好美赞棒香差丑烂坏臭的一是不了人我在有他这中大来上国个到说们']
HPARAMS = {
    'num_label': 2,
    'vocab_size': 41,
    'emb_size': 8,
    'initializer_range': 0.3,
    'batch_size': 8,
    'learning_rate': 0.05,
    'warmup_proportion': 0.1,
    'weight_decay': 0.0,
    'use_fp16': 0,
}


def spaced(count, seed):
    """Lines `segmented text<TAB>label`."""
    return [f'{" ".join(text)}\t{label}' for text, label in sentences(count, seed)]


def student_data(folder):
    """`train`, `dev` and `vocab.txt` of a student under `folder`, which is returned."""
    write(folder / 'train' / 'part.0', spaced(24, 1))
    write(folder / 'dev' / 'part.0', spaced(20, 2))
    write(folder / 'vocab.txt', WORDS)
    return folder


def student_flags(data, out, *more, hparams=(), **run_config):
    """The words of a command line of a student's training."""
    settings = {'model_dir': str(out), 'max_steps': 24, 'eval_steps': 8, 'log_steps': 8, 'skip_steps': 0, **run_config}
    return [
        *('--data_dir', str(data), '--vocab_file', str(data / 'vocab.txt'), '--max_seqlen', '32'),
        *('--run_config', json.dumps(settings), '--hparam', json.dumps({**HPARAMS, **dict(hparams)}), *more),
    ]
