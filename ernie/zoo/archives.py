"""Files from the servers of publishers, each kept with a JSON record of its size and SHA-256.

Where the publisher gives no checksum, the first file that can be used is trusted and recorded, and every later one must
be the same to the byte.
"""

import datetime
import hashlib
import os
import urllib.parse

from ernie.utils.fetch import ChangedFile, TooLarge, disk_errors, fetch, sha256_of, write_json
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.inputs import open_regular, read_json_object
from propeller.log import get_logger

log = get_logger(__name__)


def address_in(url_base, file):
    """The address of a file in a folder of another server.

    Raises:
        UsageError: `url_base` is no address of http or https.
    """
    parts = urllib.parse.urlsplit(url_base)
    if parts.scheme not in ('http', 'https') or not parts.netloc or any(c.isspace() for c in url_base):
        raise UsageError(f'--url-base: found {url_base!r}, expected an address like https://host/folder')
    return f'{url_base.rstrip("/")}/{file}'


def record_of(archive):
    """The `Path` of the record of a file."""
    return archive.with_name(archive.name + '.json')


def read_record(path):
    """The record of an earlier use of a file, or None."""
    if not os.path.lexists(path):
        return None
    expected = 'a JSON object with sha256'
    try:
        record = read_json_object(path, expected)
        if isinstance(record.get('sha256'), str):
            return record
        raise bad_input(path, f'sha256 {quoted(record.get("sha256"))}', expected)
    except UserError as e:
        raise UserError(f'{e} Delete it to trust the archive anew.') from None


def get_archive(archive, url, max_bytes, pause=1.0, published=''):
    """Fetch a file unless it is there.

    Args:
        archive: its `Path`.
        url: its address.
        max_bytes: limit for it.
        pause: seconds before a second attempt when the connection breaks.
        published: the checksum that its publisher, or a catalogue, gives: `md5:` or `sha256:` and hexadecimal digits.
            '' where there is none.
    Returns:
        its SHA-256, which is that of the record if there is one.
    Raises:
        UserError: it is not to be had, too large, or another one than is recorded or published.
    """
    record = read_record(record_of(archive))
    expected = record and record['sha256']
    if archive.exists():
        found = sha256_of(archive)
        if expected and found != expected:
            advice = 'Delete it and run again.'
            raise bad_input(archive, f'SHA-256 {found}', f'{expected} as recorded', advice=advice)
    else:
        try:
            found = fetch(url, archive, expected, pause=pause, max_bytes=max_bytes)
        except ChangedFile as e:
            raise UserError(f'{e} That is what {archive.name}.json recorded; delete it to trust the new file.') from e
        except TooLarge as e:
            raise UserError(f'{e} --max_unpacked_gb sets the limit.') from e
    if not expected:
        _check_published(archive, published)
    return found


def _check_published(archive, published):
    kind, _, expected = published.partition(':')
    if not published:
        return
    with open_regular(archive) as f:
        found = hashlib.file_digest(f, kind).hexdigest()
    if found != expected:
        place = set_aside(archive)
        advice = f'It is now {place.name}; run again to fetch it anew.'
        raise bad_input(archive, f'{kind.upper()} {found}', f'{expected} as published', advice=advice)


def set_aside(archive):
    """Moves a file that cannot be used out of the way; returns its new `Path`."""
    place = archive.with_name(archive.name + '.damaged')
    os.replace(archive, place)
    return place


def write_record(archive, url, sha256):
    """Records the size and the SHA-256 of a file that could be used, unless there is a record."""
    path = record_of(archive)
    if path.exists():
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    size = archive.stat().st_size
    with disk_errors(path):
        write_json(path, {'url': url, 'size': size, 'sha256': sha256, 'first_use': now})
    log.info('%s: recorded SHA-256 %s, %d bytes', archive, sha256, size)
