"""Rows of classification, regression and ranking files -> token ids and labels."""

import collections
import logging
import math
import re

import numpy as np

from ernie.reader.columns import TEXTS
from ernie.reader.confusable import alike_advice
from ernie.reader.fitting import HEAD, kept_tokens, truncate_pair, without_html_breaks
from ernie.reader.naming import Naming
from ernie.reader.records import read_records
from ernie.reader.rows import BadRow
from ernie.reader.set_reader import SetReader
from ernie.reader.text_keys import text_key
from ernie.tokenizers.text import remove_spaces
from propeller.errors import UsageError, bad_input, did_you_mean, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

TASK_KINDS = ('classify', 'regression', 'multilabel', 'predict')
_INTEGER = re.compile(r'[+-]?[0-9]{1,19}')
LEAVE_OUT = 'Correct it, or leave such rows out: --skip_bad_rows true.'
_MOST_DIGITS = 30
_CUT_WARNED = 0.02  # share of the rows that lose some of their text
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def load_label_map(path):
    """A label map: a JSON object of label text -> id, the ids 0 .. n - 1 without a gap.

    Several names may share an id, as in the official map of XNLI.

    Returns:
        dict label -> id.

    Raises:
        UserError: it is not such a file.
    """
    label_map = read_json_object(path, 'a JSON object of label -> id')
    fault = label_map_fault(list(label_map.items())) if label_map else ('an empty object', 'a label at least')
    if fault:
        raise bad_input(path, *fault)
    return label_map


def label_map_fault(pairs):
    """(found, expected) of the first thing wrong with the pairs of a label map, or None."""
    name, times = collections.Counter(name for name, _ in pairs).most_common(1)[0]
    if times > 1:
        return f'the label {quoted(name)} {times} times', 'each label once'
    for name, value in pairs:
        if type(value) is not int:
            return f'the id {quoted(value, 80)} for the label {quoted(name, 80)}', 'a whole number'
    ids = {value for _, value in pairs}
    if min(ids) != 0 or max(ids) != len(ids) - 1:
        return f'ids from {min(ids)} to {max(ids)}', f'the ids 0 .. {len(ids) - 1} without a gap'
    return None


def _check_labels(label_map, task_kind, num_labels):
    """Refuses a label map and a number of labels that do not fit each other or the task."""
    if task_kind in ('classify', 'multilabel') and num_labels < 1:
        raise UsageError(f'found num_labels {num_labels}, expected at least 1.')
    if label_map is None:
        return
    if task_kind == 'regression':
        raise UsageError('found a label map with a regression task, expected none: labels are numbers there.')
    fault = label_map_fault(list(label_map.items())) if label_map else ('no label', 'at least one')
    if fault:
        raise UsageError(f'label map: found {fault[0]}, expected {fault[1]}.')
    if max(label_map.values()) >= num_labels:
        needed = max(label_map.values()) + 1
        raise UsageError(f'found num_labels {num_labels}, expected {needed} as in the label map.')
    with_comma = [name for name in label_map if ',' in name]
    if task_kind == 'multilabel' and with_comma:
        found = f'found the label {quoted(with_comma[0])}'
        raise UsageError(f'label map: {found}, expected no comma: commas separate labels.')


class _BadCell(Exception):
    """(found, expected, advice) of a cell that cannot be used."""


class RowEncoder:
    """Chunks of `Record` -> arrays. Travels to the worker processes, so it holds plain values and the tokenizer."""

    def __init__(
        self,
        tokenizer,
        max_seq_len,
        label_map,
        task_kind,
        num_labels,
        for_cn,
        truncation=HEAD,
        drop_html_breaks=False,
    ):
        self.tokenizer = tokenizer
        self.max_seq_len = max_seq_len
        self.label_map = label_map
        self.task_kind = task_kind
        self.num_labels = num_labels
        self.for_cn = for_cn
        self.truncation, self.drop_html_breaks = truncation, drop_html_breaks
        self.cls_id = tokenizer.vocab['[CLS]']
        self.sep_id = tokenizer.vocab['[SEP]']

    def __call__(self, rows):
        """Records of a chunk -> ({name: array} as `tokenized_set.collect` takes it, list of `BadRow`)."""
        ids, lengths, split, cut, labels, qids, lines, keys, bad = [], [], [], [], [], [], [], [], []
        for line, cells in rows:
            try:
                label = None if self.task_kind == 'predict' else self.parse_label(cells['label'])
                qid = parse_qid(cells['qid']) if 'qid' in cells else None
            except _BadCell as e:
                bad.append(BadRow(line, *e.args))
                continue
            row, boundary, left_out = self.encode(cells['text_a'], cells.get('text_b'))
            ids += row
            lengths.append(len(row))
            split.append(boundary)
            cut.append(left_out)
            labels.append(label)
            qids.append(qid)
            lines.append(line)
            if self.task_kind != 'predict':
                keys.append(text_key(*(cells[name] for name in TEXTS if name in cells)))
        arrays = {
            'ids': np.array(ids, np.int32),
            'lengths': np.array(lengths, np.int64),
            'split': np.array(split, np.int32),
            'cut': np.array(cut, np.int32),
            'lines': np.array(lines, np.int64),
        }
        if self.task_kind != 'predict':
            arrays |= {'labels': self.label_array(labels), 'keys': np.array(keys, np.int64)}
        if 'qid' in rows[0].cells:
            arrays['qids'] = np.array(qids, np.int64)
        return arrays, bad

    def encode(self, text_a, text_b=None):
        """`[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` within `max_seq_len`; of each text `kept_tokens`.

        Returns:
            (ids, how many of them have type 0, how many tokens of the texts were left out).
        """
        a, b = self._tokens(text_a), self._tokens(text_b) if text_b is not None else []
        if not b:
            kept = kept_tokens(a, self.max_seq_len - 2, self.truncation)
            return [self.cls_id, *kept, self.sep_id], len(kept) + 2, len(a) - len(kept)
        length_a, length_b = truncate_pair(len(a), len(b), self.max_seq_len - 3)
        kept = kept_tokens(a, length_a, self.truncation), kept_tokens(b, length_b, self.truncation)
        ids = [self.cls_id, *kept[0], self.sep_id, *kept[1], self.sep_id]
        return ids, length_a + 2, len(a) + len(b) - length_a - length_b

    def _tokens(self, text):
        text = without_html_breaks(text) if self.drop_html_breaks else text
        # Where ideographs do not cut (tokenize_chinese_chars false), the space beside one is all that does.
        dropped = self.for_cn and self.tokenizer.cuts_ideographs
        return self.tokenizer.encode(remove_spaces(text) if dropped else text)

    def parse_label(self, text):
        """A cell of the column `label`: int, float, or for multi-label a list of int."""
        if self.task_kind == 'regression':
            return _parse_float(text)
        if self.task_kind == 'multilabel':
            return [self._label_id(part.strip()) for part in text.split(',')] if text.strip() else []
        return self._label_id(text)

    def _label_id(self, text):
        if self.label_map is not None:
            text = text if text in self.label_map else text.strip()
            if text not in self.label_map:
                known = ', '.join(map(quoted, list(self.label_map)[:10]))
                known += ', …' if len(self.label_map) > 10 else ''
                advice = alike_advice(text, self.label_map) or did_you_mean(text, self.label_map).strip() or LEAVE_OUT
                raise _BadCell(f'the label {quoted(text)}', f'one of the labels that the model has: {known}', advice)
            return self.label_map[text]
        expected = f'an id in 0 .. {self.num_labels - 1}'
        label = parse_integer(text)
        if label is None:
            raise _BadCell(
                f'the label {quoted(text)}', expected, '--label_map_config names a JSON file of label -> id.'
            )
        if not 0 <= label < self.num_labels:
            raise _BadCell(f'the label {quoted(label)}', expected, f'Check --num_labels. {LEAVE_OUT}')
        return label

    def label_array(self, labels):
        """Parsed labels of n rows: [n] int64, [n] float32, or for multi-label [n, num_labels] float32 of 0 and 1."""
        if self.task_kind != 'multilabel':
            return np.array(labels, np.float32 if self.task_kind == 'regression' else np.int64)
        matrix = np.zeros((len(labels), self.num_labels), np.float32)
        for row, ids in zip(matrix, labels, strict=True):
            row[ids] = 1
        return matrix


def _parse_float(text):
    try:
        value = float(text) if '_' not in text else math.nan
    except ValueError:
        value = math.nan
    if not abs(value) <= _FLOAT32_MAX:
        raise _BadCell(f'the label {quoted(text)}', 'a finite number')
    return value


def parse_integer(text):
    """The integer, if it is one and fits int64, else None."""
    text = text.strip()
    value = int(text) if len(text) <= _MOST_DIGITS and _INTEGER.fullmatch(text) else None
    return value if value is not None and -(2**63) <= value < 2**63 else None


def parse_qid(text):
    """A cell of the column `qid`: int."""
    qid = parse_integer(text)
    if qid is None:
        raise _BadCell(f'the qid {quoted(text)}', 'an integer')
    return qid


class ClassifyReader(SetReader):
    """Reads files with a header that names `text_a`, perhaps `text_b`, `label`, `qid`.

    A row becomes `[CLS] a [SEP]` cut to `max_seq_len`, or, when `text_b` has tokens, `[CLS] a [SEP] b [SEP]`, where
    tokens of the longer text are dropped, by `truncation` from its end. A text without a token is legal.

    Args:
        tokenizer: has `vocab` and `encode`, see `ernie.tokenization`.
        max_seq_len: most tokens of a row, the special ones included; at least 3.
        label_map: None (labels are ids) or dict label -> id, see `load_label_map`. Ignored for 'predict'.
        task_kind: 'classify' (label is a class), 'regression' (a finite number), 'multilabel' (classes separated by
            commas; an empty cell is no class) or 'predict' (no label column is needed, none is read).
        num_labels: number of classes; not used for regression and prediction.
        for_cn: whether spaces that part nothing are left out, see `ernie.tokenizers.text.remove_spaces`.
        truncation: of `ernie.reader.fitting.TRUNCATIONS`: what is kept of a text that is too long.
        drop_html_breaks: whether `<br />` is read as a space.
        further: see `SetReader`.

    Raises:
        UsageError: options that cannot be.
    """

    rule_modules = ('ernie.reader.fitting',)
    known_columns = (*TEXTS, 'label', 'qid')

    def __init__(
        self,
        tokenizer,
        max_seq_len=512,
        label_map=None,
        task_kind='classify',
        num_labels=2,
        for_cn=True,
        truncation=HEAD,
        drop_html_breaks=False,
        **further,
    ):
        if task_kind not in TASK_KINDS:
            raise UsageError(f'found task kind {task_kind!r}, expected one of {", ".join(TASK_KINDS)}.')
        label_map = None if task_kind == 'predict' else label_map
        _check_labels(label_map, task_kind, num_labels)
        cutting = for_cn, truncation, drop_html_breaks
        encoder = RowEncoder(tokenizer, max_seq_len, label_map, task_kind, num_labels, *cutting)
        super().__init__(encoder, **further)

    def read(self, path):
        tokenized = super().read(path)
        left_out = np.asarray(tokenized.cut)
        if cut := np.count_nonzero(left_out):
            log.log(
                logging.WARNING if cut > _CUT_WARNED * len(tokenized) else logging.DEBUG,
                '%s: %d of %d rows do not fit into %d tokens: %d of their tokens were left out (--max_seq_len)',
                *(path, cut, len(tokenized), self.encoder.max_seq_len, left_out.sum(dtype=np.int64)),
            )
        return tokenized

    def rows(self, path, bad_rows):
        required = ('text_a',) if self.encoder.task_kind == 'predict' else ('text_a', 'label')
        naming = Naming(required, self.columns, self.learnt)
        return self._noting_columns(read_records(path, required, bad_rows, self.notes(path), naming), naming)

    def bounds(self):
        num_labels = self.encoder.num_labels
        return super().bounds() | {'labels': (0, num_labels), 'columns': num_labels, 'about': ('columns',)}

    def size_of(self, row):
        return len(row.cells['text_a']) + len(row.cells.get('text_b', ''))
