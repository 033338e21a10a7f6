"""Rows of classification, regression and ranking files -> token ids and labels."""

import collections
import hashlib
import json
import math
import os
import re
import stat

import numpy as np

import ernie.text
import ernie.tokenization
from ernie.reader import records
from ernie.reader.parallel import chunked, map_ordered
from ernie.reader.records import BadRow, BadRows, read_records
from ernie.reader.tokenized_set import FORMAT_VERSION, SetCache, collect
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger

log = get_logger(__name__)

TASK_KINDS = ('classify', 'regression', 'multilabel', 'predict')
_INTEGER = re.compile(r'[+-]?[0-9]{1,19}')
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_LATIN = 'A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f'
_REMOVABLE_SPACES = re.compile(f'(?<![{_LATIN} ]) +| +(?![{_LATIN} ])')


def remove_spaces(text):
    """Removes the spaces (U+0020) of Chinese text, but those that part two Latin letters or digits.

    `今天 很 热` becomes `今天很热`, while `用 Windows XP 很快` becomes `用Windows XP很快`.
    """
    return _REMOVABLE_SPACES.sub('', text) if ' ' in text else text


def truncate_pair(length_a, length_b, room):
    """What is left of two texts when tokens are dropped from the end of the longer one, of `b` on a tie, until
    `length_a + length_b <= room`: the two lengths.
    """
    if length_a + length_b <= room:
        return length_a, length_b
    if length_b <= room // 2:
        return room - length_b, length_b
    if length_a <= (room + 1) // 2:
        return length_a, room - length_a
    return (room + 1) // 2, room // 2


def load_label_map(path):
    """A label map: a JSON object of label text -> id, the ids 0 .. n - 1 without a gap.

    Several names may share an id, as in the official map of XNLI.

    Returns:
        dict label -> id.

    Raises:
        UserError: it is not such a file.
    """
    expected = 'a JSON object of label -> id'
    try:
        with open(path, encoding='utf-8-sig') as f:
            pairs = json.load(f, object_pairs_hook=tuple)
    except OSError as e:
        raise bad_input(path, f'a file that cannot be read ({e.strerror})', expected) from None
    except UnicodeDecodeError:
        raise bad_input(path, 'bytes that are not UTF-8', expected) from None
    except json.JSONDecodeError as e:
        raise bad_input(path, f'bad JSON ({e.msg})', expected, line=e.lineno) from None
    except RecursionError:
        raise bad_input(path, 'JSON nested too deeply', expected) from None
    # The hook leaves an object as its pairs, so that a label that stands there twice can be seen.
    if not isinstance(pairs, tuple) or not pairs:
        raise bad_input(path, 'no such object, or an empty one', expected)
    fault = _label_map_fault(pairs)
    if fault:
        raise bad_input(path, *fault)
    return dict(pairs)


def _label_map_fault(pairs):
    """(found, expected) of the first thing wrong with the pairs of a label map, or None."""
    name, times = collections.Counter(name for name, _ in pairs).most_common(1)[0]
    if times > 1:
        return f'the label {name!r} {times} times', 'each label once'
    for name, value in pairs:
        if type(value) is not int:
            return f'the id {value!r} for the label {name!r}', 'a whole number'
    ids = {value for _, value in pairs}
    if ids != set(range(len(ids))):
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
    fault = _label_map_fault(list(label_map.items())) if label_map else ('no label', 'at least one')
    if fault:
        raise UsageError(f'label map: found {fault[0]}, expected {fault[1]}.')
    if max(label_map.values()) >= num_labels:
        needed = max(label_map.values()) + 1
        raise UsageError(f'found num_labels {num_labels}, expected {needed} as in the label map.')
    with_comma = [name for name in label_map if ',' in name]
    if task_kind == 'multilabel' and with_comma:
        raise UsageError(f'label map: found the label {with_comma[0]!r}, expected no comma: commas separate labels.')


class _BadCell(Exception):
    """(found, expected, advice) of a cell that cannot be used."""


class RowEncoder:
    """Chunks of `Record` -> arrays. Travels to the worker processes, so it holds plain values and the tokenizer."""

    def __init__(self, tokenizer, max_seq_len, label_map, task_kind, num_labels, for_cn):
        self.tokenizer = tokenizer
        self.max_seq_len = max_seq_len
        self.label_map = label_map
        self.task_kind = task_kind
        self.num_labels = num_labels
        self.for_cn = for_cn
        self.cls_id = tokenizer.vocab['[CLS]']
        self.sep_id = tokenizer.vocab['[SEP]']

    def __call__(self, rows):
        """Records of a chunk -> ({name: array} as `tokenized_set.collect` takes it, list of `BadRow`)."""
        ids, lengths, split, labels, qids, lines, bad = [], [], [], [], [], [], []
        for line, cells in rows:
            try:
                label = None if self.task_kind == 'predict' else self.parse_label(cells['label'])
                qid = parse_qid(cells['qid']) if 'qid' in cells else None
            except _BadCell as e:
                bad.append(BadRow(line, *e.args))
                continue
            row, boundary = self.encode(cells['text_a'], cells.get('text_b'))
            ids += row
            lengths.append(len(row))
            split.append(boundary)
            labels.append(label)
            qids.append(qid)
            lines.append(line)
        arrays = {
            'ids': np.array(ids, np.int32),
            'lengths': np.array(lengths, np.int64),
            'split': np.array(split, np.int32),
            'lines': np.array(lines, np.int64),
        }
        if self.task_kind != 'predict':
            arrays['labels'] = self.label_array(labels)
        if 'qid' in rows[0].cells:
            arrays['qids'] = np.array(qids, np.int64)
        return arrays, bad

    def encode(self, text_a, text_b=None):
        """`[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` within `max_seq_len`: (ids, how many have type 0)."""
        a, b = self._tokens(text_a), self._tokens(text_b) if text_b is not None else []
        if not b:
            a = a[: self.max_seq_len - 2]
            return [self.cls_id, *a, self.sep_id], len(a) + 2
        length_a, length_b = truncate_pair(len(a), len(b), self.max_seq_len - 3)
        return [self.cls_id, *a[:length_a], self.sep_id, *b[:length_b], self.sep_id], length_a + 2

    def _tokens(self, text):
        return self.tokenizer.encode(remove_spaces(text) if self.for_cn else text)

    def parse_label(self, text):
        """A cell of the column `label`: int, float, or for multi-label a list of int."""
        if self.task_kind == 'regression':
            return _parse_float(text)
        if self.task_kind == 'multilabel':
            return [self._label_id(part.strip()) for part in text.split(',')] if text.strip() else []
        return self._label_id(text)

    def _label_id(self, text):
        if self.label_map is not None:
            if text not in self.label_map:
                known = ', '.join(map(repr, list(self.label_map)[:10])) + (', …' if len(self.label_map) > 10 else '')
                raise _BadCell(f'the label {text!r}', f'one of the label map: {known}')
            return self.label_map[text]
        expected = f'an id in 0 .. {self.num_labels - 1}'
        label = _parse_int(text)
        if label is None:
            raise _BadCell(f'the label {text!r}', expected, 'Give a label map if labels are words.')
        if not 0 <= label < self.num_labels:
            raise _BadCell(f'the label {label}', expected, 'Check the number of labels.')
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
        raise _BadCell(f'the label {text!r}', 'a finite number')
    return value


def _parse_int(text):
    """The integer, if it is one and fits int64, else None."""
    text = text.strip()
    value = int(text) if _INTEGER.fullmatch(text) else None
    return value if value is not None and -(2**63) <= value < 2**63 else None


def parse_qid(text):
    """A cell of the column `qid`: int."""
    qid = _parse_int(text)
    if qid is None:
        raise _BadCell(f'the qid {text!r}', 'an integer')
    return qid


class ClassifyReader:
    """Reads files with a header that names `text_a`, perhaps `text_b`, `label`, `qid`.

    A row becomes `[CLS] a [SEP]` cut to `max_seq_len`, or, when `text_b` has tokens, `[CLS] a [SEP] b [SEP]`, where
    tokens are dropped from the end of the longer text. A text without a token is legal. Files are tokenized once: the
    result is kept under a key of the file's content, the vocabulary, all options and the code that tokenizes.

    Args:
        tokenizer: has `vocab` and `encode`, see `ernie.tokenization`.
        max_seq_len: most tokens of a row, the special ones included; at least 3.
        label_map: None (labels are ids) or dict label -> id, see `load_label_map`. Ignored for 'predict'.
        task_kind: 'classify' (label is a class), 'regression' (a finite number), 'multilabel' (classes separated by
            commas; an empty cell is no class) or 'predict' (no label column is needed, none is read).
        num_labels: number of classes; not used for regression and prediction.
        for_cn: whether spaces in the texts are removed, see `remove_spaces`.
        skip_bad_rows: whether rows that cannot be used are counted and listed instead of an error.
        cache: False neither reads nor writes the cache folder (`tokenized_set.cache_folder`).
        processes: processes that tokenize a large file; None is one a processor.

    Raises:
        UsageError: options that cannot be.
    """

    def __init__(
        self,
        tokenizer,
        max_seq_len=512,
        label_map=None,
        task_kind='classify',
        num_labels=2,
        for_cn=True,
        *,
        skip_bad_rows=False,
        cache=True,
        processes=None,
    ):
        if task_kind not in TASK_KINDS:
            raise UsageError(f'found task kind {task_kind!r}, expected one of {", ".join(TASK_KINDS)}.')
        if max_seq_len < 3:
            raise UsageError(f'found max_seq_len {max_seq_len}, expected at least 3: [CLS], a token and [SEP].')
        label_map = None if task_kind == 'predict' else label_map
        _check_labels(label_map, task_kind, num_labels)
        self.skip_bad_rows = skip_bad_rows
        self.cache = SetCache() if cache else None
        self.processes = processes
        self.encoder = RowEncoder(tokenizer, max_seq_len, label_map, task_kind, num_labels, for_cn)

    def read(self, path):
        """Tokenizes a file, or takes it from the cache.

        Returns:
            `TokenizedSet`; its `bad_rows` is a `BadRows` with `skip_bad_rows`, else None.

        Raises:
            UserError: the file, or with `skip_bad_rows=False` a row of it, is not as it must be; file and line named.
        """
        path = os.fspath(path)
        bad_rows = BadRows(path) if self.skip_bad_rows else None
        state = _file_state(path)
        key = self._key(path) if self.cache and state else None
        tokenized = key and self.cache.load(key, path, bad_rows)
        source = 'from the cache'
        if not tokenized:
            source = 'tokenized'
            if key:
                tokenized = self.cache.store(key, lambda: self._chunks(path, bad_rows, state), path, bad_rows)
            else:
                tokenized = collect(self._chunks(path, bad_rows, state), path, bad_rows)
        log.info('%s: %d rows, %d tokens, %s', path, len(tokenized), len(tokenized.ids), source)
        for message in bad_rows.messages() if bad_rows else ():
            log.warning('skipped %s', message)
        return tokenized

    def _chunks(self, path, bad_rows, state):
        """Chunks of the file in order. `state` is that of the file when its key was made."""
        if bad_rows is not None:
            bad_rows.clear()
        required = ('text_a',) if self.encoder.task_kind == 'predict' else ('text_a', 'label')
        chunks = chunked(read_records(path, required, bad_rows), _characters)
        rows = 0
        for arrays, bad in map_ordered(self.encoder, chunks, self.processes):
            for row in bad:
                if bad_rows is None:
                    raise row.as_error(path)
                bad_rows.add(row)
            rows += len(arrays['lengths'])
            yield arrays
        if not rows:
            raise bad_input(path, f'{len(bad_rows)} rows that cannot be used', 'a row that can', bad_rows.rows[0][0])
        if _file_state(path) != state:
            raise bad_input(path, 'a file that changed while it was read', 'one that stays', advice='Start again.')

    def _key(self, path):
        """Name of the file's entry in the cache; None for a tokenizer whose state is not known to be in the key."""
        encoder, tokenizer = self.encoder, self.encoder.tokenizer
        if type(tokenizer).__module__ != ernie.tokenization.__name__:
            return None
        settings = {
            'format': FORMAT_VERSION,
            'csv': path.lower().endswith('.csv'),
            'skip_bad_rows': self.skip_bad_rows,
            'encoder': {name: value for name, value in vars(encoder).items() if name != 'tokenizer'},
            'tokenizer': [type(tokenizer).__name__, tokenizer.do_lower_case, sorted(tokenizer.vocab.items())],
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        # The rules are part of the key too: a new version of the program must not find the ids of an old one.
        for file in (path, __file__, records.__file__, ernie.tokenization.__file__, ernie.text.__file__):
            try:
                with open(file, 'rb') as f:
                    digest.update(hashlib.file_digest(f, 'sha256').digest())
            except OSError as e:
                raise bad_input(file, f'a file that cannot be read ({e.strerror})', 'a readable file') from None
        return digest.hexdigest()


def _characters(record):
    return len(record.cells['text_a']) + len(record.cells.get('text_b', ''))


def _file_state(path):
    """What changes when a file is written; None for what is not a regular file (a pipe, say), or not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
