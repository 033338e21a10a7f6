"""EM and F1 of reading comprehension beside programs written from the published definitions."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.acceptance.published import ONCE, cmrc_once, cmrc_segments, questions_of, squad_once
from ernie.metrics import mrc as reading
from ernie.metrics.mrc import (
    cmrc_f1,
    cmrc_plain,
    cmrc_scores,
    evaluate,
    load_truth,
    longest_common_run,
    mixed_segmentation,
    squad_normalize,
    squad_scores,
)
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_reading import qa, shared_data, squad, write_json

ROOT = Path(__file__).resolve().parents[2]

# ---------------------------------------------------------------- single answers


@pytest.mark.parametrize(
    'answer, prediction, em, f1',
    [
        ('日本山形县', '日本山形县', 1, 1),
        ('日本山形县', '日本的山形县', 0, 2 * (3 / 6) * (3 / 5) / (3 / 6 + 3 / 5)),
        ('「山形」线', '山形线', 1, 1),
        ('山形 线', '山形线', 0, 1.0),  # the space counts for EM only: the tokenizer drops it
        ('JR东日本', 'jr东日本', 1, 1),
        ('1992年', '92年', 0, 0.5),
        ('第二代', '车站', 0, 0),
        ('。', '。', 1, 0),  # nothing is left of either: the texts are equal, and share no segment
        ("don't stop", 'do stop', 0, 2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3)),  # do n't stop
        ('等等……', '等等', 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),  # …… is one run of its own, for CMRC's item never matches
        ('A-B', 'AB', 1, 1),  # what punctuation parted grows together
    ],
)
def test_cmrc(answer, prediction, em, f1):
    assert cmrc_scores([answer], prediction) == (em, pytest.approx(f1))
    assert cmrc_once([answer], prediction) == (em, pytest.approx(f1))


@pytest.mark.parametrize(
    'answer, prediction, em, f1',
    [
        ('The Battle of Jumonville Glen', 'battle of Jumonville  Glen.', 1, 1),
        ('1756 to 1763', '1756', 0, 2 * 1 * (1 / 3) / (1 + 1 / 3)),
        ('a an the', 'The', 1, 1),  # nothing is left of either
        ('A', 'B', 0, 0),
        ('A', '', 1, 1),
        ('theatre', 'the atre', 0, 0),
        ('one one two', 'one two two', 0, 2 / 3),
        ('Seven Years’ War', "Seven Years' War", 0, 2 / 3),  # ’ is no ASCII punctuation
    ],
)
def test_squad(answer, prediction, em, f1):
    assert squad_scores([answer], prediction) == (em, pytest.approx(f1))
    assert squad_once([answer], prediction) == (em, pytest.approx(f1))


def test_the_best_of_several_answers_counts_for_each_score():
    assert squad_scores(['x', 'New York', 'York City'], 'york city') == (1, 1)
    assert cmrc_scores(['日本', '东日本旅客'], '东日本') == (0, pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3)))


def test_answers_of_which_nothing_is_left():
    """SQuAD 2.0: they are dropped where another one has words; where none has, right is the empty answer."""
    truth = {'1': ['A'], '2': ['B'], '3': [], '4': ['the', 'a cat'], '5': ['the', 'a cat'], '6': ['An', '"The"']}
    found = evaluate('squad', truth, {'1': 'A', '2': 'B', '3': '', '4': 'the cat', '5': 'the', '6': 'cat'})
    right = [1, 1, 1, 1, 0, 0]
    assert found['em'] == found['f1'] == 100 * np.mean(right)
    assert found['has_answer_f1'] == 100 * np.mean([right[i] for i in (0, 1, 3, 4, 5)]) and found['no_answer_f1'] == 100
    for answers, prediction in ((['A'], 'A'), (['the', 'a cat'], 'The'), (['A', 'an'], ' ... '), ([], 'x')):
        assert squad_scores(answers, prediction) == squad_once(answers, prediction)


PIECES = st.sampled_from(
    [*'今天日本，。「」…·- \t', 'New York', "can't", 'U.S.', 'Ph.D. ', '3.5%', 'é', 'Σ', '(a)', '……', 'the ', '\u9fa6']
)
TEXTS = st.lists(PIECES, max_size=9).map(''.join)


@settings(max_examples=300)
@given(st.lists(TEXTS, max_size=3), TEXTS)
def test_single_scores_are_those_of_the_definition(answers, prediction):
    if answers:
        assert cmrc_scores(answers, prediction) == pytest.approx(cmrc_once(answers, prediction))
    assert squad_scores(answers, prediction) == pytest.approx(squad_once(answers, prediction))
    assert list(mixed_segmentation(prediction, True)) == cmrc_segments(prediction)


@settings(max_examples=300)
@given(st.lists(st.integers(0, 3), max_size=15), st.lists(st.integers(0, 3), max_size=12))
def test_longest_common_run(a, b):
    runs = {tuple(a[i:j]) for i in range(len(a)) for j in range(i + 1, len(a) + 1)}
    others = {tuple(b[i:j]) for i in range(len(b)) for j in range(i + 1, len(b) + 1)}
    assert longest_common_run(a, b) == max(map(len, runs & others), default=0)


def test_segments_with_punctuation():
    assert mixed_segmentation(' 山形「Line 1」。') == ('山', '形', '「', 'line', '1', '」', '。')


# ---------------------------------------------------------------- whole files


def guesses(questions, rng):
    """Predictions as models make them: right, cut, widened, elsewhere, in other letters, with other spaces, empty."""
    result = {}
    for key, context, answers in questions:
        start = context.find(answers[0])
        end = start + len(answers[0])
        a, b = sorted(rng.integers(0, len(context) + 1, 2))
        kinds = [
            answers[-1],
            context[max(start - int(rng.integers(0, 4)), 0) : end + int(rng.integers(0, 4))],
            context[start + int(rng.integers(0, 3)) : end],
            context[a : min(b, a + 60)],
            answers[0].upper(),
            f' {answers[0]}。',
            '',
        ]
        result[key] = kinds[rng.integers(len(kinds))]
    return result


@pytest.mark.parametrize('metric', ['cmrc', 'squad'])
@pytest.mark.parametrize(
    'name', ['cmrc2018/dev.json', 'drcd/dev.json', 'xquad/dev.en.json', 'xquad/train.en.json', 'xquad/dev.zh.json']
)
def test_real_files(name, metric):
    path = shared_data(name)
    with open(path, encoding='utf-8') as f:
        questions = list(questions_of(json.load(f)))
    predictions = guesses(questions, np.random.default_rng(7))
    scores = [ONCE[metric](answers, predictions[key]) for key, _, answers in questions]
    em, f1 = 100 * np.mean(scores, axis=0)
    assert 5 < em < 80 and em <= f1
    found = evaluate(metric, load_truth(path), predictions)
    assert found == {
        'em': pytest.approx(em),
        'f1': pytest.approx(f1),
        'avg': pytest.approx((em + f1) / 2),
        'questions': len(questions),
    }


def test_unanswered_questions_count_nothing(capsys):
    answers = {'a': ['今天'], 'b': ['明天'], 'c': ['x']}
    result = evaluate('cmrc', answers, {'b': '明天', 'other': '今天'})
    assert result['em'] == result['f1'] == pytest.approx(100 / 3) and result['questions'] == 3
    assert capsys.readouterr().err == 'Unanswered question: a\nUnanswered question: c\n'


def test_questions_without_an_answer():
    """SQuAD 2.0: such a question scores 1 exactly when nothing is left of the prediction."""
    answers = {'a': ['New York'], 'b': [], 'c': [], 'd': ['x y'], 'e': []}
    result = evaluate('squad', answers, {'a': 'the new york', 'b': '', 'c': 'x', 'd': '', 'e': ' the. '})
    assert (result['em'], result['f1']) == (pytest.approx(60), pytest.approx(60))
    assert (result['has_answer_em'], result['has_answer_f1']) == (50, 50)
    assert (result['no_answer_em'], result['no_answer_f1']) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    assert result['questions'] == 5
    assert evaluate('cmrc', {'a': []}, {'a': '。'})['em'] == 100


def test_an_empty_set_scores_nothing():
    assert evaluate('squad', {}, {}) == {'em': 0, 'f1': 0, 'avg': 0, 'questions': 0}


# ---------------------------------------------------------------- command line


@pytest.fixture
def files(tmp_path):
    truth = squad(
        ('高畠车站位于日本山形县。', [qa('q1', '哪里？', ('日本山形县', 6)), qa('q2', '什么？', ('高畠车站', 0))]),
        ('The Battle of 1754.', [qa('q3', 'When?', ('1754', 14))]),
    )
    predictions = {'q1': '山形县', 'q2': '高畠车站', 'q3': 'the 1754'}
    return write_json(tmp_path / 't.json', truth), write_json(tmp_path / 'p.json', predictions)


@pytest.mark.parametrize(
    'flags, expected',
    [([], (100 / 3, 100 * (0.75 + 1 + 2 / 3) / 3)), (['--metric', 'squad'], (200 / 3, 200 / 3))],
)
def test_command_line(files, capsys, flags, expected):
    reading.main([*files, *flags])
    em, f1, count = capsys.readouterr().out.split('\n')[:3]
    assert (float(em), float(f1)) == pytest.approx(expected) and count == '3'


def test_the_name_of_2019(files):
    command = [sys.executable, '-m', 'ernie.utils.cmrc2018_eval', *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [float(line) for line in done.stdout.split()] == pytest.approx([100 / 3, 100 * (0.75 + 1 + 2 / 3) / 3, 3])


@pytest.mark.parametrize(
    'content, found',
    [
        ('[1]', 'a JSON list'),
        ('{"q1": 3}', "question 'q1': int"),
        ('{"q1": "x"', ':1: found bad JSON'),
        (None, 'no such file'),
    ],
)
def test_bad_predictions(files, tmp_path, content, found):
    path = tmp_path / 'bad.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=re.escape(found)) as e:
        reading.main([files[0], str(path)])
    assert str(path) in str(e.value) and 'expected' in str(e.value)


def test_a_missing_file_is_a_usage_error(files):
    with pytest.raises(UsageError, match=r'PREDICTION\.json\. --help lists all flags'):
        reading.main(files[:1])


def test_truth_without_answers(tmp_path):
    path = write_json(tmp_path / 't.json', squad(('今天', [qa('q1', '什么')])))
    with pytest.raises(UserError, match="question 'q1': no answers"):
        load_truth(path)


def test_plain_texts():
    assert cmrc_plain(' A（山）·形 线。 ') == 'a山形 线'
    assert squad_normalize('An  apple, a day!') == 'apple day'
    assert cmrc_f1('', '山') == 0
