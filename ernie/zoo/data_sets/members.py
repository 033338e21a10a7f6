"""The files in an archive of unknown origin (tar.gz, zip), in a folder, or a file alone: read, never written to disk.

Of an archive nothing is unpacked: what is wanted of its files is read as a stream, within bounds. An archive that could
do harm to those who unpack it (a path out of the folder, a link, a device) is refused all the same.
"""

import gzip
import io
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from typing import NamedTuple

from ernie.utils import tar
from ernie.utils.unpack import MAX_RATIO, Bounded, DamagedArchive, TooMuch, checked_path
from propeller.errors import UserError, quoted
from propeller.inputs import open_regular

MAX_MEMBERS = 2_000_000  # THUCNews has 1.7 million, with those that a Mac adds
# Of the list of files at the end of a zip, all of which is held in memory.
MAX_DIRECTORY = 400 * 10**6
_ANY_RATIO = 1 << 20  # bytes of one file in a zip, up to which nothing is refused for its ratio
_CHUNK = 1 << 20
_END = b'PK\5\6'
_NUMBER = re.compile(r'(\d+)')
_TAR_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError)
_ZIP_DAMAGE += (RuntimeError, ValueError, OverflowError, OSError)


class Member(NamedTuple):
    """A file. name: its path in the archive or folder, with `/`. file: open for reading bytes, until the next one is
    asked for. place: what it is called in messages.
    """

    name: str
    file: io.BufferedIOBase
    place: str


def members(path, wanted, max_bytes):
    """Iterate over the files in a `Path`.

    Args:
        path: an archive, a folder, or any other file, which is its own only member.
        wanted: function of a name -> whether the file is read; all others are passed over.
        max_bytes: limit for what an archive decompresses to.
    Yields:
        `Member`: those of a folder or zip in the order of their names, numbers in these by their value; those of a
        tar.gz as they come.
    Raises:
        DamagedArchive: the archive is cut off or has wrong bytes.
        UserError: it cannot be read; it holds a path out of the folder, a link, a device, or more than the limits.
    """
    if path.is_dir():
        yield from _of_folder(path, wanted)
        return
    with open_regular(path, 'an archive, a folder or a file of a data set') as file:
        begin = file.peek(4)[:4]
        if begin.startswith(b'\x1f\x8b'):
            yield from _of_tar(path, file, wanted, max_bytes)
        elif begin.startswith((b'PK\3\4', _END)):
            yield from _of_zip(path, file, wanted, max_bytes)
        elif wanted(path.name):
            yield Member(path.name, file, str(path))


def natural(name):
    """A key that sorts names with numbers in them by their value: 2 before 10."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in _NUMBER.split(name) if part]


def _of_folder(folder, wanted):
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        inside = os.path.relpath(place, folder)
        prefix = '' if inside == os.curdir else f'{inside.replace(os.sep, "/")}/'
        names += [prefix + name for name in files if wanted(prefix + name)]
    for name in sorted(names, key=natural):
        with open_regular(folder / name, 'a file of a data set') as file:
            yield Member(name, file, str(folder / name))


def _of_tar(path, file, wanted, max_bytes):
    try:
        with gzip.open(file) as unzipped:
            stream, seen = Bounded(unzipped, max_bytes, path), set()
            for count, member in enumerate(tar.members(stream.read), start=1):
                if count > MAX_MEMBERS:
                    raise _too_many(path)
                name = str(checked_path(member, path))
                stream.check(stream.position + member.size)
                content = _Part(stream, member.size, f'{path}: is damaged in {quoted(member.name)}')
                if member.kind == tar.FILE and wanted(name):
                    if name in seen:
                        raise UserError(f'{path}: {quoted(name)} is there twice; refused.')
                    seen.add(name)
                    yield Member(name, io.BufferedReader(content, 1 << 16), f'{path}: {name}')
                content.skip()
            # Behind the end are zeros; reading them also checks gzip's checksum.
            while data := stream.read(_CHUNK):
                if data.strip(b'\0'):
                    raise DamagedArchive(f'{path}: has a damaged header, or bytes behind its end.')
    except tar.TooLarge as e:
        raise UserError(f'{path}: has a header of {e} bytes; refused.') from None
    except (*_TAR_DAMAGE, tar.Damaged) as e:
        raise DamagedArchive(f'{path}: is damaged ({e}).') from e


class _Part(io.RawIOBase):
    """The next bytes of a stream as a file of their own."""

    def __init__(self, stream, size, what):
        self.stream, self.left, self.what = stream, size, what

    def readable(self):
        return True

    def readinto(self, buffer):
        try:
            data = self.stream.read(min(self.left, len(buffer)))
        except _TAR_DAMAGE as e:  # where it is read, and not only where the next one is asked for
            raise DamagedArchive(f'{self.what} ({e}).') from e
        if self.left and not data:
            raise DamagedArchive(f'{self.what} (it is cut off).')
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)

    def skip(self):
        """Passes over what nobody has read."""
        while self.left:
            self.readinto(memoryview(bytearray(min(self.left, _CHUNK))))


def _of_zip(path, file, wanted, max_bytes):
    _check_directory(path, file)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_MEMBERS:
                raise _too_many(path)
            # Those that are not wanted are looked at, too: an archive is good or it is not.
            found = {_checked_name(entry, path): entry for entry in entries}
            if len(found) < len(entries):
                twice = Counter(_checked_name(entry, path) for entry in entries).most_common(1)[0][0]
                raise UserError(f'{path}: {quoted(twice)} is there twice; refused.')
            chosen = sorted(
                (name for name, entry in found.items() if not _is_folder(entry) and wanted(name)), key=natural
            )
            total = sum(found[name].file_size for name in chosen)
            if total > max_bytes:
                raise TooMuch(f'{path}: unpacks to more than {max_bytes:,} bytes (--max_unpacked_gb); refused.')
            for name in chosen:
                with archive.open(found[name]) as content:
                    yield Member(name, io.BufferedReader(_Zipped(content, path, name), 1 << 16), f'{path}: {name}')
    except UserError:
        raise
    except _ZIP_DAMAGE as e:
        raise DamagedArchive(f'{path}: is damaged ({quoted(str(e))}).') from e


class _Zipped(io.RawIOBase):
    """A file of a zip, whose damage is told as such. `zipfile` ends it after the size that the archive says."""

    def __init__(self, content, path, name):
        self.content, self.what = content, f'{path}: is damaged in {quoted(name)}'

    def readable(self):
        return True

    def readinto(self, buffer):
        try:
            data = self.content.read(len(buffer))
        except _ZIP_DAMAGE as e:
            raise DamagedArchive(f'{self.what} ({quoted(str(e))}).') from e
        buffer[: len(data)] = data
        return len(data)


def _checked_name(entry, path):
    """The path of an entry of a zip. Raises `UserError`: it leads elsewhere, or it is no plain file or folder."""
    mode = entry.external_attr >> 16
    kind = tar.FOLDER if _is_folder(entry) else tar.FILE
    if stat.S_ISLNK(mode):
        kind = tar.KINDS[b'2']
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = tar.KINDS[b'3']
    name = entry.filename if entry.flag_bits & 0x800 else _unmarked(entry.filename)
    checked = str(checked_path(tar.Member(name, entry.file_size, kind, mode), path))
    if entry.file_size > max(_ANY_RATIO, MAX_RATIO * entry.compress_size):
        raise UserError(f'{path}: {quoted(name)} unpacks to more than {MAX_RATIO} times its size; refused.')
    if entry.flag_bits & 1:
        raise UserError(f'{path}: {quoted(name)} is encrypted; refused.')
    return checked


def _is_folder(entry):
    return entry.filename.endswith('/')  # is_dir of Python 3.11 fails for a name of no characters


def _unmarked(name):
    """A name whose encoding a zip does not say: UTF-8, as a Mac writes it, or GBK, as Chinese Windows does."""
    raw = name.encode('cp437')
    for encoding in ('utf-8', 'gbk'):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name


def _check_directory(path, file):
    """Refuses a zip whose list of files would not fit in memory; leaves `file` at its beginning."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - 22 - (1 << 16)))
    end = file.read()
    at = end.rfind(_END)
    file.seek(0)
    if at < 0 or len(end) < at + 22:
        raise DamagedArchive(f'{path}: is damaged (it ends without the list of its files).')
    listed = struct.unpack('<L', end[at + 12 : at + 16])[0]
    if listed == 0xFFFFFFFF:  # in the 64-bit record before it
        place = end.rfind(b'PK\6\6', 0, at)
        listed = struct.unpack('<Q', end[place + 40 : place + 48])[0] if place >= 0 and place + 48 <= at else size
    if listed > MAX_DIRECTORY:
        raise UserError(f'{path}: the list of its files has {listed:,} bytes, more than {MAX_DIRECTORY:,}; refused.')


def _too_many(path):
    return UserError(f'{path}: has more than {MAX_MEMBERS:,} files and folders; refused.')
