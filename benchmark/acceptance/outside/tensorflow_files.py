"""Checkpoints of TensorFlow, values and index, with bytes changed; and an index whose sums are right all the same."""

import struct
from pathlib import Path

from benchmark.acceptance.mutations import mutate_bytes
from benchmark.acceptance.outside.registry import parser

GOLDEN = Path(__file__).resolve().parents[3] / 'tests' / 'ernie' / 'golden' / 'tensorflow' / 'parts'
FILES = {path.name: path.read_bytes() for path in sorted(GOLDEN.glob('parts.ckpt.*'))}
INDEX = 'parts.ckpt.index'
VALUES = 'parts.ckpt.data-00000-of-00002'
_FOOTER = 48


def _read(folder):
    """All of it; whatever is not refused is what was written."""
    from propeller.storage import open_tensors

    found, right = open_tensors(folder / 'parts.ckpt'), open_tensors(GOLDEN / 'parts.ckpt')
    assert list(found) == list(right)
    for name in right:
        assert found.dtype(name) == right.dtype(name) and found[name].tobytes() == right[name].tobytes(), name


def _numbers(content, at, count):
    """`count` numbers of variable length, and where they end."""
    numbers = []
    for _ in range(count):
        number = shift = 0
        while True:
            number |= (content[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if content[at - 1] < 128:
                break
        numbers.append(number)
    return numbers, at


def _varint(number):
    return bytes([number & 127 | 128]) + _varint(number >> 7) if number > 127 else bytes([number])


def _sealed(content, rng):
    """An index with one block, which has changed; all sums and places are right again."""
    from propeller.storage.tensorflow.crc32c import crc32c, masked

    (_, _, place, _), _ = _numbers(content, len(content) - _FOOTER, 4)
    (_, key, _), at = _numbers(content, place, 3)
    (_, size), _ = _numbers(content, at + key, 2)
    blocks = mutate_bytes(content[:size], rng), struct.pack('<II', 0, 1)
    out, places = b'', []
    for block in blocks:
        places.append(_varint(len(out)) + _varint(len(block)))
        out += block + b'\0' + struct.pack('<I', masked(crc32c(block + b'\0')))
    entry = bytes([0, 1, len(places[0])]) + b'\x7f' + places[0]
    index = entry + struct.pack('<II', 0, 1)
    places.append(_varint(len(out)) + _varint(len(index)))
    out += index + b'\0' + struct.pack('<I', masked(crc32c(index + b'\0')))
    return out + (places[1] + places[2]).ljust(40, b'\0') + content[-8:]


def _mutate_sealed(content, rng):
    return _sealed(content, rng) if rng.random() < 0.9 else mutate_bytes(content, rng)


parser('tensorflow index', FILES, mutate_bytes, INDEX)(_read)
parser('tensorflow values', FILES, mutate_bytes, VALUES)(_read)


@parser('tensorflow index with right sums', FILES, _mutate_sealed, INDEX)
def _read_sealed(folder):
    from propeller.storage import open_tensors

    tensors = open_tensors(folder / 'parts.ckpt')
    for name in tensors:
        assert tensors[name].shape == tensors.shape(name) and tensors[name].dtype == tensors.dtype(name)
