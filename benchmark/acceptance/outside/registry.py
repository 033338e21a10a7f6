"""The register of parsers: a valid input as files, how it is changed, and the call that reads it."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmark.acceptance.mutations import mutate_bytes


class Parser(NamedTuple):
    """files: dict name -> bytes of a valid input. mutate: function (name -> bytes, random) -> dict of the changed ones.

    read: function (folder) that reads the input, all of it.
    """

    files: dict
    mutate: Callable
    read: Callable


PARSERS = {}


def parser(name, files, mutate=mutate_bytes, target=None):
    """A decorator for the reading function; `mutate` changes the file `target`, the first by default."""
    target = target or next(iter(files))

    def add(read):
        def changed(rng):
            return {**files, target: mutate(files[target], rng)}

        PARSERS[name] = Parser(files, changed, read)
        return read

    return add


def framed(encode, decode, mutate):
    """A mutation of what a file wraps, half of the time, and of its own bytes."""

    def change(content, rng):
        return mutate_bytes(content, rng) if rng.random() < 0.4 else encode(content, mutate(decode(content), rng))

    return change


def zipped(mutate):
    return framed(lambda _, inner: gzip.compress(inner, 1), gzip.decompress, mutate)


def write(files, folder):
    """The files of an input in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder = Path(folder)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
