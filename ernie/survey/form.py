"""Which task a file is for, by its first lines."""

import itertools
import os
import re

from ernie.reader.column_words import LABELS
from ernie.reader.columnar import read_rows
from ernie.reader.columns import ColumnNames, bare
from ernie.reader.conll import DOCUMENT_MARK, columns_of, width_of
from ernie.reader.dataset_folder import data_files, is_regular
from ernie.reader.fasttext import is_fasttext
from ernie.reader.forms import Look, is_json
from ernie.reader.naming import QuestionNaming
from ernie.reader.records import open_rows
from ernie.reader.sentences import SEPARATOR, decoded, is_token_a_row
from propeller.errors import bad_input

CLASSES, TAGS, QUESTIONS = 'classification', 'sequence_labeling', 'mrc'
_FIRST_LINES = 200
_LOOKED_AT = 1 << 16  # bytes of JSON beyond its first line
_TAG = re.compile(r'O|[BIESMUL](-\S+)?')
_RECURRING = 3  # times, on the average, that a label of tokens is there in the first lines
_TAGGED = 0.9  # of the lines, or of the labels of a cell
_KEY = re.compile(r'"((?:[^"\\]|\\.){1,60})"\s*:\s*(\[\s*"|\[|\{|")?')
_TAG_LISTS = {'tags', 'ner_tags', 'labels', 'label', 'ner', 'pos_tags', 'tag', 'bio', 'ner_labels'}
_TOKEN_LISTS = {'tokens', 'words', 'text_a', 'text', 'chars', 'sentence'}
_ANSWERS = {'answer', 'answers', 'answer_text', 'is_impossible', 'answer_start'}


def task_of(path, columns=ColumnNames()):  # noqa: B008 (a tuple of None)
    """The name of the task that a training file is for.

    Args:
        path: the file; anything but a regular file is taken for a table.
        columns: `ColumnNames` that the user gave.
    Raises:
        UserError: it cannot be read, or its name says CSV, and its lines are of CoNLL.
    """
    path = os.fspath(path)
    if not is_regular(path):
        return CLASSES
    path = data_files(path)[0]
    with open_rows(path) as file:
        look = Look(path, file)
        if look.magic:
            return _of_keys(_lists_and_texts(next(read_rows(path, look.magic), (0, {}, None))[1] or {}))
        if is_json(look.head):
            head = look.head + look.file.read(_LOOKED_AT)
            return _of_json(head.decode('utf-8', errors='replace'))
        if is_fasttext(look.first_line):
            return CLASSES
        head = list(itertools.islice(look.lines(), _FIRST_LINES))[bool(look.said) :]
    lines = decoded(path, head)
    if _joined_tags(lines) or is_token_a_row(lines):
        return TAGS
    is_csv = path.lower().endswith('.csv')
    if columns.label or not lines or (is_csv and len(_cells(lines[0])) > 1) or not _is_conll(lines):
        return _of_header(lines)
    if is_csv:
        advice = 'Give the file a name that ends in .conll.'
        raise bad_input(path, 'a token and its label in each line', 'CSV, as the name says', 1, advice)
    return TAGS


def _of_header(lines):
    """Of a table: questions, where the columns are called so."""
    cells = _cells(lines[0].lower()) if lines else []
    return _of_keys(dict.fromkeys(cell.strip(' "\'') for cell in cells))


def _cells(line):
    return re.split(r'[\t,;|]', line)


def _lists_and_texts(row):
    """dict name -> whether its value is a list."""
    return {name: isinstance(value, list) for name, value in row.items()}


def _of_keys(keys):
    """keys: dict name -> whether the value is a list."""
    if ('question' in keys and 'context' in keys and _ANSWERS & keys.keys()) or _asks(keys):
        return QUESTIONS
    lists = {name for name, is_list in keys.items() if is_list}
    return TAGS if lists & _TOKEN_LISTS and lists & _TAG_LISTS else CLASSES


def _asks(names):
    """Whether columns are those of questions, their contexts and answers by any name, and no label."""
    naming = QuestionNaming(('question', 'context', 'answers'), labelled=True)
    return naming.knows(names) and not any(bare(name) in LABELS for name in names)


def _of_json(text):
    keys = {}
    for name, opened in _KEY.findall(text):
        keys.setdefault(name, opened.startswith('['))
    return QUESTIONS if {'paragraphs', 'qas'} <= keys.keys() else _of_keys(keys)


def _joined_tags(lines):
    """Whether a table has cells of labels such as `O O B-PER`."""
    rows = lines[1:]
    if any(SEPARATOR in line for line in rows):
        return True
    cells = [cell.split() for line in rows for cell in re.split(r'[\t,]', line)]
    tagged = [cell for cell in cells if len(cell) > 1 and _share(cell) == 1]
    return len(tagged) > 0 and len(tagged) >= 0.5 * len([line for line in rows if line.strip()])


def _is_conll(lines):
    """Whether each line is a token and its label."""
    width = width_of(lines)
    if width < 2:
        return False
    rows = [columns for line in lines if (columns := columns_of(line, width)) and columns[0] != DOCUMENT_MARK]
    if sum(len(columns) == width for columns in rows) < _TAGGED * len(rows):
        return False
    labels = [columns[-1] for columns in rows if len(columns) == width]
    if len(labels) > 1 and _share(labels) >= _TAGGED:
        return True
    # Parts of speech, say: sentences parted by empty lines, and few labels that recur.
    between = any(not line.strip() for line in lines[1 : len(rows)])
    return between and len(set(labels)) <= len(labels) / _RECURRING


def _share(labels):
    """Share of the labels that look like those of tokens."""
    return sum(bool(_TAG.fullmatch(label)) for label in labels) / len(labels)
