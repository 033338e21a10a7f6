"""A file from a web server, whole or not at all, continued where an earlier attempt broke off."""

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error

from tqdm import tqdm

from ernie.utils.http import open_url
from propeller.errors import UserError, quoted
from propeller.inputs import open_regular, read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

CHUNK = 1 << 20
ATTEMPTS = 5
# Where no server was ever reached.
FIRST_ATTEMPTS = 2
MAX_BYTES = 20 * 10**9
# What a file of unknown length leaves free on the disk, looked at after every so many bytes.
RESERVE = 500 * 10**6
LOOK = 64 * CHUNK
_MAX_STATE = 1 << 20
# No other digits than these: ² is one to Python.
_LENGTH = re.compile('[0-9]{1,18}')
_RANGE = re.compile(r'bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)')
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}


class ChangedFile(UserError):
    """The file on the server is not the one that was expected."""


class TooLarge(UserError):
    """The file on the server has more bytes than are allowed."""


class _Broken(Exception):
    """The connection failed in a way that another attempt may mend. unreached: there was no connection."""

    unreached = False


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
    """The SHA-256 of a regular file, as 64 hexadecimal digits."""
    with open_regular(path) as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()


class _Download:
    """A file on its way to `part`, which a later attempt, or a later program, continues.

    What the server said of the file (its ETag or date, and its size) stands beside `part`. The file to continue must
    still be the same, else the download starts again.
    """

    def __init__(self, url, part, max_bytes):
        self.url, self.part, self.max_bytes = url, part, max_bytes
        self.state_path = part.with_name(part.name + '.json')

    def attempt(self):
        """One connection, until the file is whole.

        Raises:
            UserError: the server refuses, or the file cannot be written.
            _Broken: the connection failed; the bytes that came are kept.
        """
        state = self._state()
        have = self.part.stat().st_size if state and self.part.is_file() else 0
        if have and have == state.get('size'):
            return
        headers = {'Accept-Encoding': 'identity'} | ({'Range': f'bytes={have}-'} if have else {})
        try:
            with open_url(self.url, headers) as response:
                self._receive(response, state, have)
        except urllib.error.HTTPError as e:
            with e:
                self._refused(e)
        except urllib.error.URLError as e:
            broken = _Broken(_said(e.reason))
            broken.unreached = True
            raise broken from e
        except (http.client.HTTPException, OSError) as e:
            raise _Broken(_said(e)) from e
        except UserError:
            raise
        except ValueError as e:  # a redirection to what is no address
            raise UserError(f'{self.url}: {_said(e)}.') from e

    def _state(self):
        try:
            state = read_json_object(self.state_path, limit=_MAX_STATE)
        except UserError:
            return None
        return state if state.get('url') == self.url else None

    def _refused(self, error):
        if error.code == 416:
            self.forget()
            raise _Broken('the file on the server is shorter than the part that is here; starting again')
        if error.code in RETRY_STATUS:
            raise _Broken(f'the server answers {error.code} {_said(error.reason)}')
        raise UserError(f'{self.url}: the server answers {error.code} {_said(error.reason)}.')

    def _receive(self, response, state, have):
        start, size = self._extent(response)
        now = {
            'url': self.url,
            'size': size,
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

    def _extent(self, response):
        """(first byte of the body within the file, bytes of the file or None), by the headers.

        Raises:
            UserError: the lengths are none or contradict each other, or tell of too large a file.
            _Broken: it is not the rest of the file; the next attempt starts from nothing.
        """
        lengths, start, end = set(response.headers.get_all('Content-Length', ())), 0, None
        if response.headers.get('Transfer-Encoding'):
            lengths = set()  # it counts, says RFC 9112, section 6.3
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            found = quoted(', '.join(sorted(lengths)))
            raise UserError(f'{self.url}: the server answers with the Content-Length {found}, expected a number.')
        length = int(lengths.pop()) if lengths else None
        if response.status == 206:
            text = response.headers.get('Content-Range', '')
            match = _RANGE.fullmatch(text)
            if match:
                start, end = int(match[1]), int(match[2]) + 1
            if not match or match[3] not in ('*', str(end)) or end <= start or length not in (None, end - start):
                self.forget()
                raise _Broken(f'the server answers with the Content-Range {quoted(text, 80)} and {length} bytes')
        size = length if end is None or length is None else end
        if size is not None and size > self.max_bytes:
            raise TooLarge(f'{self.url}: has {size:,} bytes, expected at most {self.max_bytes:,}.')
        return start, size

    def _copy(self, response, start, size):
        look = start + LOOK
        bar = tqdm(total=size, initial=start, unit='B', unit_scale=True, desc=self.part.stem, disable=None)
        with open(self.part, 'ab') as out, bar:
            try:
                while data := _next_bytes(response):
                    out.write(data)
                    bar.update(len(data))
                    if size is None and out.tell() >= look:
                        look = out.tell() + LOOK
                        self._check_unknown(out.tell())
            finally:
                out.flush()
                os.fsync(out.fileno())
            if size is not None and out.tell() != size:
                raise _Broken(f'the connection ended after {out.tell()} of {size} bytes')

    def _check_unknown(self, have):
        """Refuse a file of unknown length that goes on and on."""
        if have > self.max_bytes:
            self.forget()
            raise TooLarge(f'{self.url}: has no end after {have:,} bytes, expected at most {self.max_bytes:,}.')
        free = shutil.disk_usage(self.part.parent).free
        if free < RESERVE:
            raise UserError(
                f'{self.part}: {have:,} bytes of unknown length came, and the disk has {free:,} left. '
                f'Free some space and run again.'
            )

    def forget(self):
        """Drops what has come, so that the next attempt starts from nothing."""
        self.part.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)


def _next_bytes(response):
    """What has come, at most CHUNK bytes: read1 does not wait for more, so a broken connection loses nothing."""
    try:
        return response.read1(CHUNK)
    except (http.client.HTTPException, OSError) as e:
        raise _Broken(_said(e)) from e


def _said(what):
    """The text of an error, of which a part may be a server's own words, for a message."""
    text = str(what) or type(what).__name__
    return text if text.isprintable() and len(text) <= 200 else quoted(text)


def _check_space(path, needed):
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f'{path}: needs {needed:,} bytes, the disk has {free:,}. Free some space and run again.')


def fetch(url, path, sha256=None, attempts=ATTEMPTS, pause=1.0, max_bytes=MAX_BYTES):
    """Downloads `url` to `path` and returns the SHA-256 of the file.

    Bytes that came are kept in `<path>.part` when the download breaks off or the program is killed, and the next call
    continues there. Content-Length is checked, if the server gives it.

    Args:
        url: an http or https address.
        path: `Path` of the file; its folder is created.
        sha256: the hexadecimal digest that the file must have, or None.
        attempts: connections that are tried.
        pause: seconds before the second attempt, doubled before each further one.
        max_bytes: limit for the file.

    Raises:
        ChangedFile: the file has another digest; it is not kept.
        UserError: no connection after all attempts, refused by the server, too large, or not writable.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    download = _Download(url, path.with_name(path.name + '.part'), max_bytes)
    reached = download.part.is_file()
    for attempt in range(1, attempts + 1):
        try:
            download.attempt()
            break
        except _Broken as e:
            reached = reached or not e.unreached
            attempts = attempts if reached else min(attempts, FIRST_ATTEMPTS)
            log.warning('%s: %s (attempt %d of %d)', url, e, attempt, attempts)
            if attempt >= attempts:
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
