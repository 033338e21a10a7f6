"""Results of the C++ program beside those of Paddle's executor, from the same checkpoints and the same rows.

    python -m benchmark.acceptance.cpp_executor RUN FILE [RUN FILE ...] [--backend fused]

Each RUN is a fine-tuned model, or a checkpoint, of any task that C++ knows; FILE has rows for it. The model is
exported for the backend that is named (`openvino` where none is) and read by `ernie_predict`; the checkpoint is read by
`infer_classifyer.py --engine executor`. The backend `paddle` is built with the library in Paddle's wheel
(`benchmark.acceptance.paddle_wheel`).
Lines must be the same but for their numbers, and those may differ by 1e-5. Prints what was compared and the largest
difference of each pair; exit code 1 if one is larger, or if anything else differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

from benchmark import common, cpp
from benchmark.acceptance import paddle_wheel
from propeller.errors import UsageError, UserError, one_line_errors

MOST = 1e-5


def numbers_of(value, path=()):
    """Iterates over (path, number) in a JSON value; of everything else (path, value)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_of(item, (*path, key))
    elif isinstance(value, list):
        yield (*path, 'length'), str(len(value))
        for i, item in enumerate(value):
            yield from numbers_of(item, (*path, i))
    else:
        yield path, value


def compared(expected, found):
    """(numbers, largest difference) of two lists of JSON lines. Whole numbers must be equal.

    Raises:
        UserError: they differ in something else; names the first line.
    """
    if len(expected) != len(found):
        raise UserError(f'found {len(found)} lines, expected {len(expected)}.')
    count, largest = 0, 0.0
    for number, lines in enumerate(zip(expected, found, strict=True), start=1):
        right, left = (list(numbers_of(json.loads(line))) for line in lines)
        same = len(right) == len(left) and all(
            a[0] == b[0] and (isinstance(a[1], float) and isinstance(b[1], float) or a[1] == b[1])
            for a, b in zip(right, left, strict=True)
        )
        if not same:
            raise UserError(f'line {number}: found {lines[1][:500]}, expected {lines[0][:500]}.')
        apart = [abs(a[1] - b[1]) for a, b in zip(right, left, strict=True) if isinstance(a[1], float)]
        count += len(apart)
        largest = max([largest, *apart])
    return count, largest


def lines_of(command, environment=()):
    """What a program prints. environment: pairs, or a dict, of further variables.

    Raises:
        UserError: it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, cwd=common.ROOT, env=os.environ | dict(environment))
    if done.returncode:
        raise UserError(f'{" ".join(map(str, command[:3]))}: exit code {done.returncode}. {done.stderr[-2000:]}')
    return done.stdout.splitlines()


def compare(run, path, threads, backend):
    """(task, rows, numbers, largest difference)."""
    from ernie.inference.export import export
    from ernie.inference.find import find_model
    from ernie.inference.folder import ModelFolder

    folder = ModelFolder(find_model(run))
    flags = ['--init_checkpoint', folder.path, '--predict_set', os.path.abspath(path), '--engine', 'executor']
    flags += ['--format', 'jsonl', '--save_inference_model_path', '', '--use_cuda', 'false', '--cpu_threads', threads]
    expected = lines_of([sys.executable, 'infer_classifyer.py', *map(str, flags)])
    with tempfile.TemporaryDirectory() as place:
        target = os.path.join(place, 'model')
        export(folder, target, backend)
        options = (cpp.FUSED_ALONE,) if backend == 'fused' else ()
        built, environment = paddle_wheel.build() if backend == 'paddle' else (cpp.build(*options), {})
        command = [built / 'ernie_predict', target, os.path.abspath(path), '--threads', str(threads)]
        found = lines_of(command, environment)
    return folder.settings.get('kind', folder.settings['task']), len(expected), *compared(expected, found)


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line); returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('given', nargs='+', metavar='RUN FILE')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--backend', choices=['fused', 'openvino', 'paddle'], default='openvino')
    args = parser.parse_args(argv)
    if len(args.given) % 2:
        raise UsageError('expected pairs of a RUN and a FILE.')
    code = 0
    for run, path in zip(args.given[::2], args.given[1::2], strict=True):
        task, rows, count, largest = compare(run, path, args.threads, args.backend)
        print(f'{task}, {path}: {rows} rows, {count} numbers, largest difference {largest:.1e} (at most {MOST:g})')
        code |= int(largest > MOST)
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
