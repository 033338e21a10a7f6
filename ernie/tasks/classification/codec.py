"""Classification, regression and multi-label classification at prediction time."""

import numpy as np

from ernie.tasks.codec import TextCodec

MULTILABEL_THRESHOLD = 0.5


class ClassificationCodec(TextCodec):
    """One text or a pair of texts to classes, to a number, or to several classes.

    `settings` also has `kind` ('classify', 'regression', 'multilabel'), `num_labels`, `labels` (their names by id).
    """

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.kind, self.labels = settings['kind'], settings['labels']

    def decode(self, record, windows, outputs):
        """{'label', 'probabilities': {name: p}}, {'value'} or {'labels', 'probabilities'}."""
        ((values,),) = outputs
        if self.kind == 'regression':
            return {'value': _plain(values[0])}
        probabilities = {name: _plain(p) for name, p in zip(self.labels, values, strict=True)}
        if self.kind == 'multilabel':
            chosen = [self.labels[i] for i in np.flatnonzero(values >= MULTILABEL_THRESHOLD)]
            return {'labels': chosen, 'probabilities': probabilities}
        return {'label': self.labels[int(values.argmax())], 'probabilities': probabilities}

    def cells(self, result):
        values = [result['value']] if self.kind == 'regression' else result['probabilities'].values()
        return [str(value) for value in values]


def _plain(value):
    """A float32 as the float with the fewest digits that gives it back."""
    return float(str(np.float32(value)))
