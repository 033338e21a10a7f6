"""Memory and time of `--boost` on many rows: texts are read, their vectors computed and kept, a head trained on them.

    python -m benchmark.boost_memory [--rows 1000000] [--width 384] [--folder FOLDER]

Texts of a few random words, a random bag of words as the encoder, so that the rows are many and not their computing.
The training is `ernie finetune classify` in a process of its own, twice: the second finds the vectors on disk. Memory
is the peak that the system reports for the process (VmHWM), mapped files included. Exit code 1 where it is over 1 GB.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmark import common
from propeller.errors import one_line_errors
from propeller.log import VARIABLE

WORDS, GIGABYTE = 2000, 10**9
# What the system tells the starter of a process about its peak is never less than what the starter itself holds.
_PROGRAM = """
import sys
from benchmark.common import peak_memory
from ernie.command import main
main(sys.argv[1:])
print("peak", peak_memory(), file=sys.stderr)
"""


def write_inputs(folder, rows, width):
    """A model and a training file in a folder."""
    rng = np.random.default_rng(0)
    words = np.array([f'w{i}' for i in range(WORDS)])
    vocabulary = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *words]
    with open(os.path.join(folder, 'vocab.txt'), 'w', encoding='utf-8') as f:
        f.writelines(f'{word}\n' for word in vocabulary)
    config = {
        'encoder': 'bow',
        'vocab_size': len(vocabulary),
        'hidden_size': width,
        'emb_size': 32,
        'num_hidden_layers': 1,
        'max_position_embeddings': 64,
        'initializer_range': 0.5,
    }
    with open(os.path.join(folder, 'ernie_config.json'), 'w', encoding='utf-8') as f:
        json.dump(config, f)
    with open(os.path.join(folder, 'train.tsv'), 'w', encoding='utf-8') as f:
        f.write('text_a\tlabel\n')
        for _ in range(rows):
            row = rng.integers(0, WORDS, rng.integers(3, 9))
            f.write(f'{" ".join(words[row])}\t{row[0] % 2}\n')


def train(folder, name):
    """One training: (seconds, bytes of memory at the peak, its lines)."""
    flags = {
        'train_set': os.path.join(folder, 'train.tsv'),
        'ernie_config_path': os.path.join(folder, 'ernie_config.json'),
        'vocab_path': os.path.join(folder, 'vocab.txt'),
        'checkpoints': os.path.join(folder, name),
        'do_val': 'false',
        'do_test': 'false',
        'epoch': '1',
        'max_seq_len': '16',
        'batch_size': '512',
        'freeze_encoder': 'true',
        'boost': 'true',
        'random_seed': '1',
        'skip_steps': '1000',
    }
    words = [sys.executable, '-c', _PROGRAM, 'finetune', 'classify']
    words += [word for flag, value in flags.items() for word in (f'--{flag}', value)]
    environment = {**os.environ, 'ERNIE_CACHE': os.path.join(folder, 'cache')}
    environment.pop(VARIABLE, None)  # its lines are looked at
    started = time.monotonic()
    done = subprocess.run(words, cwd=common.ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    *lines, peak = done.stderr.splitlines()
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - started, float(peak.removeprefix('peak ')) * 2**20, lines


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument('--width', type=int, default=384)
    parser.add_argument('--folder', help='Where the files are made; left out: a temporary folder.')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        write_inputs(folder, args.rows, args.width)
        peaks = []
        for name in ('first', 'second'):
            seconds, peak, lines = train(folder, name)
            peaks.append(peak)
            (said,) = [line for line in lines if line.startswith('vectors of')]
            (done,) = [line for line in lines if line.startswith('done')]
            print(f'{name}: {seconds:.0f} s, {peak / 1e6:,.0f} MB at the peak', flush=True)
            print(re.sub(r' in /.*| of /\S+', '', f'  {said}'), '|', done, flush=True)
    return int(max(peaks) > GIGABYTE)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
