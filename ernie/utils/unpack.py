"""A tar.gz of unknown origin, unpacked without trusting a byte of it."""

import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import PurePosixPath

from ernie.utils.fetch import disk_errors
from propeller.errors import UserError

CHUNK = 1 << 20
MAX_MEMBERS = 100_000
_KINDS = {
    tarfile.SYMTYPE: 'a symbolic link',
    tarfile.LNKTYPE: 'a hard link',
    tarfile.CHRTYPE: 'a device',
    tarfile.BLKTYPE: 'a device',
    tarfile.FIFOTYPE: 'a pipe',
    tarfile.GNUTYPE_SPARSE: 'a sparse file',
}


class DamagedArchive(UserError):
    """The archive is cut off or has wrong bytes."""


class _Bounded:
    """A decompressed stream of at most `limit` bytes.

    No single read may be long: tarfile reads a whole extended header at once, so that a small archive could else fill
    the memory.
    """

    def __init__(self, stream, limit, archive):
        self.stream, self.limit, self.archive = stream, limit, archive

    def check(self, end):
        """Refuses the archive if its stream reaches to byte `end` and that is too far."""
        if end > self.limit:
            raise UserError(f'{self.archive}: unpacks to more than {self.limit:,} bytes (--max_unpacked_gb); refused.')

    def read(self, size):
        if not 0 <= size <= CHUNK:
            raise UserError(f'{self.archive}: has a header of {size:,} bytes; refused.')
        data = self.stream.read(size)
        self.check(self.stream.tell())
        return data

    def seek(self, position, whence=0):
        if whence == 0:
            self.check(position)
        return self.stream.seek(position, whence)

    def tell(self):
        return self.stream.tell()


def _checked_path(member, archive):
    """The member's path inside the target, as a `PurePosixPath`.

    Raises:
        UserError: the path leads elsewhere, or the member is neither a plain file nor a folder.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or '..' in path.parts or '\0' in member.name:
        raise UserError(f'{archive}: the path {member.name!r} leads out of the folder; refused.')
    if member.issparse() or not (member.isreg() or member.isdir()):
        kind = 'a sparse file' if member.issparse() else _KINDS.get(member.type, f'of the type {member.type!r}')
        raise UserError(f'{archive}: {member.name!r} is {kind}, not a file or a folder; refused.')
    if member.isreg() and member.mode & 0o6000:
        raise UserError(f'{archive}: {member.name!r} asks for the rights of its owner (setuid or setgid); refused.')
    return path


def _write_member(tar, member, target, archive):
    """Makes one folder or file; its rights and owner are those of any new file."""
    path = target / _checked_path(member, archive)
    tar.fileobj.check(member.offset_data + member.size)
    try:
        (path if member.isdir() else path.parent).mkdir(parents=True, exist_ok=True)
        if member.isdir():
            return
        out = open(path, 'xb')  # noqa: SIM115
    except (FileExistsError, NotADirectoryError):
        raise UserError(f'{archive}: {member.name!r} is there twice; refused.') from None
    with out, tar.extractfile(member) as source:
        shutil.copyfileobj(source, out, CHUNK)
        if out.tell() != member.size:
            raise DamagedArchive(f'{archive}: is cut off in {member.name!r}.')
        out.flush()
        os.fsync(out.fileno())


def _unpack_stream(stream, target, max_members):
    with tarfile.open(fileobj=stream, mode='r:') as tar:
        count = 0
        while (member := tar.next()) is not None:
            count += 1
            if member.size < 0 or tar.offset <= member.offset:
                raise DamagedArchive(f'{stream.archive}: {member.name!r} has the size {member.size}.')
            if count > max_members:
                raise UserError(f'{stream.archive}: has more than {max_members:,} files and folders; refused.')
            _write_member(tar, member, target, stream.archive)
        # tarfile takes a damaged header for the end. The true end is zeros; reading them also checks gzip's checksum.
        stream.seek(tar.offset)
        while data := stream.read(CHUNK):
            if data.strip(b'\0'):
                raise DamagedArchive(f'{stream.archive}: has a damaged header.')


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
    beside = target.with_name(f'.{target.name}.unpacking')
    with disk_errors(beside):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            with gzip.open(archive) as stream:
                _unpack_stream(_Bounded(stream, max_bytes, archive), beside, max_members)
            os.rename(beside, target)
        except UserError:
            raise
        except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValueError, RecursionError) as e:
            # ValueError and RecursionError: what tarfile itself raises on some malformed extended headers.
            raise DamagedArchive(f'{archive}: is damaged ({e}).') from e
        finally:
            shutil.rmtree(beside, ignore_errors=True)
