"""`TextModel`: a fine-tuned model, or an encoder as a source of vectors, as the front of a server knows it.

Shapes: B batch, T length, H hidden. No engine is loaded here.
"""

import functools
from typing import NamedTuple

import numpy as np

from ernie.inference.loaded import row_of_record
from ernie.inference.pooling import unit_length
from ernie.inference.predict import output_shapes
from ernie.inference.vectors import VectorFolder
from ernie.reader.columns import TEXTS
from ernie.tasks.codec import EVERYTHING, BadRecord
from propeller.errors import UsageError, quoted
from propeller.service.errors import ServiceError
from propeller.service.served import ServedModel

EMBED = 'embed'
_MULTIPLE = 4  # of tokens, that batches are long
_TASKS = {'sequence_labeling': 'tag', 'mrc': 'answer'}


class Encoded(NamedTuple):
    """A record as the model reads it.

    rows: list of (ids, split), for `TextModel.pack`. tokens: of all rows. truncated: whether something of the record
    was left out. windows: `Windows`, for `TextModel.decode`; record: the record with the names that the codec knows;
    both None where a vector is all that is asked for.
    """

    rows: list
    tokens: int
    truncated: bool
    windows: object
    record: dict | None = None


class TokenRow(NamedTuple):
    """A row of a client that tokenizes itself: ids, types: int64 [T]; mask: float32 [T], 1 for tokens."""

    ids: np.ndarray
    types: np.ndarray
    mask: np.ndarray


class TextModel(ServedModel):
    """An exported model.

    A row is (ids, split), as `Windows` has them, or a `TokenRow`.

    Args:
        name: in requests.
        folder: `ModelFolder` or `VectorFolder` of an exported model.
        engine, precision, threads, use_cuda: see `ernie.service.opener.open_served`.
        kept: whatever must live as long as the model.

    Attributes:
        task: 'classify', 'regression', 'multilabel', 'tag', 'answer' or 'embed'; of others the name of the task.
        codec: `Codec`; None for 'embed'.
        tokenizer: `Tokenizer`.
        pooling: None but for 'embed'.
        normalize: whether vectors have length 1 where a request does not say.
        config: `ErnieConfig`.
        shapes: shape of each output, -1 for sizes that vary; varies: for each whether it has the length of the row.
        info: dict for JSON.
    """

    opener = 'ernie.service.opener:open_served'

    def __init__(self, name, folder, engine, precision='fp32', threads=None, use_cuda=None, kept=None):
        self.name, self.path, self._kept = name, folder.path, kept
        is_vectors = isinstance(folder, VectorFolder)
        self._codec, self.shapes = folder.codec, output_shapes(folder.exported)
        self.varies = [len(shape) > 1 and shape[1] == -1 for shape in self.shapes]
        self.tokenizer, self.settings = folder.codec.tokenizer, folder.settings
        self.codec = None if is_vectors else folder.codec
        self.task = EMBED if is_vectors else _task_of(folder)
        self.pooling = folder.pooling if is_vectors else None
        self.normalize = bool(is_vectors and folder.settings['normalize'])
        inputs = 5 if folder.config.use_task_id else 4
        self.config = folder.config
        self.arguments = {
            'folder': folder.path,
            'engine': engine,
            'precision': precision,
            'threads': threads,
            'use_cuda': use_cuda,
            'inputs': inputs,
        }
        self.info = {
            'task': self.task,
            'max_seq_len': self.settings['max_seq_len'],
            'labels': self._labels(),
            'columns': self.settings.get('columns'),  # of texts that it learnt from; None where that is not known
            'hidden_size': folder.config.hidden_size,
            'layers': folder.config.num_hidden_layers,
            'vocab_size': len(self.tokenizer.vocab),
            'tokenizer': type(self.tokenizer).__name__,
            'encoder': folder.config.encoder,
            'engine': engine,
            'precision': precision,
        }
        if is_vectors:
            self.info |= {'pooling': folder.pooling, 'layer': folder.layer, 'normalize': self.normalize}

    def _labels(self):
        """Names of classes, or of what is tagged; None where there are none."""
        if self.task == 'tag':
            return sorted({name.split('-', 1)[-1] for name in self.settings['label_map']} - {'O'})
        return self.settings.get('labels') if self.task in ('classify', 'multilabel') else None

    @property
    def columns(self):
        """`Columns` of the records."""
        return self._codec.columns

    @property
    def task_id(self):
        """Value of the task id input; None where the model has no task embedding."""
        return self._codec.task_id

    def opened(self, description):
        self.padding_cost = description['padding_cost']

    def limited(self, limits):
        # As many rows as there can be: what an engine takes for a batch of few long rows is no more.
        length = self.padded(min(self.settings['max_seq_len'], max(limits.batch_tokens // limits.batch_rows, 1)))
        self.arguments['largest'] = [max(min(limits.batch_rows, limits.batch_tokens // length), 1), length]

    # ---------------------------------------------------------------- texts

    def encode(self, record):
        """A record (dict, as `ernie.load` takes it) -> `Encoded`. Several threads may call it.

        Raises:
            ServiceError: 'invalid': the model cannot use it.
        """
        row = row_of_record(self._codec, dict(record), None)
        if row.bad:
            raise _invalid(row.bad.found, row.bad.expected)
        record = row.record
        self._check_names(record)
        for name in (*TEXTS, 'question', 'context'):
            _check_text(name, record.get(name))
        first = self.columns.required[0] if self.columns.required else TEXTS[0]
        if isinstance(record.get(first), str) and not record[first].strip():
            raise _invalid(f'an empty text as {first}', 'some text')
        try:
            windows = self._codec.encode(record)
        except BadRecord as e:
            raise _invalid(e.found, e.expected) from None
        rows = list(zip(windows.ids, windows.split, strict=True))
        tokens = sum(map(len, windows.ids))
        if self.codec is None:  # nothing of the text is needed for its vector
            return Encoded(rows, tokens, windows.cut, None)
        return Encoded(rows, tokens, windows.cut, windows, record)

    def _check_names(self, record):
        """Raises `ServiceError`: something is given that the model does not read; it would be missing in silence."""
        columns = self.columns
        known = (*columns.names, 'tokens') if columns.words == 'tokens' else columns.names
        unread = next((name for name in record if name not in known), None)
        if unread is not None:
            read = (*columns.required, *(name for name in columns.known if name in TEXTS))
            first, *more = dict.fromkeys(read)
            expected = f'{first} and {more[0]}' if len(columns.required) > 1 else ' and perhaps '.join([first, *more])
            raise _invalid(f'{quoted(unread, 60)}, which {self.name} ({self.task}) does not read', expected)

    def check_selection(self, selection):
        """Raises `ServiceError`: 'invalid': the task cannot select in this way."""
        try:
            self._codec.check_selection(selection)
        except UsageError as e:
            raise ServiceError('invalid', str(e).replace('--', '')) from None

    def decode(self, record, encoded, outputs, selection=EVERYTHING):
        """The result of a record.

        Args:
            record: that of `encode`.
            encoded: what `encode` made of it.
            outputs: the results of its rows, list.
            selection: `Selection`.
        Returns:
            a dict for JSON; of 'embed' float32 [H] ([T, H] without pooling), as it comes from the model.
        """
        if self.codec is None:
            return self.vector(outputs[0], False)
        record = getattr(encoded, 'record', None) or record
        return self.codec.select(self.codec.decode(record, encoded.windows, outputs), selection)

    def vector(self, outputs, normalize=None):
        """The vector of a text, float32 [H]; without pooling those of its tokens [T, H].

        Args:
            outputs: the result of its row.
            normalize: whether it gets length 1, where there is pooling; None: as `normalize` of the model says.
        """
        if self.varies[0]:
            return outputs[0]
        vectors, place = outputs
        return (vectors.units if (self.normalize if normalize is None else normalize) else vectors.plain)[place]

    def normalized(self, vectors):
        """Vectors float32 [N, H] with length 1."""
        return unit_length(vectors)

    # ---------------------------------------------------------------- rows

    def tokens(self, row):
        return max(len(row[0]), 1)

    def padded(self, tokens):
        # Fewer shapes of batches, which engines prepare themselves for: see `propeller.service.requests.counts`.
        return -(-tokens // _MULTIPLE) * _MULTIPLE

    def kind(self, row):
        return 'arrays' if isinstance(row, TokenRow) else ''

    def pack(self, rows):
        if isinstance(rows[0], TokenRow):
            return self._pack_arrays(rows)
        arrays = ids, types, positions, mask = _empty_arrays(len(rows), self.padded(max(len(row[0]) for row in rows)))
        for place, (tokens, split) in enumerate(rows):
            count = len(tokens)
            ids[place, :count], mask[place, :count] = tokens, 1
            types[place, split:count], positions[place, :count] = 1, np.arange(count)
        return [*arrays] if self.task_id is None else [*arrays, np.full_like(ids, self.task_id)]

    def _pack_arrays(self, rows):
        ids, types, positions, mask = _empty_arrays(len(rows), self.padded(max(len(row.ids) for row in rows)))
        for place, row in enumerate(rows):
            count = len(row.ids)
            ids[place, :count], types[place, :count], mask[place, :count] = row
            positions[place, :count] = np.arange(count)
        task_id = self.task_id
        tasks = [] if task_id is None else [np.where(mask > 0, task_id, 0)]
        return [ids, types, positions, mask, *tasks]

    def unpack(self, outputs, rows):
        if len(outputs) != len(self.shapes) or any(len(array) != len(rows) for array in outputs):
            raise ServiceError('internal', f'{self.name}: the engine gave outputs of other shapes than the export has.')
        if self.task == EMBED and not self.varies[0]:
            vectors = _Vectors(outputs[0])
            return [(vectors, place) for place in range(len(rows))]
        return [
            [array[i, : len(row[0])] if cut else array[i] for array, cut in zip(outputs, self.varies, strict=True)]
            for i, row in enumerate(rows)
        ]


class _Vectors:
    """Vectors of a batch, [N, H]: as they come from the model, and with length 1 if somebody asks for that."""

    def __init__(self, plain):
        self.plain = plain

    @functools.cached_property
    def units(self):
        return unit_length(self.plain)


def _empty_arrays(rows, length):
    """[ids, types, positions (int64), mask (float32)], each [rows, length]."""
    shape = rows, length
    return [*(np.zeros(shape, np.int64) for _ in range(3)), np.zeros(shape, np.float32)]


def _task_of(folder):
    name = folder.spec.name
    return _TASKS.get(name) or folder.settings.get('kind', name)


def _invalid(found, expected):
    return ServiceError('invalid', f'found {found}, expected {expected}.')


def _check_text(name, text):
    if text is None or isinstance(text, str) and text.isascii():
        return
    if not isinstance(text, str):
        raise _invalid(f'{quoted(text, 80)} ({type(text).__name__}) as {name}', 'a text')
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise _invalid(f'half of a surrogate pair in {name}, character {e.start + 1}', 'a text') from None
