"""The C++ program beside Python with one engine: memory of a batch, and time from the start to the first answer.

    python -m benchmark.cpp_start CHECKPOINT [--starts 7] [--rows 32] [--tokens 128] [--exports FOLDER]

CHECKPOINT is a classifier, such as one of 12 layers. It is exported for texts of --tokens tokens: fused, in OpenVINO's
form, and as ONNX. Each is opened in float32, the first in 8 bits, too, by `ernie_predict` and by `ernie predict` with
the engine of that form. Sides take turns.

- start: seconds from the start of the process to the end of the first line that it writes, for one short text; the
  median of --starts, all files in the cache of the system.
- peak, rest: resident memory of one process (VmHWM, VmRSS), in MB of 10^6 bytes, after one batch of --rows texts of
  --tokens tokens each, when the process waits for more. Its libraries are counted: pages of files, and its own.

The bound is 1.5 times (weights + activations). Weights: the parameters, 4 bytes each. Activations: what a layer holds
at its widest where attention keeps no table of scores: its input, query, key and value, the same apart for each head,
and what they give, 8 numbers of the width for each token: rows x tokens x 8 x width x 4 bytes.

Exit code 1 if C++ needs more, or 1 s or longer for its first answer, with what is fused or in OpenVINO's form.

--exports FOLDER keeps what is exported. What is there already is measured as it is.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np

from benchmark import common, cpp
from benchmark.int8 import kept_or_not
from propeller.errors import UserError, one_line_errors

# Form of an export -> (engine of Python, precisions).
FORMS = {'fused': ('fused', ('fp32', 'int8')), 'openvino': ('openvino', ('fp32',)), 'onnx': ('openvino', ('fp32',))}
BOUND = ('fused', 'openvino')
MOST_TIMES, MOST_SECONDS = 1.5, 1.0
_FILE = '{file}'
_BATCH = """
import json, sys, ernie
folder, engine, precision, threads, path = sys.argv[1:]
settings = dict(engine=engine, precision=precision, threads=int(threads))
with ernie.load(folder, **settings) as model, open(path, encoding='utf-8') as file:
    for result in model(file.read().splitlines()):
        print(json.dumps(result, ensure_ascii=False), flush=True)
    sys.stdin.read()
"""


class Side(NamedTuple):
    """What is measured.

    Attributes:
        name, form, precision: who reads which export, and in which precision it is computed.
        start: command that answers one text, which follows.
        batch: command that prints results of the texts of a file (`_FILE`), then waits for its standard input to end.
    """

    name: str
    form: str
    precision: str
    start: list
    batch: list


def exported(checkpoint, tokens, place):
    """dict form -> folder."""
    from ernie.inference.export import export
    from ernie.inference.find import find_model
    from ernie.inference.folder import ModelFolder

    folders = {form: os.path.join(place, form) for form in FORMS}
    for form, folder in folders.items():
        if not os.path.isdir(folder):
            export(ModelFolder(find_model(checkpoint), max_seq_len=tokens), folder, form)
    return folders


def texts_of(folder, rows, tokens):
    """Texts of characters of the vocabulary, each of `tokens` tokens with [CLS] and [SEP]."""
    with open(os.path.join(folder, 'vocab.txt'), encoding='utf-8') as f:
        characters = [line.split('\t')[0].rstrip('\n') for line in f]
    characters = [c for c in characters if len(c) == 1 and '\u4e00' <= c <= '\u9fff']
    if not characters:
        raise UserError(f'{folder}: found no Chinese characters in vocab.txt, expected a Chinese model.')
    chosen = np.random.default_rng(0).choice(characters, (rows, tokens - 2))
    return [''.join(row) for row in chosen]


def sides_of(folders, threads):
    """list of `Side`."""
    predict = os.path.join(cpp.build(), 'ernie_predict')
    sides = []
    for form, folder in folders.items():
        engine, precisions = FORMS[form]
        for precision in precisions:
            command = [predict, folder, '--precision', precision, '--threads', str(threads)]
            sides.append(Side('C++', form, precision, [*command, '--text'], [*command, _FILE, '-']))
            flags = ['--engine', engine, '--precision', precision, '--cpu_threads', str(threads), '--format', 'jsonl']
            start = [sys.executable, '-m', 'ernie', 'predict', folder, *flags, '--text']
            batch = [sys.executable, '-c', _BATCH, folder, engine, precision, str(threads), _FILE]
            sides.append(Side('Python', form, precision, start, batch))
    return sides


def seconds_to_answer(side, text):
    """From the start of the process to its first line."""
    started = time.perf_counter()
    with subprocess.Popen(
        [*side.start, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=common.ROOT
    ) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        _, said = process.communicate()
    if process.returncode or not line.startswith(b'{'):
        raise UserError(f'{side.name}, {side.form}, {side.precision}: {said.decode(errors="replace")[-2000:]}')
    return seconds


def memory_of(side, path, rows):
    """(peak, rest) in bytes, after the file, while the process waits at its standard input."""
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    command = [path if word == _FILE else word for word in side.batch]
    with subprocess.Popen(command, **pipes, cwd=common.ROOT) as process:
        lines = [process.stdout.readline() for _ in range(rows)]
        time.sleep(0.5)  # what is freed after the results are written
        with open(f'/proc/{process.pid}/status', encoding='ascii') as f:
            found = dict(re.findall(r'^(Vm(?:HWM|RSS)):\s+(\d+) kB$', f.read(), re.MULTILINE))
        _, said = process.communicate('好\n'.encode())  # no empty input
    if process.returncode or not all(line.startswith(b'{') for line in lines):
        raise UserError(f'{side.name}, {side.form}, {side.precision}: {said.decode(errors="replace")[-2000:]}')
    return tuple(1024 * int(found[name]) for name in ('VmHWM', 'VmRSS'))


def bytes_needed(folder, rows, tokens):
    """(weights, activations), as the head of this file says."""
    from ernie.config import ErnieConfig

    weights = os.path.getsize(os.path.join(folder, 'model.safetensors'))
    width = ErnieConfig(os.path.join(folder, 'ernie_config.json'))['hidden_size']
    return weights, rows * tokens * 8 * width * 4


def compare(args):
    """Measure all sides, print the table; returns the exit code."""
    common.limit_cores(args.threads)
    with kept_or_not(args.exports) as place:
        folders = exported(args.checkpoint, args.tokens, place)
        sides = sides_of(folders, args.threads)
        seconds = {side[:3]: [] for side in sides}
        for turn in range(args.starts):
            for side in sides[:: 1 if turn % 2 == 0 else -1]:
                seconds[side[:3]].append(seconds_to_answer(side, '房间很干净'))
        texts = texts_of(folders['fused'], args.rows, args.tokens)
        with tempfile.NamedTemporaryFile('w', suffix='.txt', encoding='utf-8') as f:
            f.write('\n'.join(texts) + '\n')
            f.flush()
            memory = {side[:3]: memory_of(side, f.name, args.rows) for side in sides}
        needed = bytes_needed(folders['fused'], args.rows, args.tokens)
    return report(args, needed, seconds, memory)


def report(args, needed, seconds, memory):
    """Print the table; returns the exit code."""
    weights, activations = needed
    shown = f'{args.rows} x {args.tokens} tokens {activations / 1e6:.1f} MB'
    print(f'weights {weights / 1e6:.1f} MB, activations of {shown}')
    print(
        f'{"":8} {"form":9} {"":5} {"start s":>8} {"peak MB":>8} {"rest MB":>8} {"peak / (weights + activations)":>31}'
    )
    code = 0
    for side, (peak, rest) in memory.items():
        start, times = statistics.median(seconds[side]), peak / sum(needed)
        is_over = side[0] == 'C++' and side[1] in BOUND and (times > MOST_TIMES or start >= MOST_SECONDS)
        code |= int(is_over)
        numbers = f'{start:8.3f} {peak / 1e6:8.1f} {rest / 1e6:8.1f} {times:31.2f}'
        print(f'{side[0]:8} {side[1]:9} {side[2]:5} {numbers}{" too much" if is_over else ""}')
    print(f'C++, {" and ".join(BOUND)}: at most {MOST_TIMES:g} times, below {MOST_SECONDS:g} s')
    return code


def parse_flags(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='a classifier of Chinese texts: a run, or a checkpoint')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')
    parser.add_argument('--starts', type=int, default=7, help='starts of each side (default: 7)')
    parser.add_argument('--rows', type=int, default=32, help='texts of the batch (default: 32)')
    parser.add_argument('--tokens', type=int, default=128, help='of each text (default: 128)')
    parser.add_argument('--exports', help='folder where exports stay (default: they do not)')
    return parser.parse_args(argv)


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line); returns the exit code."""
    return compare(parse_flags(argv))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
