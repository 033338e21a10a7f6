"""`Survey`: what is known of a training file before a model is chosen and a text is cut into tokens."""

import dataclasses

_SAMPLED = 2000  # texts that are kept, at most twice as many


@dataclasses.dataclass
class Survey:
    """What one pass over a training file has found.

    Attributes:
        path: the file.
        task: a name of `ernie.tasks.table.TASKS`.
        kind: of classification: 'classify', 'regression' or 'multilabel'; else None.
        rows: rows, sentences or questions that can be used.
        labels: dict class -> how many rows have it, in the order of their ids; of tagging, label -> tokens. {} for
            numbers and for reading comprehension.
        label_map: dict class -> id; None where the labels are the ids.
        num_labels: their number; 1 for regression, 0 for reading comprehension.
        columns: dict role (`text_a`, `text_b`, `label`) -> column of the file; {} where it has none.
        first: the texts and the label of the first three rows, tuples of str.
        sample: tuples of texts, spread evenly over the file; of tagging, tuples of tokens.
        remark: what was taken for granted and could be meant otherwise, a sentence or two; '' where all is clear.
        scheme: of tagging, the chunk scheme that the labels show; None elsewhere.
        blank: dict role -> rows whose cell has no text.
    """

    path: str
    task: str
    kind: str | None = None
    rows: int = 0
    labels: dict = dataclasses.field(default_factory=dict)
    label_map: dict | None = None
    num_labels: int = 0
    columns: dict = dataclasses.field(default_factory=dict)
    first: list = dataclasses.field(default_factory=list)
    sample: list = dataclasses.field(default_factory=list)
    remark: str = ''
    scheme: str | None = None
    blank: dict = dataclasses.field(default_factory=dict)

    def texts(self):
        """The texts of the sample, one by one. Tokens come as one text, with spaces between."""
        for texts in self.sample:
            yield from (' '.join(texts),) if self.task == 'sequence_labeling' else texts

    def labels_found(self):
        """What a `Task` takes as `found`: dict with `kind`, `label_map`, `num_labels`, `scheme`."""
        return {name: getattr(self, name) for name in ('kind', 'label_map', 'num_labels', 'scheme')}


class Sample:
    """Keeps the first rows and some of all, spread evenly, in bounded memory. The same ones for the same file."""

    def __init__(self, first=3, most=_SAMPLED):
        self.first, self.kept, self.count = [], [], 0
        self._number, self._most, self._step = first, most, 1

    def add(self, texts, label=''):
        """texts: tuple of str. label: as the file has it."""
        if len(self.first) < self._number:
            self.first.append((*texts, label))
        if self.count % self._step == 0:
            self.kept.append(texts)
            if len(self.kept) >= 2 * self._most:
                self.kept, self._step = self.kept[::2], 2 * self._step
        self.count += 1
