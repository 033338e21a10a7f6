"""`bow_worker.py FOLDER ROWS STEPS [--kill_at STEP] [--share]`: the bag-of-words model of propeller's guide of 2019.

Trains on batches of so many rows of `FOLDER/../texts`, in `FOLDER/run`, until that global step. With `--kill_at` there
is dropout, and the process kills itself after that step. With `--share` each process reads its own share of the rows.
"""

import os
import signal

import numpy as np

import propeller.paddle as propeller
from propeller.graph import F, paddle, parameter, truncated_normal

VOCABULARY = {word.encode(): i for i, word in enumerate(['[PAD]', '[UNK]', *'天地玄黄宇宙洪荒日月盈昃辰宿列张'])}


def write_texts(folder):
    """Three files of `query TAB title TAB label`: the label says whether the title has the query's first word."""
    rng, words = np.random.default_rng(6), [word.decode() for word in VOCABULARY][2:]
    folder.mkdir()
    for name, count in (('a', 17), ('b', 23), ('c', 11)):
        with open(folder / name, 'w', encoding='utf-8') as f:
            for _ in range(count):
                query, title = (rng.choice(words, size) for size in rng.integers(2, 7, 2))
                f.write(f'{" ".join(query)}\t{" ".join(title)}\t{int(query[0] in title)}\n')


class BowModel(propeller.Model):
    def __init__(self, config, mode):
        self.config, self.mode = config, mode

    def _encoded(self, ids, name):
        size, hidden = self.config['emb_size'], self.config['hidden_size']
        table = parameter('embedding', [self.config['vocab_size'], size], truncated_normal(0.3))
        vectors = F.softsign(F.embedding(ids, table, padding_idx=0)).sum(1)
        if self.mode is propeller.RunMode.TRAIN:
            vectors = F.dropout(vectors, self.config.get('dropout', 0.0))
        return paddle.tanh(paddle.matmul(vectors, parameter(name, [size, hidden], truncated_normal(0.3))))

    def forward(self, features):
        query, title = features
        return (self._encoded(query, 'query.w') * self._encoded(title, 'title.w')).sum(1, keepdim=True)

    def loss(self, predictions, label):
        return F.binary_cross_entropy_with_logits(predictions, paddle.cast(label, 'float32'))

    def backward(self, loss):
        propeller.minimize(loss, 0.01)

    def metrics(self, predictions, label):
        return {'auc': propeller.metrics.Auc(label, F.sigmoid(predictions))}


def columns():
    text = {'unk_id': 1, 'vocab_dict': VOCABULARY}
    return propeller.data.FeatureColumns(
        [
            propeller.data.TextColumn('query', **text),
            propeller.data.TextColumn('title', **text),
            propeller.data.LabelColumn('label'),
        ]
    )


def batches(folder, rows, shuffle=True, repeat=True, share=False):
    dataset = columns().build_dataset(
        'train', use_gz=False, data_dir=folder, shuffle=shuffle, repeat=repeat, shard=share
    )
    dataset = dataset.padded_batch(rows)
    dataset = dataset.map(lambda query, title, label: (query, title, label.reshape(-1, 1)))
    dataset.data_shapes, dataset.data_types = [[-1, -1], [-1, -1], [-1, 1]], ['int64'] * 3
    return dataset


class Kill(propeller.RunHook):
    """What a power cut does, after a step that no checkpoint is of."""

    def __init__(self, step):
        self.step = step

    def after_run(self, fetched, state):
        if state.gstep == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == '__main__':
    parser = propeller.ArgumentParser('bow')
    parser.add_argument('folder')
    parser.add_argument('rows', type=int)
    parser.add_argument('steps', type=int)
    parser.add_argument('--kill_at', type=int)
    parser.add_argument('--share', action='store_true')
    args = parser.parse_args()
    sizes = {'emb_size': 5, 'hidden_size': 3, 'vocab_size': len(VOCABULARY)}
    hparams = propeller.HParams(**sizes, dropout=0.3 if args.kill_at else 0.0)
    config = propeller.RunConfig(
        model_dir=os.path.join(args.folder, 'run'), max_steps=args.steps, save_steps=5, log_steps=1, skip_steps=0
    )
    learner = propeller.Learner(BowModel, config, hparams, seed=3)
    texts = os.path.join(args.folder, '..', 'texts')
    learner.train(
        batches(texts, args.rows, repeat=not args.share, share=args.share), [Kill(args.kill_at)] if args.kill_at else []
    )
