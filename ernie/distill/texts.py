"""Texts without labels -> token ids, for students that learn layers alone: lines of text, or columns of any table."""

import numpy as np

from ernie.inference.stream import read_rows
from ernie.reader.classify import RowEncoder
from ernie.reader.columns import TEXTS, Columns
from ernie.reader.fitting import HEAD
from ernie.reader.rows import BadRow, Record, leave_out
from ernie.reader.set_reader import SetReader
from ernie.reader.text_keys import text_key


def texts_of(path, names):
    """Iterates over the texts of a file, the second of pairs too. names: `ColumnNames`."""
    for row in read_rows(path, Columns(('text_a',), known=(*TEXTS, 'label')), names=names):
        for name in TEXTS if row.record else ():
            if isinstance(row.record.get(name), str):
                yield row.record[name]


class TextEncoder(RowEncoder):
    """As for a file to predict, with the key of each text, by which rows are held out."""

    def __init__(self, tokenizer, max_seq_len, *rules):
        super().__init__(tokenizer, max_seq_len, None, 'predict', None, *rules)

    def __call__(self, rows):
        arrays, bad = super().__call__(rows)
        keys = [text_key(*(record.cells[name] for name in TEXTS if name in record.cells)) for record in rows]
        return {**arrays, 'keys': np.array(keys, np.int64)}, bad


class TextReader(SetReader):
    """Reads what `ernie predict` reads of texts. Lines and rows without a text are passed over.

    Args:
        tokenizer, max_seq_len, for_cn, truncation, drop_html_breaks: see `ernie.reader.classify.ClassifyReader`.
        further: see `SetReader`.
    """

    rule_modules = ('ernie.inference.stream', 'ernie.reader.fitting', __name__)
    known_columns = (*TEXTS, 'label')

    def __init__(self, tokenizer, max_seq_len, for_cn, truncation=HEAD, drop_html_breaks=False, **further):
        super().__init__(TextEncoder(tokenizer, max_seq_len, for_cn, truncation, drop_html_breaks), **further)

    def rows(self, path, bad_rows):
        known = Columns(('text_a',), known=(*TEXTS, 'label'))
        for row in read_rows(path, known, names=self.columns, learnt=self.learnt):
            if row.bad:
                leave_out(row.bad, path, bad_rows)
                continue
            cells = {name: row.record[name] for name in TEXTS if row.record.get(name) is not None}
            wrong = next((name for name, text in cells.items() if not isinstance(text, str)), None)
            if wrong:
                leave_out(BadRow(row.line, f'{type(cells[wrong]).__name__} as {wrong}', 'a text'), path, bad_rows)
            elif cells.get('text_a', '').strip():
                yield Record(row.line, cells)

    def size_of(self, row):
        return sum(map(len, row.cells.values()))
