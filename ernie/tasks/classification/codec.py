"""Classification, regression and multi-label classification at prediction time."""

import numpy as np

from ernie.tasks.codec import EVERYTHING, TextCodec

MULTILABEL_THRESHOLD = 0.5
FIELDS = {
    'classify': {'label': str, 'confidence': float, 'probabilities': {str: float}},
    'multilabel': {'labels': [str], 'probabilities': {str: float}},
    'regression': {'value': float},
}


class ClassificationCodec(TextCodec):
    """One text or a pair of texts to classes, to a number, or to several classes.

    `settings` also has `kind` ('classify', 'regression', 'multilabel'), `num_labels`, `labels` (their names by id).
    """

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.kind, self.labels = settings['kind'], settings['labels']
        reason = 'a regression gives a number, and no classes'
        self.fields = FIELDS[self.kind]
        self.unselectable = dict.fromkeys(('top_k', 'min_confidence'), reason) if self.kind == 'regression' else {}

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

    def select(self, result, selection):
        """`label` is None where it is less probable than `min_confidence`, and `confidence` says how probable it is; of
        `labels` those that are less probable are left out. `probabilities` has the `top_k` most probable, in order.
        """
        probabilities, least = result.get('probabilities'), selection.min_confidence
        if least is not None and self.kind == 'classify':
            confidence = max(probabilities.values())
            label = result['label'] if confidence >= least else None
            result = {'label': label, 'confidence': confidence, 'probabilities': probabilities}
        elif least is not None:
            result = result | {'labels': [name for name in result['labels'] if probabilities[name] >= least]}
        if selection.top_k is not None:
            ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
            result = result | {'probabilities': dict(ranked[: selection.top_k])}
        return result

    def answers(self, result, selection=EVERYTHING):
        if self.kind == 'regression':
            return [(f'{result["value"]:g}', None)]
        probabilities = result['probabilities']
        if self.kind == 'multilabel':
            return [(name, value) for name, value in probabilities.items() if name in result['labels']]
        if selection.top_k and result['label'] is not None:
            return list(probabilities.items())
        return [(result['label'], result.get('confidence', max(probabilities.values())))]

    def selected_cells(self, result, selection):
        """With `min_confidence` the label and its probability come first; with `top_k` a class and its probability."""
        first = []
        if selection.min_confidence is not None and self.kind == 'classify':
            first = [result['label'] or '', str(result['confidence'])]
        elif selection.min_confidence is not None:
            first = [','.join(result['labels'])]
        if selection.top_k is None:
            return [*first, *self.cells(result)]
        return [*first, *(str(part) for pair in result['probabilities'].items() for part in pair)]

    def cells(self, result):
        values = [result['value']] if self.kind == 'regression' else result['probabilities'].values()
        return [str(value) for value in values]


def _plain(value):
    """A float32 as the float with the fewest digits that gives it back."""
    return float(str(np.float32(value)))
