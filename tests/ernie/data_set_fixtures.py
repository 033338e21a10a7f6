"""What the tests of data sets share: a server of all official layouts, and data sets without the official numbers."""

import contextlib
import dataclasses
from pathlib import Path

from ernie.zoo import data_sets
from ernie.zoo.data_sets import DATA_SETS, names
from tests.ernie.file_server import serve
from tests.ernie.official_layouts import SERVED


@contextlib.contextmanager
def publishers(monkeypatch, home):
    """A running `FileServer` with the files of `SERVED`. home: the cache folder, a `Path`."""
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.setenv('ERNIE_HOME', str(home))
    with serve({name: content for files in SERVED.values() for name, content in files.items()}) as server:
        yield server


def shrink(monkeypatch, name, checksum='', **changes):
    """A data set without the numbers of the official files, which ours do not have.

    checksum: of its first file. changes: of its fields.
    """
    known = DATA_SETS[name]
    sums = iter([checksum])
    parts = tuple(
        dataclasses.replace(part, files=tuple(dataclasses.replace(f, checksum=next(sums, '')) for f in part.files))
        for part in known.parts
    )
    made = dataclasses.replace(known, **{'splits': dict.fromkeys(known.splits), 'parts': parts} | changes)
    for key in [key for key, entry in names._BY_KEY.items() if entry is known]:
        monkeypatch.setitem(names._BY_KEY, key, made)
    monkeypatch.setitem(DATA_SETS, name, made)
    return made


def fetch(server, name, split, **options):
    """The `Path` of a split from a `FileServer`."""
    return Path(data_sets.fetch_split(name, split, url_base=server.url, pause=0.0, **options))
