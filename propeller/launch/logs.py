"""Log files of the processes: where they are, their last lines, and one of them on the console while it grows."""

import os
import sys
import threading

from propeller.errors import UserError

_CHUNK = 1 << 16


def log_path(folder, prefix, rank):
    """`{folder}/{prefix}job.log.{rank}`; None if `folder` is empty, which means the console."""
    return os.path.join(folder, f'{prefix}job.log.{rank}') if folder else None


def open_log(path):
    """Open a log for appending, unbuffered; its folder is made. A `UserError` names the file that cannot be written."""
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
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
