"""Data sets: those with a name, fetched once into the cache, and a user's own files.

`hub.dataset.ChnSentiCorp()` is the set `chnsenticorp` of `ernie.zoo.data_sets`, which `ernie download` brings too.
"""

import os
from typing import NamedTuple

from ernie.hub.log import log
from ernie.reader.columns import ColumnNames
from propeller.errors import UsageError, UserError, bad_input, quoted

SPLITS = ('train', 'dev', 'test', 'predict')
SEPARATOR = '\2'  # between tokens, and between their labels, in the cells of tagged texts


class InputExample(NamedTuple):
    """A row. guid: its number from 0. text_a, text_b, label: texts; None for what it does not have."""

    guid: int
    text_a: str
    text_b: str | None = None
    label: str | None = None


class BaseDataset:
    """What all data sets have. A set of your own: a subclass with `rows(split)`.

    Attributes:
        name: for messages.
        labels: list of the labels; None: those of the training rows, sorted.
    """

    name = 'data set'
    labels = None

    def __init__(self):
        self._examples = {}

    def rows(self, split):
        """Iterate over (text_a, text_b, label) of `train`, `dev`, `test` or `predict`; None: there is no such split."""
        raise NotImplementedError

    def examples(self, split):
        """The rows of a split: list of `InputExample`.

        Raises:
            UserError: the set has no such split, or cannot be had.
        """
        if split not in self._examples:
            rows = self.rows(split)
            if rows is None:
                there = [other for other in SPLITS if other != split and self.has(other)]
                found = f'{self.name}: found no split {split}, expected one; there are {", ".join(there)}.'
                advice = ' finetune() needs none, and eval("test") scores another split.' if split == 'dev' else ''
                raise UserError(f'{found}{advice}')
            self._examples[split] = [InputExample(guid, *row) for guid, row in enumerate(rows)]
        return self._examples[split]

    def has(self, split):
        """Whether there is such a split."""
        return split in self._examples or self.rows(split) is not None

    def get_train_examples(self):
        """The training rows."""
        return self.examples('train')

    def get_dev_examples(self):
        """The rows of the dev set."""
        return self.examples('dev')

    get_val_examples = get_dev_examples

    def get_test_examples(self):
        """The rows of the test set."""
        return self.examples('test')

    def get_predict_examples(self):
        """The rows to predict."""
        return self.examples('predict')

    def get_labels(self):
        """The labels, in the order of their classes: list of str."""
        if self.labels is None:
            found = {example.label for example in self.get_train_examples()}
            tagged = any(SEPARATOR in label for label in found if label)
            if tagged:
                found = {one for label in found for one in label.split(SEPARATOR)}
            self.labels = sorted(found, key=_by_value)
        return list(self.labels)

    @property
    def num_labels(self):
        """How many labels there are."""
        return len(self.get_labels())


def _by_value(label):
    return (0, int(label), '') if label.isascii() and label.isdigit() else (1, 0, label)


class Named(BaseDataset):
    """A data set by its name: one of `ernie list`."""

    def __init__(self, name):
        super().__init__()
        from ernie.zoo.data_sets import READ, REGRESSION, find_data_set, folder_of, splits_here

        self._set = find_data_set(name)
        self.name, self.labels = self._set.name, list(self._set.labels) or None
        if self._set.task == READ:
            raise UsageError(
                f'{self.name}: questions about texts, which no task of hub reads. Take ernie finetune read.'
            )
        if self._set.task == REGRESSION:
            self.labels = []
        if splits_here(self._set):
            log.info('Dataset %s already cached.', folder_of(self._set))

    def rows(self, split):
        from ernie.zoo.data_sets import examples

        found = self._set.split_named(split)
        if found is None:
            return None
        return [(row['text_a'], row.get('text_b'), row.get('label')) for row in examples(self.name, found)]

    def has(self, split):
        return self._set.split_named(split) is not None


def _named(name, title):
    """A class of 2019's, for the data set of a name."""

    def __init__(self, tokenizer=None, max_seq_len=None):
        if tokenizer is not None or max_seq_len is not None:
            raise UsageError(f'{title}: tokenizer and max_seq_len: expected None: the reader cuts texts.')
        Named.__init__(self, name)

    return type(title, (Named,), {'__init__': __init__, '__doc__': f'The data set {name}.', '__module__': __name__})


ChnSentiCorp, LCQMC, MSRA_NER = (
    _named('chnsenticorp', 'ChnSentiCorp'),
    _named('lcqmc', 'LCQMC'),
    _named('msra-ner', 'MSRA_NER'),
)
THUCNEWS, IMDB, NSMC = _named('thucnews', 'THUCNEWS'), _named('imdb', 'IMDB'), _named('nsmc', 'NSMC')


class XNLI(Named):
    """XNLI in a language, 2019's default Chinese."""

    def __init__(self, language='zh'):
        super().__init__('xnli' if language == 'zh' else f'xnli/{language}')


class GLUE(Named):
    """A task of GLUE, by 2019's name for it: `CoLA`, `MNLI_m`, `MNLI_mm`, `MRPC`, `QNLI`, `QQP`, `RTE`, `SST-2`,
    `STS-B`.
    """

    def __init__(self, sub_dataset='SST-2'):
        if not isinstance(sub_dataset, str):
            raise UserError(f'GLUE: sub_dataset: found {quoted(sub_dataset)}, expected a name such as SST-2.')
        self._matched = 'mismatched' if sub_dataset.lower().endswith('_mm') else 'matched'
        super().__init__(f'glue/{sub_dataset.removesuffix("_mm").removesuffix("_m")}')

    def rows(self, split):
        matched = f'{split}_{self._matched}'
        return super().rows(matched if matched in self._set.splits else split)


class Files(BaseDataset):
    """Your own files, of any form that the suite reads: TSV, CSV, JSON lines, Parquet, fastText ...

    Columns are known by their names (`text_a`, `text_b`, `label`, and names that people use).

    Args:
        train, dev, test, predict: paths; None for what there is not.
        labels: list of the labels; None: those of the training file, sorted.
        text_column, text_b_column, label_column: names of the columns, where they are not found.
    """

    def __init__(
        self,
        train=None,
        dev=None,
        test=None,
        predict=None,
        labels=None,
        text_column=None,
        text_b_column=None,
        label_column=None,
    ):
        super().__init__()
        paths = zip(SPLITS, (train, dev, test, predict), strict=True)
        self.paths = {split: os.fspath(path) for split, path in paths if path is not None}
        if not self.paths:
            raise UsageError('hub.dataset.Files: found no file, expected train=, dev=, test= or predict=.')
        self.labels = None if labels is None else [str(label) for label in labels]
        self._columns = ColumnNames(text_column, text_b_column, label_column)
        self.name = next(iter(self.paths.values()))

    def rows(self, split):
        from ernie.reader.records import read_records

        path = self.paths.get(split)
        if path is None:
            return None
        labelled = split != 'predict' and not (split == 'test' and self._lacks_label(path))
        required = ('text_a', 'label') if labelled else ('text_a',)
        records = read_records(path, required, columns=self._columns)
        return ((r.cells['text_a'], r.cells.get('text_b'), r.cells.get('label')) for r in records)

    def _lacks_label(self, path):
        from ernie.reader.naming import MissingColumn
        from ernie.reader.records import read_records

        try:
            next(read_records(path, ('text_a', 'label'), columns=self._columns))
        except MissingColumn:
            return True
        return False

    def has(self, split):
        return split in self.paths


class BaseNLPDataset(BaseDataset):
    """A folder of TSV files as PaddleHub 1.5 read them: columns by their places, `text_a`, perhaps `text_b`, `label`.

    Args:
        base_path: the folder.
        train_file, dev_file, test_file, predict_file: names in it; None for what there is not. Of `predict_file` all
            columns are texts.
        label_file: file with a label on each line. label_list: the labels instead. None of both: those of the rows.
        train_file_with_header and so on: whether the first line names the columns.
    """

    def __init__(
        self,
        base_path,
        train_file=None,
        dev_file=None,
        test_file=None,
        predict_file=None,
        label_file=None,
        label_list=None,
        train_file_with_header=False,
        dev_file_with_header=False,
        test_file_with_header=False,
        predict_file_with_header=False,
    ):
        super().__init__()
        files = (train_file, dev_file, test_file, predict_file)
        headers = (train_file_with_header, dev_file_with_header, test_file_with_header, predict_file_with_header)
        found = zip(SPLITS, files, headers, strict=True)
        self._files = {split: (os.path.join(base_path, file), header) for split, file, header in found if file}
        self.name = os.fspath(base_path)
        if label_list is not None:
            self.labels = [str(label) for label in label_list]
        elif label_file:
            self.labels = [cells[0] for _, cells in _lines(os.path.join(base_path, label_file)) if cells[0]]

    def rows(self, split):
        if split not in self._files:
            return None
        return self._rows(*self._files[split], labelled=split != 'predict')

    def has(self, split):
        return split in self._files

    @staticmethod
    def _rows(path, header, labelled):
        for line, cells in _lines(path):
            if header and line == 1:
                continue
            count = len(cells) - labelled
            if count not in (1, 2):
                expected = 'text_a<TAB>label or text_a<TAB>text_b<TAB>label' if labelled else 'one text or two'
                raise bad_input(path, f'{len(cells)} cells', expected, line)
            text_b = cells[1] if count == 2 else None
            yield cells[0], text_b, cells[-1] if labelled else None


def _lines(path):
    """Yields (number, cells) of a TSV file without quoting; blank lines are no rows."""
    from propeller.inputs import open_data

    with open_data(path, 'a file of rows, cells between TABs') as file:
        for number, raw in enumerate(file, start=1):
            try:
                text = raw.decode('utf-8-sig' if number == 1 else 'utf-8').rstrip('\r\n')
            except UnicodeDecodeError as e:
                raise bad_input(path, f'byte 0x{raw[e.start]:02x} that is not UTF-8', 'UTF-8 text', number) from None
            if text.strip():
                yield number, text.split('\t')
