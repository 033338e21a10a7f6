"""Log files of the processes: where they are, their last lines, and one of them on the console while it grows."""

import contextlib
import fcntl
import itertools
import os
import sys
import tempfile
import threading

from propeller.errors import UserError
from propeller.log import get_logger

log = get_logger(__name__)

_CHUNK = 1 << 16


class LogFiles:
    """Where the processes of this node write: `{folder}/{prefix}job.log.{rank}`.

    While a job lives, its logs are locked. If another one writes to them already, the logs go to `{folder}-2`, or the
    first of `{folder}-3` ... that is free, and a warning says so.

    Args:
        folder: empty means the console.
        prefix: put before the names.
        ranks: numbers of the processes of this node.

    Raises:
        UserError: a log cannot be written.
    """

    def __init__(self, folder, prefix, ranks):
        self._folder, self._prefix, self._locks = folder, prefix, contextlib.ExitStack()
        if not folder:
            return
        others = (f'{folder.rstrip(os.sep) or folder}-{number}' for number in itertools.count(2))
        for self._folder in itertools.chain([folder], others):
            if self._lock(ranks):
                break
        if self._folder != folder:
            log.warning('another job writes its logs to %s: those of this one go to %s', folder, self._folder)

    def path(self, rank):
        """The log of a process; None for the console."""
        return os.path.join(self._folder, f'{self._prefix}job.log.{rank}') if self._folder else None

    def close(self):
        self._locks.close()

    def _lock(self, ranks):
        """Whether the logs of all `ranks` are ours now. Where a file system knows no locks, they are."""
        with contextlib.ExitStack() as files:
            for rank in ranks:
                file = files.enter_context(open_log(self.path(rank)))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                except OSError:
                    continue
            self._locks.enter_context(files.pop_all())
        return True


def open_log(path):
    """Open a log for appending, unbuffered; its folder is made. A `UserError` names the file that cannot be written."""
    try:
        folder = os.path.dirname(path) or '.'
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as f:
            f.write(bytes(4096))  # a disk that is full gives out names still
            f.flush()
        return open(path, 'ab', buffering=0)
    except OSError as e:
        raise UserError(f'{path}: the log cannot be written: {e.strerror}. --split_log_path sets its folder.') from e


def last_lines(path, start, count=20):
    """The last `count` lines of a log, as text, of what was written from byte `start` on."""
    with open(path, 'rb') as f:
        end = f.seek(0, os.SEEK_END)
        f.seek(max(start, end - _CHUNK))
        lines = f.read().decode('utf-8', errors='replace').splitlines()
    return lines[-count:]


class Echo(threading.Thread):
    """Copies a growing log to standard output. The process writes to the file alone, so a console that is paused or
    gone holds nobody up.
    """

    def __init__(self, path, start, period=0.1):
        super().__init__(name='echo', daemon=True)
        self._file = open(path, 'rb')  # noqa: SIM115 (closed by the thread)
        self._file.seek(start)
        self._period = period
        self._end = threading.Event()
        self.start()

    def run(self):
        with self._file:
            try:
                ended = False
                while not ended:
                    ended = self._end.wait(self._period)
                    while chunk := self._file.read(_CHUNK):
                        _write_all(chunk)
            except (OSError, ValueError):  # the console is gone; the file has it all
                pass

    def finish(self, patience=5):
        """Show what is left, for at most `patience` seconds."""
        self._end.set()
        self.join(patience)


def _write_all(chunk):
    # Not through sys.stdout's buffer: its lock, held by a paused console, would keep Python from ending.
    number = sys.stdout.fileno()
    while chunk:
        chunk = chunk[os.write(number, chunk) :]
