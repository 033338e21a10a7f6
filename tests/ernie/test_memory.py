"""The memory estimate against measured peaks; what is available; what the log says; memory that runs out."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ernie.checkpoint import backbone_shapes
from ernie.config import ErnieConfig
from ernie.run.memory import MEGABYTE, TrainingMemory, need_of, report_memory, training_memory
from propeller import ops
from tests.ernie.tiny_model import CONFIG, messages, run, sentences, table, write_model

ROOT = Path(__file__).parents[2]


def estimate(layers, width, length, rows, **settings):
    """`training_memory` of the models that `benchmark.memory recompute` trains."""
    sizes = {'hidden_size': width, 'num_hidden_layers': layers, 'num_attention_heads': width // 32}
    config = ErnieConfig({**CONFIG, **sizes, 'vocab_size': 18000, 'max_position_embeddings': length})
    numbers = sum(math.prod(shape) for shape in backbone_shapes(config).values()) + 2 * width + 2
    by_rows = 18000 * width if settings.get('fused') else 0  # the table of words
    return training_memory(config, rows, length, numbers, numbers, by_rows=by_rows, **settings)


@pytest.mark.parametrize(
    ('sizes', 'settings', 'measured'),
    [
        ((2, 128, 64, 8), {}, 407),
        ((4, 320, 128, 8), {}, 704),
        ((6, 384, 256, 4), {}, 1002),
        ((4, 768, 128, 4), {}, 1157),
        ((12, 384, 512, 4), {}, 2983),
        ((2, 128, 64, 8), {'recompute': True}, 402),
        ((4, 320, 128, 8), {'recompute': True}, 609),
        ((6, 384, 256, 4), {'recompute': True}, 753),
        ((12, 384, 512, 4), {'recompute': True}, 1237),
        ((4, 320, 128, 8), {'precision': 'bf16'}, 663),
        ((6, 384, 256, 4), {'precision': 'bf16'}, 935),
        ((6, 384, 256, 4), {'precision': 'bf16', 'recompute': True}, 749),
    ],
)
def test_estimate_is_within_a_quarter_of_what_was_measured(sizes, settings, measured):
    """MB by `benchmark.memory recompute`, 2 cores, PaddlePaddle 3.3.1."""
    assert estimate(*sizes, **settings).total / MEGABYTE == pytest.approx(measured, rel=0.25)


@pytest.mark.parametrize(
    ('sizes', 'settings', 'measured'),
    [
        ((2, 128, 64, 8), {}, 395),
        ((4, 320, 128, 8), {}, 580),
        ((6, 384, 256, 4), {}, 736),
        ((4, 768, 128, 4), {}, 1020),
        ((12, 384, 512, 4), {}, 1325),
        ((12, 384, 512, 4), {'recompute': True}, 887),
        ((4, 768, 128, 4), {'recompute': True}, 1003),
        ((12, 384, 512, 4), {'precision': 'bf16'}, 1105),
        ((6, 384, 256, 4), {'precision': 'bf16'}, 672),
        ((12, 384, 512, 4), {'precision': 'bf16', 'recompute': True}, 853),
    ],
)
def test_estimate_of_fused_operators_is_within_a_twentieth(sizes, settings, measured):
    """They keep no dense gradient of the word table."""
    assert estimate(*sizes, fused=True, **settings).total / MEGABYTE == pytest.approx(measured, rel=0.055)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['auto', 'false'])
def test_estimate_of_a_run_that_is_measured_now(mode):
    sizes = {'layers': 3, 'width': 192, 'length': 192, 'rows': 5}
    flags = [f'--{name}={value}' for name, value in sizes.items()] + ['--steps=2', '--variant=recompute']
    command = [sys.executable, '-m', 'benchmark.memory', 'recompute', *flags, f'--fused_ops={mode}']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    peak = json.loads(done.stdout.splitlines()[-1])['peak']
    expected = estimate(*sizes.values(), recompute=True, fused=ops.available(mode)).total / MEGABYTE
    assert expected == pytest.approx(peak, rel=0.25)


def test_a_gradient_by_rows_counts_only_where_there_is_one():
    flags = {'precision': 'fp32', 'recompute': False, 'use_cuda': False, 'fused_ops': 'false'}
    flags |= {'gradient_accumulation_steps': 1}
    config = ErnieConfig(CONFIG)

    def need(freeze_encoder=False, **changed):
        numbers = (config, 3, 7, 5000, 5000, 1000, freeze_encoder)
        return need_of(SimpleNamespace(**flags | changed), *numbers).parameters

    dense = 16 * 5000
    assert training_memory(config, 3, 7, 5000, 5000, fused=True).parameters == dense
    assert training_memory(config, 3, 7, 5000, 5000, fused=True, by_rows=1000).parameters == dense - 4 * 1000
    assert need() == need(freeze_encoder=True) == 20 * 5000  # Paddle's own operators
    if ops.available('auto'):
        assert need(fused_ops='auto') == dense - 4 * 1000
        assert need(fused_ops='auto', gradient_accumulation_steps=2) == dense + 4 * 5000
        assert need(fused_ops='auto', freeze_encoder=True) == dense


def test_estimate_grows_with_what_costs_memory():
    sizes, base = (4, 320, 128, 8), estimate(4, 320, 128, 8)
    buffers = estimate(*sizes, accumulated=True)
    frozen = estimate(*sizes, freeze_encoder=True)
    numbers = 10_732_482  # of 4 layers of 320 and the tables: the buffer of accumulated gradients is 4 bytes each
    assert buffers.parameters - base.parameters == pytest.approx(4 * numbers, rel=0.01)
    assert frozen.activations < base.activations / 4
    assert estimate(*sizes, use_cuda=True).program == 0
    assert estimate(4, 320, 128, 16).activations == pytest.approx(2 * base.activations, rel=1e-6)
    assert estimate(4, 320, 256, 8).activations > 2 * base.activations  # softmax is quadratic


# ------------------------------------------------------------------------------------------ what the log says


@pytest.mark.parametrize(('available', 'warned'), [(None, False), (300 * MEGABYTE, False), (300 * MEGABYTE - 1, True)])
def test_warning_names_the_flags(capsys, available, warned):
    report_memory(TrainingMemory(100 * MEGABYTE, 150 * MEGABYTE, 50 * MEGABYTE), available)
    bounds, first, *more = messages(capsys.readouterr().err)
    assert bounds == 'Theoretical memory usage in training: 250.000 - 300.000 MB'
    assert first == 'memory in training: about 300 MB (program 100, parameters and optimizer 150, activations 50)'
    assert len(more) == warned
    flags = ('--batch_size', '--max_seq_len', '--gradient_accumulation_steps', '--recompute', '--precision')
    assert not warned or (more[0].startswith('only 300 MB') and all(flag in more[0] for flag in flags))


def test_a_run_logs_its_estimate(tmp_path):
    settings = {
        'init_pretraining_params': write_model(tmp_path / 'm'),
        'train_set': table(tmp_path / 't.tsv', sentences(16, 1)),
        'checkpoints': tmp_path / 'c',
        'do_val': False,
        'do_test': False,
        'epoch': 1,
        'max_steps': 1,
        'overwrite_checkpoints': True,
    }
    logs = [messages(run(**settings, recompute=on).log) for on in (False, True)]
    lines = [[line for line in log if line.startswith('memory in training: about 33')] for log in logs]
    assert [len(found) for found in lines] == [1, 1]


# ------------------------------------------------------------------------------------------ memory that runs out

RUN_OUT = """
import resource
import numpy as np
from propeller import graph
from propeller.errors import one_line_errors
from propeller.session import Session
from propeller.update import minimize

def build(x):
    hidden = x.unsqueeze(1) * graph.parameter('w', [1000], graph.truncated_normal(0.1))
    loss = graph.F.gelu(graph.F.gelu(hidden)).mean()
    if TRAINING:
        minimize(loss, lambda step: 0.1)
    return loss

session = Session(seed=1)
program = session.build([graph.Feed('x', (-1,), 'float32')], build)
session.initialize(program)
session.run(program, [np.ones(7, np.float32)], [program.outputs])
with open('/proc/self/statm') as f:
    used = int(f.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
with one_line_errors():
    session.run(program, [np.ones(100000, np.float32)], [program.outputs])
"""


@pytest.mark.parametrize(
    ('training', 'flag'), [(True, '--gradient_accumulation_steps'), (False, '--predict_batch_size')]
)
def test_exhausted_memory_is_one_line(training, flag):
    script = f'TRAINING = {training}\n{RUN_OUT}'
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith('error: memory ran out') and '--batch_size' in last and flag in last
