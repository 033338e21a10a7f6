"""The test of a compiled library: small cases against numpy in float64, forward and backward."""

import os

import numpy as np

from propeller.graph import paddle
from propeller.ops.build import Unavailable
from propeller.ops.choice import ALONE
from propeller.ops.encoder import EncoderSizes, PackedEncoder

_ROWS, _INPUTS, _OUTPUTS = 70, 33, 70


def check(kernels):
    """Raises `Unavailable` where the operators of `kernels` do not give what they should."""
    _check_products(kernels)
    _check_norms()
    _check_attention(kernels)
    _check_first_attention()
    _check_halves(kernels)
    _check_encoder(kernels)
    _check_lstm()
    rng = np.random.default_rng(3)
    _check_cross_entropy(rng)
    _check_optimizer(rng)
    _check_rows(rng)
    _check_process_sum(kernels, rng)


def _check_products(kernels):
    rng = np.random.default_rng(1)
    shapes = [(_ROWS, _INPUTS), (_INPUTS, _OUTPUTS), (_OUTPUTS,), (_ROWS, _OUTPUTS)]
    x, weight, bias, dy = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    expected = x.astype(np.float64) @ weight + bias, dy.astype(np.float64) @ weight.T, x.T.astype(np.float64) @ dy
    for precision, tolerance in {'fp32': 1e-5, 'bf16': 2e-2}.items():
        if precision == 'bf16' and not kernels.bf16:
            continue
        values = [paddle.to_tensor(array, stop_gradient=False) for array in (x, weight, bias)]
        y = paddle._C_ops._run_custom_op('propeller_linear', *values, precision, True, True, False)[0]
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, values[0].grad, values[1].grad), expected, strict=True):
            _compare(f'a product in {precision}', found, right, tolerance)


def _check_norms():
    """Norms of sums, of whose gradients the sum over a row and that of its products with the row are 0."""
    rng = np.random.default_rng(2)
    x, residual, dy = (rng.normal(size=(_ROWS, _INPUTS)).astype(np.float32) for _ in range(3))
    total = x.astype(np.float64) + residual
    deviation = total.std(-1, keepdims=True)
    normal = (total - total.mean(-1, keepdims=True)) / deviation
    slope = dy - dy.mean(-1, keepdims=True, dtype=np.float64)
    expected = normal, (slope - normal * (slope * normal).mean(-1, keepdims=True)) / deviation
    one, zero, ids = np.ones(_INPUTS, np.float32), np.zeros(_INPUTS, np.float32), np.arange(_ROWS)
    x, residual, one, zero = (paddle.to_tensor(a, stop_gradient=False) for a in (x, residual, one, zero))
    own, seed = [paddle.to_tensor(ids)] * 2, paddle.to_tensor(np.array([5]))
    cases = {
        'a residual norm': ('propeller_residual_norm', x, residual, one, zero, seed, 1e-9, 0.0, 0, True, True),
        'an embedding': ('propeller_embedding_norm_2', x, residual, one, zero, own, seed, 1e-9, 0.0, 0, [1, 1]),
    }
    for name, inputs in cases.items():
        y = paddle._C_ops._run_custom_op(*inputs)[0]
        x.clear_gradient()
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, x.grad), expected, strict=True):
            _compare(name, found, right, 1e-5)


def _check_attention(kernels):
    """One head over three rows; its tokens come packed out of a mask and are taken apart again."""
    rng = np.random.default_rng(3)
    mask = np.zeros((3, 70), np.float32)
    for row, tokens in zip(mask, (70, 33, 1), strict=True):
        row[-tokens:] = 1
    x, dy = (rng.normal(size=(3, 70, width)).astype(np.float32) * mask[..., None] for width in (36, 12))
    q, k, v = np.split(x.astype(np.float64), 3, -1)
    scores = np.where(mask[:, None] > 0, q @ k.swapaxes(1, 2) / np.sqrt(12), -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    slope = dy @ v.swapaxes(1, 2)
    ds = p * (slope - (p * slope).sum(-1, keepdims=True)) / np.sqrt(12)
    expected = (
        p @ v * mask[..., None],
        np.concatenate([ds @ k, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ dy], -1),
    )
    for precision, tolerance in {'fp32': 1e-5, 'bf16': 2e-2}.items():
        if precision == 'bf16' and not kernels.bf16:
            continue
        qkv = paddle.to_tensor(x, stop_gradient=False)
        layout = paddle._C_ops._run_custom_op('propeller_token_layout', paddle.to_tensor(mask))
        packed = paddle._C_ops._run_custom_op('propeller_take', qkv.flatten(0, 1), layout[1])[0]
        y = paddle._C_ops._run_custom_op('propeller_attention', packed, layout[0], None, 1, 0.0, 0, precision)[0]
        y = paddle._C_ops._run_custom_op('propeller_take', y, layout[2])[0]
        y.backward(paddle.to_tensor(dy))
        for found, right in zip((y, qkv.grad), expected, strict=True):
            _compare(f'attention in {precision}', found, right, tolerance)


def _check_first_attention():
    """Three heads over three rows, the first tokens' queries, without dropout."""
    rng = np.random.default_rng(5)
    heads, lengths = 3, (70, 33, 1)
    shapes = [(sum(lengths), _INPUTS), *[(_INPUTS, _INPUTS)] * 3, *[(_INPUTS,)] * 3, (len(lengths), _INPUTS)]
    *arrays, dy = (rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes)
    x, query, key, value, of_query, of_key, of_value = (array.astype(np.float64) for array in arrays)
    starts, by_head = np.cumsum([0, *lengths]), lambda a: a.reshape(-1, heads, _INPUTS // heads).swapaxes(0, 1)
    y, dqueries, dkeys, dvalues = np.zeros(dy.shape), np.zeros(dy.shape), np.zeros(x.shape), np.zeros(x.shape)
    queries, keys, values = x[starts[:-1]] @ query + of_query, x @ key + of_key, x @ value + of_value
    for row, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        q, k, v, slope = map(by_head, (queries[row], keys[start:end], values[start:end], dy[row].astype(np.float64)))
        p = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]))
        p /= p.sum(-1, keepdims=True)
        ds = p * (slope @ v.swapaxes(1, 2) - (slope * (p @ v)).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
        y[row], dqueries[row] = (p @ v).reshape(-1), (ds @ k).reshape(-1)
        for found, of_heads in ((dkeys, ds.swapaxes(1, 2) @ q), (dvalues, p.swapaxes(1, 2) @ slope)):
            found[start:end] = of_heads.swapaxes(0, 1).reshape(end - start, -1)
    dx = dkeys @ key.T + dvalues @ value.T
    dx[starts[:-1]] += dqueries @ query.T
    expected = y, dx, x[starts[:-1]].T @ dqueries, x.T @ dkeys, x.T @ dvalues
    inputs = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    places = paddle.to_tensor(starts), paddle.to_tensor(starts[:-1])
    settings = None, heads, 0.0, 0, True, True
    found = paddle._C_ops._run_custom_op('propeller_first_attention', inputs[0], *places, *inputs[1:], *settings)[0]
    found.backward(paddle.to_tensor(dy))
    for own, right in zip((found, *(value.grad for value in inputs[:4])), expected, strict=True):
        _compare('attention of first tokens', own, right, 1e-5)


def _check_halves(kernels):
    """Both halves of a layer beside the operators that they stand for, which were checked before."""
    rng, width, inner, heads = np.random.default_rng(5), 36, _OUTPUTS, 3
    sizes = [(width, width)] * 4 + [(width,)] * 4 + [(width, inner), (inner,), (inner, width)]
    arrays = [rng.normal(size=(_ROWS, width)), *(rng.normal(size=size) / 6 for size in sizes), np.ones(width)]
    values = [paddle.to_tensor(array.astype(np.float32), stop_gradient=False) for array in arrays]
    x, squares, vectors, (first, middle, second, scale) = values[0], values[1:5], values[5:9], values[9:]
    starts, seed = paddle.to_tensor(np.array([0, 1, 34, _ROWS])), paddle.to_tensor(np.array([9]))
    dy = paddle.to_tensor(rng.normal(size=(_ROWS, width)).astype(np.float32))
    norm = scale, vectors[3]

    def run(name, *inputs):
        return paddle._C_ops._run_custom_op(f'propeller_{name}', *inputs)[0]

    def attention(precision):
        settings = heads, precision, 1e-5, 0.1, 0, 0.1, 1, True, True
        return run('self_attention', x, *squares[:3], *vectors[:3], squares[3], vectors[3], *norm, starts, *[seed] * 2,
                   *settings)  # fmt: skip

    def attention_apart(precision):
        qkv = run('linear_3', x, *squares[:3], *vectors[:3], precision, True, True)
        context = run('attention', qkv, starts, seed, heads, 0.1, 0, precision)
        z = run('linear', context, squares[3], vectors[3], precision, True, True, False)
        return run('residual_norm', z, x, *norm, seed, 1e-5, 0.1, 1, True, True)

    def feed_forward(precision):
        parameters = first, middle, second, vectors[3], *norm, seed
        return run('feed_forward', x, *parameters, 'gelu', precision, 1e-5, 0.1, 1, True, True)

    def feed_forward_apart(precision):
        wide = run('linear_activation', x, first, middle, precision, True, True, False, 'gelu')
        z = run('linear', wide, second, vectors[3], precision, True, True, False)
        return run('residual_norm', z, x, *norm, seed, 1e-5, 0.1, 1, True, True)

    def with_gradients(apply, precision, leaves):
        for leaf in leaves:
            leaf.clear_gradient()
        y = apply(precision)
        y.backward(dy)
        return [y, *(leaf.grad.clone() for leaf in leaves)]

    halves = [
        ('attention and its norm', attention, attention_apart, [x, *squares, scale]),
        ('feed-forward layers and their norm', feed_forward, feed_forward_apart, [x, first, second, scale]),
    ]
    for name, whole, apart, leaves in halves:
        for precision in ('fp32', 'bf16') if kernels.bf16 else ('fp32',):
            pairs = zip(*(with_gradients(apply, precision, leaves) for apply in (whole, apart)), strict=True)
            for found, right in pairs:
                _compare(f'{name} in {precision}', found, right.numpy(), 1e-5)


def _check_encoder(kernels):
    """One layer over texts of one token, which attends to itself alone."""
    rng = np.random.default_rng(6)
    sizes, ids = EncoderSizes(1, _INPUTS, _OUTPUTS, 3, 1, 1e-9, 'relu'), np.arange(_ROWS)[:, None]
    one, zero = np.ones(_INPUTS, np.float32), np.zeros(_INPUTS, np.float32)
    shapes = [(_INPUTS, _INPUTS)] * 4 + [(_INPUTS, _OUTPUTS), (_OUTPUTS, _INPUTS)]
    q, k, v, o, wide, narrow = (rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes)
    table = rng.normal(size=(_ROWS, _INPUTS)).astype(np.float32)
    values = [table, one, zero, q, zero, k, zero, v, zero, o, zero, one, zero]
    values += [wide, np.ones(_OUTPUTS, np.float32), narrow, zero, one, zero]

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)

    x = norm(table.astype(np.float64))
    x = norm(x + x @ v @ o)
    x = norm(x + np.maximum(x @ wide + 1, 0) @ narrow)
    for precision, tolerance in {'fp32': 1e-5, 'bf16': 2e-2, 'int8': 2e-2}.items():
        if not {'fp32': True, 'bf16': kernels.bf16, 'int8': kernels.int8}[precision]:
            continue
        encoder = PackedEncoder(sizes)
        encoder.pack(values, precision, kernels.opened)
        mask, tokens = paddle.ones(ids.shape), paddle.to_tensor(ids)
        found = encoder.run(mask, [tokens])[:, 0]
        _compare(f'an encoder in {precision}', found, x, tolerance)


def _check_lstm():
    """Two steps, of which the second shows what became of the first one's state; the slope along the first input."""
    rng = np.random.default_rng(4)
    shapes = [(2, _INPUTS, 4 * _OUTPUTS), (9, 4 * _OUTPUTS), (_OUTPUTS, 9), (_INPUTS, 9), (_INPUTS, _OUTPUTS)]
    arrays = [rng.normal(size=shape).astype(np.float32) / 2 for shape in shapes]
    values = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    y = paddle._C_ops._run_custom_op('propeller_lstm', *values, 1.0, 0.5)[0]
    y[1].sum().backward()
    x, recurrent, projection, state, cell = (array.astype(np.float64) for array in arrays)

    def steps(x):
        last = [state, cell]
        for sums in x:
            u, i, f, o = np.split(sums + last[0] @ recurrent, 4, -1)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            last[1] = np.clip(f * last[1] + i * np.tanh(u), -1, 1)
            last[0] = np.clip((o * np.tanh(last[1])) @ projection, -0.5, 0.5)
        return last[0]

    way = np.zeros_like(x)
    way[0] = rng.normal(size=x.shape[1:])
    slope = (steps(x + 1e-6 * way) - steps(x - 1e-6 * way)).sum() / 2e-6
    _compare('an LSTM', y[1], steps(x), 1e-5)
    _compare('the gradient of an LSTM', (values[0].grad * paddle.to_tensor(way, 'float32')).sum(), slope, 1e-3)


def _check_cross_entropy(rng):
    logits, label = rng.normal(size=(_ROWS, _OUTPUTS)).astype(np.float32), rng.integers(0, _OUTPUTS, _ROWS)
    right = np.exp(logits.astype(np.float64))
    right /= right.sum(-1, keepdims=True)
    loss = -np.log(right[np.arange(_ROWS), label])
    right[np.arange(_ROWS), label] -= 1
    x = paddle.to_tensor(logits, stop_gradient=False)
    found, _, best = paddle._C_ops._run_custom_op('propeller_cross_entropy', x, paddle.to_tensor(label), -1)
    found.backward(paddle.ones_like(found))
    _compare('a cross entropy', found, loss)
    _compare('the gradient of a cross entropy', x.grad, right)
    _compare('the likeliest class', best, logits.argmax(-1))


def _check_optimizer(rng):
    p, g, m, v = rng.normal(size=(4, _ROWS, _INPUTS)).astype(np.float32)
    lists = [[paddle.to_tensor(array)] for array in (p, g, m, v * v, np.float32([0.9]), np.float32([0.999]))]
    numbers = [paddle.to_tensor(x) for x in (np.float32(0.1), np.float32([0.5]), np.array([False]))]
    norm = paddle._C_ops._run_custom_op('propeller_square_norm', lists[1])[0]
    paddle._C_ops._run_custom_op('propeller_adamw', *lists, *numbers, [1.0], [0.01], 0.9, 0.999, 1e-8, *ALONE)
    g = g.astype(np.float64)
    m, v = 0.9 * m + 0.1 * 0.5 * g, 0.999 * v.astype(np.float64) ** 2 + 0.001 * (0.5 * g) ** 2
    right = p - 0.1 * (0.01 * p + m / 0.1 / (np.sqrt(v / 0.001) + 1e-8))
    _compare('a norm', norm, (g * g).sum(keepdims=True).reshape([1]))
    _compare('an update', lists[0][0], right)


def _check_rows(rng):
    """Two updates of a table of which one row has a gradient: it moves, the others decay once they are paid."""
    start, gradient, ids = rng.normal(size=(_ROWS, _INPUTS)), rng.normal(size=(1, _INPUTS)), np.array([5])
    shapes = (_ROWS, _INPUTS), (_ROWS, _INPUTS), (1,), (1,), (1 + 4 + _ROWS,)
    state = [paddle.zeros(shape) for shape in shapes]
    for power, beta in zip(state[2:4], (0.9, 0.999), strict=True):
        power.fill_(beta)
    table, numbers = paddle.to_tensor(start, 'float32'), [paddle.to_tensor(np.float32([x])) for x in (0.1, 1)]
    given = paddle.to_tensor(ids), paddle.to_tensor(gradient, 'float32')
    for _ in range(2):
        settings = *numbers, paddle.to_tensor(np.array([False])), 1.0, 0.5, 0.9, 0.999, 1e-8
        paddle._C_ops._run_custom_op('propeller_adamw_rows', table, *given, *state, *settings)
    asked = paddle.to_tensor([7, 5, 7])
    found, places, rows = paddle._C_ops._run_custom_op('propeller_used_rows', table, state[-1], asked)
    paddle._C_ops._run_custom_op('propeller_pay_rows', table, state[-1])
    right = start * 0.95**2
    right[5] -= 0.1 * np.sign(gradient[0]) * (0.95 + 1)
    _compare('an update by rows', table, right)
    _compare('rows of a table', rows, right[[7, 5]])
    _compare('numbers of rows', paddle.concat([found, places]), np.array([7, 5, 0, 1, 0]))


def _compare(what, found, right, tolerance=1e-4):
    difference = np.linalg.norm(found.numpy() - right) / np.linalg.norm(right)
    if not difference < tolerance:
        raise Unavailable(f'{what} is wrong by {difference:.1e}')


def _check_process_sum(kernels, rng):
    """Of one process alone: all pieces come back."""
    values = rng.normal(size=70_001).astype(np.float32)
    file = os.memfd_create('process_sum')
    try:
        os.truncate(file, kernels.opened.propeller_ops_segment_bytes(1))
        (found,) = paddle._C_ops._run_custom_op('propeller_process_sum', paddle.to_tensor(values), file, 0, 1)
        share, numbers = paddle.to_tensor(values), paddle.to_tensor([3.0, 0.0])
        paddle._C_ops._run_custom_op('propeller_sum_own_share', [share], numbers, file, 0, 1)
    finally:
        os.close(file)
    _compare('a sum over processes', found, values, 1e-12)
    _compare('a share of a sum over processes', share, values, 1e-12)
    _compare('the norm of a sum over processes', numbers, np.array([3, np.square(values).sum(dtype=np.float64)]))
