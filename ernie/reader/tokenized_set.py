"""Tokenized rows as ragged arrays, in memory or mapped from files, and the cache they are kept in."""

import contextlib
import json
import os
import re
import zlib

import numpy as np

from ernie.reader.set_checks import about_fault, arrays_fault
from propeller import trust
from propeller.data.padding import pad_ragged
from propeller.errors import QUOTED, one_line, quoted
from propeller.inputs import open_regular, read_json_object
from propeller.log import get_logger
from propeller.storage.folders import recover, whole_folder
from propeller.storage.npy import ArrayWriter

log = get_logger(__name__)

FORMAT_VERSION = 3
META = 'set.json'


class TokenizedSet:
    """Rows of one file as token ids.

    Attributes:
        ids: [total] int32, token ids of all rows, special tokens included, one row after the other.
        offsets: [N + 1] int64, row i is `ids[offsets[i]:offsets[i + 1]]`.
        split: [N] int32, how many leading tokens of the row have sentence type 0; the rest has type 1.
        labels: None, or [N] int64 (classes), [N] float32 (regression) or [N, C] float32 (multi-label).
        token_labels: None or [total] int32, a label for each of `ids`.
        qids: None or [N] int64.
        lines: [N] int64, 1-based line number of each row in the file.
        cut: None or [N] int32, tokens of each row that did not fit.
        cut_labels: None or [sum of `cut`] int32, their labels, where tokens have labels.
        keys: None or [N] int64, the `text_key` of each row; of rows with labels.
        path: the file it came from, for messages.
        bad_rows: None, or the `BadRows` of the file.
        about: JSON-able dict, what the reader has noted of the file while it read it.
        vectors: None, or the vector of each row, where they are known: `ernie.finetune.vectors.StoredVectors`.
    """

    ARRAYS = ('ids', 'offsets', 'split', 'labels', 'token_labels', 'qids', 'lines', 'cut', 'cut_labels', 'keys')

    def __init__(
        self,
        ids,
        offsets,
        split,
        labels=None,
        qids=None,
        lines=None,
        path='',
        bad_rows=None,
        token_labels=None,
        about=None,
        cut=None,
        cut_labels=None,
        keys=None,
    ):
        self.ids = ids
        self.offsets = offsets
        self.split = split
        self.labels = labels
        self.token_labels = token_labels
        self.qids = qids
        self.lines = lines
        self.path = path
        self.bad_rows = bad_rows
        self.about = about or {}
        self.cut = cut
        self.cut_labels = cut_labels
        self.keys = keys
        self.vectors = None
        self._cut_ends = None if cut_labels is None else np.cumsum(cut)

    def __len__(self):
        return len(self.offsets) - 1

    @property
    def lengths(self):
        """[N] int64, tokens of each row."""
        return np.diff(self.offsets)

    def row(self, i):
        """Row `i`: (ids [T] int32, types [T] int64 of 0 and 1)."""
        if not -len(self) <= i < len(self):
            raise IndexError(f'row {i} of {len(self)}')
        i %= len(self)
        ids = self.ids[self.offsets[i] : self.offsets[i + 1]]
        return ids, (np.arange(len(ids)) >= self.split[i]).astype(np.int64)

    def take(self, indices):
        """The set of some rows, in their order. Its arrays are in memory.

        indices: [n] int, ascending.
        """
        indices = np.asarray(indices, np.int64)
        lengths, taken = self.lengths[indices], {}
        for name in self.ARRAYS:
            array = getattr(self, name)
            if array is None:
                continue
            if name in ('ids', 'token_labels'):
                array = _parts(array, self.offsets[indices], lengths)
            elif name == 'offsets':
                array = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            elif name == 'cut_labels':
                cut = np.asarray(self.cut)[indices]
                array = _parts(array, self._cut_ends[indices] - cut, cut)
            else:
                array = np.asarray(array)[indices]
            taken[name] = array
        return TokenizedSet(**taken, path=self.path, bad_rows=self.bad_rows, about=self.about)

    def padded_labels(self, indices, pad_label):
        """`token_labels` of the rows as a rectangle [B, T] int64, `pad_label` on the right."""
        return pad_ragged(self.token_labels, self.offsets, np.asarray(indices, dtype=np.int64), pad_label)

    def labels_cut_off(self, i):
        """[n] int32, the labels of the tokens of row `i` that did not fit."""
        return self.cut_labels[self._cut_ends[i] - self.cut[i] : self._cut_ends[i]]

    def padded(self, indices, pad_id=0):
        """Rows as rectangles of their longest length T.

        Args:
            indices: [B] int.
            pad_id: fills token ids, types and positions on the right.

        Returns:
            (token ids, sentence types, positions), [B, T] int64 each, and the input mask, [B, T] float32, 1 on tokens.
        """
        indices = np.asarray(indices, dtype=np.int64)
        token_ids = pad_ragged(self.ids, self.offsets, indices, pad_id)
        columns = np.arange(token_ids.shape[1])
        on_token = columns < (self.offsets[indices + 1] - self.offsets[indices])[:, None]
        types = np.where(on_token, columns >= self.split[indices][:, None], pad_id)
        positions = np.where(on_token, columns, pad_id)
        return token_ids, types.astype(np.int64), positions.astype(np.int64), on_token.astype(np.float32)

    @classmethod
    def load(cls, folder, path='', bad_rows=None, bounds=None):
        """A set that a `SetWriter` has written; its arrays are mapped from the files, not read.

        Args:
            folder: the entry.
            path, bad_rows: attributes of the set.
            bounds: what the values must be within, see `set_checks.arrays_fault`.
        Raises:
            ValueError: the entry is damaged: a file is missing, its bytes are not those that were written, or its
                arrays do not fit each other or the bounds.
        """
        try:
            meta = read_json_object(os.path.join(folder, META), 'what is known of tokenized rows')
            arrays = {name: _map_array(folder, name, crc) for name, crc in meta['crc32'].items()}
            why = arrays_fault(arrays, bounds or {}) or about_fault(meta['about'], (bounds or {}).get('about', ()))
            if why is None and len(arrays['offsets']) - 1 != meta['rows']:
                why = f'{len(arrays["offsets"]) - 1} rows instead of {quoted(meta["rows"])}'
            if why:
                raise ValueError(why)
            if bad_rows is not None:
                bad_rows.count = int(meta['bad_rows']['count'])
                bad_rows.rows = [(int(line), str(reason)) for line, reason in meta['bad_rows']['rows']]
            return cls(**arrays, path=path, bad_rows=bad_rows, about=meta['about'])
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
            raise ValueError(f'{folder}: damaged: {one_line(e, QUOTED)}') from e


def _parts(flat, starts, lengths):
    """`flat[start : start + length]` for all pairs of them, one after the other."""
    shift = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return np.asarray(flat)[np.arange(len(shift)) + shift]


def _map_array(folder, name, crc):
    path = os.path.join(folder, f'{name}.npy')
    if name not in TokenizedSet.ARRAYS or _crc32(path) != crc:
        raise ValueError(f'{name}.npy is not as it was written')
    try:
        # A plain view of the mapping: indexing the memmap subclass is several times slower.
        return np.asarray(np.load(path, mmap_mode='r', allow_pickle=False))
    except Exception as e:  # a broken header ends in whatever Python's tokenizer raises
        raise ValueError(f'{name}.npy is no array ({type(e).__name__})') from None


def _crc32(path):
    crc = 0
    with open_regular(path) as f:
        while block := f.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


# ------------------------------------------------------------------------------------------------------------ writing


class _FileSink:
    """Chunks go to files of a folder: memory stays that of one chunk."""

    def __init__(self, folder):
        self.folder = folder
        self._writers = {}

    def append(self, name, chunk):
        if name not in self._writers:
            self._writers[name] = ArrayWriter(os.path.join(self.folder, f'{name}.npy'))
        self._writers[name].append(chunk)

    def close(self):
        for writer in self._writers.values():
            writer.close()

    def finish(self, bad_rows, rows, about):
        for writer in self._writers.values():
            writer.finish()
        crc = {name: _crc32(os.path.join(self.folder, f'{name}.npy')) for name in self._writers}
        kept = {'count': len(bad_rows), 'rows': bad_rows.rows} if bad_rows is not None else {'count': 0, 'rows': []}
        with open(os.path.join(self.folder, META), 'w', encoding='utf-8') as f:
            json.dump({'rows': rows, 'crc32': crc, 'bad_rows': kept, 'about': about or {}}, f)


class _MemorySink:
    def __init__(self):
        self._chunks = {}

    def append(self, name, chunk):
        self._chunks.setdefault(name, []).append(chunk)

    def arrays(self):
        return {name: np.concatenate(chunks) for name, chunks in self._chunks.items()}


def _append_all(chunks, sink):
    """Feeds chunks into a sink; `lengths` [n] becomes `offsets` [n + 1] counted over all chunks. Returns the rows."""
    end = rows = 0
    sink.append('offsets', np.zeros(1, np.int64))
    for chunk in chunks:
        for name, array in chunk.items():
            if name == 'lengths':
                array = end + np.cumsum(array, dtype=np.int64)
                end = int(array[-1]) if len(array) else end
                rows += len(array)
                name = 'offsets'
            sink.append(name, array)
    return rows


def collect(chunks, path='', bad_rows=None, about=None):
    """A `TokenizedSet` in memory.

    Args:
        chunks: iterable of dicts with `ids`, `lengths`, `split`, `lines`, perhaps `labels`, `qids`, `keys`, [n, ...]
            but `ids`, `token_labels` and `cut_labels`, which hold all rows of the chunk.
        path, bad_rows, about: attributes of the set; `about` may be filled while the chunks come.
    """
    sink = _MemorySink()
    _append_all(chunks, sink)
    return TokenizedSet(**sink.arrays(), path=path, bad_rows=bad_rows, about=about)


# -------------------------------------------------------------------------------------------------------------- cache


def cache_folder(environ=None):
    """Where tokenized files are kept: `$ERNIE_CACHE`, else `$XDG_CACHE_HOME/ernie`, else `~/.cache/ernie`."""
    environ = os.environ if environ is None else environ
    if environ.get('ERNIE_CACHE'):
        root = environ['ERNIE_CACHE']
    else:
        root = os.path.join(environ.get('XDG_CACHE_HOME') or os.path.join('~', '.cache'), 'ernie')
    return os.path.join(os.path.expanduser(root), 'tokenized')


class SetCache:
    """Sets by key in a folder. Entries appear whole or not at all, so that many processes may share the folder."""

    _warned = set()  # folders already complained about: one warning per process

    def __init__(self, folder=None, bounds=None):
        self.folder, self.bounds = folder or cache_folder(), bounds

    def load(self, key, path='', bad_rows=None):
        """The set of a key, or None if there is none or it is damaged (which is logged)."""
        entry = self._entry(key)
        if not os.path.isdir(entry):
            return None
        why = trust.folder_fault(entry)
        if why:
            log.warning('%s %s: it is not read.', entry, why)
            return None
        try:
            return TokenizedSet.load(entry, path, bad_rows, self.bounds)
        except ValueError as e:
            log.warning('%s. It is made anew.', e)
            return None

    def store(self, key, make_chunks, path='', bad_rows=None, about=None):
        """Writes chunks as they come and returns the set; in memory if the folder cannot be written or is full.

        Args:
            key: hexadecimal name of the entry.
            make_chunks: function that starts an iterator over chunks (see `collect`); called again if writing fails.
                What the iterator raises passes through and leaves nothing behind.
            path, bad_rows, about: attributes of the set; `about` may be filled while the chunks come.
        """
        entry = self._entry(key)
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            recover(self.folder)
            # An entry that is there is damaged, else nothing would be stored; one that appears meanwhile is as good.
            damaged = os.path.isdir(entry)
            with contextlib.suppress(FileExistsError), whole_folder(entry, damaged, durable=False) as temporary:
                os.chmod(temporary, 0o700)  # what others can write is not read again
                sink = _FileSink(temporary)
                try:
                    rows = _append_all(make_chunks(), sink)
                    sink.finish(bad_rows, rows, about)
                finally:
                    sink.close()
        except OSError as e:
            self._warn(e)
        return self.load(key, path, bad_rows) or collect(make_chunks(), path, bad_rows, about)

    def _entry(self, key):
        assert re.fullmatch('[0-9a-f]+', key)
        return os.path.join(self.folder, key)

    def _warn(self, error):
        if self.folder not in self._warned:
            self._warned.add(self.folder)
            log.warning('The cache folder %s cannot be written (%s): going on without.', self.folder, error)


def encoder_arrays(rows, indices, task_id=None):
    """The arrays of one batch, in the order of `ernie.model.task_model.encoder_feeds`.

    Args:
        rows: `TokenizedSet`.
        indices: int array, the rows of the batch.
        task_id: value of the task id, None where the model has no task embedding.
    """
    arrays = list(rows.padded(indices))
    if task_id is not None:
        arrays.append(np.full_like(arrays[0], task_id))
    return arrays
