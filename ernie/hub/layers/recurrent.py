"""GRU and LSTM of fluid, over the words of each text. B texts, T words, D width.

They are not those of `paddle.nn`: in the GRU the reset gate acts on the state before the product, in the LSTM the gates
see the cell ("peepholes"). Paddle 3 has the operators of 2019 still, `gru` and `lstm`, which read of a LoDTensor where
its sequences begin. No function of Paddle makes one any more, but the operator `im2sequence` does: of [B, W, T, 1] and
windows of 1 x 1 it makes B sequences of T words. Words come first and padding behind them, so that padding changes
nothing of a word; a layer in the opposite direction gets the words of each text turned around.
"""

from ernie.hub.layers.common import record, sequence, spread, values, whole, width
from ernie.hub.parameters import Constant, Xavier, attr_of, parameter
from ernie.model.recurrent import Turn
from propeller.errors import UsageError, UserError, one_of, quoted
from propeller.graph import float32, full_precision, paddle

_GATES = ('sigmoid', 'tanh', 'relu', 'identity')


def dynamic_gru(
    input,
    size,
    param_attr=None,
    bias_attr=None,
    is_reverse=False,
    gate_activation='sigmoid',
    candidate_activation='tanh',
    h_0=None,
    origin_mode=False,
):
    """A GRU (Chung et al. 2014, arXiv:1412.3555) as in Paddle 1.6, `fluid.layers.dynamic_gru`:

    u = gate(x_u + h W_u + b_u), r = gate(x_r + h W_r + b_r), c = candidate(x_c + (r * h) W_c + b_c),
    h <- (1 - u) * h + u * c, with origin_mode (Cho et al. 2014) u * h + (1 - u) * c.

    Args:
        input: a sequence of width 3 * size: the products of the words for u, r and c, made by `fc`.
        size: width of the state.
        param_attr: of the matrix [size, 3 * size]: its first 2 * size * size numbers are [size, 2 * size] of u and r,
            the others [size, size] of c. Xavier. bias_attr: of the bias [1, 3 * size]; 0.
        is_reverse: from the last word to the first.
        h_0: first state of each text, of width `size`; None: 0.
    Returns:
        the states of all words, a sequence of width `size`.
    """
    sequence('dynamic_gru', input)
    size = _sizes('dynamic_gru', input, 3, whole('dynamic_gru', 'size', size))
    _activations('dynamic_gru', gate_activation, candidate_activation)
    first = _first('dynamic_gru: h_0', h_0, size)
    weight, bias, name = _attrs('dynamic_gru', input, 'gru', param_attr, bias_attr)

    def build(building, x, *first):
        matrix = parameter(weight, f'{name}.w_0', [size, 3 * size], Xavier())
        added = None if bias is None else parameter(bias, f'{name}.b_0', [1, 3 * size], Constant(0.0))
        settings = (candidate_activation, gate_activation, False, bool(origin_mode), False)
        run = lambda words: paddle._C_ops.gru(words, *(first or [None]), matrix, added, *settings)  # noqa: E731
        return _over_texts(building.mask(input), x, size, is_reverse, run)

    return record('gru', [input, *first], (-1, size), build, mask=input.mask, name=name)


def dynamic_lstm(
    input,
    size,
    h_0=None,
    c_0=None,
    param_attr=None,
    bias_attr=None,
    use_peepholes=True,
    is_reverse=False,
    gate_activation='sigmoid',
    cell_activation='tanh',
    candidate_activation='tanh',
    dtype='float32',
    name=None,
):
    """An LSTM with peepholes (Gers, Schmidhuber 2000) as in Paddle 1.6, `fluid.layers.dynamic_lstm`:

    i = gate(x_i + h W_i + c * p_i + b_i), f = gate(x_f + h W_f + c * p_f + b_f), g = candidate(x_g + h W_g + b_g),
    c <- f * c + i * g, o = gate(x_o + h W_o + c * p_o + b_o) with the new c, h <- o * cell(c).

    Args:
        input: a sequence of width `size`: the products of the words for g, i, f and o, made by `fc`.
        size: four times the width D of the state.
        h_0, c_0: first state and cell of each text, of width D; None: 0. One goes with the other.
        param_attr: of the matrix [D, 4 * D] of g, i, f and o. Xavier.
        bias_attr: of the bias of g, i, f and o [1, 4 * D], with peepholes [1, 7 * D]: p_i, p_f and p_o come behind; 0.
        use_peepholes: whether gates see the cell.
        is_reverse: from the last word to the first.
    Returns:
        (states h of all words, a sequence of width D; the cells, which cannot be used).
    """
    sequence('dynamic_lstm', input)
    if isinstance(size, bool) or not isinstance(size, int) or size < 4 or size % 4:
        raise UserError(f'dynamic_lstm: size: found {quoted(size)}, expected four times the width of the state.')
    half = _sizes('dynamic_lstm', input, 4, size // 4)
    _activations('dynamic_lstm', gate_activation, cell_activation, candidate_activation)
    first = [*_first('dynamic_lstm: h_0', h_0, half), *_first('dynamic_lstm: c_0', c_0, half)]
    if len(first) == 1:
        raise UsageError('dynamic_lstm: found one of h_0 and c_0, expected both or none.')
    weight, bias, name = _attrs('dynamic_lstm', input, 'lstm', param_attr, bias_attr, name)
    if bias is None:
        raise UsageError('dynamic_lstm: bias_attr: found False, expected a bias, as in Paddle 1.6.')

    def build(building, x, *first):
        # The gradient of the operator is not to be had without them.
        zeros = building.mask(input)[:, :1] * paddle.zeros([1, half])
        start = [float32(value) for value in first] or [zeros, paddle.scale(zeros, 1.0)]
        matrix = parameter(weight, f'{name}.w_0', [half, 4 * half], Xavier())
        added = parameter(bias, f'{name}.b_0', [1, (7 if use_peepholes else 4) * half], Constant(0.0))
        settings = (bool(use_peepholes), False, False, gate_activation, cell_activation, candidate_activation)
        run = lambda words: paddle._C_ops.lstm(words, *start, matrix, added, *settings)[0]  # noqa: E731
        return _over_texts(building.mask(input), x, half, is_reverse, run)

    states = record('lstm', [input, *first], (-1, half), build, mask=input.mask, name=name)
    return states, record('lstm_cells', [states], (-1, half), _no_cells, mask=input.mask)


def _no_cells(building, states):
    raise UserError(
        "dynamic_lstm: found a use of its second result, the cells: Paddle's operator has no gradient for them, and "
        'what learns through them would learn something else. Use the first result, the states.'
    )


def _sizes(where, input, gates, size):
    found = width(where, input)
    if found != gates * size:
        raise UserError(
            f'{where}: found {input}, expected a sequence of width {gates * size}: {gates} times the state, made by fc.'
        )
    return size


def _first(where, value, size):
    """[the first state] where there is one, else []."""
    if value is None:
        return []
    if values(where, value)[0].mask or value.shape != (-1, size):
        raise UserError(f'{where}: found {value}, expected a vector of width {size} for each text.')
    return [value]


def _activations(where, *names):
    for name in names:
        if name not in _GATES:
            raise UsageError(f'{where}: activation {quoted(name)}: expected {one_of(name, _GATES)}')


def _attrs(where, input, kind, param_attr, bias_attr, name=None):
    weight, bias = attr_of(param_attr, f'{where}: param_attr'), attr_of(bias_attr, f'{where}: bias_attr')
    if weight is None:
        raise UsageError(f'{where}: param_attr: found False, expected a matrix.')
    return weight, bias, input.program.name_of(kind, name)


def _over_texts(mask, x, size, is_reverse, run):
    """What an operator of 2019 gives of the words x [B, T, W]: [B, T, size], 0 on padding.

    run: function of the words as 2019 had them -> value [words, size].
    """
    with full_precision():
        turn = Turn(mask) if is_reverse else lambda words: words
        x = turn(float32(x))
        columns = x.transpose([0, 2, 1]).unsqueeze(-1)
        words = paddle._C_ops.im2sequence(columns, None, [1, 1], [1, 1], [0, 0, 0, 0], [1, 1])
        rows = run(words).reshape([paddle.shape(mask)[0], -1, size])
        # The mask comes first: the result then forgets where its sequences begin, and numpy can have it.
        rows = spread(mask, rows) * rows
        return turn(rows)
