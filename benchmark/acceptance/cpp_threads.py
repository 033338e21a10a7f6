"""Threads that share the models of `inference/`, under ThreadSanitizer: the results of one alone, and no report.

    python -m benchmark.acceptance.cpp_threads MODEL ... [--sanitize thread]

The models (exports in ONNX) are opened in one process; four threads call all of them, 10 times each, with 40 records of
the model's task. Exit code 1 where a result differs or something is reported.

OpenVINO and sentencepiece are not compiled with the sanitizer, which therefore does not see what keeps their threads
apart. `ignore_noninstrumented_modules` leaves out what they do themselves, and nothing of what our own code does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark.acceptance.cpp_tokenizers import strings
from benchmark.cpp import build
from propeller.errors import one_line_errors
from propeller.inputs import read_json_object

RECORDS = 40
ENVIRON = {
    'TSAN_OPTIONS': 'ignore_noninstrumented_modules=1:halt_on_error=0:exitcode=66',
    'ASAN_OPTIONS': 'detect_leaks=0',
    'TBB_ENABLE_SANITIZERS': '1',
}


def records_of(folder):
    """Records for the model of a folder: list of dict."""
    path = Path(folder) / 'labels.json'
    task = read_json_object(path).get('task') if path.exists() else None
    texts = [f'今天{text}' for text in strings(2 * RECORDS, seed=11)]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    if task == 'mrc':
        return [{'id': str(i), 'question': a[:20], 'context': b} for i, (a, b) in enumerate(pairs)]
    return [{'text_a': a} for a, _ in pairs]


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', metavar='MODEL', help='an exported model')
    parser.add_argument('--sanitize', default='thread', help="thread, or others; '' for none (%(default)s)")
    args = parser.parse_args(argv)
    programs = build(*([f'-DERNIE_SANITIZE={args.sanitize}'] if args.sanitize else []), target='threads')
    with tempfile.TemporaryDirectory() as place:
        given = []
        for number, model in enumerate(args.models):
            path = Path(place) / f'{number}.json'
            path.write_text(json.dumps(records_of(model)), encoding='utf-8')
            given += [model, path]
        done = subprocess.run(
            [programs / 'threads', *given], env=os.environ | ENVIRON, stderr=subprocess.PIPE, text=True
        )
    reports = done.stderr.count('WARNING: ThreadSanitizer') + done.stderr.count('ERROR: AddressSanitizer')
    print(done.stderr[:20_000], file=sys.stderr, end='')
    print(f'{reports} reports')
    return 1 if done.returncode or reports else 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
