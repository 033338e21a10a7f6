"""Blocks of facts on the console: `(key, text)` pairs, a line each, aligned."""

import datetime
import shutil
import sys

from propeller.errors import one_line
from propeller.log import get_logger
from propeller.width import padded, shortened, width_of

log = get_logger(__name__)

_WIDEST = 100


def show(pairs):
    """Log pairs (key, text) a line each, the texts below each other, cut at the width of the terminal.

    A key that is '' belongs to the one before. A text that is a tuple of one is not cut: it is there to be copied.
    """
    pairs = [(key, text) for key, text in pairs if text]
    column, width = max((width_of(key) for key, _ in pairs), default=0) + 2, columns()
    for key, text in pairs:
        text = one_line(text[0]) if isinstance(text, tuple) else shortened(' '.join(text.split()), width - column)
        log.info('%s%s', padded(key, column), text)


def columns():
    """Columns that a line may have: those of the terminal, or 100."""
    return max(shutil.get_terminal_size((_WIDEST, 24)).columns, 40) if sys.stderr.isatty() else _WIDEST


def clock(seconds):
    """`1:02:03`, hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
