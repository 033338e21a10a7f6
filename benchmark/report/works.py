"""What `benchmark.report` measures, and the files for it: models of random values, texts of made-up words.

Speed depends on sizes and lengths, not on what a text says: so nothing has to be downloaded.
"""

import gzip
import json
import os
import random
from typing import NamedTuple

from ernie.tokenizers.vocabulary import SPECIAL_TOKENS

TRAIN, PRETRAIN, PREDICT, LATENCY = 'train', 'pretrain', 'predict', 'latency'


class Work(NamedTuple):
    """One row of the table, or one for each precision.

    Attributes:
        name: in flags and names of files.
        title: in the table.
        kind: `TRAIN`, `PRETRAIN`, `PREDICT` or `LATENCY`.
        layers, width: of the encoder; heads are 32 wide, or 64 where that is more than 384 wide.
        words: rows of the word table.
        rows: of a batch.
        lengths: (mean, standard deviation, least, most) tokens of a row, [CLS] and [SEP] among them.
        warm: updates that are not counted; of the others there are `counted`.
        counted: updates, a multiple of `warm`; of `PREDICT`, batches of a pass; of `LATENCY`, calls.
        precisions: 'fp32', 'bf16', and of predictions 'int8', which stands beside the rival's 'bf16'.
    """

    name: str
    title: str
    kind: str
    layers: int
    width: int
    words: int
    rows: int
    lengths: tuple
    warm: int
    counted: int
    precisions: tuple

    @property
    def steps(self):
        return self.warm + self.counted


# Lengths of SST-2 and of ChnSentiCorp cut at 128, roughly.
SST, REVIEWS = (22, 10, 5, 60), (90, 45, 10, 128)
WORKS = (
    Work('small', '6 x 384, 32 short texts', TRAIN, 6, 384, 30522, 32, SST, 10, 40, ('fp32', 'bf16')),
    Work('base', '12 x 768, 32 texts of up to 128', TRAIN, 12, 768, 18000, 32, REVIEWS, 3, 9, ('bf16',)),
    Work('long', '12 x 384, 8 texts of 384', TRAIN, 12, 384, 18000, 8, (384, 0, 384, 384), 4, 12, ('bf16',)),
    Work('masked', '4 x 256, masked words, 2,048 tokens', PRETRAIN, 4, 256, 18000, 16, (128, 0, 128, 128), 10, 60,
         ('bf16',)),
    Work('predict', '6 x 384, short texts', PREDICT, 6, 384, 30522, 32, SST, 1, 27, ('fp32', 'bf16', 'int8')),
    Work('answer', '12 x 768, one text of 32', LATENCY, 12, 768, 18000, 1, (32, 0, 32, 32), 10, 50,
         ('bf16', 'int8')),
)  # fmt: skip


def write_files(work, folder):
    """The files of a work: `config.json`, `vocab.txt`, `ids.json` and `rows.tsv`, or samples of pre-training.

    `ids.json` has the token ids of the rows of `rows.tsv`: the same work for a program with no tokenizer.
    """
    os.makedirs(folder, exist_ok=True)
    heads = work.width // (64 if work.width > 384 else 32)
    config = {
        'hidden_size': work.width,
        'num_hidden_layers': work.layers,
        'num_attention_heads': heads,
        'vocab_size': work.words,
        'max_position_embeddings': 512,
        'type_vocab_size': 2,
        'hidden_act': 'gelu',
        'hidden_dropout_prob': 0.1,
        'attention_probs_dropout_prob': 0.1,
        'initializer_range': 0.02,
    }
    words = [*SPECIAL_TOKENS, *(_word(number) for number in range(work.words - len(SPECIAL_TOKENS)))]
    with open(os.path.join(folder, 'config.json'), 'w', encoding='utf-8') as f:
        json.dump(config, f)
    with open(os.path.join(folder, 'vocab.txt'), 'w', encoding='utf-8') as f:
        f.writelines(f'{word}\n' for word in words)
    rows = token_rows(work, words)
    with open(os.path.join(folder, 'ids.json'), 'w', encoding='utf-8') as f:
        json.dump(rows, f)
    if work.kind == PRETRAIN:
        _write_samples(folder, rows)
    else:
        _write_table(folder, rows, words)


def token_rows(work, words):
    """Token ids of as many rows as one pass over the updates takes: list of lists.

    words: the vocabulary. Frequent words come often: the n-th one with a probability of 1 / n, roughly.
    """
    draw = random.Random(1)
    mean, deviation, least, most = work.lengths
    first, spread = len(SPECIAL_TOKENS), len(words) - len(SPECIAL_TOKENS)
    begin, end = words.index('[CLS]'), words.index('[SEP]')

    def row():
        length = min(max(round(draw.gauss(mean, deviation)), least), most)
        return [begin, *(first + int(spread ** draw.random()) - 1 for _ in range(length - 2)), end]

    return [row() for _ in range(work.rows * (1 if work.kind == LATENCY else work.steps))]


def _word(number):
    """A word of small letters, another one for each number."""
    letters = ''
    while number >= 0:
        letters, number = chr(97 + number % 26) + letters, number // 26 - 1
    return letters


def _write_table(folder, rows, words):
    with open(os.path.join(folder, 'rows.tsv'), 'w', encoding='utf-8') as f:
        f.write('text_a\tlabel\n')
        f.writelines(f'{" ".join(words[i] for i in row[1:-1])}\t{number % 2}\n' for number, row in enumerate(rows))


def _write_samples(folder, rows):
    """Samples in the form of 2019, and the list of their file: each half of a row is a sentence, each token a word."""
    lines = []
    for number, row in enumerate(rows):
        half = len(row) // 2
        types = [0] * half + [1] * (len(row) - half)
        units = [-1, *[0] * (len(row) - 2), -1]
        fields = (row, types, range(len(row)), units)
        lines.append(';'.join([*(' '.join(map(str, values)) for values in fields), str(number % 2)]) + '\n')
    samples = os.path.join(folder, 'samples.gz')
    with gzip.open(samples, 'wt', encoding='utf-8') as f:
        f.writelines(lines)
    with open(os.path.join(folder, 'filelist'), 'w', encoding='utf-8') as f:
        f.write(f'{samples}\t0.0\n')
