"""Schedules against the formulas of the suite; AdamW against a float64 computation written out here."""

import numpy as np
import pytest

from ernie.optimization import SCHEDULERS, decays, describe_schedule, learning_rate_schedule, optimization
from propeller import graph
from propeller.errors import UsageError
from propeller.graph import F, paddle
from propeller.session import Session

BASE = 5e-5


@pytest.mark.parametrize(('warmup', 'total'), [(1, 10), (3, 30), (7, 7), (10, 4), (123, 1231)])
def test_linear_warmup_decay(warmup, total):
    rate = learning_rate_schedule('linear_warmup_decay', BASE, warmup, total)
    steps = np.arange(total + 20, dtype=np.float64)
    expected = np.where(steps < warmup, BASE * steps / warmup, BASE * (1 - np.minimum(steps, total) / total))
    np.testing.assert_allclose([rate(int(s)) for s in steps], expected, rtol=1e-14)
    assert rate(0) == 0.0
    assert rate(max(total, warmup)) == rate(total + 1000) == 0.0


def test_the_linear_rate_drops_at_the_end_of_the_warmup():
    rate = learning_rate_schedule('linear_warmup_decay', BASE, 100, 1000)
    assert rate(99) == pytest.approx(0.99 * BASE)
    assert rate(100) == pytest.approx(0.9 * BASE)


@pytest.mark.parametrize(('warmup', 'total'), [(1, 10), (3, 30), (123, 1231)])
def test_noam_decay(warmup, total):
    rate = learning_rate_schedule('noam_decay', BASE, warmup, total)
    steps = np.arange(1, total + 20, dtype=np.float64)  # counted from 1
    d = 1 / (warmup * BASE**2)
    expected = d**-0.5 * np.minimum(steps**-0.5, steps * warmup**-1.5)
    np.testing.assert_allclose([rate(int(s) - 1) for s in steps], expected, rtol=1e-12)
    assert max(rate(s) for s in range(total)) == pytest.approx(BASE) == rate(warmup - 1)


@pytest.mark.parametrize('scheduler', SCHEDULERS)
@pytest.mark.parametrize('warmup', [0, -3])
def test_without_warmup_the_rate_is_constant(scheduler, warmup):
    rate = learning_rate_schedule(scheduler, BASE, warmup, 30)
    assert {rate(s) for s in range(100)} == {BASE}


def test_decay_without_warmup():
    rate = learning_rate_schedule('linear_warmup_decay', BASE, 0, 40, decay_without_warmup=True)
    expected = BASE * (1 - np.minimum(np.arange(60.0), 40) / 40)
    np.testing.assert_allclose([rate(s) for s in range(60)], expected, rtol=1e-14)
    same = learning_rate_schedule('linear_warmup_decay', BASE, 4, 40)
    flagged = learning_rate_schedule('linear_warmup_decay', BASE, 4, 40, decay_without_warmup=True)
    assert [same(s) for s in range(60)] == [flagged(s) for s in range(60)]
    assert learning_rate_schedule('noam_decay', BASE, 0, 40, decay_without_warmup=True)(39) == BASE


def test_constant_after_warmup():
    rate = learning_rate_schedule('constant', BASE, 5, 40)
    np.testing.assert_allclose([rate(s) for s in range(60)], BASE * np.minimum(np.arange(60.0) / 5, 1), rtol=1e-14)


@pytest.mark.parametrize(('settings', 'wrong'), [(('cosine', BASE, 1, 9), 'cosine'), (('constant', 0.0, 1, 9), '0.0')])
def test_impossible_schedules(settings, wrong):
    with pytest.raises(UsageError, match=wrong):
        learning_rate_schedule(*settings)


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (
            ('linear_warmup_decay', 2e-5, 10, 100),
            'up to 2e-05 over 10 steps, then from 1.8e-05 linearly to 0 at step 100',
        ),
        (('linear_warmup_decay', 2e-5, 0, 100, True), 'from 2e-05 linearly to 0 at step 100'),
        (
            ('linear_warmup_decay', 2e-5, 0, 100),
            'constant 2e-05: linear_warmup_decay without warm-up does not decay (--decay_without_warmup true makes it)',
        ),
        (('noam_decay', 2e-5, 10, 100), 'noam decay, peak 2e-05 at step 10'),
        (('noam_decay', 2e-5, 0, 100), 'constant 2e-05: noam_decay without warm-up does not decay'),
        (('noam_decay', 2e-5, 0, 100, True), 'constant 2e-05: noam_decay without warm-up does not decay'),
        (('constant', 2e-5, 10, 100), 'up to 2e-05 over 10 steps, then constant'),
        (('constant', 2e-5, 0, 100), 'constant 2e-05'),
        (('constant', 2e-5, 0, 100, True), 'constant 2e-05'),
    ],
)
def test_the_sentence_of_the_log(settings, sentence):
    assert describe_schedule(*settings) == f'learning rate: {sentence}'


@pytest.mark.parametrize(
    ('name', 'decayed'),
    [
        ('word_embedding', True),
        ('pos_embedding', True),
        ('sent_embedding', True),
        ('task_embedding', True),
        ('encoder_layer_0_ffn_fc_0.w_0', True),
        ('_cls_out_w', True),
        ('encoder_layer_0_ffn_fc_0.b_0', False),
        ('_cls_out_b', False),
        ('cls_seq_label_out_b', False),
        ('pre_encoder_layer_norm_scale', False),
        ('encoder_layer_11_post_att_layer_norm_bias', False),
        ('mask_lm_out_fc.b_0', False),
    ],
)
def test_what_decays(name, decayed):
    assert decays(name) is decayed


# ------------------------------------------------------------------------------------------------- AdamW

NAMES = ['a_fc.w_0', 'a_fc.b_0', 'frozen_fc.w_0', 'b_layer_norm_scale', 'head_w']
SHAPES = [(5, 4), (4,), (4, 4), (4,), (4, 3)]
START = {
    n: np.random.default_rng(i).normal(size=s).astype(np.float32)
    for i, (n, s) in enumerate(zip(NAMES, SHAPES, strict=True))
}
FROZEN, HEAD_SHARE, DECAY, STEPS = 'frozen_fc.w_0', 3.0, 0.3, 10


def batches():
    rng = np.random.default_rng(9)
    return [
        (rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(3, 3)).astype(np.float32)) for _ in range(STEPS)
    ]


def forward64(p, x):
    hidden = np.tanh(x @ p['a_fc.w_0'] + p['a_fc.b_0'])
    mixed = hidden @ p['frozen_fc.w_0']
    return hidden, mixed, (mixed * p['b_layer_norm_scale']) @ p['head_w']


def gradients64(p, x, y, scale):
    """Gradients of scale * mean((prediction - y)^2), by hand."""
    hidden, mixed, out = forward64(p, x)
    d_out = scale * 2 * (out - y) / y.size
    d_scaled = d_out @ p['head_w'].T
    d_mixed = d_scaled * p['b_layer_norm_scale']
    d_before = (d_mixed @ p[FROZEN].T) * (1 - hidden**2)
    return {
        'a_fc.w_0': x.T @ d_before,
        'a_fc.b_0': d_before.sum(0),
        'b_layer_norm_scale': (d_scaled * mixed).sum(0),
        'head_w': (mixed * p['b_layer_norm_scale']).T @ d_out,
    }


def adamw64(rate, clip_norm, scale):
    """Adam with decoupled decay (Loshchilov and Hutter 2019, algorithm 2) in float64 over all batches."""
    p = {n: v.astype(np.float64) for n, v in START.items()}
    m, v = ({n: np.zeros_like(p[n]) for n in p} for _ in range(2))
    norms = []
    for t, (x, y) in enumerate(batches(), start=1):
        g = gradients64(p, x.astype(np.float64), y.astype(np.float64), scale)
        norms.append(np.sqrt(sum((value**2).sum() for value in g.values())))
        shrink = 1 / max(1, norms[-1] / clip_norm) if clip_norm else 1
        for name in g:
            lr = rate(t - 1) * (HEAD_SHARE if name == 'head_w' else 1)
            m[name] = 0.9 * m[name] + 0.1 * shrink * g[name]
            v[name] = 0.999 * v[name] + 0.001 * (shrink * g[name]) ** 2
            step = lr * (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)
            p[name] -= step + lr * (DECAY if decays(name) else 0) * p[name]
    return p, norms


def adamw_graph(settings, clip_norm, scale):
    session = Session(seed=0)

    def build(x, y):
        with graph.parameter_rules(frozen=lambda n: n == FROZEN, rate=lambda n: HEAD_SHARE if n == 'head_w' else 1.0):
            p = {n: graph.parameter(n, s, graph.constant(0)) for n, s in zip(NAMES, SHAPES, strict=True)}
        hidden = paddle.tanh(F.linear(x, p['a_fc.w_0'], p['a_fc.b_0']))
        out = F.linear(F.linear(hidden, p[FROZEN]) * p['b_layer_norm_scale'], p['head_w'])
        loss = scale * F.mse_loss(out, y)
        optimization(loss, **settings, weight_decay=DECAY, clip_norm=clip_norm)
        return [loss]

    program = session.build([graph.Feed('x', (-1, 5), 'float32'), graph.Feed('y', (-1, 3), 'float32')], build)
    session.initialize(program)
    for name, value in START.items():
        session.write(name, value)
    for x, y in batches():
        session.step(program, [x, y], program.outputs)
    return session, program


@pytest.mark.parametrize(('clip_norm', 'scale'), [(0, 1.0), (1.0, 1.0), (0.05, 1.0), (1.0, 40.0)])
def test_adamw_equals_float64(clip_norm, scale):
    settings = {'learning_rate': 0.01, 'num_train_steps': 15, 'warmup_steps': 3}
    rate = learning_rate_schedule('linear_warmup_decay', 0.01, 3, 15)
    expected, norms = adamw64(rate, clip_norm, scale)
    assert (max(norms) > clip_norm) or not clip_norm or (clip_norm, scale) == (1.0, 1.0)
    session, program = adamw_graph(settings, clip_norm, scale)
    for name in NAMES:
        np.testing.assert_allclose(session.read(name), expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
        assert (name == FROZEN) == np.array_equal(session.read(name), START[name])
    assert sorted(program.trainable()) == sorted(set(NAMES) - {FROZEN})
    assert not any(FROZEN in name for name in program.optimizer_state())
    assert session.learning_rate(program) == pytest.approx(rate(STEPS))


def test_the_optimizer_state_has_the_names_of_2019():
    _, program = adamw_graph({'learning_rate': 0.01, 'num_train_steps': 15}, 1.0, 1.0)
    expected = {}
    for name, shape in zip(NAMES, SHAPES, strict=True):
        if name != FROZEN:
            expected |= {f'{name}_moment{i}_0': shape for i in (1, 2)}
            expected |= {f'{name}_beta{i}_pow_acc_0': (1,) for i in (1, 2)}
    assert program.optimizer_state() == expected
