"""How much of what is fed to the model is text: real tokens / fed tokens of one training epoch.

    python -m benchmark.padding --data TSV --vocab VOCAB [--max_seq_len 256] [--batch_size 24] [--in_tokens]

Prints the share for batches from length buckets, and beside it for plainly shuffled batches and for batches padded to
`max_seq_len`.
"""

import argparse

import numpy as np

from ernie.reader.classify import ClassifyReader
from ernie.tokenization import FullTokenizer
from propeller.data.batching import BatchStream
from propeller.errors import one_line_errors


def shares(tokenized, batch_size, in_tokens, window, seed):
    """(real tokens / fed tokens, batches) of one epoch, counted on the arrays that would be fed."""
    stream = BatchStream(
        tokenized, tokenized.padded, batch_size, in_tokens=in_tokens, window=window, shuffle=True, seed=seed
    )
    real = fed = steps = 0
    for batch in stream:
        token_ids, _, _, mask = batch.arrays
        assert (batch.real_tokens, batch.fed_tokens) == (int(mask.sum()), token_ids.size)
        real, fed, steps = real + batch.real_tokens, fed + batch.fed_tokens, steps + 1
    return real / fed, steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True, help='TSV or CSV with a column text_a')
    parser.add_argument('--vocab', required=True)
    parser.add_argument('--max_seq_len', type=int, default=256)
    parser.add_argument('--batch_size', type=int, default=24, help='rows, or tokens with --in_tokens')
    parser.add_argument('--in_tokens', action='store_true')
    parser.add_argument('--window', type=int, default=50, help='batches that are sorted by length together')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    tokenizer = FullTokenizer(args.vocab)
    tokenized = ClassifyReader(tokenizer, args.max_seq_len, task_kind='predict', cache=False).read(args.data)
    lengths = tokenized.lengths
    print(f'{len(tokenized)} rows, tokens a row: mean {lengths.mean():.1f}, longest {lengths.max()}')
    for name, window in (('length buckets', args.window), ('shuffled only', 0)):
        share, steps = shares(tokenized, args.batch_size, args.in_tokens, window, args.seed)
        print(f'{name:>22}: {share:.4f} of the fed tokens are real, {steps} batches')
    print(f'{"padded to max_seq_len":>22}: {np.mean(lengths) / args.max_seq_len:.4f}')


if __name__ == '__main__':
    with one_line_errors():
        main()
