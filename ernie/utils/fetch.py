"""A file from a web server, whole or not at all, continued where an earlier attempt broke off."""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from propeller.errors import UserError
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

CHUNK = 1 << 20
TIMEOUT_SECONDS = 60
ATTEMPTS = 5
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}


class ChangedFile(UserError):
    """The file on the server is not the one that was expected."""


class _Broken(Exception):
    """The connection failed in a way that another attempt may mend."""


@contextlib.contextmanager
def disk_errors(path):
    """Around writing below `path`: an `OSError` becomes a `UserError` that says what to do."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f'{path}: the disk is full. Free some space and run again.') from e
        raise UserError(f'{e.filename or path}: {e.strerror or e}.') from e


def write_json(path, value):
    """Writes `value` to the `Path` `path`, whole or not at all."""
    part = path.with_name(path.name + '.new')
    with open(part, 'w', encoding='utf-8') as f:
        json.dump(value, f, indent=1)
        f.flush()
        os.fsync(f.fileno())
    os.replace(part, path)


def sha256_of(path):
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


class _Download:
    """A file on its way to `part`, which a later attempt, or a later program, continues.

    What the server said of the file (its ETag or date, and its size) stands beside `part`. The file to continue must
    still be the same, else the download starts again.
    """

    def __init__(self, url, part):
        self.url, self.part = url, part
        self.state_path = part.with_name(part.name + '.json')

    def attempt(self):
        """One connection, until the file is whole.

        Raises:
            UserError: the server refuses, or the file cannot be written.
            _Broken: the connection failed; the bytes that came are kept.
        """
        state = self._state()
        have = self.part.stat().st_size if state and self.part.exists() else 0
        if have and have == state['size']:
            return
        headers = {'Accept-Encoding': 'identity'} | ({'Range': f'bytes={have}-'} if have else {})
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
                self._receive(response, state, have)
        except urllib.error.HTTPError as e:
            self._refused(e)
        except urllib.error.URLError as e:
            raise _Broken(e.reason) from e
        except (http.client.HTTPException, OSError) as e:
            raise _Broken(str(e) or type(e).__name__) from e

    def _state(self):
        try:
            state = read_json_object(self.state_path)
        except UserError:
            return None
        return state if state.get('url') == self.url else None

    def _refused(self, error):
        if error.code == 416:
            self.forget()
            raise _Broken('the file on the server is shorter than the part that is here; starting again')
        if error.code in RETRY_STATUS:
            raise _Broken(f'the server answers {error.code} {error.reason}')
        raise UserError(f'{self.url}: the server answers {error.code} {error.reason}.')

    def _receive(self, response, state, have):
        length = response.headers.get('Content-Length', '')
        start = _range_start(response.headers.get('Content-Range', '')) if response.status == 206 else 0
        now = {
            'url': self.url,
            'size': start + int(length) if length.isdigit() else None,
            'validator': response.headers.get('ETag') or response.headers.get('Last-Modified'),
        }
        if response.status == 206 and (start != have or now != state):
            self.forget()
            raise _Broken('the file on the server has changed; starting again')
        _check_space(self.part, (now['size'] or 0) - start)
        with disk_errors(self.part):
            if not start:
                # Before the state is written: it must never stand beside bytes of an older file.
                self.forget()
            write_json(self.state_path, now)
            self._copy(response, start, now['size'])

    def _copy(self, response, start, size):
        bar = tqdm(total=size, initial=start, unit='B', unit_scale=True, desc=self.part.stem, disable=None)
        with open(self.part, 'ab') as out, bar:
            try:
                while data := _next_bytes(response):
                    out.write(data)
                    bar.update(len(data))
            finally:
                out.flush()
                os.fsync(out.fileno())
            if size is not None and out.tell() != size:
                raise _Broken(f'the connection ended after {out.tell()} of {size} bytes')

    def forget(self):
        """Drops what has come, so that the next attempt starts from nothing."""
        self.part.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)


def _next_bytes(response):
    """What has come, at most CHUNK bytes: read1 does not wait for more, so a broken connection loses nothing."""
    try:
        return response.read1(CHUNK)
    except (http.client.HTTPException, OSError) as e:
        raise _Broken(str(e) or type(e).__name__) from e


def _range_start(content_range):
    """First byte of a header like `bytes 100-199/200`, or -1."""
    first = content_range.removeprefix('bytes ').partition('-')[0]
    return int(first) if first.isdigit() else -1


def _check_space(path, needed):
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f'{path}: needs {needed:,} bytes, the disk has {free:,}. Free some space and run again.')


def fetch(url, path, sha256=None, attempts=ATTEMPTS, pause=1.0):
    """Downloads `url` to `path` and returns the SHA-256 of the file.

    Bytes that came are kept in `<path>.part` when the download breaks off or the program is killed, and the next call
    continues there. Content-Length is checked, if the server gives it.

    Args:
        url: an http or https address.
        path: `Path` of the file; its folder is created.
        sha256: the hexadecimal digest that the file must have, or None.
        attempts: connections that are tried.
        pause: seconds before the second attempt, doubled before each further one.

    Raises:
        ChangedFile: the file has another digest; it is not kept.
        UserError: no connection after all attempts, refused by the server, or not writable.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    download = _Download(url, path.with_name(path.name + '.part'))
    for attempt in range(1, attempts + 1):
        try:
            download.attempt()
            break
        except _Broken as e:
            log.warning('%s: %s (attempt %d of %d)', url, e, attempt, attempts)
            if attempt == attempts:
                raise UserError(
                    f'{url}: {e}. Check the network (a proxy is taken from https_proxy) and run again, which continues '
                    f'the download; or fetch the file in another way and lay it at {path}.'
                ) from e
        time.sleep(pause * 2 ** (attempt - 1))
    with disk_errors(path):
        found = sha256_of(download.part)
        if sha256 and found != sha256:
            download.forget()
            raise ChangedFile(f'{url}: the file has changed: found SHA-256 {found}, expected {sha256}.')
        os.replace(download.part, path)
        download.forget()
    return found
