"""What a teacher answers to the rows of a file, on disk: made once, part by part, and read as a column.

FOLDER/
    outputs.json    what the answers depend on (file, teacher, settings), how many classes, and once all is there, rows
    part-000000     4,096 rows: logits [n, C] in bfloat16, then the class with the largest, int32 [n]

Logits are known up to a constant in each row, which no softmax sees: they are stored as logarithms of probabilities.
"""

import contextlib
import hashlib
import itertools
import json
import os

import numpy as np

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import content_digest, read_json_object
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.locks import FileLock
from propeller.storage.values import bfloat16_to_float32

log = get_logger(__name__)

DESCRIPTION, LOCK = 'outputs.json', 'lock'
PART_ROWS = 4096
_MOST_CLASSES = 1 << 20


def to_bfloat16(values):
    """float32 -> uint16, the bits of the nearest bfloat16 (ties to even). Values are finite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def folder_digest(folder):
    """A text that changes with the names and contents of the files in a folder, those below it included."""
    digest = hashlib.blake2b(digest_size=16)
    for place, _, names in sorted(os.walk(folder)):
        for path in (os.path.join(place, name) for name in sorted(names)):
            if os.path.isfile(path):
                digest.update(f'{os.path.relpath(path, folder)} {content_digest(path)}\n'.encode())
    return digest.hexdigest()


class Maker:
    """Fills a folder with the answers to the rows of a file; what an earlier call has finished is not made again.

    Args:
        folder: of the answers; made if it is not there.
        identity: JSON-able dict: all that the answers depend on.
        classes: number of classes.
    Raises:
        UserError: the folder holds answers of another identity, or another process fills it.
    """

    def __init__(self, folder, identity, classes):
        self.folder, self.identity, self.classes = folder, identity, classes
        os.makedirs(folder, exist_ok=True)
        try:
            self._lock = FileLock(os.path.join(folder, LOCK))
        except BlockingIOError:
            raise UserError(f'{folder}: another process is making these answers. Wait for it, or end it.') from None
        try:
            self.rows = self._begun()
        except BaseException:
            self.close()
            raise

    def _begun(self):
        """Number of rows where all is there, else None."""
        path = os.path.join(self.folder, DESCRIPTION)
        if not os.path.lexists(path):
            strange = [name for name in os.listdir(self.folder) if name != LOCK]
            if strange:
                raise bad_input(self.folder, f'files without {DESCRIPTION} ({strange[0]})', 'an empty or a new folder')
            self._describe(None)
            return None
        found = read_json_object(path, 'what the answers of a teacher depend on')
        there = found.get('identity')
        for name, value in {**self.identity, 'classes': self.classes}.items():
            held = found.get('classes') if name == 'classes' else there.get(name) if isinstance(there, dict) else None
            if held != value:
                raise bad_input(
                    path,
                    f'answers with another {name} ({quoted(held, 60)})',
                    quoted(value, 60),
                    advice='Delete the folder, or name another one with --output.',
                )
        return found.get('rows')

    def _describe(self, rows):
        with output_file(os.path.join(self.folder, DESCRIPTION)) as f:
            json.dump({'identity': self.identity, 'classes': self.classes, 'rows': rows}, f, indent=1)

    def _part(self, number):
        return os.path.join(self.folder, f'part-{number:06d}')

    def make(self, texts, probabilities):
        """Fill the folder.

        Args:
            texts: iterator of the texts of all rows.
            probabilities: function (list of texts) -> float32 [n, C].
        Returns:
            (rows, how many of them were made now).
        """
        made = 0
        if self.rows is not None:
            return self.rows, made
        rows = 0
        for number in itertools.count():
            part = list(itertools.islice(texts, PART_ROWS))
            rows += len(part)
            path = self._part(number)
            if part and _size(path) != len(part) * row_bytes(self.classes):
                self._write(path, probabilities(part), len(part))
                made += len(part)
            if len(part) < PART_ROWS:
                break
        self._describe(rows)
        self.rows = rows
        return rows, made

    def _write(self, path, shares, count):
        expected = (count, self.classes)
        if shares.shape != expected or not np.isfinite(shares).all():
            raise bad_input(
                self.folder, f'answers of shape {list(shares.shape)}', f'{list(expected)} probabilities, all finite'
            )
        logits = np.log(np.maximum(shares, np.finfo(np.float32).tiny), dtype=np.float32)
        with output_file(path, binary=True) as f:
            f.write(to_bfloat16(logits).astype('<u2').tobytes())
            f.write(shares.argmax(-1).astype('<i4').tobytes())

    def close(self):
        """Let others use the folder."""
        self._lock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def row_bytes(classes):
    """Size of a row in a part."""
    return 2 * classes + 4


def _size(path):
    with contextlib.suppress(OSError):
        return os.stat(path).st_size
    return None


class TeacherOutputs:
    """The answers in a folder that a `Maker` has filled; a part at a time is in memory.

    Attributes:
        rows, classes: int. identity: dict, what they depend on.
    Raises:
        UserError: the folder is not whole, or no such folder.
    """

    def __init__(self, folder):
        path = os.path.join(folder, DESCRIPTION)
        found = read_json_object(path, 'the answers of a teacher: see distill/teacher_outputs.py')
        self.folder, self.identity = folder, found.get('identity')
        self.rows, self.classes = found.get('rows'), found.get('classes')
        if not isinstance(self.identity, dict) or not _is_count(self.classes, 2, _MOST_CLASSES):
            raise bad_input(path, 'no identity and classes', 'the answers of a teacher')
        if self.rows is None:
            raise bad_input(path, 'answers to a part of the rows', 'all', advice='Run teacher_outputs.py again.')
        if not _is_count(self.rows, 1, 1 << 40):
            raise bad_input(path, f'rows {quoted(self.rows)}', 'a number from 1')
        self._number, self._logits, self._labels = None, None, None

    def __getitem__(self, row):
        """(logits float32 [C], class int) of a row from 0."""
        number, place = divmod(row, PART_ROWS)
        if number != self._number:
            self._read(number)
        return self._logits[place], int(self._labels[place])

    def _read(self, number):
        path = os.path.join(self.folder, f'part-{number:06d}')
        count = min(PART_ROWS, self.rows - number * PART_ROWS)
        expected = count * row_bytes(self.classes)
        if _size(path) != expected:
            raise bad_input(path, f'{_size(path)} bytes', f'{expected}', advice='Delete the folder and make it again.')
        with open(path, 'rb') as f:
            content = f.read(expected)
        bits = np.frombuffer(content, '<u2', count * self.classes).reshape(count, self.classes)
        labels = np.frombuffer(content, '<i4', count, 2 * bits.size)
        if labels.min() < 0 or labels.max() >= self.classes:
            raise bad_input(path, 'a class that is none', f'0 to {self.classes - 1}')
        self._number, self._logits, self._labels = number, bfloat16_to_float32(bits), labels


def _is_count(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
