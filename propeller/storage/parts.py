"""Rows of one size on disk that are made once, part by part, and know what they depend on.

FOLDER/
    a JSON file     `identity`, what the rows depend on; sizes; `sums`, whether parts end with one; once all rows are
                    there, how many
    part-000000     the same number of rows in each but the last, and behind them their sum
    lock            of the process that makes rows

The sum of a part is keyed with identity, sizes and number: no part of another folder takes its place.
"""

import abc
import hashlib
import itertools
import json
import os

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import open_regular, read_json_object
from propeller.storage.atomic import output_file
from propeller.storage.locks import FileLock

LOCK = 'lock'
SUM_BYTES = 16
_BLOCK = 1 << 20


class Layout:
    """Where the parts of a folder are, and how it is seen that one is as it was written.

    Args:
        folder: of the parts.
        identity: JSON-able dict, what the rows depend on.
        sizes: dict name -> number, what the bytes of a row are counted by.
        row_bytes, part_rows: bytes of a row, rows of a part.
        sums: whether each part ends with its sum.
    """

    def __init__(self, folder, identity, sizes, row_bytes, part_rows, sums=True):
        self.folder, self.row_bytes, self.part_rows, self.sums = folder, row_bytes, part_rows, sums
        known = json.dumps([identity, sizes], sort_keys=True, ensure_ascii=True)
        self._key = hashlib.blake2b(known.encode(), digest_size=32).digest()

    def path(self, number):
        """The file of a part."""
        return os.path.join(self.folder, f'part-{number:06d}')

    def rows_in(self, number, rows):
        """How many of `rows` in all are in a part."""
        return max(min(self.part_rows, rows - number * self.part_rows), 0)

    def size(self, count):
        """Bytes of a part of `count` rows."""
        return count * self.row_bytes + (SUM_BYTES if self.sums else 0)

    def sum_of(self, number, blocks):
        """The sum of the rows of a part, bytes. blocks: iterable of bytes-like objects."""
        digest = hashlib.blake2b(digest_size=SUM_BYTES, key=self._key, person=number.to_bytes(8, 'little'))
        for block in blocks:
            digest.update(block)
        return digest.digest()

    def write(self, number, content):
        """Write a part. content: the bytes of its rows."""
        with output_file(self.path(number), binary=True) as f:
            f.write(content)
            f.write(self.sum_of(number, [content]) if self.sums else b'')

    def fault(self, number, count):
        """What is wrong with a part that should have `count` rows: (found, expected), or None. It is read, not kept."""
        path, size = self.path(number), self.size(count)
        try:
            found = os.stat(path).st_size
        except OSError:
            return 'no such file', f'{size} bytes'
        if found != size:
            return f'{found} bytes', f'{size}'
        if not self.sums:
            return None
        with open_regular(path) as f:
            left = count * self.row_bytes
            blocks = iter(lambda: f.read(min(_BLOCK, left - f.tell())), b'')
            made = self.sum_of(number, blocks)
            if f.read(SUM_BYTES) != made:
                return 'bytes that are not those that were written', 'the sum at their end'
        return None

    def read(self, number, count, advice=''):
        """The bytes of the rows of a part. Raises `UserError`: it is not as it was written. advice: a sentence."""
        if fault := self.fault(number, count):
            raise bad_input(self.path(number), *fault, advice=advice)
        with open_regular(self.path(number)) as f:
            return f.read(count * self.row_bytes)


class PartMaker(abc.ABC):
    """Fills a folder; what an earlier call has finished is not made again.

    Args:
        folder: made if it is not there.
        identity: JSON-able dict: all that the rows depend on.
        sizes: dict name -> number, which stand beside it.
        row_bytes, part_rows: see `Layout`.
        wait: wait for another process that fills it, instead of an error.
    Attributes:
        rows: how many rows there are; None while some are missing.
        layout: `Layout`.
    Raises:
        UserError: the folder holds rows of another identity, or another process fills it.
    """

    file = 'parts.json'  # the JSON file
    noun = 'rows'  # what they are called in messages
    advice = 'Delete the folder.'  # where the folder is that of something else

    def __init__(self, folder, identity, sizes, row_bytes, part_rows, wait=False):
        self.folder, self.identity, self.sizes = folder, identity, sizes
        os.makedirs(folder, exist_ok=True)
        try:
            self._lock = FileLock(os.path.join(folder, LOCK), wait)
        except BlockingIOError:
            raise UserError(f'{folder}: another process is making these {self.noun}. Wait for it, or end it.') from None
        try:
            self.rows, sums = self._begun()
        except BaseException:
            self.close()
            raise
        self.layout = Layout(folder, identity, sizes, row_bytes, part_rows, sums)

    def _begun(self):
        """(number of rows where all are there, else None; whether the parts have sums)."""
        path = os.path.join(self.folder, self.file)
        if not os.path.lexists(path):
            strange = [name for name in os.listdir(self.folder) if name != LOCK]
            if strange:
                raise bad_input(self.folder, f'files without {self.file} ({strange[0]})', 'an empty or a new folder')
            self._describe(None, True)
            return None, True
        found = read_json_object(path, f'what {self.noun} depend on')
        there = found.get('identity')
        for name, value in {**self.identity, **self.sizes}.items():
            held = found.get(name) if name in self.sizes else there.get(name) if isinstance(there, dict) else None
            if held != value:
                text = f'{self.noun} with another {name} ({quoted(held, 60)})'
                raise bad_input(path, text, quoted(value, 60), advice=self.advice)
        return found.get('rows'), found.get('sums') is True

    def _describe(self, rows, sums):
        facts = {'identity': self.identity, **self.sizes, 'sums': sums, 'rows': rows}
        with output_file(os.path.join(self.folder, self.file)) as f:
            json.dump(facts, f, indent=1)

    @abc.abstractmethod
    def encode(self, result, count):
        """What `compute` gave for `count` items as the bytes of their rows."""

    def make(self, items, compute):
        """Fill the folder; parts that are not as they were written are made again.

        Args:
            items: iterator over what each row is made of.
            compute: function (list of items) -> what `encode` takes.
        Returns:
            (rows, how many of them were made now).
        """
        rows = made = 0
        for number in itertools.count():
            part = list(itertools.islice(items, self.layout.part_rows))
            rows += len(part)
            if part and self.layout.fault(number, len(part)):
                self.layout.write(number, self.encode(compute(part), len(part)))
                made += len(part)
            if len(part) < self.layout.part_rows:
                break
        if rows != self.rows:
            self._describe(rows, self.layout.sums)
            self.rows = rows
        return rows, made

    def close(self):
        """Let others use the folder."""
        self._lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
