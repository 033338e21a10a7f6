"""Characters a second from text to ids, for the tokenizer of a model folder and the classification reader.

    python -m benchmark.tokenizer_rate --vocab VOCAB --data FILE.tsv

Prints the rate of `encode` in one process, with empty caches and with warm ones, and the rate from the file to the
arrays of ids, nothing cached, in `--processes` processes: reading, checking and the start of the processes included.
A character is one code point of `text_a` or `text_b`. Which tokenizer it is, the files beside VOCAB say: `subword/` of
ERNIE tiny, else it is `FullTokenizer`. The rates of one process count its processor time, not that of other programs.
"""

import argparse
import functools
import os
import statistics
import time

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.reader.classify import ClassifyReader
from ernie.reader.records import read_records
from propeller.errors import UsageError, one_line_errors


def parse_flags(argv=None):
    """Defaults are the Chinese vocabulary and the ChnSentiCorp train file under $ERNIE_TEST_DATA."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--vocab', help='vocabulary file')
    parser.add_argument('--data', help='TSV or CSV file with a column text_a')
    parser.add_argument('--processes', type=int, default=2, help='processes for file to ids')
    parser.add_argument('--repeat', type=int, default=5, help='measurements; the median is printed')
    flags = parser.parse_args(argv)
    folder = os.environ.get('ERNIE_TEST_DATA')
    if not folder and not (flags.vocab and flags.data):
        raise UsageError('--vocab and --data must be given unless ERNIE_TEST_DATA names the folder of the test data.')
    if flags.processes < 1 or flags.repeat < 1:
        raise UsageError('--processes and --repeat must be at least 1.')
    flags.vocab = flags.vocab or os.path.join(folder, 'ernie_official', 'vocab.txt')
    flags.data = flags.data or os.path.join(folder, 'chnsenticorp', 'train.tsv')
    return flags


def seconds(run, clock=time.process_time):
    """Time of one call by a clock."""
    start = clock()
    run()
    return clock() - start


def main(argv=None):
    flags = parse_flags(argv)
    found = folder_tokenizer(os.path.dirname(flags.vocab) or '.')
    make = functools.partial(found.make, flags.vocab)
    cells = (record.cells for record in read_records(flags.data))
    texts = [row[column] for row in cells for column in ('text_a', 'text_b') if column in row]
    characters = sum(map(len, texts))
    times = {'encode, empty caches': [], 'encode, warm caches': [], f'file to ids, {flags.processes} processes': []}
    cold, warm, file_to_ids = times.values()
    for _ in range(flags.repeat):
        tokenizer = make()
        cold.append(seconds(lambda t=tokenizer: [t.encode(text) for text in texts]))
        warm.append(seconds(lambda t=tokenizer: [t.encode(text) for text in texts]))
        reader = ClassifyReader(make(), task_kind='predict', cache=False, processes=flags.processes)
        file_to_ids.append(seconds(lambda r=reader: r.read(flags.data), time.perf_counter))
    print(f'{type(make()).__name__}, {flags.data}: {len(texts)} texts, {characters} characters')
    for name, measured in times.items():
        print(f'{name}: {characters / statistics.median(measured):,.0f} characters a second')


if __name__ == '__main__':
    with one_line_errors():
        main()
