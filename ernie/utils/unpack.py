"""A tar.gz of unknown origin, unpacked without trusting a byte of it."""

import ctypes
import gzip
import os
import shutil
import zlib
from pathlib import Path, PurePosixPath

from ernie.utils import tar
from ernie.utils.fetch import disk_errors
from propeller.errors import UserError, quoted
from propeller.storage.folders import sync, whole_folder

CHUNK = 1 << 20
MAX_MEMBERS = 20_000
MAX_DEPTH = 64
MANY_FILES = 1000
# Parameters shrink to nine tenths, text to a quarter. Below so many bytes nothing is refused for its ratio.
MAX_RATIO = 200
_ANY_RATIO = 100 * 10**6


class DamagedArchive(UserError):
    """The archive is cut off or has wrong bytes."""


class TooMuch(UserError):
    """The archive unpacks to more than is allowed; that may be right, and the limit too low."""


class Bounded:
    """A decompressed stream of at most `limit` bytes, and at most `MAX_RATIO` times the bytes of its archive."""

    def __init__(self, stream, limit, archive):
        self.stream, self.limit, self.archive = stream, limit, archive
        self.most = max(_ANY_RATIO, MAX_RATIO * os.path.getsize(archive))
        self.position = 0

    def check(self, end):
        """Refuses the archive if its stream reaches to byte `end` and that is too far."""
        if end > self.limit:
            raise TooMuch(f'{self.archive}: unpacks to more than {self.limit:,} bytes (--max_unpacked_gb); refused.')
        if end > self.most:
            raise UserError(f'{self.archive}: unpacks to more than {MAX_RATIO} times its size; refused.')

    def read(self, size):
        """`size` bytes, fewer only at the end of the stream."""
        data = self.stream.read(size)
        self.position += len(data)
        self.check(self.position)
        return data


def checked_path(member, archive):
    """The member's path inside the target, as a `PurePosixPath`.

    Raises:
        UserError: the path leads elsewhere, or the member is neither a plain file nor a folder.
    """
    path, shown = PurePosixPath(member.name), quoted(member.name)
    if path.is_absolute() or '..' in path.parts or '\0' in member.name:
        raise UserError(f'{archive}: the path {shown} leads out of the folder; refused.')
    if member.kind not in (tar.FILE, tar.FOLDER):
        raise UserError(f'{archive}: {shown} is {member.kind}, not a file or a folder; refused.')
    if member.kind == tar.FILE and member.mode & 0o6000:
        raise UserError(f'{archive}: {shown} asks for the rights of its owner (setuid or setgid); refused.')
    if len(path.parts) > MAX_DEPTH:
        raise UserError(f'{archive}: {shown} is {len(path.parts)} folders deep, more than {MAX_DEPTH}; refused.')
    return path


def _write_member(stream, member, target, made):
    """Makes one folder or file; its rights and owner are those of any new file. made: set of the folders so far."""
    archive = stream.archive
    path = target / checked_path(member, archive)
    stream.check(stream.position + member.size)
    if member.size > CHUNK:
        _check_room(path, member.size, target)
    folder = path if member.kind == tar.FOLDER else path.parent
    try:
        if folder not in made:
            folder.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        if member.kind == tar.FOLDER:
            return
        out = open(path, 'xb')  # noqa: SIM115
    except (FileExistsError, NotADirectoryError):
        raise UserError(f'{archive}: {quoted(member.name)} is there twice; refused.') from None
    with out:
        left = member.size
        while left:
            data = stream.read(min(left, CHUNK))
            if not data:
                raise DamagedArchive(f'{archive}: is cut off in {quoted(member.name)}.')
            out.write(data)
            left -= len(data)


def _check_room(path, size, target):
    free = shutil.disk_usage(target).free
    if size > free:
        raise UserError(f'{path}: needs {size:,} bytes, the disk has {free:,}. Free some space and run again.')


def _unpack_stream(stream, target, max_members):
    """Returns the number of files and folders."""
    count, made = 0, set()
    try:
        for count, member in enumerate(tar.members(stream.read), start=1):
            if count > max_members:
                raise UserError(f'{stream.archive}: has more than {max_members:,} files and folders; refused.')
            _write_member(stream, member, target, made)
    except tar.TooLarge as e:
        raise UserError(f'{stream.archive}: has a header of {e} bytes; refused.') from None
    # Behind the end are zeros; reading them also checks gzip's checksum.
    while data := stream.read(CHUNK):
        if data.strip(b'\0'):
            raise DamagedArchive(f'{stream.archive}: has a damaged header, or bytes behind its end.')
    return count


def _flush(folder, count):
    """Flush a folder with everything in it to disk: `count` files and folders."""
    if count > MANY_FILES:
        _sync_disk(folder)
        return
    for place, _, files in os.walk(folder):
        for file in files:
            sync(os.path.join(place, file))
        sync(place)


def _sync_disk(folder):
    """Flush the whole file system of a folder: each of very many files by itself would cost a write of the journal."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        flush = getattr(ctypes.CDLL(None, use_errno=True), 'syncfs', None)
        if flush is None:
            os.sync()
        elif flush(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(handle)


def unpack(archive, target, max_bytes, max_members=MAX_MEMBERS):
    """Unpacks a tar.gz into the new folder `target`, which appears whole or not at all.

    Args:
        archive: `Path` of the file.
        target: `Path` of the folder, which must not exist.
        max_bytes: limit for the decompressed archive.
        max_members: limit for the number of files and folders.

    Raises:
        DamagedArchive: the archive is cut off or has wrong bytes.
        UserError: it holds a path out of the folder, a link, a device, a setuid file, a path twice or more than the
            limits allow; or the target cannot be written.
    """
    with disk_errors(target), whole_folder(target, durable=False) as work:
        try:
            with gzip.open(archive) as stream:
                count = _unpack_stream(Bounded(stream, max_bytes, archive), Path(work), max_members)
        except UserError:
            raise
        except (EOFError, zlib.error, gzip.BadGzipFile, tar.Damaged) as e:
            raise DamagedArchive(f'{archive}: is damaged ({e}).') from e
        _flush(work, count)
