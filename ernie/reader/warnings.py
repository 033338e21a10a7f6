"""Warnings about files that are odd but can be used."""

import contextlib
import logging

from propeller.errors import quoted
from propeller.log import get_logger

log = get_logger(__name__)

_LONGEST = 1000  # characters
_LEVELS = {'warning': logging.WARNING, 'info': logging.INFO, 'columns': logging.INFO}


class Notes:
    """Says what is noticed of one file, at once or later.

    Args:
        path: the file.
        kept: None, or a list that takes the notes instead, JSON-able and without the path, so that they can be said
            again when the rows come from the cache: see `say`.
    """

    def __init__(self, path, kept=None):
        self.path, self.kept = path, kept

    def warn(self, text, line=None):
        """A note that the user should see; line: its number, if it is about one."""
        self._add('warning', line, text)

    def tell(self, text, line=None):
        """A note for the record."""
        self._add('info', line, text)

    def tell_columns(self, shown):
        """The note of the columns that were recognised. shown: list of str."""
        self._add('columns', None, f'columns: {", ".join(shown)}')

    def _add(self, *note):
        if self.kept is None:
            say(self.path, [note])
        else:
            self.kept.append(list(note))


@contextlib.contextmanager
def columns_shown_elsewhere():
    """For the block, which columns were recognised is a line of the log file only: who reads shows it himself."""
    before, _LEVELS['columns'] = _LEVELS['columns'], logging.DEBUG
    try:
        yield
    finally:
        _LEVELS['columns'] = before


def say(path, notes):
    """Log notes that were kept.

    notes: list of [level, line, text]. They may come from a file, so what is no such note is passed over.
    """
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, list | tuple) and list(map(type, note)) in ([str, int, str], [str, type(None), str]):
            level, line, text = note
            shown = text if text.isprintable() and len(text) < _LONGEST else quoted(text)
            place = path if line is None else f'{path}:{line}'
            log.log(_LEVELS.get(level, logging.INFO), '%s: %s', place, shown)
