"""What `ernie predict` is given on its command line: files, texts, or questions about a text."""

import os
import sys
from typing import NamedTuple

from ernie.inference.stream import STDIN, TEXT, Row
from ernie.reader.columns import TEXTS
from ernie.reader.dataset_folder import is_name, is_there, nearest_name
from propeller.errors import UsageError, bad_input, did_you_mean, quoted
from propeller.inputs import read_text

DATA_ENDINGS = ('.tsv', '.csv', '.json', '.jsonl', '.ndjson', '.parquet', '.txt', '.xlsx', '.gz', '.zip')
_LONGEST_CONTEXT = 1 << 26
QUESTION, CONTEXT = 'question', 'context'


class Given(NamedTuple):
    """files: paths, `-` for standard input. texts, seconds: texts and, where they are pairs, the second ones.
    questions, context: questions about one text.
    """

    files: tuple = ()
    texts: tuple = ()
    seconds: tuple = ()
    questions: tuple = ()
    context: str = ''

    @property
    def is_typed(self):
        """Whether the texts themselves are given, and no files."""
        return not self.files


def read_given(args):
    """`Given` of the settings of `ernie predict`.

    Raises:
        UserError: a path that does not exist.
        UsageError: what is given does not go together.
    """
    files, texts = _sorted(args.inputs)
    texts += args.text
    files += [args.predict_set] if args.predict_set else []
    asked = bool(args.question or args.context)
    if sum(map(bool, (files, texts, asked))) > 1:
        raise UsageError('files, texts and questions: give one kind of them in one call.')
    if args.text_b and len(args.text_b) != len(texts):
        what = f'--text_b: found {len(args.text_b)} texts for {len(texts)} first ones'
        raise UsageError(f'{what}; expected as many, in the same order.')
    if asked:
        return _questions(args)
    if texts:
        return Given(texts=tuple(texts), seconds=args.text_b)
    for path in files:
        if path != STDIN and not is_there(path):
            raise missing(path)
    return Given(files=tuple(files or [STDIN]))


def _questions(args):
    if not args.question or not args.context:
        name = 'question' if args.context else 'context'
        raise UsageError(f'--{name} is missing: a question and the text that answers it go together.')
    context = args.context
    if os.path.isfile(context):
        context = read_text(context, _LONGEST_CONTEXT, 'the text that answers the questions', data=True)
    elif looks_like_path(context):
        raise missing(context)
    return Given(questions=args.question, context=context)


def _sorted(inputs):
    """(files, texts) of what is given without a flag.

    Raises:
        UserError: it looks like a path, and nothing is there.
    """
    files, texts = [], []
    for value in inputs:
        if value == STDIN or (value and is_there(value) and not is_name(value)):
            files.append(value)
        elif looks_like_path(value) or nearest_name(value):
            raise missing(value)
        else:
            texts.append(value)
    return files, texts


def looks_like_path(text):
    """Whether a text that is no path is probably meant as one: predicting its letters would be a wrong answer.

    It ends as data files do, or it has no white space and begins as paths do, or its first folder exists.
    """
    if '\n' in text:
        return False
    if text.lower().endswith(DATA_ENDINGS):
        return True
    if any(char.isspace() for char in text):
        return False
    first, slash, _ = text.partition('/')
    return text.startswith(('/', './', '../', '~/')) or (bool(slash) and bool(first) and os.path.isdir(first))


def missing(path):
    """The error for a path that does not exist."""
    folder, name = os.path.split(path)
    try:
        near = did_you_mean(name, os.listdir(folder or '.'))
    except (OSError, ValueError):
        near = ''
    advice = f'{near or nearest_name(path)} If it is a text, put --text before it.'.strip()
    return bad_input(path, 'no such file', 'a file to predict, or a text', advice=advice)


def rows_of(given, columns):
    """The rows of typed texts, as `Row`.

    Args:
        given: `Given` without files.
        columns: `Columns` of the model.
    Raises:
        UsageError: the model takes something else.
    """
    asks = QUESTION in columns.required
    if given.questions:
        if not asks:
            raise UsageError('--question: this model does not answer questions. Give texts.')
        return [_row({QUESTION: question, CONTEXT: given.context}) for question in given.questions]
    if asks:
        raise UsageError(f'{quoted(given.texts[0], 60)}: this model answers questions: give --question and --context.')
    if not set(columns.required) <= set(TEXTS):
        needed = ', '.join(columns.required)
        raise UsageError(f'{quoted(given.texts[0], 60)}: this model needs the columns {needed}: give a file.')
    if 'text_b' in columns.required and not given.seconds:
        raise UsageError('this model learnt from pairs of texts: give the second ones with --text_b.')
    if given.seconds and 'text_b' in columns.refused:
        raise UsageError('--text_b: this model learnt from single texts. Leave it out.')
    if given.seconds:
        return [_row(dict(zip(TEXTS, pair, strict=True))) for pair in zip(given.texts, given.seconds, strict=True)]
    return [Row(None, {TEXTS[0]: text}, None, {TEXT: text}) for text in given.texts]


def _row(record):
    return Row(None, record, None, record)


def is_terminal(path):
    """Whether an input is standard input that somebody types."""
    return path == STDIN and sys.stdin is not None and sys.stdin.isatty()
