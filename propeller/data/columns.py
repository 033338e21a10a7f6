"""Columns: how one cell of a row becomes an array, by itself or through a record file."""

import re

import numpy as np

from propeller.data.example import Feature, Int64List
from propeller.data.fingerprint import fingerprint
from propeller.data.vocabulary import column_vocabulary
from propeller.errors import UserError, bad_input, did_you_mean, quoted

_NUMBER = re.compile(rb'[+-]?[0-9]{1,20}')
_LEAST, _MOST = -(2**63), 2**63 - 1


def basic_tokenizer(text):
    """The words of a text between spaces. text: bytes. -> list of bytes."""
    return [word for word in text.split(b' ') if word]


class BadValue(UserError):
    """A cell that its column cannot use: what was `found` and what is `expected`."""

    def __init__(self, name, found, expected):
        super().__init__(str(bad_input(f'column {name}', found, expected)))
        self.found, self.expected = f'{found} in column {name}', expected


class Column:
    """What a column does; columns of your own derive from it.

    Args:
        name: of the feature in record files; each column of a row has another.
    """

    def __init__(self, name):
        self.name = name

    def raw_to_proto(self, raw):
        """The `propeller.data.example.Feature` that a record file holds. raw: the cell as bytes."""
        raise NotImplementedError(f'{type(self).__name__}.raw_to_proto: needed for record files')

    def proto_to_instance(self, feature):
        """The array of a `Feature` that `raw_to_proto` made."""
        raise NotImplementedError(f'{type(self).__name__}.proto_to_instance: needed for record files')

    def raw_to_instance(self, raw):
        """The array of a cell, the same as through a record file. raw: the cell as bytes."""
        return self.proto_to_instance(self.raw_to_proto(raw))

    @property
    def output_shapes(self):
        """Shape of the array, -1 for what varies: a list of int."""
        raise NotImplementedError(f'{type(self).__name__}.output_shapes')

    @property
    def output_types(self):
        """Name of the dtype of the array."""
        raise NotImplementedError(f'{type(self).__name__}.output_types')

    def fingerprint(self):
        """A text that changes when the column would make other features: record files are then made anew.

        Raises:
            propeller.data.fingerprint.Indescribable: it cannot be told; a column whose state is in a compiled library
                overrides this method.
        """
        return fingerprint(self)


class IdsColumn(Column):
    """A column whose cells become whole numbers, int64 [T]; columns of your own that derive from it write `ids` only.

    Args:
        name: see `Column`.
    """

    output_types = 'int64'

    @property
    def output_shapes(self):
        """[-1]: a row of any length."""
        return [-1]

    def ids(self, raw):
        """The numbers of a cell, a list of int. raw: the cell as bytes. Raises `BadValue` where there are none."""
        raise NotImplementedError(f'{type(self).__name__}.ids: the numbers of a cell')

    def raw_to_proto(self, raw):
        """A `Feature` with an int64_list."""
        return Feature(int64_list=Int64List(value=self.ids(raw)))

    def proto_to_instance(self, feature):
        """[T] int64."""
        return np.array(self._values(feature), np.int64)

    def raw_to_instance(self, raw):
        """[T] int64."""
        return np.array(Int64List(value=self.ids(raw)).value, np.int64)

    def _values(self, feature):
        if not feature.HasField('int64_list'):
            raise BadValue(self.name, f'a {feature.WhichOneof("kind")}', 'an int64_list')
        return feature.int64_list.value


class LabelColumn(IdsColumn):
    """A column of one int64: the number that stands there, or the id of the word in a vocabulary.

    Args:
        name: see `Column`.
        vocab_dict: dict label (bytes, or str for its UTF-8) -> id.
        vocab_file: path of a file of one label a line, id = number of the line from 0.

    Attributes:
        vocab: dict bytes -> id, or None.

    Raises:
        UserError: the vocabulary is empty or wrong, or both are given.
    """

    NOT_FINGERPRINTED = ('_source',)  # the same labels are the same, from a file and from a dict

    def __init__(self, name, vocab_dict=None, vocab_file=None):
        super().__init__(name)
        self._source, self.vocab = column_vocabulary(name, vocab_dict, vocab_file)

    @property
    def output_shapes(self):
        """[]: a number."""
        return []

    def ids(self, raw):
        """The one id of a cell, in a list."""
        if self.vocab is None:
            return [_integer(self.name, raw.strip())]
        try:
            return [self.vocab[raw]]
        except KeyError:
            return [self._other_spelling(raw)]

    def _other_spelling(self, raw):
        found = self.vocab.get(raw.strip())
        if found is not None:
            return found
        label = raw.decode('utf-8', 'backslashreplace')
        known = [word.decode('utf-8', 'backslashreplace') for word in self.vocab]
        some = f'one of {len(known)} labels' if len(known) > 20 else f'one of {", ".join(known)}'
        raise BadValue(self.name, f'the label {quoted(label)}', f'{some} ({self._source})')

    def proto_to_instance(self, feature):
        """Scalar int64 array of the only value of the list."""
        values = self._values(feature)
        if len(values) != 1:
            raise BadValue(self.name, f'{len(values)} values', 'one label')
        return np.array(values[0], np.int64)

    def raw_to_instance(self, raw):
        """Scalar int64 array."""
        return np.array(self.ids(raw)[0], np.int64)


class TextColumn(IdsColumn):
    """A column of text: the ids of its words.

    Args:
        name: see `Column`.
        unk_id: id of words that are not in the vocabulary; one of the vocabulary's own ids.
        vocab_file: path of a file of one word a line, id = number of the line from 0.
        vocab_dict: dict word (bytes, or str for its UTF-8) -> id.
        tokenizer: function from the cell, as bytes, to an iterable of words, bytes or str.

    Attributes:
        vocab: dict bytes -> id.

    Raises:
        UserError: no vocabulary or both, an empty or wrong one, or an `unk_id` that is not in it.
    """

    NOT_FINGERPRINTED = ('_source', '_table')  # the same words are the same, from a file and from a dict

    def __init__(self, name, unk_id, vocab_file=None, vocab_dict=None, tokenizer=basic_tokenizer):
        super().__init__(name)
        self._source, self.vocab = column_vocabulary(name, vocab_dict, vocab_file)
        if self.vocab is None:
            raise UserError(f'column {name}: found no vocabulary, expected vocab_file or vocab_dict.')
        if not callable(tokenizer):
            raise UserError(f'column {name}: found the tokenizer {quoted(tokenizer)}, expected a function.')
        self.tokenizer, self.unk_id = tokenizer, _unknown_id(name, unk_id, self.vocab, self._source)
        self._table = None

    def __getstate__(self):
        return {**self.__dict__, '_table': None}

    def ids(self, raw):
        """The ids of the words of a cell."""
        table, unknown = self._table or self._make_table(), self.unk_id
        words = list(self.tokenizer(raw))
        if words and not isinstance(words[0], bytes | str):
            raise BadValue(self.name, f'the words {quoted(words)} of its tokenizer', 'bytes or str')
        return [table.get(word, unknown) for word in words]

    def _make_table(self):
        # Tokenizers give bytes or str: each is found without a conversion.
        words = {}
        for word, index in self.vocab.items():
            words[word] = index
            try:
                words[word.decode('utf-8')] = index
            except UnicodeDecodeError:
                continue
        self._table = words
        return words


class TextIDColumn(IdsColumn):
    """A column of ids between spaces."""

    def ids(self, raw):
        """The numbers of a cell."""
        numbers = raw.split()
        if not b''.join(numbers).isdigit() or max(map(len, numbers)) > 18:
            return [_integer(self.name, number) for number in numbers]
        return list(map(int, numbers))


def _integer(name, digits):
    if not _NUMBER.fullmatch(digits):
        raise BadValue(name, quoted(digits.decode('utf-8', 'backslashreplace')), 'a whole number')
    number = int(digits)
    if not _LEAST <= number <= _MOST:
        raise BadValue(name, f'the number {quoted(number)}', 'one of 64 bits')
    return number


def _unknown_id(name, unk_id, vocabulary, source):
    try:
        index = unk_id.__index__()
    except AttributeError:
        near = did_you_mean('[UNK]', [word.decode('utf-8', 'replace') for word in vocabulary if b'unk' in word.lower()])
        raise UserError(
            f'column {name}: found unk_id {quoted(unk_id)}, expected the id of the word in {source} that stands for '
            f'unknown ones.{near}'
        ) from None
    ids = vocabulary.values()
    if index not in ids:
        raise UserError(f'column {name}: found unk_id {index}, expected an id of {source}: {min(ids)} to {max(ids)}.')
    return index
