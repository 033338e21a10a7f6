"""Text files to record files, by several processes; what is whole and made from the same is left as it is."""

import contextlib
import hashlib
import itertools
import os
from typing import NamedTuple

from propeller.data.bad_rows import BadRows
from propeller.data.example import Example, Feature, Features
from propeller.data.fingerprint import Indescribable
from propeller.data.parallel import chunked, map_ordered
from propeller.data.record_file import read_note, write_records
from propeller.data.text_rows import ADVICE, RefusedRow, RowParser, numbered_rows, report_bad_rows
from propeller.errors import UserError, bad_input
from propeller.inputs import content_digest, open_regular
from propeller.log import get_logger
from propeller.storage.locks import FileLock

log = get_logger(__name__)

LOCK = '.propeller-lock'
_VERSION = 1


def convert(pairs, columns, skip_bad_rows=False, ignore_extra_columns=False, advice=ADVICE, processes=None):
    """Make a record file of each text file, unless it is there, whole and made from the same text by the same columns.

    A file without a note of propeller, as those of 2019 are, is taken as it is.

    Args:
        pairs: list of (text file, record file), all record files in one folder, which is made.
        columns: list of `Column`.
        skip_bad_rows: leave out rows that cannot be used, count and list them in the log; else they are an error.
        ignore_extra_columns: leave out what stands behind the last column.
        advice: what the error of a row says to do.
        processes: how many to work with; None for one a processor.
    Raises:
        UserError: a text file cannot be read, a row cannot be used, or a record file cannot be written. Record files
            that were finished before remain; of the one at fault nothing does.
    """
    wanted = _Wanted(RowParser(columns, ignore_extra_columns, advice), skip_bad_rows)
    if not wanted.missing(pairs):
        wanted.tell_of_foreign()
        return
    folder = os.path.dirname(pairs[0][1])
    with _lock(folder):
        _convert(wanted.missing(pairs), wanted, processes)  # another process may have done it meanwhile
    wanted.tell_of_foreign()


class _Wanted:
    """What record files should say of themselves."""

    def __init__(self, parser, skip_bad_rows):
        self.encode = _Encode(parser, skip_bad_rows)
        self._choices = {'skip_bad_rows': skip_bad_rows, 'ignore_extra_columns': parser.ignore_extra}
        self._columns, self._foreign = _columns_digest(parser.columns), []

    def missing(self, pairs):
        """The pairs that are to be made."""
        self._foreign = []
        return [pair for pair in pairs if not self._is_made(*pair)]

    def source(self, text):
        """What a record file of a `_Text` says it was made from."""
        return {'version': _VERSION, 'text': text._asdict(), 'columns': self._columns, **self._choices}

    def _is_made(self, path, target):
        if not os.path.exists(target):
            return False
        try:
            note = read_note(target)
        except UserError as e:
            log.warning('%s It is made anew.', e)
            return False
        if note is None:
            self._foreign.append(target)
            return True
        text = note.source.get('text') if isinstance(note.source, dict) else None
        if not isinstance(text, dict) or note.source != self.source(self._now(path, text)):
            log.info('%s: made from another text or by other columns than now; it is made anew.', target)
            return False
        return self._columns is not None

    def _now(self, path, then):
        """The `_Text` as it is: by its time if that is the same, else by its content."""
        with open_regular(path, 'a text file') as f:
            status = os.fstat(f.fileno())
        if (then.get('bytes'), then.get('modified')) == (status.st_size, status.st_mtime_ns):
            return _Text(status.st_size, status.st_mtime_ns, then.get('digest'))
        digest = content_digest(path) if then.get('bytes') == status.st_size else None
        # The same text of another time is the same.
        return _Text(status.st_size, then.get('modified'), digest)

    def tell_of_foreign(self):
        """One line about the record files of other programs."""
        if self._foreign:
            log.info('%d record files without a note of propeller are taken as they are, the first is %s',
                     len(self._foreign), self._foreign[0])  # fmt: skip


class _Text(NamedTuple):
    """What a text file is known by. modified: nanoseconds; digest: of its content."""

    bytes: int
    modified: int
    digest: str


def _columns_digest(columns):
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        try:
            digest.update(f'{column.fingerprint()}\n'.encode())
        except Indescribable as e:
            log.warning('column %s: it cannot be told whether its %s is the same as before: record files are made anew '
                        'each time. A method fingerprint() of the column would tell.', column.name, e)  # fmt: skip
            return None
    return digest.hexdigest()


@contextlib.contextmanager
def _lock(folder):
    """Hold a folder, which is made; another process that converts into it is waited for."""
    try:
        os.makedirs(folder, exist_ok=True)
        while True:
            lock = FileLock(os.path.join(folder, LOCK), wait=True)
            if lock.is_in_place():
                break
            lock.close()
    except OSError as e:
        raise UserError(f'{folder}: cannot be written ({e.strerror or e}). Choose another gz_dir.') from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(lock.path)
        lock.close()


# ------------------------------------------------------------------------------------------------------------- working


class _Chunk(NamedTuple):
    """Lines of a file, none behind its end; first: the number of the first of them."""

    path: str
    first: int
    lines: list


class _Encoded(NamedTuple):
    """What became of a chunk: records, and `BadRow`s that were left out. ends: whether it was the end of the file."""

    records: list
    bad: list
    ends: bool


class _Encode:
    """Makes records of a chunk; goes to other processes."""

    def __init__(self, parser, skip_bad_rows):
        self.parser, self.skip_bad_rows = parser, skip_bad_rows

    def __call__(self, chunk):
        records, bad = [], []
        for row in numbered_rows(chunk.lines, chunk.path, self.parser, chunk.first):
            try:
                features = self.parser.features(row)
            except RefusedRow as e:
                if not self.skip_bad_rows:
                    raise
                bad.append(e.row)
            else:
                records.append(_record(self.parser.columns, features))
        return _Encoded(records, bad, not chunk.lines)


def _record(columns, features):
    by_name = {
        # A column of the user's may make a message of protobuf's own.
        column.name: feature if isinstance(feature, Feature) else Feature.FromString(feature.SerializeToString())
        for column, feature in zip(columns, features, strict=True)
    }
    return Example(features=Features(feature=by_name)).SerializeToString()


class _Reading:
    """A text file in chunks, and what it is known by once all are read."""

    def __init__(self, path):
        self.path, self.text = path, None

    def chunks(self):
        digest, number = hashlib.blake2b(digest_size=16), 1
        with open_regular(self.path, 'a text file') as f:
            before = os.fstat(f.fileno())
            for lines in chunked(f, len):
                digest.update(b''.join(lines))
                yield _Chunk(self.path, number, lines)
                number += len(lines)
            after = os.fstat(f.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise bad_input(self.path, 'a file that changed while it was read', 'one that stays as it is')
        if number == 1:
            raise bad_input(self.path, 'an empty file', 'at least one row')
        self.text = _Text(after.st_size, after.st_mtime_ns, digest.hexdigest())
        yield _Chunk(self.path, number, [])


def _convert(pairs, wanted, processes):
    readings = [_Reading(path) for path, _ in pairs]
    chunks = itertools.chain.from_iterable(reading.chunks() for reading in readings)
    with contextlib.closing(map_ordered(wanted.encode, chunks, processes)) as encoded:
        for reading, (path, target) in zip(readings, pairs, strict=True):
            bad = BadRows(path)
            records = _records_of_file(path, encoded, bad)
            count = write_records(target, records, lambda reading=reading: wanted.source(reading.text))
            log.info('%s: %d rows written to %s', path, count, target)
            report_bad_rows(bad)


def _records_of_file(path, encoded, bad):
    found = False
    for part in encoded:
        for row in part.bad:
            bad.add(row)
        yield from part.records
        found = found or bool(part.records)
        if part.ends:
            break
    if not found:
        found = f'no usable row among {len(bad)}' if bad else 'no row'
        raise bad_input(path, found, 'at least one row', advice=' '.join(bad.messages()[:1]))
