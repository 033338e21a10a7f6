"""Raw texts with labels, from files that may be UTF-8 or GB18030 (GBK): read, chosen, divided, written as tables."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ernie.metrics.report import aligned
from ernie.reader.text_keys import text_key
from ernie.survey.dev_share import held_out, too_few_texts
from ernie.zoo.data_sets.members import natural
from propeller.errors import UserError, bad_input, did_you_mean, quoted
from propeller.inputs import read_bytes
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.folders import make_folder

log = get_logger(__name__)

AUTO, UTF8, GB18030 = 'auto', 'utf-8', 'gb18030'
ENCODINGS = (AUTO, UTF8, GB18030)
LONGEST_FILE = 1 << 30
_EXPECTED = 'a file of lines label<TAB>text, or a folder with a folder for each class'


class Form(NamedTuple):
    """How raw text is read.

    Attributes:
        parse_line: function of a line -> (label, text), or None: it is passed over. `ValueError`: what is expected.
        clean: function of a text -> a text on one line.
        names: dict label -> what it is called.
        classes: list of those to take, by that name; []: all.
        encoding: one of `ENCODINGS`.
        skip_bad_rows: whether rows that cannot be read are left out with a warning; else they are errors.
    """

    parse_line: Callable
    clean: Callable
    names: dict
    classes: list
    encoding: str = AUTO
    skip_bad_rows: bool = False


class Row(NamedTuple):
    """A text and its class."""

    label: str
    text: str


def read_rows(path, form):
    """The rows of a file, or of a folder with a folder for each class: list of `Row`, in the order of the data.

    Raises:
        UserError: it cannot be read; a row has no label or no text; there is a class of which there is no row.
    """
    found, bad = [], []
    for row, place, line in _raw(path, form):
        fault = row if isinstance(row, str) else _fault(row)
        if fault is None:
            found.append(row)
        elif form.skip_bad_rows:
            bad.append(f'{place}:{line}' if line else place)
        else:
            raise bad_input(place, fault, 'a label and a text', line, 'Or leave such rows out: --skip_bad_rows true.')
    if bad:
        log.warning('%s: %d rows that cannot be read are left out, the first at %s', path, len(bad), bad[0])
    labels = dict.fromkeys(row.label for row in found)
    for name in form.classes:
        if name not in labels:
            raise UserError(f'--classes {name}: no row of {path} has it.{did_you_mean(name, labels)}')
    taken = [row for row in found if not form.classes or row.label in form.classes]
    if not taken:
        raise bad_input(path, 'no rows', _EXPECTED)
    return taken


def _fault(row):
    """What is wrong with a row, or None."""
    if not row.label:
        return 'no label'
    if not row.text:
        return f'no text of the class {quoted(row.label)}'
    return 'a text on several lines, or with a TAB' if set('\t\n\r') & set(row.text) else None


def _raw(path, form):
    """Yields (`Row`, or a text that says what is wrong with it; file; line, None where the file is the row)."""
    if os.path.isdir(path):
        yield from _of_folders(path, form)
        return
    for line, text in enumerate(_lines(path, form.encoding), start=1):
        if text.strip():
            row = _of_line(text, form)
            if row is not None:
                yield row, path, line


def _of_line(text, form):
    try:
        found = form.parse_line(text)
    except ValueError as e:
        return f'{quoted(text, 60)}, not {e}'
    return found and _row(*found, form)


def _row(label, text, form):
    label = ' '.join(label.split())
    return Row(form.names.get(label, label), form.clean(text))


def _of_folders(folder, form):
    classes = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    for label in classes:
        place = os.path.join(folder, label)
        if not os.path.isdir(place):
            raise bad_input(place, 'a file beside the folders of classes', _EXPECTED)
        if form.classes and form.names.get(label, label) not in form.classes:
            continue
        for name in sorted(os.listdir(place), key=natural):
            file = os.path.join(place, name)
            if not name.startswith('.') and os.path.isfile(file):
                yield _row(label, read_text(file, form.encoding), form), file, None


def _lines(path, encoding):
    # Not splitlines, which cuts at characters that a text may have.
    return (line.removesuffix('\r') for line in read_text(path, encoding).split('\n'))


def read_text(path, encoding=AUTO):
    """The text of a file, at most `LONGEST_FILE` bytes of it, without a byte order mark.

    With `AUTO` it is UTF-8 if all of it is, else GB18030, of which GBK is a part.

    Raises:
        UserError: it cannot be read, or not in that encoding; names the line.
    """
    content, fault = read_bytes(path, LONGEST_FILE, 'raw text'), None
    for name in (UTF8, GB18030) if encoding == AUTO else (encoding,):
        try:
            return content.decode('utf-8-sig' if name == UTF8 else name)
        except UnicodeDecodeError as e:
            fault = max(fault, e, key=lambda each: each.start) if fault else e  # the encoding that it is sooner
    wanted = 'text in UTF-8 or GB18030' if encoding == AUTO else f'text in {encoding}'
    line = content.count(b'\n', 0, fault.start) + 1
    raise bad_input(path, f'byte 0x{content[fault.start]:02x} that is none of it', wanted, line)


def take(rows, most):
    """At most so many rows of each class, in their order; 0: all. Which, depends on the texts alone."""
    if not most:
        return rows
    of_class = {}
    for number, row in enumerate(rows):
        of_class.setdefault(row.label, []).append((text_key(row.text), number))
    chosen = {number for found in of_class.values() for _, number in sorted(found)[:most]}
    few = {label: len(found) for label, found in of_class.items() if len(found) < most}
    if few:
        log.warning('fewer than %d rows: %s', most, ', '.join(f'{label} {count}' for label, count in few.items()))
    return [row for number, row in enumerate(rows) if number in chosen]


def divide(rows, share, path):
    """(rows to train on, rows to evaluate with), the share of each class. Rows of the same text stay together.

    Which rows these are depends on the texts alone. Raises `UserError`: no class has two texts.
    """
    keys = np.array([text_key(row.text) for row in rows], np.int64)
    _, classes = np.unique([row.label for row in rows], return_inverse=True)
    held = held_out(keys, np.arange(len(rows)), classes, share)
    if not held.any():
        raise too_few_texts(path, share)
    parts = [[row for row, is_held in zip(rows, held, strict=True) if is_held == wanted] for wanted in (False, True)]
    return parts[0], parts[1]


def write_table(path, rows):
    """Write rows as a TSV file with the columns label and text_a. Raises `UserError`."""
    make_folder(os.path.dirname(path))
    with output_file(path) as f:
        f.write('label\ttext_a\n')
        f.writelines(f'{row.label}\t{row.text}\n' for row in rows)


def counts_table(train, valid):
    """How many rows of each class are in both parts, as text."""
    labels = sorted({row.label for row in (*train, *valid)})
    counts = [[sum(row.label == label for row in part) for part in (train, valid)] for label in labels]
    total = [len(train), len(valid)]
    rows = [[label, *map(str, of_both)] for label, of_both in zip(labels, counts, strict=True)]
    return aligned([['', 'train', 'valid'], *rows, ['rows', *map(str, total)]])
