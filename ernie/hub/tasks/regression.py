"""`RegressionTask`: a number for each text."""

import numpy as np

from ernie.hub.tasks.base import BaseTask
from ernie.hub.tasks.classify import head
from ernie.metrics.classification import pearson_and_spearman
from propeller.errors import bad_input, quoted
from propeller.graph import F


class RegressionTask(BaseTask):
    """Texts -> numbers. Arguments: see `BaseTask`. metrics_choices: of `pearson`, `spearman`."""

    metrics = ('pearson', 'spearman')
    label_type = 'float32'
    larger_is_better = True

    def __init__(self, feature=None, feed_list=None, data_reader=None, **settings):
        super().__init__(feature, feed_list or [], data_reader, **settings)

    def _head(self, value):
        logits = head(value, 1)
        return logits, [logits]

    def loss(self, logits, label, mask):
        return F.mse_loss(logits.squeeze(-1), label)

    def labels(self, examples, tokenized, reader):
        values = []
        for example in examples:
            try:
                value = float(example.label)
            except (TypeError, ValueError):
                value = float('nan')
            if not np.isfinite(value):
                found = f'the label {quoted(example.label)} in row {example.guid + 1}'
                raise bad_input(reader.dataset.name, found, 'a number')
            values.append(value)
        return np.array(values, np.float32)

    def label_names(self):
        return []

    def measure(self, pairs):
        found = np.concatenate([predictions[0][:, 0] for _, _, predictions in pairs])
        scores = pearson_and_spearman(found, np.concatenate([rows.labels[i] for rows, i, _ in pairs]))
        return {name: scores[name] for name in self.scores}

    def named(self, results):
        return [float(value) for value in results[0][:, 0]]
