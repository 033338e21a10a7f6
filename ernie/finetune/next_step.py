"""What to type after a fine-tuning, and first answers of the model."""

import os
import shlex

from ernie.reader.dataset_folder import is_regular
from ernie.run.resume import ernie_words, program_style
from propeller.args import split_list
from propeller.width import shortened

_LONGEST = 60  # characters of a text in a command


def predict_command(run, checkpoint):
    """The command, or the call, that has a checkpoint predict. run: `FineTuning`."""
    args, style, text = run.args, program_style(), _text(run)
    if style == 'call':
        return f'ernie.load({checkpoint!r})({text or "..."!r})'
    file = (split_list(args.dev_set) or [args.train_set])[0]
    if style == 'program':
        words = ['python', 'infer_classifyer.py', '--init_checkpoint', checkpoint, '--predict_set', file]
        return shlex.join([*words, *(() if args.use_cuda else ('--use_cuda', 'false'))])
    return shlex.join([*ernie_words(), 'predict', checkpoint, text or file])


def _text(run):
    """A text to predict, on one line; None where the model takes more than one text."""
    found = [cells for _, cells in _first_texts(run.evaluator, 20)]
    texts = [' '.join(cells['text_a'].split()) for cells in found if list(cells) == ['text_a']]
    texts = [text for text in texts if text and not text.startswith('-') and not os.path.exists(text)]
    return min(texts, key=len)[:_LONGEST] if texts else None


def _first_texts(evaluator, count):
    sets = evaluator.scored_sets()
    if not sets or not is_regular(sets[0][1].path):
        return []
    rows = sets[0][1]
    return list(evaluator.task.texts(rows, range(min(count, len(rows)))))


def answer_pairs(evaluator, count, width):
    """`text -> label 0.97` of the first dev rows, by the checkpoint that is kept: list of (key, text)."""
    answer = evaluator.kept_answer
    if answer is None:
        return []
    found = []
    for row, cells in _first_texts(evaluator, count):
        text = ' | '.join(
            ' '.join(' '.join(cell) if isinstance(cell, list) else cell.split()) for cell in cells.values()
        )
        result = answer(row)
        found.append(f'{shortened(text, max(width - 20 - len(result), 20))} -> {result}')
    return [('answers' if number == 0 else '', text) for number, text in enumerate(found)]
