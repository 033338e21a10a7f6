"""Reading and masking for pre-training: tokens a second, and the proportions of the masks.

    python -m benchmark.pretrain_reader [--filelist LIST --vocab VOCAB]

Rate: `--samples` samples of 512 tokens, made by joining the texts of the files, are written to a gzip file; one process
reads, shuffles, masks and pads them, nothing cached. Prints the median of `--repeat` passes, and the rates of the
single steps. Proportions: over all samples of the files, once with units and once with single tokens, beside those of
2019; the largest difference, in points, is the last line.
"""

import argparse
import gzip
import os
import statistics
import tempfile
import time

import numpy as np

from ernie.pretrain.file_list import ListedFile, read_file_list
from ernie.pretrain.masking import Masking, VocabularyIds
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.sample_set import Limits, concatenated, read_sets
from ernie.pretrain.samples import Sample, format_line
from ernie.pretrain.tasks import make_tasks
from ernie.tokenization import load_vocab
from propeller.errors import UsageError, one_line_errors

LENGTH = 512
EXPECTED = {'selected': 15, '[MASK]': 80, 'random': 10, 'kept': 10}


def parse_flags(argv=None):
    """Defaults are the official demo file and vocabulary under $ERNIE_TEST_DATA."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--filelist', help='list of sample files')
    parser.add_argument('--vocab', help='vocabulary file')
    parser.add_argument('--samples', type=int, default=10000, help='samples of 512 tokens')
    parser.add_argument('--batch_size', type=int, default=8192, help='tokens of a batch')
    parser.add_argument('--repeat', type=int, default=5, help='measurements; the median is printed')
    flags = parser.parse_args(argv)
    if 'ERNIE_TEST_DATA' not in os.environ and not (flags.filelist and flags.vocab):
        raise UsageError(
            '--filelist and --vocab must be given unless ERNIE_TEST_DATA names the folder of the test data.'
        )
    if min(flags.samples, flags.repeat) < 1:
        raise UsageError('--samples and --repeat must be at least 1.')
    folder = os.path.join(os.environ.get('ERNIE_TEST_DATA', ''), 'ernie_official')
    flags.vocab = flags.vocab or os.path.join(folder, 'vocab.txt')
    demo = [ListedFile(os.path.join(folder, 'demo_train_set.gz'), 1.1)]
    flags.files = read_file_list(flags.filelist) if flags.filelist else demo
    return flags


def long_lines(samples, count, ids):
    """Lines of samples of 512 tokens: the texts of `samples` joined, cut in two halves, over and over."""
    text = np.flatnonzero(samples.segments >= 0)
    text = np.resize(text, count * (LENGTH - 3)).reshape(count, LENGTH - 3)
    half = (LENGTH - 3) // 2
    types = np.repeat([0, 1], [half + 2, LENGTH - half - 2])
    for places in text:
        tokens, segments = samples.token_ids[places], samples.segments[places]
        token_ids = [ids.cls, *tokens[:half], ids.sep, *tokens[half:], ids.sep]
        segments = [-1, *segments[:half], -1, *segments[half:], -1]
        labels = {'knowledge_masking': None, 'next_sentence': 1}
        yield format_line(Sample(token_ids, types, range(LENGTH), segments, 0, labels))


def measure_rate(flags, samples, ids):
    """Print the rate of the whole reader."""
    limits, tasks = Limits(ids.size, 2, LENGTH), make_tasks(['knowledge_masking', 'next_sentence'])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'long.gz')
        with gzip.open(path, 'wt', compresslevel=6) as f:
            f.writelines(line + '\n' for line in long_lines(samples, flags.samples, ids))
        stream = PretrainStream([ListedFile(path, 1.1)], tasks, ids, limits, ReaderSettings(flags.batch_size))
        rates, parsing = [], []
        for _ in range(flags.repeat):
            start = time.perf_counter()
            tokens = sum(batch.real_tokens for batch in stream)
            rates.append(tokens / (time.perf_counter() - start))
            start = time.perf_counter()
            tokens = sum(len(block.token_ids) for block in read_sets(path))
            parsing.append(tokens / (time.perf_counter() - start))
    print(f'{flags.samples} samples of {LENGTH} tokens, batches of {flags.batch_size} tokens, one process')
    print(f'reading, masking, padding: {statistics.median(rates):,.0f} tokens a second')
    print(f'of that, gzip and numbers alone: {statistics.median(parsing):,.0f} tokens a second')


def proportions(samples, ids, by_word, seed=0):
    """dict as `EXPECTED`, in percent: of the maskable tokens, and of the selected ones."""
    flags = np.full(samples.count, by_word)
    rng = np.random.default_rng(seed)
    seen, selected = Masking()(samples.token_ids, samples.segments, samples.offsets, flags, flags | True, ids, rng)
    now, before = seen[selected], samples.token_ids[selected]
    masked, kept = now == ids.mask, now == before
    shares = [selected.sum() / (samples.segments >= 0).sum(), masked.mean(), (~masked & ~kept).mean(), kept.mean()]
    return dict(zip(EXPECTED, 100 * np.array(shares), strict=True))


def main(argv=None):
    flags = parse_flags(argv)
    ids = VocabularyIds.of(load_vocab(flags.vocab))
    samples = concatenated([block for i, file in enumerate(flags.files) for block in read_sets(file.path, i)])
    measure_rate(flags, samples, ids)
    print(f'{samples.count} samples, {len(samples.token_ids)} tokens: share of the tokens, and of these, in percent')
    print('\t'.join(['', *EXPECTED]))
    print('\t'.join(['2019', *(f'{share:.2f}' for share in EXPECTED.values())]))
    worst = 0
    for name, by_word in (('mask_word', True), ('mask_char', False)):
        found = proportions(samples, ids, by_word)
        print('\t'.join([name, *(f'{share:.2f}' for share in found.values())]))
        worst = max(worst, *(abs(found[kind] - EXPECTED[kind]) for kind in EXPECTED))
    print(f'largest difference: {worst:.2f} points')


if __name__ == '__main__':
    with one_line_errors():
        main()
