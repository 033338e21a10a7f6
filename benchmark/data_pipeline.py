"""The data pipeline of propeller alone, one process: characters a second and memory, beside a plain Python loop.

    python -m benchmark.data_pipeline                      300,000 characters/s
    python -m benchmark.data_pipeline --gigabytes 2        memory of a file of 2 GB: under 300 MB
    python -m benchmark.data_pipeline resume               a record file, begun at step 10 and at step 10,000

`rate` makes a file of rows `text<TAB>label`, its text of words that a Zipf law draws, and reads it through
`FeatureColumns` and `padded_batch` (TSV -> columns -> padded batches). The plain loop splits the same lines and looks
the same words up in a dict: no arrays, no batches, no checks. Each is a process of its own, in turns; the medians are
printed with their ratio. `resume` writes a record file, interleaves four copies, shuffles within a buffer of 1,000, and
measures how long the first batch takes from both steps on. Seconds are those of the processor, whatever else runs on
the machine. Exit code 1 where a bound is missed.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

import numpy as np

from benchmark import common
from propeller.data.dataset import Dataset
from propeller.data.feature_column import FeatureColumns, LabelColumn, TextColumn
from propeller.errors import UsageError, one_line_errors

LEAST_RATE, MOST_MEMORY, MOST_SECONDS = 300_000, 300, 1.0
BATCH = 32
WORDS = 20_000


def words():
    """The vocabulary, as bytes: Chinese words of one to three characters."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(1, 4, WORDS)
    characters = [chr(0x4E00 + i) for i in rng.integers(0, 5000, lengths.sum())]
    cuts = np.cumsum(lengths)[:-1]
    return list(dict.fromkeys(''.join(part).encode() for part in np.split(np.array(characters), cuts)))


def write_rows(path, rows, gigabytes):
    """Rows of about 40 words. Returns (rows, characters of text without spaces)."""
    vocabulary, rng = np.array(words(), dtype=object), np.random.default_rng(3)
    lengths = np.array([len(word.decode()) for word in vocabulary])
    block, characters = [], 0
    for i in range(min(rows, 2000)):
        drawn = np.minimum(rng.zipf(1.3, rng.integers(5, 80)) - 1, len(vocabulary) - 1)
        characters += int(lengths[drawn].sum())
        block.append(b' '.join(vocabulary[drawn]) + b'\t%d\n' % (i % 2))
    text = b''.join(block)
    times = max(int(gigabytes * 1e9 / len(text)), 1) if gigabytes else -(-rows // len(block))
    with open(path, 'wb') as f:
        for _ in range(times):
            f.write(text)
    return times * len(block), times * characters


def pipeline(path, vocabulary):
    """A pass over the file as `Learner` has it. Returns the number of batches."""
    columns = FeatureColumns(
        [TextColumn('text', unk_id=0, vocab_dict=vocabulary), LabelColumn('label', vocab_dict={b'0': 0, b'1': 1})]
    )
    rows = columns.build_dataset('train', use_gz=False, data_file=path, repeat=False)
    return sum(1 for _ in rows.padded_batch(BATCH).checked_from())


def plain(path, vocabulary):
    """The loop that is beside it. Returns the number of rows."""
    labels, rows = {b'0': 0, b'1': 1}, 0
    with open(path, 'rb') as f:
        for line in f:
            text, label = line.rstrip(b'\n').split(b'\t')
            _, _ = [vocabulary.get(word, 0) for word in text.split(b' ')], labels[label]
            rows += 1
    return rows


def timed(function, *arguments):
    """Seconds of processor time that a call takes, whatever else runs on the machine."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def measured(name, path):
    """Seconds and peak memory in MB of `pipeline` or `plain` in a process of its own."""
    result = common.run_json(
        [sys.executable, '-m', 'benchmark.data_pipeline', '--one', name, '--file', path], name, ['seconds', 'memory']
    )
    return result['seconds'], result['memory']


def rate(flags, folder):
    """Prints rates and memory. Returns whether the bounds are kept."""
    path = os.path.join(folder, 'rows.tsv')
    rows, characters = write_rows(path, flags.rows, flags.gigabytes)
    print(f'{rows:,} rows, {characters:,} characters, {os.path.getsize(path) / 1e6:,.0f} MB', flush=True)
    taken = {'plain': [], 'pipeline': []}
    for _ in range(1 if flags.gigabytes else flags.repeat):  # one pass of a large file takes minutes
        for name, found in taken.items():
            found.append(measured(name, path))
    rates = {name: statistics.median(characters / seconds for seconds, _ in found) for name, found in taken.items()}
    memory = max(memory for _, memory in taken['pipeline'])
    for name, value in rates.items():
        print(f'{name:8}  {value:12,.0f} characters/s')
    print(f'ratio     {rates["pipeline"] / rates["plain"]:12.3f}')
    print(f'memory    {memory:12,.0f} MB (at most {MOST_MEMORY})')
    print(f'rate      {rates["pipeline"]:12,.0f} (at least {LEAST_RATE:,})')
    return rates['pipeline'] >= LEAST_RATE and memory <= MOST_MEMORY


def resume(flags, folder):
    """Prints the seconds until the first batch, from step 10 and a later one on. Returns whether they are near."""
    from propeller.data.record_file import write_records

    count = (flags.step + 100) * BATCH
    names = [os.path.join(folder, f'part-{i}') for i in range(4)]
    for name in names:
        write_records(name, (np.arange(i, i + 40).tobytes() for i in range(count // 4)), level=1)
    files = Dataset.from_list(names).shuffle(4, seed=1)
    records = files.interleave(Dataset.from_record_file, 4, 2).shuffle(1000, seed=2)
    batches = records.map(lambda record: (np.frombuffer(record, np.int64),)).padded_batch(BATCH)
    seconds = {}
    for step in (10, flags.step):
        found = [timed(lambda: next(batches.iterate_from(step))) for _ in range(flags.repeat)]  # noqa: B023
        seconds[step] = statistics.median(found)
        print(f'step {step:6,}: first batch after {seconds[step]:.2f} s', flush=True)
    later = seconds[flags.step] - seconds[10]
    print(f'difference {later:.2f} s (at most {MOST_SECONDS:.0f})')
    return later <= MOST_SECONDS


def main(argv=None):
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='?', choices=('rate', 'resume'), default='rate')
    parser.add_argument('--rows', type=int, default=20_000, help='rows of the file (default: 20,000)')
    parser.add_argument('--gigabytes', type=float, default=0, help='size of the file instead; one pass')
    parser.add_argument('--step', type=int, default=10_000, help='of resume: the later step (default: 10,000)')
    parser.add_argument('--repeat', type=int, default=3, help='passes; the median is printed')
    parser.add_argument('--one', choices=('pipeline', 'plain'), help=argparse.SUPPRESS)
    parser.add_argument('--file', help=argparse.SUPPRESS)
    flags = parser.parse_args(argv)
    if min(flags.rows, flags.repeat, flags.step) < 1 or flags.gigabytes < 0:
        raise UsageError('--rows, --repeat and --step must be at least 1, --gigabytes at least 0.')
    if flags.one:
        vocabulary = {word: i for i, word in enumerate([b'[UNK]', *words()])}
        seconds = timed({'pipeline': pipeline, 'plain': plain}[flags.one], flags.file, vocabulary)
        print(f'{{"seconds": {seconds}, "memory": {common.peak_memory()}}}')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return int(not {'rate': rate, 'resume': resume}[flags.name](flags, folder))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
