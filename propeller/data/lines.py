"""Lines of a text file as bytes, from any line on, and their number; plain or gzip."""

import contextlib
import functools
import gzip
import io
import itertools
import os
import stat
import zlib

import numpy as np

from propeller.errors import bad_input
from propeller.inputs import open_data

_BLOCK = 1 << 20
_NEWLINE = ord('\n')


def read_lines(path, format=None, start=0):
    """Yields the lines of a file, line end included, without the first `start`, which are passed over in blocks.

    Args:
        path: the file.
        format: None or 'GZIP'.
        start: number of the first line, from 0.
    Raises:
        UserError: it cannot be read, has no line or is not gzip.
    """
    number = start
    with _opened(path, format) as f:
        rest = _pass_over(f, start)
        for line in itertools.chain(_lines_of(rest, f), f):
            number += 1
            yield line
    if not number:
        raise bad_input(path, 'an empty file', 'at least one line')


def count_lines(path, format=None):
    """Number of lines of a regular file, None for what can be read once only. Raises `UserError` as `read_lines`."""
    try:
        found = os.stat(path)
    except OSError:
        return sum(1 for _ in read_lines(path, format))  # says what is wrong
    if not stat.S_ISREG(found.st_mode):
        return None
    return _count_lines(os.path.realpath(path), path, format, (found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=4096)
def _count_lines(_, path, format, identity):
    count, last = 0, _NEWLINE
    with _opened(path, format) as f:
        while block := f.read(_BLOCK):
            count += block.count(b'\n')
            last = block[-1]
    count += last != _NEWLINE
    if not count:
        raise bad_input(path, 'an empty file', 'at least one line')
    return count


@contextlib.contextmanager
def _opened(path, format):
    expected = f'{format or "text"} lines'
    try:
        with open_data(path, expected) as raw, gzip.open(raw) if format == 'GZIP' else raw as f:
            yield f
    except (OSError, EOFError, zlib.error) as e:
        raise bad_input(path, f'a file that cannot be read ({e})', expected) from e


def _pass_over(f, count):
    """Reads `count` lines of `f`, and returns what else was read."""
    while count:
        block = f.read(_BLOCK)
        found = block.count(b'\n')
        if found >= count:
            places = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
            return block[places[count - 1] + 1 :]
        if not block:
            break
        count -= found
    return b''


def _lines_of(rest, f):
    for line in io.BytesIO(rest):
        yield line if line.endswith(b'\n') else line + f.readline()
