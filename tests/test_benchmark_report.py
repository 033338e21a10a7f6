"""benchmark.report: the same tokens for both sides, what is counted, and the page of what was measured."""

import gzip
import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.report import __main__ as report
from benchmark.report import ours
from benchmark.report.page import page_lines
from benchmark.report.works import LATENCY, PREDICT, PRETRAIN, TRAIN, WORKS, Work, write_files
from ernie.tokenization import FullTokenizer
from propeller.errors import UsageError, UserError

TINY = Work('tiny', 'tiny', TRAIN, 1, 32, 90, 3, (7, 3, 4, 12), 2, 4, ('fp32',))


def test_both_sides_have_the_same_tokens(tmp_path):
    write_files(TINY, tmp_path)
    ids = json.loads((tmp_path / 'ids.json').read_text())
    tokenizer = FullTokenizer(str(tmp_path / 'vocab.txt'), do_lower_case=True)
    header, *rows = (tmp_path / 'rows.tsv').read_text().splitlines()
    assert header == 'text_a\tlabel' and len(rows) == len(ids) == TINY.rows * TINY.steps
    for row, line in zip(ids, rows, strict=True):
        pieces = ['[CLS]', *tokenizer.tokenize(line.split('\t')[0]), '[SEP]']
        assert tokenizer.convert_tokens_to_ids(pieces) == row and 4 <= len(row) <= 12
    assert len({len(row) for row in ids}) > 3
    assert (
        len((tmp_path / 'vocab.txt').read_text().split())
        == len(set((tmp_path / 'vocab.txt').read_text().split()))
        == 90
    )


def test_samples_of_pretraining_have_them_too(tmp_path):
    work = TINY._replace(kind=PRETRAIN, lengths=(12, 0, 12, 12))
    write_files(work, tmp_path)
    with gzip.open(tmp_path / 'samples.gz', 'rt') as f:
        samples = [[[int(n) for n in field.split()] for field in line.split(';')] for line in f]
    assert [sample[0] for sample in samples] == json.loads((tmp_path / 'ids.json').read_text())
    assert all({len(field) for field in sample[:4]} == {12} for sample in samples)
    assert samples[0][1] == [0] * 6 + [1] * 6 and samples[0][3] == [-1, *[0] * 10, -1]
    assert (tmp_path / 'filelist').read_text() == f'{tmp_path}/samples.gz\t0.0\n'


def test_lengths_are_those_that_a_work_says(tmp_path):
    for work in WORKS:
        write_files(work._replace(words=500), tmp_path / work.name)
        lengths = [len(row) for row in json.loads((tmp_path / work.name / 'ids.json').read_text())]
        mean, deviation, least, most = work.lengths
        assert min(lengths) >= least and max(lengths) <= most
        assert abs(np.mean(lengths) - mean) <= 0.25 * deviation  # some are cut
        assert work.counted % work.warm == 0 or work.kind in (PREDICT, LATENCY)


@pytest.mark.parametrize(
    'work', [TINY, TINY._replace(kind=PRETRAIN, rows=10, lengths=(12, 0, 12, 12))], ids=[TRAIN, PRETRAIN]
)
def test_a_training_is_measured(work, tmp_path):
    write_files(work, tmp_path)
    found = ours.train(work, str(tmp_path), 'fp32', 1)
    assert found['rate'] > 0 and 0.1 < found['gigabytes'] < 4


def test_the_first_updates_are_not_counted(tmp_path):
    records = [(2, 1.0, 5.0), (4, 4.0, 400.0), (6, 2.0, 100.0)]
    keys = ('step', 'steps_per_second', 'tokens_per_second')
    lines = [
        json.dumps({'phase': 'train', 'epoch': 0, **dict(zip(keys, record, strict=True))}) + '\n' for record in records
    ]
    (tmp_path / 'metrics.jsonl').write_text(''.join(lines))
    assert ours.rate_of(str(tmp_path), TINY) == pytest.approx((0.5 * 400 + 1.0 * 100) / 1.5)
    (tmp_path / 'metrics.jsonl').write_text(''.join(lines[:2]))
    with pytest.raises(UserError, match=r'log lines of steps \[2, 4\], expected 6'):
        ours.rate_of(str(tmp_path), TINY)


def test_a_model_is_exported_once_and_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, 'REPEATS', 1)
    work = TINY._replace(kind=PREDICT)
    write_files(work, tmp_path)
    target = ours.exported(work, str(tmp_path), 1)
    assert ours.exported(work, str(tmp_path), 1) == target and {'onnx', 'paddle'} <= set(os.listdir(target))
    found = ours.measured(work, target, str(tmp_path), 'predictor', 'fp32', 1)
    assert found['rate'] > 0 and 0 <= found['apart'] < 1e-5
    found = ours.measured(work._replace(kind=LATENCY, rows=1), target, str(tmp_path), 'predictor', 'fp32', 1)
    assert found['ms'] > 0


def test_rounds_take_turns_and_give_medians(monkeypatch, capsys):
    rates, order = iter((5.0, 1.0, 3.0, 9.0, 4.0, 2.0)), []

    def side(name):
        return lambda folder: (order.append(name), {'rate': next(rates), 'gigabytes': 1.0})[1]

    sides = {('ours', 'fp32'): side('ours'), ('PyTorch', 'fp32'): side('PyTorch')}
    monkeypatch.setattr(report, 'sides_of', lambda *_: sides)
    found = report.measure([TINY], SimpleNamespace(rival_python='x', threads=1, rounds=3))
    assert order == ['ours', 'PyTorch', 'PyTorch', 'ours', 'ours', 'PyTorch']
    assert {side: m['rate'] for side, m in found[TINY].items()} == {('ours', 'fp32'): 5.0, ('PyTorch', 'fp32'): 2.0}


def test_the_rival_is_told_all_that_it_needs(tmp_path):
    echo = tmp_path / 'python'
    echo.write_text(
        f'#!{sys.executable}\nimport json, sys\nprint(json.dumps(json.loads(sys.argv[2]) | {{"gigabytes": 1}}))\n'
    )
    echo.chmod(0o755)
    found = report.rival_run(str(echo), TINY, 'somewhere', 'bf16', 2)
    settings = {'kind': TRAIN, 'rows': 3, 'warm': 2, 'counted': 4, 'folder': 'somewhere', 'precision': 'bf16'}
    assert found == settings | {'threads': 2, 'gigabytes': 1}


def test_the_page_has_what_was_measured():
    train = {
        ('ours', 'bf16'): {'rate': 3000.0, 'gigabytes': 1.0},
        ('PyTorch', 'bf16'): {'rate': 2000.0, 'gigabytes': 2.0},
    }
    answer = {
        ('openvino', 'bf16'): {'ms': 5.0, 'gigabytes': 1.5, 'apart': 2e-4},
        ('PyTorch', 'bf16'): {'ms': 8.0, 'gigabytes': 1},
        ('fused', 'int8'): {'ms': 2.0, 'gigabytes': 0.5, 'apart': 3e-2},
    }
    works = {TINY: train, TINY._replace(name='answer', kind=LATENCY): answer}
    lines = list(page_lines(works, SimpleNamespace(threads=2, rounds=3, rival_python='x')))
    assert '| tiny | bf16 | ours | 3,000 | 2,000 | 1.50 | 1.00 | 2.00 |' in lines
    assert '| tiny | bf16 | openvino | 5.00 | 8.00 | 1.60 | 1.50 | 1.00 |' in lines
    assert '| tiny | int8 | fused | 2.00 | 8.00 | 4.00 | 0.50 | 1.00 |' in lines  # beside bf16
    assert (
        lines[-1] == 'Probabilities differ from those of Paddle in float32 by at most 2.0e-04 (bf16), 3.0e-02 (int8).'
    )
    assert not any('Prediction' in line for line in lines)
    alone = list(
        page_lines(
            {TINY: {('ours', 'bf16'): train['ours', 'bf16']}}, SimpleNamespace(threads=2, rounds=1, rival_python=None)
        )
    )
    assert '| tiny | bf16 | ours | 3,000 |  |  | 1.00 |  |' in alone and any(
        'nothing beside them' in line for line in alone
    )


def test_what_a_run_needs_in_the_end_is_proved_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(report, 'measure', lambda *_: pytest.fail('measured'))
    monkeypatch.setattr(report.common, 'limit_cores', lambda threads: None)
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='report.md: cannot be written'):
        report.main(['--out', str(tmp_path / 'file' / 'report.md')])
    with pytest.raises(UserError, match='^--rival_python no/python: found No such file or directory, expected a Pyth'):
        report.main(['--rival_python', 'no/python'])
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without packages
    python.chmod(0o755)
    with pytest.raises(UserError, match="No module named 'torch'.*pip install torch transformers"):
        report.main(['--rival_python', str(python)])


def test_flags_that_cannot_be():
    with pytest.raises(UsageError, match='--works bas: expected one of .* Did you mean base'):
        report.parse_flags(['--works', 'base,bas'])
    with pytest.raises(UsageError, match='--rounds 0'):
        report.parse_flags(['--rounds', '0'])
    assert [work.name for work in report.parse_flags(['--works', 'answer,base']).works] == ['base', 'answer']
