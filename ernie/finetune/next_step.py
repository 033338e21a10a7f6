"""What to type after a fine-tuning, and first answers of the model."""

import os
import shlex

import numpy as np

from ernie.inference.given import looks_like_path
from ernie.metrics.chunk_errors import join
from ernie.reader.dataset_folder import is_regular
from ernie.report.facts import rows_of
from ernie.run.resume import ernie_words, program_style
from propeller.args import split_list
from propeller.width import shortened, width_of

_LONGEST = 60  # characters of a text in a command
_LEAST = 6  # characters of one that says something, or two words
_LOOKED_AT = 100  # rows
_KEY = 13  # columns before the text of a line


def predict_command(run, checkpoint):
    """The command, or the call, that has a checkpoint predict. run: `FineTuning`."""
    args, style = run.args, program_style()
    texts = typical_texts(run.evaluator) if style != 'program' else ()
    if style == 'call':
        columns = run.task.columns or ()
        given = texts[0] if len(texts) == 1 else texts or dict.fromkeys(columns, '...')
        return f'ernie.load({checkpoint!r})({given!r})'
    file = (split_list(args.dev_set) or [args.train_set])[0]
    if style == 'program':
        words = ['python', 'infer_classifyer.py', '--init_checkpoint', checkpoint, '--predict_set', file]
        return shlex.join([*words, *(() if args.use_cuda else ('--use_cuda', 'false'))])
    first, *second = texts or [file]
    words = [*ernie_words(), 'predict', checkpoint, first]
    return shlex.join([*words, *(word for text in second for word in ('--text_b', text))])


def typical_texts(evaluator):
    """The text, or the pair of texts, of a dev row like most: of middling length, answered rightly and surely.

    Returns:
        tuple of str, each on one line; () where there is none, or a single text cannot be asked.
    """
    rows = [(row, tuple(map(_line, cells.values()))) for row, cells in _first_texts(evaluator, _LOOKED_AT)]
    if evaluator.task.spec.name == 'mrc':  # the text with the answer is too long to type
        return ()
    found = [(row, texts) for row, texts in rows if all(map(_can_be_typed, texts))]
    if not found:
        return ()
    good = evaluator.kept and evaluator.kept.good
    sure = [0.0 if good is None else float(good[row]) for row, _ in found]
    chosen = [i for i, (_, texts) in enumerate(found) if all(map(_says_something, texts))] or list(range(len(found)))
    half = np.median([sure[i] for i in chosen])
    chosen = [i for i in chosen if sure[i] >= half]
    length = [width_of(' '.join(texts)) for _, texts in found]
    middle = np.median([length[i] for i in chosen])
    return found[min(chosen, key=lambda i: (abs(length[i] - middle), i))][1]


def _can_be_typed(text):
    is_file = os.path.exists(text) or looks_like_path(text)
    return bool(text) and len(text) <= _LONGEST and not text.startswith('-') and not is_file


def _says_something(text):
    return len(text) >= _LEAST or len(text.split()) > 1


def _line(cell):
    return ' '.join((join(cell) if isinstance(cell, list) else cell).split())


def _first_texts(evaluator, count):
    """The first rows of the first dev set: list of (row, dict of its texts)."""
    sets = evaluator.scored_sets()
    if not sets or not is_regular(sets[0][1].path):
        return []
    rows = sets[0][1]
    return list(evaluator.task.texts(rows, range(min(count, rows_of(rows)))))


def answer_pairs(evaluator, count, width):
    """`text -> label 0.97` of the first dev rows, by the checkpoint that is kept: list of (key, text)."""
    if evaluator.kept is None or evaluator.kept.answer is None:
        return []
    room, found = width - _KEY - len(' -> '), []
    for row, cells in _first_texts(evaluator, count):
        answer = shortened(_line(evaluator.kept.answer(row, cells)), room * 2 // 3)
        text = shortened(' | '.join(map(_line, cells.values())), max(room - width_of(answer), 20))
        found.append(f'{text} -> {answer}')
    return [('answers' if number == 0 else '', text) for number, text in enumerate(found)]
