"""What the readers share: texts of a data set, or of a list, as what a network is fed with."""

import hashlib
import json
import os

import numpy as np

from ernie.hub.dataset import BaseDataset, InputExample
from propeller.errors import UsageError, UserError, bad_input, did_you_mean, one_of, quoted

PHASES = {'train': 'train', 'dev': 'dev', 'val': 'dev', 'test': 'test', 'predict': 'predict'}


class Rows:
    """Texts as ids.

    Attributes:
        set: `ernie.reader.tokenized_set.TokenizedSet`.
        labels: what a task makes of the labels; None without.
        examples: list of `InputExample`.
    """

    def __init__(self, tokenized, labels, examples):
        self.set, self.labels, self.examples = tokenized, labels, examples

    def __len__(self):
        return len(self.set)

    @property
    def lengths(self):
        """[N] int."""
        return self.set.lengths


class BaseReader:
    """What the readers share. Both orders of PaddleHub are understood: (dataset, vocab_path) of 1.0 to 1.3, and
    (vocab_path, dataset) of 1.5; all further arguments have names.

    Attributes:
        dataset: the data set, or None.
        vocab: dict token -> id.
        num_examples: dict `train`, `dev`, `test` -> rows, -1 until they are read.
        in_tokens: whether a batch size counts tokens.
        inputs: names of what it gives.
    """

    inputs = ()

    def __init__(self, where, positional, dataset, vocab_path, in_tokens):
        self.dataset, self.vocab_path = _in_either_order(where, positional, dataset, vocab_path)
        self.in_tokens = bool(in_tokens)
        self.num_examples = {'train': -1, 'dev': -1, 'test': -1}
        self._rows = {}

    # ------------------------------------------------------------ for tasks

    def rows(self, phase, codec, longest=None):
        """The `Rows` of a split of the data set, made once.

        Args:
            phase: of `PHASES`.
            codec: what the task makes of labels: has `labels(examples, tokenized, reader)`.
            longest: tokens of a text at most; None: as many as there are.
        """
        split = split_of(phase)
        key = split, longest, type(codec)
        if key not in self._rows:
            if self.dataset is None:
                raise UserError(f'{type(self).__name__}: found no data set, expected dataset= for {split}.')
            examples = self.dataset.examples(split)
            if not examples:
                raise UserError(f'{self.dataset.name}: found no row in {split}, expected one or more.')
            self._rows[key] = self.encoded(examples, codec if split != 'predict' else None, longest)
            self.num_examples[split] = len(examples)
        return self._rows[key]

    def encoded(self, examples, codec=None, longest=None):
        """`Rows` of some `InputExample`s. codec: None: labels are not read."""
        tokenized = self.tokenized(examples, longest)
        return Rows(tokenized, codec.labels(examples, tokenized, self) if codec else None, examples)

    def tokenized(self, examples, longest):
        """The `TokenizedSet` of some examples."""
        raise NotImplementedError

    def arrays(self, rows, indices):
        """dict name -> array, what a network is fed with for some of the rows."""
        raise NotImplementedError

    def described(self):
        """JSON-able dict: what decides which ids a text becomes. Checkpoints keep it."""
        content = json.dumps(sorted(self.vocab.items())).encode()
        return {'reader': type(self).__name__, 'vocabulary': hashlib.sha256(content).hexdigest()}

    # ------------------------------------------------------------ for users

    def data_generator(self, batch_size=1, phase='train', shuffle=False, data=None):
        """2019's way to the batches: a function that gives an iterator over them.

        Args:
            batch_size: rows; with `in_tokens` tokens.
            phase: `train` (always shuffled), `dev` or `val`, `test`, `predict`.
            shuffle: of other phases than `train`.
            data: texts to predict, a list of [text] or [text_a, text_b].
        Yields:
            (dict name -> array, labels: list of str or None) of each batch.
        """
        from propeller.data.batching import plan_batches

        split = split_of(phase)

        def batches():
            examples = self.given(data) if data is not None else None
            rows = self.encoded(examples) if examples else self.rows(split, _NoLabels())
            mixed = split == 'train' or shuffle
            options = {'in_tokens': self.in_tokens, 'window': 0, 'shuffle': mixed}
            for indices in plan_batches(rows.lengths, batch_size, rng=np.random.default_rng(), **options):
                labels = [rows.examples[i].label for i in indices]
                yield self.arrays(rows, indices), labels if labels[0] is not None else None

        return batches

    @staticmethod
    def given(data):
        """`InputExample`s of texts to predict: a list of [text], [text_a, text_b] or of texts alone.

        Raises:
            UserError: it is none, or empty.
        """
        if not isinstance(data, list | tuple) or not len(data):
            raise UserError(f'data: found {quoted(data)}, expected a list of texts: [["first text"], ["second"]].')
        examples = []
        for i, row in enumerate(data):
            texts = [row] if isinstance(row, str) else list(row) if isinstance(row, list | tuple) else []
            if not 1 <= len(texts) <= 2 or not all(isinstance(text, str) for text in texts):
                raise UserError(f'data[{i}]: found {quoted(row)}, expected [text] or [text_a, text_b].')
            examples.append(InputExample(i, *texts))
        return examples


class _NoLabels:
    def labels(self, examples, tokenized, reader):
        return None


def split_of(phase):
    """The split of a phase. Raises `UsageError` for a word that is none."""
    if phase not in PHASES:
        raise UsageError(f'phase {quoted(phase)}: expected {one_of(phase, PHASES)}')
    return PHASES[phase]


def _in_either_order(where, positional, dataset, vocab_path):
    if len(positional) > 2:
        raise UsageError(
            f'{where}: found {len(positional)} arguments without a name, expected two: give the others by name.'
        )
    for value in positional:
        if isinstance(value, str | os.PathLike) and vocab_path is None:
            vocab_path = value
        elif dataset is None and (value is None or isinstance(value, BaseDataset)):
            dataset = value
        else:
            raise UserError(f'{where}: found {quoted(value)}, expected a data set of hub.dataset and a vocab_path.')
    if vocab_path is None:
        raise UsageError(f'{where}: vocab_path is missing: module.get_vocab_path().')
    if dataset is not None and not isinstance(dataset, BaseDataset):
        raise UserError(f'{where}: dataset: found {quoted(dataset)}, expected one of hub.dataset.')
    if not isinstance(vocab_path, str | os.PathLike):
        raise UserError(f'{where}: vocab_path: found {quoted(vocab_path)}, expected a path.')
    return dataset, os.fspath(vocab_path)


def tokenized_rows(rows, split=None):
    """A `TokenizedSet` of lists of ids. split: see there; None: all have one type."""
    from ernie.reader.tokenized_set import TokenizedSet

    lengths = np.array([len(row) for row in rows], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.array([i for row in rows for i in row], np.int32)
    return TokenizedSet(ids, offsets, (lengths if split is None else np.array(split)).astype(np.int32))


def label_ids(examples, names, path):
    """The class of each example: [N] int64. names: the labels. Raises `UserError` for a label that is none of them."""
    known = {name: i for i, name in enumerate(names)}
    for example in examples:
        if example.label not in known:
            found = f'the label {quoted(example.label)} in row {example.guid + 1}'
            near = did_you_mean(str(example.label), known)
            raise bad_input(path, found, f'one of {", ".join(names)}', advice=near.strip())
    return np.array([known[example.label] for example in examples], np.int64)
