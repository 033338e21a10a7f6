"""benchmark.acceptance.evaluators: equal scores are called equal, and a score that is off is found."""

import json

import numpy as np
import pytest

from benchmark.acceptance import evaluators
from benchmark.acceptance.evaluators import difference, iobes, main
from ernie.decoding.scheme import chunks, first_broken
from ernie.metrics.mrc import squad_scores
from propeller.errors import UserError
from tests.ernie.tiny_reading import qa, squad, write_json

NAMES = ['O', 'B-PER', 'I-PER', 'B-work', 'I-work']


@pytest.fixture
def tagged(tmp_path):
    """A dev file, and predictions for it in which some tokens were cut off."""
    rng = np.random.default_rng(3)
    dev, found = ['text_a\tlabel'], []
    for i in range(67):
        tokens = [f'w{i}_{k}' for k in range(rng.integers(1, 11))]
        labels = [str(x) for x in rng.choice(NAMES, len(tokens))]
        guess = [x if rng.random() < 0.7 else str(rng.choice(NAMES)) for x in labels][: 9 if i % 3 else 4]
        dev.append('\x02'.join(tokens) + '\t' + '\x02'.join(labels))
        found.append(' '.join(tokens[: len(guess)]) + '\t' + ' '.join(guess) + '\t' + ' '.join('1' for _ in guess))
    paths = tmp_path / 'dev.tsv', tmp_path / 'dev.1.final'
    for path, lines in zip(paths, (dev, found), strict=True):
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return [str(path) for path in paths]


@pytest.fixture
def answered(tmp_path):
    truth = squad(
        (
            '高畠车站位于日本山形县。',
            [qa('q1', '哪里？', ('日本山形县', 6), ('山形县', 8)), qa('q2', '何？', ('高畠', 0))],
        ),
        ('The Battle of 1754.', [qa('q3', 'When?', ('1754', 14))]),
    )
    found = {'q1': '日本的山形县', 'q2': '高畠', 'q3': 'the Battle of 1754'}
    return [write_json(tmp_path / 'truth.json', truth), write_json(tmp_path / 'found.json', found)]


def test_tagging(tagged, capsys):
    assert main(['tagging', *tagged]) == 0
    first, iob, as_iobes = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{tagged[1]}: 67 sentences') and ', f1 0.' in first
    assert 'IOB, seqeval in its default mode: equal, 20 numbers' in iob
    assert 'IOBES, seqeval in its strict mode: equal, 20 numbers' in as_iobes


def test_a_chunk_too_many_is_found(tagged, capsys, monkeypatch):
    class Off(evaluators.ChunkScores):
        def __init__(self, scheme):
            super().__init__(scheme)
            self.hits['PER'] = 1

    monkeypatch.setattr(evaluators, 'ChunkScores', Off)
    assert main(['tagging', *tagged]) == 1
    assert 'IOB, seqeval in its default mode: UNEQUAL at (' in capsys.readouterr().out


def test_predictions_of_another_file(tagged):
    with open(tagged[1], 'a', encoding='utf-8') as f:
        f.write('x\tO\t1\n')
    with pytest.raises(UserError, match=r'dev\.1\.final: found 68 lines, expected 67'):
        main(['tagging', *tagged])


def test_the_same_chunks_in_iobes():
    rng = np.random.default_rng(5)
    for _ in range(300):
        labels = [str(x) for x in rng.choice(NAMES, rng.integers(0, 12))]
        other = iobes(labels)
        assert first_broken(other, 'IOBES') is None
        assert chunks(other, 'IOBES') == chunks(labels, 'IOB')


def test_reading(answered, capsys):
    assert main(['reading', *answered, answered[1]]) == 0
    lines = capsys.readouterr().out.splitlines()
    f1 = 100 * (max(2 * 3 / 11, 2 * 3 / 9) + 1 + 2 * 1 / 5) / 3
    assert lines[0] == f'{answered[1]}: 3 questions'
    assert lines[1].startswith(f'  cmrc, EM 33.33, F1 {f1:.2f}: equal, 8 numbers, difference ')
    assert lines[2].startswith('  squad, EM 33.33, F1 50.00: equal, 8 numbers') and lines[:3] == lines[3:]


def test_one_question_that_differs_is_named(answered, capsys, monkeypatch):
    def off(answers, prediction):
        em, f1 = squad_scores(answers, prediction)
        return em, f1 + 1e-6 * (answers == ['1754'])

    monkeypatch.setitem(evaluators.SCORES, 'squad', off)
    assert main(['reading', *answered]) == 1
    assert (
        "squad, EM 33.33, F1 50.00: UNEQUAL at ('q3', 'f1'), 8 numbers, difference 1.0e-06" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda truth, found: found.pop('q2'), r"found\.json: found no answer to question 'q2'"),
        (
            lambda truth, found: truth['data'][0]['paragraphs'][0]['qas'].append(qa('q9', '?', is_impossible=True)),
            r"found\.json: found no answer to question 'q9'",
        ),
    ],
)
def test_files_that_do_not_belong_together(answered, change, text):
    contents = []
    for path in answered:
        with open(path, encoding='utf-8') as f:
            contents.append(json.load(f))
    change(*contents)
    for path, content in zip(answered, contents, strict=True):
        with open(path, 'w', encoding='utf-8') as f:
            json.dump(content, f)
    with pytest.raises(UserError, match=text):
        main(['reading', *answered])


def test_what_only_one_side_has_is_a_difference():
    assert difference({'a': 1.0, 'b': 2.0}, {'a': 1.0}) == (float('inf'), 'b')
    assert difference({'a': 1.0, 'b': 2.0}, {'a': 1.0, 'b': 2.5}) == (0.5, 'b')
    assert difference({}, {}) == (0.0, None)
