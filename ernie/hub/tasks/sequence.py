"""`SequenceLabelTask`: a label for each token of a text."""

import numpy as np

from ernie.decoding.scheme import SCHEMES, scheme_fault
from ernie.hub import layers
from ernie.hub.dataset import SEPARATOR
from ernie.hub.reader.pieces import SequenceLabelReader
from ernie.hub.tasks.base import BaseTask
from ernie.hub.tasks.classify import head
from ernie.metrics.chunk import ChunkScores
from propeller.data.padding import pad_ragged
from propeller.errors import UsageError, UserError, bad_input, did_you_mean, quoted
from propeller.graph import F, paddle

_NONE = -1  # class of a piece that has no label


class SequenceLabelTask(BaseTask):
    """Texts -> a label for each token. Arguments: see `BaseTask`, and

    num_classes: number of labels. max_seq_len: of 2019, that of the module's context. metrics_choices: of `f1`,
    `precision`, `recall`, of chunks (`B-PER`, `I-PER` ...).
    """

    metrics = ('f1', 'precision', 'recall')
    label_shape = (-1, -1)
    takes_sequence = True
    larger_is_better = True

    def __init__(self, feature=None, max_seq_len=None, num_classes=None, feed_list=None, data_reader=None, **settings):
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise UsageError(f'SequenceLabelTask: num_classes: found {quoted(num_classes)}, expected 1 or more.')
        self.num_classes = num_classes
        super().__init__(feature, feed_list or [], data_reader, **settings)
        if not isinstance(self.reader, SequenceLabelReader):
            found = type(self.reader).__name__
            raise UserError(f'SequenceLabelTask: data_reader: found {found}, expected SequenceLabelReader.')
        if max_seq_len is not None:
            self.program.max_seq_len = min(max_seq_len, self.program.max_seq_len or max_seq_len)
        names = self.label_names()
        if self.reader.dataset is not None and len(names) != num_classes:
            raise UsageError(f'SequenceLabelTask: num_classes {num_classes}: the data set has {quoted(names, 100)}.')
        self.scheme = next(
            (scheme for scheme in ('IO', 'IOB', 'IOE', 'IOBES') if not scheme_fault(names, scheme)), None
        )
        if self.reader.dataset is not None and self.scheme is None:
            found = f'the labels {quoted(names, 100)}'
            raise bad_input(self.reader.dataset.name, found, f'labels of a scheme of chunks: {", ".join(SCHEMES)}')

    def _head(self, value):
        logits = head(value, self.num_classes)
        return logits, [layers.softmax(logits)]

    def loss(self, logits, label, mask):
        """Mean over the pieces that have a label."""
        each = F.cross_entropy(logits, label, ignore_index=_NONE, reduction='none').squeeze(-1)
        known = (label != _NONE).astype('float32')
        return (each * known).sum() / paddle.clip(known.sum(), min=1.0)

    def labels(self, examples, tokenized, reader):
        known, all_ids = {name: i for i, name in enumerate(reader.dataset.get_labels())}, []
        for row, example in enumerate(examples):
            labels, tokens = (example.label or '').split(SEPARATOR), reader.tokens(example.text_a)
            place = f'row {example.guid + 1}'
            if len(labels) != len(tokens):
                found = f'{len(tokens)} tokens and {len(labels)} labels in {place}'
                raise bad_input(reader.dataset.name, found, 'one for each, between \\x02 characters')
            wrong = next((label for label in labels if label not in known), None)
            if wrong is not None:
                near = did_you_mean(wrong, known).strip()
                found = f'the label {quoted(wrong)} in {place}'
                raise bad_input(reader.dataset.name, found, f'one of {", ".join(known)}', advice=near)
            starts = tokenized.starts[tokenized.offsets[row] : tokenized.offsets[row + 1]]
            ids, given = np.full(len(starts), _NONE, np.int64), iter(labels)
            for place in np.flatnonzero(starts):
                ids[place] = known[next(given)]
            all_ids.append(ids)
        return np.concatenate(all_ids)

    def label_array(self, rows, indices):
        return pad_ragged(rows.labels, rows.set.offsets, indices, _NONE)

    def measure(self, pairs):
        names, scores = self.label_names(), ChunkScores(self.scheme)
        for rows, indices, predictions in pairs:
            found, true = predictions[0].argmax(-1), self.label_array(rows, indices)
            for row in range(len(indices)):
                places = np.flatnonzero(true[row] != _NONE)
                scores.add([names[i] for i in true[row, places]], [names[i] for i in found[row, places]])
        micro = scores.micro()
        return {name: micro[name] for name in self.scores}

    def results(self, rows, indices, found):
        """[class of each token [B, T], 0 where there is none; number of tokens [B]], tokens that were read."""
        starts = pad_ragged(rows.set.starts, rows.set.offsets, indices)
        counts = starts.sum(-1)
        classes = np.zeros((len(indices), max(int(counts.max(initial=0)), 1)), np.int64)
        for row, ids in enumerate(found[0].argmax(-1)):
            classes[row, : counts[row]] = ids[starts[row] > 0]
        return [classes, counts]

    def named(self, results):
        names, (classes, counts) = self.label_names(), results
        return [[names[i] for i in row[:count]] for row, count in zip(classes, counts, strict=True)]
