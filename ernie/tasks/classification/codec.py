"""Classification, regression and multi-label classification at prediction time."""

import numpy as np

from ernie.reader.classify import RowEncoder
from ernie.reader.columns import TEXTS, listed, text_columns
from ernie.reader.sentence_types import ONE_TYPE
from ernie.tasks.codec import BadRecord, Codec, Windows

MULTILABEL_THRESHOLD = 0.5


class ClassificationCodec(Codec):
    """One text or a pair of texts (`text_a`, perhaps `text_b`) to classes, to a number, or to several classes.

    `settings` also has `kind` ('classify', 'regression', 'multilabel'), `num_labels`, `labels` (their names by id),
    `for_cn`, and `columns`, the ones that the model learnt from, which every record must have.
    """

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.kind, self.labels = settings['kind'], settings['labels']
        self.columns = text_columns(settings.get('columns'))
        self._encoder = RowEncoder(tokenizer, settings['max_seq_len'], None, 'predict', None, settings['for_cn'])

    def encode(self, record):
        texts = [record.get(name) for name in TEXTS]
        for name, text in zip(TEXTS, texts, strict=True):
            if text is None and name in self.columns.required:
                expected = f'{" and ".join(self.columns.required)}, from which the model learnt'
                raise BadRecord(f'nothing as {name}' + (f' beside {listed(record)}' if record else ''), expected)
            if text and name in self.columns.refused:
                raise BadRecord(f'a text as {name}', 'none: the model learnt from text_a alone')
            if text is not None and not isinstance(text, str):
                raise BadRecord(f'a {type(text).__name__} as {name}', 'a text')
        ids, split, left_out = self._encoder.encode(*texts)
        self.cut += left_out > 0
        if split < len(ids) and self.config.sentence_types < 2:
            raise BadRecord('a pair of texts', ONE_TYPE)
        return Windows([ids], [split])

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
