"""Vectors of the rows of a file on disk, made once: what a head reads of a frozen encoder. Shapes: N rows, H hidden."""

import collections
import hashlib
import json
import mmap
import os
import shutil

import numpy as np

from ernie.reader.tokenized_set import cache_folder
from propeller import trust
from propeller.errors import UserError, bad_input
from propeller.log import get_logger
from propeller.storage.parts import Layout, PartMaker

log = get_logger(__name__)

PART_ROWS = 1024
MAPPED_BYTES = 256 << 20  # of the files at most, at a time
FILE = 'vectors.json'
_ELSEWHERE = '$ERNIE_CACHE names another folder.'


def vectors_folder():
    """Where vectors are kept: beside the tokenized files, see `cache_folder`."""
    return os.path.join(os.path.dirname(cache_folder()), 'vectors')


def folder_of(identity):
    """The folder of the vectors that depend on `identity`, a JSON-able dict: its name is their fingerprint."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return os.path.join(vectors_folder(), hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


class _Maker(PartMaker):
    file, noun = FILE, 'vectors'

    def __init__(self, folder, identity, width):
        self.width = width
        super().__init__(folder, identity, {'width': width}, 4 * width, PART_ROWS, wait=True)

    def encode(self, result, count):
        if result.shape != (count, self.width) or not np.isfinite(result).all():
            expected = f'{[count, self.width]}, all finite'
            raise bad_input(self.folder, f'vectors of shape {list(result.shape)}', expected)
        return np.ascontiguousarray(result, '<f4').tobytes()


def make_vectors(identity, width, rows, compute):
    """The vectors that depend on `identity`; those that an earlier run has made are there already.

    Args:
        identity: JSON-able dict.
        width: H.
        rows: N.
        compute: function (list of rows from 0, ascending) -> float32 [n, H].
    Returns:
        (`StoredVectors`, how many of them were made now).
    Raises:
        UserError: the folder belongs to others, or the disk has no room.
    """
    folder, parent = folder_of(identity), vectors_folder()
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as e:
        raise bad_input(
            parent, f'a folder that cannot be made ({e.strerror})', 'one to keep vectors in', advice=_ELSEWHERE
        ) from None
    for place in (parent, folder):
        if why := trust.folder_fault(place):
            raise UserError(f'{place} {why}: vectors are not read from there. Delete it, or set $ERNIE_CACHE.')
    with _Maker(folder, identity, width) as maker:
        if maker.rows is None:
            _check_room(folder, rows * 4 * width - _bytes_in(folder))
        made = maker.make(iter(range(rows)), compute)[1]
        return StoredVectors(maker.layout, rows, width), made


def _bytes_in(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def _check_room(folder, needed):
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise bad_input(folder, f'{free / 1e6:,.1f} MB free', f'{needed / 1e6:,.1f} MB for vectors', advice=_ELSEWHERE)


class StoredVectors:
    """Vectors in parts on disk, checked before: mapped, at most `MAPPED_BYTES` of them at a time.

    Args:
        layout: `Layout`.
        rows: N.
        width: H.
    """

    def __init__(self, layout: Layout, rows, width):
        self.layout, self.rows, self.width = layout, rows, width
        self._parts = collections.OrderedDict()  # number -> float32 [n, H], the one that was used last at the end
        self._most = max(MAPPED_BYTES // (layout.part_rows * layout.row_bytes), 1)

    @property
    def folder(self):
        """Of the parts."""
        return self.layout.folder

    def __len__(self):
        return self.rows

    def take(self, indices):
        """float32 [n, H] of some rows. indices: [n] int."""
        found = np.empty((len(indices), self.width), np.float32)
        for place, row in enumerate(indices):
            number, inside = divmod(int(row), self.layout.part_rows)
            found[place] = self._part(number)[inside]
        return found

    def _part(self, number):
        part = self._parts.get(number)
        if part is not None:
            self._parts.move_to_end(number)
            return part
        count = self.layout.rows_in(number, self.rows)
        try:
            with open(self.layout.path(number), 'rb') as f:
                mapped = mmap.mmap(f.fileno(), self.layout.size(count), access=mmap.ACCESS_READ)
        except (OSError, ValueError) as e:
            advice = 'Somebody has changed it since the run began. Start again.'
            raise bad_input(self.layout.path(number), f'vectors that are gone ({e})', 'a part', advice=advice) from None
        self._parts[number] = part = np.frombuffer(mapped, '<f4', count * self.width).reshape(count, self.width)
        if len(self._parts) > self._most:
            self._parts.popitem(last=False)
        return part
