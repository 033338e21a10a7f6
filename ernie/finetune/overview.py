"""The blocks at the start and at the end of a run: `(key, text)` pairs, a line each, aligned."""

import shutil
import sys
import unicodedata

from ernie.finetune.recipe import chosen_pairs
from ernie.report.writing import end_pairs as report_pairs
from propeller.log import get_logger

log = get_logger(__name__)

_WIDEST = 100


def show(pairs):
    """Log pairs (key, text) a line each, the texts below each other. A key that is '' belongs to the one before."""
    pairs = [(key, text) for key, text in pairs if text]
    column = max((width_of(key) for key, _ in pairs), default=0) + 2
    for key, text in pairs:
        log.info('%s%s', padded(key, column), text)


def columns():
    """Columns that a line may have: those of the terminal, or 100."""
    return shutil.get_terminal_size((_WIDEST, 24)).columns if sys.stderr.isatty() else _WIDEST


def width_of(text):
    """Columns that a text takes on a terminal: wide characters two, combining ones none."""
    return sum(map(_width, text))


def _width(char):
    if unicodedata.combining(char) or unicodedata.category(char) in ('Cf', 'Mn', 'Me'):
        return 0
    return 2 if unicodedata.east_asian_width(char) in 'WF' else 1


def padded(text, width):
    """`text` with spaces behind it up to `width` columns."""
    return text + ' ' * max(width - width_of(text), 0)


def shortened(text, width):
    """`text` on one line in at most `width` columns; where it is longer, `...` stands for its end."""
    text = ' '.join(text.split())
    if width_of(text) <= width:
        return text
    kept, left = [], width - 3
    for char in text:
        left -= _width(char)
        if left < 0:
            break
        kept.append(char)
    return f'{"".join(kept)}...'


# ---------------------------------------------------------------- the two blocks


def start_pairs(run):
    """What is shown before the first update, at most 12 lines. Each part of the suite adds its pairs here.

    Args:
        run: the `FineTuning`, whose program is built and has its first values.
    Returns:
        list of (key, text).
    """
    return chosen_pairs(run.chosen)


def end_pairs(run):
    """What is shown after the last update, at most 8 lines. Each part of the suite adds its pairs here.

    Args:
        run: the `FineTuning`, after its last update.
    Returns:
        list of (key, text).
    """
    best, newest = run.run.best, run.run.checkpoints.newest()
    evaluation = run.run.evaluation
    pairs = []
    if best:
        text = f'{best} (step {evaluation.best_step} of {run.run.loop.gstep}: {evaluation.best:.4f})'
        pairs.append(('best checkpoint', text))
    if newest:
        pairs.append(('last checkpoint', newest))
    pairs += report_pairs(run.args.checkpoints, run.page)
    return pairs
