"""`TextClassifierTask`: a class for each text."""

import numpy as np

from ernie.hub import layers
from ernie.hub.initializer import Constant, TruncatedNormal
from ernie.hub.parameters import ParamAttr
from ernie.hub.reader.base import label_ids
from ernie.hub.tasks.base import BaseTask
from ernie.metrics.classification import accuracy, matthews_corrcoef
from propeller.errors import UsageError, quoted
from propeller.graph import F
from propeller.scores import ratio


def head(value, width):
    """The last layer of PaddleHub: `cls_out_w`, of a normal cut at two deviations of 0.02, and `cls_out_b`."""
    weight = ParamAttr('cls_out_w', TruncatedNormal(scale=0.02))
    return layers.fc(value, width, param_attr=weight, bias_attr=ParamAttr('cls_out_b', Constant(0.0)))


class TextClassifierTask(BaseTask):
    """Texts -> classes; probabilities are predicted. Arguments: see `BaseTask`, and

    num_classes: number of classes, that of the data set's labels. metrics_choices: of `acc`, `f1`, `precision` and
    `recall` of class 1, `matthews`.
    """

    metrics = ('acc', 'f1', 'precision', 'recall', 'matthews')
    larger_is_better = True

    def __init__(self, feature=None, num_classes=None, feed_list=None, data_reader=None, **settings):
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise UsageError(
                f'TextClassifierTask: num_classes: found {quoted(num_classes)}, expected that of the data set: '
                'dataset.num_labels.'
            )
        self.num_classes = num_classes
        super().__init__(feature, feed_list or [], data_reader, **settings)
        dataset = self.reader.dataset
        if dataset is not None and dataset.num_labels != num_classes:
            names = quoted(dataset.get_labels(), 100)
            raise UsageError(f'TextClassifierTask: num_classes {num_classes}: the data set has {names}.')

    def _head(self, value):
        logits = head(value, self.num_classes)
        return logits, [layers.softmax(logits)]

    def loss(self, logits, label, mask):
        return F.cross_entropy(logits, label)

    def labels(self, examples, tokenized, reader):
        return label_ids(examples, reader.dataset.get_labels(), reader.dataset.name)

    def measure(self, pairs):
        found = np.concatenate([predictions[0].argmax(-1) for _, _, predictions in pairs])
        true = np.concatenate([rows.labels[indices] for rows, indices, _ in pairs])
        hits, of_found, of_true = ((found == 1) & (true == 1)).sum(), (found == 1).sum(), (true == 1).sum()
        scores = {
            'acc': accuracy(found, true),
            'precision': float(ratio(hits, of_found)),
            'recall': float(ratio(hits, of_true)),
            'f1': float(ratio(2 * hits, of_found + of_true)),
        }
        if 'matthews' in self.scores:
            scores['matthews'] = matthews_corrcoef(found, true)
        return {name: scores[name] for name in self.scores}

    def named(self, results):
        names = self.label_names()
        return [names[i] for i in results[0].argmax(-1)]


ClassifierTask = TextClassifierTask
