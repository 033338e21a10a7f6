"""The layers of `ernie.hub` beside float64 numpy, text by text and without padding."""

import numpy as np
import pytest

import ernie.hub as hub
from ernie.hub.expressions import Building, Program
from propeller.errors import UsageError, UserError
from propeller.graph import Feed, paddle
from propeller.session import Session
from propeller.update import minimize

LENGTHS, WIDTH, WORDS, HIDDEN = (5, 1, 3), 4, 9, 3
NORMAL = hub.initializer.Normal(scale=0.7)
ATTRS = {'param_attr': hub.ParamAttr(initializer=NORMAL), 'bias_attr': hub.ParamAttr(initializer=NORMAL)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(x, w, b, origin=False, h=0.0):
    """States of one text, x [T, 3 D]."""
    size = x.shape[1] // 3
    gates, candidate = np.split(w.ravel(), [2 * size * size])
    gates, candidate = gates.reshape(size, 2 * size), candidate.reshape(size, size)
    h, states = np.zeros(size) + h, []
    for row in x + b:
        u, r = np.split(sigmoid(row[: 2 * size] + h @ gates), 2)
        c = np.tanh(row[2 * size :] + (r * h) @ candidate)
        h = u * h + (1 - u) * c if origin else (1 - u) * h + u * c
        states.append(h)
    return np.array(states)


def lstm(x, w, b, peepholes=True, h=0.0, c=0.0):
    """States of one text, x [T, 4 D]."""
    size = x.shape[1] // 4
    pi, pf, po = np.split(b.ravel()[4 * size :], 3) if peepholes else np.zeros((3, size))
    h, c, states = np.zeros(size) + h, np.zeros(size) + c, []
    for row in x + b.ravel()[: 4 * size]:
        g, i, f, o = np.split(row + h @ w, 4)
        c = sigmoid(f + c * pf) * c + sigmoid(i + c * pi) * np.tanh(g)
        h = sigmoid(o + c * po) * np.tanh(c)
        states.append(h)
    return np.array(states)


def conv(x, w, b, size, start):
    zeros = np.zeros((10, x.shape[1]))
    padded = np.concatenate([zeros, x, zeros])
    rows = [padded[10 + t + start : 10 + t + start + size].ravel() for t in range(len(x))]
    return np.array(rows) @ w + b


def backward(function):
    """The same from the last word to the first."""
    return lambda x, *args: function(x[::-1], *args)[::-1]


def shares(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


class Run:
    """All values of a program at once, over a ragged batch with garbage in the padding."""

    def __init__(self, program, outputs, arrays, training=False, extra=0):
        names = program.feeds(*outputs)
        feeds = [Feed(name, *program.feed(name)) for name in names]

        def build(*given):
            return Building(dict(zip(names, given, strict=True)), training).values(*outputs)

        self.session = Session(seed=7)
        self.program = self.session.build(feeds, build)
        self.session.initialize(self.program)
        self.arrays = [arrays[name] for name in names]

    def __call__(self):
        return self.session.run(self.program, self.arrays, list(self.program.outputs))

    def read(self, name):
        return self.session.read(name).astype(np.float64)


def ragged():
    rng = np.random.default_rng(3)
    mask = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.float32)
    ids = rng.integers(WORDS, size=mask.shape)
    x = np.where(mask[..., None] > 0, rng.standard_normal((*mask.shape, WIDTH)), 1e3).astype(np.float32)
    return {'input_mask': mask, 'word_ids': ids, 'x': x, 'v': rng.standard_normal((3, WIDTH)).astype(np.float32)}


def texts(array):
    return [row[:length] for row, length in zip(array, LENGTHS, strict=True)]


def test_each_layer_gives_what_numpy_does_of_each_text_alone():
    program, arrays, L = Program(), ragged(), hub.layers
    with hub.program_guard(program):
        ids = L.data('word_ids', [1], 'int64', lod_level=1)
        x, v = L.data('x', [WIDTH], lod_level=1), L.data('v', [WIDTH])
    table = L.embedding(ids, [WORDS, 3], param_attr=hub.ParamAttr(initializer=NORMAL))
    three, four = L.fc(x, 3 * HIDDEN, **ATTRS), L.fc(x, 4 * HIDDEN, **ATTRS)
    states, _ = L.dynamic_lstm(four, 4 * HIDDEN, **ATTRS)
    back, _ = L.dynamic_lstm(four, 4 * HIDDEN, is_reverse=True, use_peepholes=False, **ATTRS)
    start = L.fc(v, HIDDEN)
    says = {
        'embedding': (table, lambda i, read: read('embedding_0.w_0')[texts(arrays['word_ids'])[i]]),
        'padding': (L.embedding(ids, [WORDS, 2], padding_idx=4), lambda i, read: (
            read('embedding_1.w_0')[texts(arrays['word_ids'])[i]] * (texts(arrays['word_ids'])[i] != 4)[:, None])),
        'concat': (L.concat([table, x], axis=1), lambda i, read: np.concatenate(
            [read('embedding_0.w_0')[texts(arrays['word_ids'])[i]], X[i]], 1)),
        'fc': (three, lambda i, read: X[i] @ read('fc_0.w_0') + read('fc_0.b_0')),
        'gru': (L.dynamic_gru(three, HIDDEN, **ATTRS), lambda i, read: gru(first(i, read), *wb('gru_0', read))),
        'gru back': (L.dynamic_gru(three, HIDDEN, is_reverse=True, origin_mode=True, **ATTRS),
                     lambda i, read: backward(gru)(first(i, read), *wb('gru_1', read), True)),
        'gru without bias': (L.dynamic_gru(three, HIDDEN, bias_attr=False),
                             lambda i, read: gru(first(i, read), read('gru_2.w_0'), 0.0)),
        'gru from': (L.dynamic_gru(three, HIDDEN, h_0=start),
                     lambda i, read: gru(first(i, read), *wb('gru_3', read), h=begin(i, read))),
        'lstm from': (L.dynamic_lstm(four, 4 * HIDDEN, h_0=start, c_0=L.scale(start, 2.0))[0],
                      lambda i, read: lstm(second(i, read), *wb('lstm_2', read), True, begin(i, read),
                                           2 * begin(i, read))),
        'lstm': (states, lambda i, read: lstm(second(i, read), *wb('lstm_0', read))),
        'lstm back': (back, lambda i, read: lstm(second(i, read)[::-1], *wb('lstm_1', read), False)[::-1]),
        'conv': (L.sequence_conv(x, 2, 3, act='tanh', **ATTRS),
                 lambda i, read: np.tanh(conv(X[i], *wb('sequence_conv_0', read), 3, -1))),
        'conv 4': (L.sequence_conv(x, 2, 4), lambda i, read: conv(X[i], *wb('sequence_conv_1', read), 4, -2)),
        'conv ahead': (L.sequence_conv(x, 2, 2, padding_start=1),
                       lambda i, read: conv(X[i], *wb('sequence_conv_2', read), 2, 1)),
        'conv behind': (L.sequence_conv(x, 2, 2, padding_start=-4),
                        lambda i, read: conv(X[i], *wb('sequence_conv_3', read), 2, -4)),
        'reverse': (L.sequence_reverse(x), lambda i, read: X[i][::-1]),
        'softmax': (L.softmax(x), lambda i, read: shares(X[i])),
        'sequence_softmax': (L.sequence_softmax(L.fc(x, 1, bias_attr=False, param_attr='one')),
                             lambda i, read: shares((X[i] @ read('one')).T).T),
        'add': (L.elementwise_add(x, v), lambda i, read: X[i] + arrays['v'][i]),
        'scale': (L.scale(L.relu(x), 2.0, 1.0, bias_after_scale=False), lambda i, read: 2 * (np.maximum(X[i], 0) + 1)),
        'sum': (L.sequence_pool(x, 'SUM'), lambda i, read: X[i].sum(0)),
        'average': (L.sequence_pool(x, 'average'), lambda i, read: X[i].mean(0)),
        'sqrt': (L.sequence_pool(x, 'sqrt'), lambda i, read: X[i].sum(0) / len(X[i]) ** 0.5),
        'max': (L.sequence_pool(x, 'max'), lambda i, read: X[i].max(0)),
        'first': (L.sequence_first_step(x), lambda i, read: X[i][0]),
        'last': (L.sequence_last_step(x), lambda i, read: X[i][-1]),
        'of two': (L.fc([v, L.sequence_pool(x, 'last')], 2, act='sigmoid'), lambda i, read: sigmoid(
            arrays['v'][i] @ read('fc_4.w_0') + X[i][-1] @ read('fc_4.w_1') + read('fc_4.b_0'))),
        'dropout': (L.dropout(x, 0.25), lambda i, read: X[i] * 0.75),
        'dropout up': (L.dropout(x, 0.25, dropout_implementation='upscale_in_train'), lambda i, read: X[i]),
        'apply': (L.apply(lambda a, m: (a * m.unsqueeze(-1)).sum(1), x, L.mask(x), size=WIDTH),
                  lambda i, read: X[i].sum(0)),
    }  # fmt: skip
    X = [row.astype(np.float64) for row in texts(arrays['x'])]
    run = Run(program, [value for value, _ in says.values()], arrays)
    wb = lambda name, read: (read(f'{name}.w_0'), read(f'{name}.b_0'))  # noqa: E731
    first = lambda i, read: X[i] @ read('fc_0.w_0') + read('fc_0.b_0')  # noqa: E731
    second = lambda i, read: X[i] @ read('fc_1.w_0') + read('fc_1.b_0')  # noqa: E731
    begin = lambda i, read: arrays['v'][i] @ read('fc_2.w_0')  # noqa: E731
    for (what, (value, expected)), found in zip(says.items(), run(), strict=True):
        assert value.shape[-1] in (found.shape[-1], -1), what
        rows = texts(found) if value.lod_level else found
        for i, row in enumerate(rows):
            np.testing.assert_allclose(row, expected(i, run.read), atol=2e-5, err_msg=f'{what}, text {i}')


@pytest.mark.parametrize('net', ['bow_net', 'cnn_net', 'gru_net', 'lstm_net', 'bilstm_net'])
def test_a_net_gives_a_text_the_same_vector_whatever_stands_in_its_batch(net):
    program, arrays = Program(), ragged()
    with hub.program_guard(program):
        x = hub.layers.data('x', [WIDTH], lod_level=1)
    feature = getattr(hub.nets, net)(program, x, hid_dim=6, hid_dim2=5)
    run = Run(program, [feature], arrays)
    (together,) = run()
    for i, length in enumerate(LENGTHS):
        run.arrays = [arrays[name][i : i + 1, :length] for name in program.feeds(feature)]
        np.testing.assert_allclose(run()[0][0], together[i], atol=1e-5)
    assert feature.shape == (-1, 5)
    assert np.ptp(together, axis=0).min() > 1e-4


def test_the_recurrent_layers_have_the_gradients_of_their_formulas():
    program, arrays = Program(), ragged()
    with hub.program_guard(program):
        x = hub.layers.data('x', [WIDTH], lod_level=1)
    h = hub.layers.dynamic_gru(hub.layers.fc(x, 3 * HIDDEN), HIDDEN, is_reverse=True, **ATTRS)
    h, _ = hub.layers.dynamic_lstm(hub.layers.fc(h, 4 * HIDDEN), 4 * HIDDEN, **ATTRS)
    names = program.feeds(h)

    def build(*given):
        (states,) = Building(dict(zip(names, given, strict=True)), True).values(h)
        loss = (states + states**2).sum()
        minimize(loss, 1.0, optimizer='sgd')
        return loss

    session = Session(seed=3)
    trained = session.build([Feed(name, *program.feed(name)) for name in names], build)
    session.initialize(trained)
    before = {name: session.read(name).astype(np.float64) for name in trained.parameters()}
    (loss,) = session.run(trained, [arrays[name] for name in names], [trained.outputs])

    def value(p):
        total = 0.0
        for row in texts(arrays['x'].astype(np.float64)):
            states = backward(gru)(row @ p['fc_0.w_0'] + p['fc_0.b_0'], p['gru_0.w_0'], p['gru_0.b_0'])
            states = lstm(states @ p['fc_1.w_0'] + p['fc_1.b_0'], p['lstm_0.w_0'], p['lstm_0.b_0'])
            total += (states + states**2).sum()
        return total

    assert loss == pytest.approx(value(before), rel=1e-5)
    for name, array in before.items():
        found = array - session.read(name)
        direction = np.random.default_rng(1).standard_normal(array.shape)
        up, down = (value({**before, name: array + step * direction}) for step in (1e-5, -1e-5))
        assert (found * direction).sum() == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-5), name


def test_dropout_acts_in_training_only_and_a_share_of_the_rate_is_kept():
    program, arrays = Program(), ragged()
    with hub.program_guard(program):
        ids = hub.layers.data('word_ids', [1], 'int64', lod_level=1)
    attr = hub.ParamAttr(learning_rate=30, initializer=hub.initializer.Uniform(low=-0.1, high=0.1))
    table = hub.layers.embedding(input=ids, size=[WORDS, 50], param_attr=attr)
    run = Run(program, [hub.layers.dropout(table, 0.5), table], arrays, training=True)
    dropped, kept = run()
    assert 0.3 < (dropped == 0).mean() < 0.7
    assert np.array_equal(dropped, np.where(dropped == 0, 0, kept))
    assert run.program.rates == {'embedding_0.w_0': 30.0}
    assert 0.08 < np.abs(kept).max() <= 0.1


def test_what_cannot_be_is_said_when_it_is_typed():
    program = Program()
    with hub.program_guard(program):
        ids, v = hub.layers.data('word_ids', [1], 'int64', lod_level=1), hub.layers.data('v', [WIDTH])
        other = program.input('others', (-1, WIDTH), 'float32', sequence=True, mask='others_mask')
    x = hub.layers.embedding(ids, [WORDS, 6])
    for wrong, error, said in [
        (lambda: hub.layers.embedding(v, [3, 4]), UserError, 'expected ids'),
        (lambda: hub.layers.sequence_pool(v, 'max'), UserError, 'expected a sequence'),
        (lambda: hub.layers.sequence_pool(x, 'maxx'), UsageError, 'Did you mean max?'),
        (lambda: hub.layers.concat([x, v], axis=1), UserError, 'all sequences or none'),
        (lambda: hub.layers.concat([x, other], axis=1), UserError, 'others_mask'),
        (lambda: hub.layers.concat([x, x]), UsageError, 'axis 0: expected 1'),
        (lambda: hub.layers.dynamic_gru(x, 3), UserError, 'width 9'),
        (lambda: hub.layers.fc(x, 5, act='tanhh'), UsageError, 'Did you mean tanh?'),
        (lambda: hub.layers.fc([1.0], 5), UserError, 'expected a value'),
        (lambda: hub.layers.fc(x, 5, param_attr=0.1), UserError, 'hub.ParamAttr'),
        (lambda: hub.ParamAttr(initializer='uniform'), UserError, 'hub.initializer'),
        (lambda: hub.ParamAttr(regularizer=1), UsageError, 'strategy'),
        (lambda: hub.initializer.Uniform(1, -1), UsageError, 'low below high'),
        (lambda: bool(x), UserError, 'none yet'),
        (lambda: hub.layers.apply(3, x), UserError, 'expected a function'),
        (lambda: hub.switch_main_program(None), UserError, 'module.context'),
        (lambda: hub.layers.fc(hub.layers.apply(paddle.abs, v), 3), UserError, 'size=WIDTH'),
    ]:  # fmt: skip
        with pytest.raises(error, match=said.replace('(', r'\(').replace('?', r'\?')):
            wrong()
    cells = hub.layers.dynamic_lstm(hub.layers.fc(x, 8), 8)[1]
    with pytest.raises(UserError, match='no gradient'):
        Run(program, [cells], ragged())
    wrong = hub.layers.apply(lambda a: a.sum(), v)
    with pytest.raises(UserError, match=r'found \[\] of the function, expected \[.B., .D.\]'):
        Run(program, [wrong], ragged())
