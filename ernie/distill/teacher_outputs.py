"""What a teacher answers to the rows of a file, on disk: made once, part by part, and read as a column.

FOLDER/
    outputs.json    what the answers depend on (file, teacher, settings), how many classes, and once all is there, rows
    part-000000     4,096 rows: logits [n, C] in bfloat16, then the class with the largest, int32 [n]; see
                    `propeller.storage.parts`

Logits are known up to a constant in each row, which no softmax sees: they are stored as logarithms of probabilities.
"""

import os

import numpy as np

from propeller.errors import bad_input, quoted
from propeller.inputs import read_json_object
from propeller.storage.parts import Layout, PartMaker
from propeller.storage.values import bfloat16_to_float32

DESCRIPTION = 'outputs.json'
PART_ROWS = 4096
_MOST_CLASSES = 1 << 20


def to_bfloat16(values):
    """float32 -> uint16, the bits of the nearest bfloat16 (ties to even). Values are finite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Maker(PartMaker):
    """Fills a folder with the answers to the rows of a file.

    Args:
        folder, identity: see `PartMaker`.
        classes: number of classes.
    """

    file, noun = DESCRIPTION, 'answers'
    advice = 'Delete the folder, or name another one with --output.'

    def __init__(self, folder, identity, classes):
        self.classes = classes
        super().__init__(folder, identity, {'classes': classes}, row_bytes(classes), PART_ROWS)

    def make(self, texts, probabilities):
        """Fill the folder.

        Args:
            texts: iterator of the texts of all rows.
            probabilities: function (list of texts) -> float32 [n, C].
        Returns:
            (rows, how many of them were made now).
        """
        return super().make(texts, probabilities) if self.rows is None else (self.rows, 0)

    def encode(self, shares, count):
        expected = (count, self.classes)
        if shares.shape != expected or not np.isfinite(shares).all():
            raise bad_input(
                self.folder, f'answers of shape {list(shares.shape)}', f'{list(expected)} probabilities, all finite'
            )
        logits = np.log(np.maximum(shares, np.finfo(np.float32).tiny), dtype=np.float32)
        return to_bfloat16(logits).astype('<u2').tobytes() + shares.argmax(-1).astype('<i4').tobytes()


def row_bytes(classes):
    """Size of a row in a part."""
    return 2 * classes + 4


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
        sizes, sums = {'classes': self.classes}, found.get('sums') is True
        self._layout = Layout(folder, self.identity, sizes, row_bytes(self.classes), PART_ROWS, sums)
        self._number, self._logits, self._labels = None, None, None

    def __getitem__(self, row):
        """(logits float32 [C], class int) of a row from 0."""
        number, place = divmod(row, PART_ROWS)
        if number != self._number:
            self._read(number)
        return self._logits[place], int(self._labels[place])

    def _read(self, number):
        count = self._layout.rows_in(number, self.rows)
        content = self._layout.read(number, count, 'Delete the folder and make it again.')
        bits = np.frombuffer(content, '<u2', count * self.classes).reshape(count, self.classes)
        labels = np.frombuffer(content, '<i4', count, 2 * bits.size)
        if labels.min() < 0 or labels.max() >= self.classes:
            raise bad_input(self._layout.path(number), 'a class that is none', f'0 to {self.classes - 1}')
        self._number, self._logits, self._labels = number, bfloat16_to_float32(bits), labels


def _is_count(value, least, most):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
