"""Small SQuAD-form files for the tests of reading comprehension, and a run of run_mrc on the small random model."""

import contextlib
import io
import json
import os

import numpy as np
import pytest

from tests.ernie.tiny_model import BAD, FILLING, GOOD, SETTINGS, Ran, flags

QUESTION = '有在哪'

MRC_SETTINGS = {
    **{k: v for k, v in SETTINGS.items() if k != 'cache'},
    'max_seq_len': 14,
    'max_query_length': 4,
    'doc_stride': 3,
    'max_answer_length': 4,
}


def qa(key, question, *answers, **more):
    """An entry of `qas`. answers: pairs (text, start)."""
    entries = [{'text': text, 'answer_start': start} for text, start in answers]
    return {'id': key, 'question': question, 'answers': entries, **more}


def squad(*paragraphs, version='1.1'):
    """A SQuAD-form document. paragraphs: pairs (context, list of `qa`)."""
    return {
        'version': version,
        'data': [{'title': '题', 'paragraphs': [{'context': c, 'qas': qas}]} for c, qas in paragraphs],
    }


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding='utf-8')
    return str(path)


def puzzles(count, seed, unanswerable=0.0, longest=24):
    """Paragraphs of filling characters whose answer begins with a good character and ends with a bad one; with
    `unanswerable` a share of the contexts has none.
    """
    rng = np.random.default_rng(seed)
    result = []
    for i in range(count):
        context = list(rng.choice(list(FILLING), rng.integers(6, longest)))
        if rng.random() < unanswerable:
            result.append((''.join(context), [qa(f'q{seed}_{i}', QUESTION, is_impossible=True)]))
            continue
        at = int(rng.integers(len(context) + 1))
        answer = ''.join(rng.choice(list(letters)) for letters in (GOOD, FILLING, BAD)[:: rng.integers(1, 3)])
        context[at:at] = answer
        result.append((''.join(context), [qa(f'q{seed}_{i}', QUESTION, (answer, at))]))
    return result


def write_puzzles(path, count, seed, **options):
    return write_json(path, squad(*puzzles(count, seed, **options)))


def run_mrc(**values):
    """`run_mrc.main` in this process with `MRC_SETTINGS` and these flags. Returns `Ran`."""
    import run_mrc as program

    with contextlib.redirect_stderr(io.StringIO()) as log, contextlib.redirect_stdout(io.StringIO()) as out:
        program.main(flags(**(MRC_SETTINGS | values)))
    return Ran(log.getvalue(), out.getvalue())


def shared_data(name):
    """Path of a file of real data, for tests that skip where there is none."""
    root = os.environ.get('ERNIE_TEST_DATA')
    path = os.path.join(root or '', name)
    if not root or not os.path.isfile(path):
        pytest.skip(f'ERNIE_TEST_DATA has no {name}')
    return path
