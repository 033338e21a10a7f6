"""Results as lines, tables and answers for a person: one writer for each form of output."""

import abc
import contextlib
import csv
import json
import os
import shutil
import sys
from typing import NamedTuple

from ernie.inference.carried import ERROR, joined
from ernie.reader.columns import TEXTS
from ernie.reader.rows import BadRows
from ernie.tasks.codec import EVERYTHING, Codec, Selection
from propeller.errors import bad_input, one_line, quoted
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.table import Table
from propeller.width import padded, shortened, width_of

log = get_logger(__name__)

STDOUT = '-'
_ENDINGS = {'.jsonl': 'jsonl', '.ndjson': 'jsonl', '.csv': 'csv', '.parquet': 'parquet', '.tsv': 'tsv', '.txt': 'text'}
NOT_SURE, NONE = '?', '(none)'


class Layout(NamedTuple):
    """What all forms of output are told.

    codec: `Codec`. selection: `Selection`. carry: whether the columns of the input are carried along. skips: whether
    rows that cannot be used have a place in the output.
    """

    codec: Codec
    selection: Selection = EVERYTHING
    carry: bool = False
    skips: bool = False


def format_of(path):
    """The form of output that the ending of a file's name means, or None."""
    return _ENDINGS.get(os.path.splitext(path.lower())[1])


def ending_of(name):
    """The usual ending for a form of output."""
    return next(ending for ending, form in _ENDINGS.items() if form == name)


class Writer(abc.ABC):
    """Writes results one after the other.

    Args:
        file: open for writing.
        layout: `Layout`.
    """

    binary = False  # whether the file takes bytes

    def __init__(self, file, layout):
        self.file, self.layout = file, layout
        self.begin()

    def begin(self):  # noqa: B027
        """Write what stands before the first result; most forms have nothing there."""

    @abc.abstractmethod
    def write(self, row, result):
        """row: `Row`. result: dict; None for a row that cannot be used."""

    def finish(self):  # noqa: B027
        """Write what is not yet written."""


def value_of(row, result, layout):
    """The object that stands for a row and its result (dict; None: it cannot be used) in JSON and in tables."""
    value = _fault(row) if result is None else result
    return joined(row, value, layout.codec) if layout.carry else value


def _fault(row):
    return {ERROR: f'found {row.bad.found}, expected {row.bad.expected}'}


class Tsv(Writer):
    """The cells of 2019; an empty line for a row that cannot be used."""

    def begin(self):
        if self.layout.codec.header():
            print('\t'.join(self.layout.codec.header()), file=self.file)

    def write(self, row, result):
        codec, selection = self.layout.codec, self.layout.selection
        if result is None:
            cells = []
        else:
            cells = codec.cells(result) if selection == EVERYTHING else codec.selected_cells(result, selection)
        print('\t'.join(cells), file=self.file)


class JsonLines(Writer):
    """An object a line: the columns of the input, where they are carried along, then the result."""

    def write(self, row, result):
        value = value_of(row, result, self.layout)
        print(json.dumps(value, ensure_ascii=False, default=str), file=self.file)


class Answers(Writer):
    """A line for a person: the answers with their confidence, then the text."""

    def begin(self):
        labels = self.layout.codec.settings.get('labels') or ()
        self._width = min(max((width_of(f'{name} 0.00') for name in labels), default=0), 24)
        self._columns = shutil.get_terminal_size().columns - 1 if self.file.isatty() else None

    def write(self, row, result):
        codec, selection = self.layout.codec, self.layout.selection
        if result is None:
            answer = f'error: {_fault(row)[ERROR]}'
        else:
            answer = ', '.join(_shown(*pair) for pair in codec.answers(result, selection)) or NONE
        line = f'{padded(one_line(answer), self._width)}  {one_line(_text_of(row, codec))}'.rstrip()
        print(line if self._columns is None else shortened(line, self._columns), file=self.file)


def _shown(text, confidence):
    text = NOT_SURE if text is None else text or NONE
    return text if confidence is None else f'{text} {confidence:.2f}'


def _text_of(row, codec):
    record = row.record or {}
    if 'question' in record:  # its context would fill the screen
        return str(record['question'])
    return ' | '.join(record[name] for name in TEXTS if isinstance(record.get(name), str))


class Csv(Writer):
    """A header line, then a line a result. What is no text or number is JSON in its cell."""

    def begin(self):
        self._names, self._waiting = None, []
        self._csv = csv.writer(self.file, lineterminator='\n')

    def write(self, row, result):
        value = value_of(row, result, self.layout)
        if self._names is None and result is None:
            self._waiting.append((row, value))  # it does not show all columns
            return
        if self._names is None:
            self._head(value)
        self._line(row, value)

    def _head(self, value):
        self._names = [*value, *([ERROR] if self.layout.skips else [])]
        self._csv.writerow(self._names)
        for row, waiting in self._waiting:
            self._line(row, waiting)
        self._waiting = []

    def _line(self, row, value):
        check_names(row, value, self._names)
        self._csv.writerow([_cell(value.get(name)) for name in self._names])

    def finish(self):
        if self._names is None:
            self._head({})


def check_names(row, value, names):
    """Raises `UserError`: a result has columns that the first one did not have."""
    more = [name for name in value if name not in names]
    if more:
        found = f'the column {quoted(more[0], 60)}, which the first rows do not have'
        advice = 'Give --format jsonl, or --carry false.'
        raise bad_input('the input', found, 'the same columns in every row', row.line, advice)


def _cell(value):
    if value is None:
        return ''
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


# Name -> subclass of `Writer`. To add one: its file, and its line here.
WRITERS = Table(
    tsv='ernie.inference.results:Tsv',
    jsonl='ernie.inference.results:JsonLines',
    csv='ernie.inference.results:Csv',
    parquet='ernie.inference.parquet:Parquet',
    text='ernie.inference.results:Answers',
)


def open_writer(form, file, layout):
    """The `Writer` of a form of output, with what stands before the first result."""
    return WRITERS[form](file, layout)


@contextlib.contextmanager
def output_of(path, form):
    """The file of the results, whole or not there; or standard output, line by line. form: of `WRITERS`."""
    if path != STDOUT:
        with output_file(path, WRITERS[form].binary) as file:
            yield file
        return
    if hasattr(sys.stdout, 'reconfigure'):  # what replaces it in a test or a notebook may lack it
        sys.stdout.reconfigure(encoding='utf-8', line_buffering=True)
    yield sys.stdout


def write_results(prediction, rows, writer, name, skip_bad_rows, bar=None, at_once=False):
    """Predicts rows and writes their results, in order.

    Args:
        prediction: `Prediction`.
        rows: iterable of `Row`.
        writer: `Writer`.
        name: of the source of the rows, for messages.
        skip_bad_rows: whether rows that cannot be used get an empty result; else the first of them ends it.
        bar: function that iterates over the results and shows how far they are; None: nothing is shown.
        at_once: whether each row is predicted when it comes, by itself, for somebody who waits for the answer.
    Returns:
        the number of rows.
    Raises:
        UserError: a row cannot be used, or what is read or written as a whole.
    """
    codec, examples, skipped = prediction.codec, 0, BadRows(name)
    stream = prediction.one_by_one if at_once else prediction.stream
    results = stream(rows, writer.layout.selection)
    for row, result in bar(results) if bar else results:
        if result is None:
            if not skip_bad_rows:
                raise row.bad.as_error(name)
            skipped.add(row.bad)
        writer.write(row, result)
        examples += 1
    writer.finish()
    for message in skipped.messages():
        log.warning('empty result for %s', message)
    if codec.cut:
        what = '%s: %d of %d rows do not fit into %d tokens: what is beyond was left out'
        log.warning(what, name, codec.cut, examples, codec.settings['max_seq_len'])
    return examples
