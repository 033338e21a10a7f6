"""benchmark.cpp_text, cpp_start and acceptance.cpp_executor: tables and exit codes are of what was measured."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark import cpp_start, cpp_text
from benchmark.acceptance.cpp_executor import compared
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import VOCABULARY

PLAIN = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
LABELS = np.array([0, 1, 0, 1])


def runs(rate, probabilities=PLAIN):
    """A run in which the machine did something else, and two."""
    return [cpp_text.Run(rate / 2, value, probabilities) for value in (rate * 9, rate, rate)]


def results(bf16=PLAIN, int8=PLAIN, fp32=100.0, rival=PLAIN):
    ours = {('fp32', 1): runs(300.0), ('bf16', 1): runs(700.0, bf16), ('int8', 2): runs(510.0, int8)}
    theirs = {('fp32', 1): runs(fp32, rival), ('bf16', 1): runs(250.0)}
    return {('fused', *key): r for key, r in ours.items()} | {('PyTorch', *key): r for key, r in theirs.items()}


@pytest.mark.parametrize(
    ('given', 'best', 'code'),
    [
        ({}, 'bf16', 0),
        ({'bf16': PLAIN + [[2e-3, -2e-3]]}, 'int8', 0),
        ({'bf16': PLAIN + [[2e-3, -2e-3]], 'fp32': 103.0}, 'int8', 1),
        ({'bf16': PLAIN + [[2e-3, -2e-3]], 'int8': PLAIN[:, ::-1]}, 'fp32', 1),
        ({'rival': PLAIN + [[2e-4, -2e-4]]}, 'bf16', 1),
    ],
)
def test_the_fastest_safe_setting_counts(capsys, given, best, code):
    args = SimpleNamespace(threads=2, rounds=3, passes=1, backends=['fused'])
    assert cpp_text.report(args, results(**given), LABELS) == code
    out = capsys.readouterr().out
    assert f'fastest safe setting: fused {best}' in out
    assert out.splitlines()[2].split()[:5] == ['fused', 'fp32', '1', '300.0', '150.0']
    assert ('not safe' in out) == ('bf16' in given)
    assert ('other probabilities' in out) == ('rival' in given)


def test_flags_that_are_needed():
    with pytest.raises(UsageError, match='--checkpoints and --rival_python are needed'):
        cpp_text.parse_flags(['--checkpoints', 'x'])


@pytest.mark.parametrize(('peak', 'start', 'code'), [(2.2e8, 0.5, 0), (2.5e8, 0.5, 1), (2.2e8, 1.0, 1)])
@pytest.mark.parametrize('form', ['fused', 'openvino'])
def test_memory_and_time_are_held_to_their_bounds(capsys, peak, start, code, form):
    seconds = {
        ('C++', form, 'fp32'): [9.0, start, start],
        ('Python', form, 'fp32'): [3.0],
        ('C++', 'onnx', 'fp32'): [3.0],
    }
    memory = {('C++', form, 'fp32'): (peak, 1e8)} | dict.fromkeys(list(seconds)[1:], (900000000.0, 800000000.0))
    args = SimpleNamespace(rows=32, tokens=128)
    assert cpp_start.report(args, (1.1e8, 0.5e8), seconds, memory) == code
    lines = capsys.readouterr().out.splitlines()
    found = ['C++', form, 'fp32', f'{start:.3f}', f'{peak / 1e6:.1f}', '100.0', f'{peak / 1.6e8:.2f}']
    assert lines[2].split() == found + ['too', 'much'] * code
    assert [line.endswith('too much') for line in lines[3:]] == [False] * 3


def test_texts_have_the_length_that_is_asked_for(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    texts = cpp_start.texts_of(str(tmp_path), 3, 9)
    assert [len(text) for text in texts] == [7, 7, 7]
    assert set(''.join(texts)) <= {c for c in VOCABULARY if len(c) == 1 and c > ','}
    (tmp_path / 'vocab.txt').write_text('[PAD]\na\n', encoding='utf-8')
    with pytest.raises(UserError, match='no Chinese characters'):
        cpp_start.texts_of(str(tmp_path), 3, 9)


def test_only_numbers_may_differ():
    lines = [json.dumps(row) for row in ({'label': 'a', 'p': {'a': 0.5, 'b': 0.25}}, {'label': 'b', 'at': [1, 2.5]})]
    assert compared(lines, lines) == (3, 0.0)
    assert compared(lines, [lines[0].replace('0.25', '0.5'), lines[1]]) == (3, 0.25)
    changes = ((lines[0], '"a"', '"b"'), (lines[1], '[1', '[2'), (lines[1], ', 2.5', ''), (lines[1], '2.5', '"2.5"'))
    for line, a, b in changes:
        with pytest.raises(UserError, match='line [12]: found'):
            compared(lines, [x.replace(a, b) if x == line else x for x in lines])
    with pytest.raises(UserError, match='found 1 lines, expected 2'):
        compared(lines, lines[:1])
