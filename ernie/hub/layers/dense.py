"""Layers that look at each vector alone. B texts, T words, D width. Formulas: Paddle 1.6,
python/paddle/fluid/layers/nn.py and ops.py.
"""

from ernie.hub.expressions import Value, current_program
from ernie.hub.layers.common import ACTIVATIONS, activation, common_mask, record, values, whole, width
from ernie.hub.parameters import Constant, Xavier, attr_of, parameter
from propeller import graph
from propeller.errors import UsageError, UserError, one_of, quoted
from propeller.graph import F, paddle

_DROPOUTS = {'downgrade_in_infer': 'downscale_in_infer', 'upscale_in_train': 'upscale_in_train'}  # 2019's -> Paddle's


def data(name, shape, dtype='float32', lod_level=0):
    """An input of the current program, for a network without a module.

    Args:
        name: its name in `feed_list`.
        shape: list of sizes of one row; of a sequence those of a word, [1] for ids.
        dtype: `int64` or `float32`.
        lod_level: 1 for a sequence, with the mask `input_mask`.
    Returns:
        `Value`.
    """
    if dtype not in ('int64', 'float32') or lod_level not in (0, 1):
        found = f'found dtype {quoted(dtype)} and lod_level {quoted(lod_level)}'
        raise UsageError(f'data {quoted(name)}: {found}, expected int64 or float32, and 0 or 1.')
    sizes = [whole(f'data {quoted(name)}', 'shape', size) for size in shape]
    return current_program().input(name, (-1, *sizes), dtype, bool(lod_level))


def embedding(input, size, is_sparse=False, is_distributed=False, padding_idx=None, param_attr=None, dtype='float32'):
    """A row of a table for each id.

    Args:
        input: ids, a sequence (-1, 1) or a value (-1, 1).
        size: [rows of the table, width].
        is_sparse, is_distributed: of 2019; how gradients are kept, nothing that a result shows.
        padding_idx: id whose vector is 0; None for none.
        param_attr: see `attr_of`; without initializer Xavier.
    Returns:
        float32 of width `size[1]`.
    """
    values('embedding', input)
    if input.dtype != 'int64' or input.shape[-1] != 1:
        raise UserError(f'embedding: found {input}, expected ids: int64 [-1, 1], such as inputs["word_ids"].')
    rows, wide = (whole('embedding', 'size', number) for number in size)
    attr, name = attr_of(param_attr, 'embedding: param_attr'), input.program.name_of('embedding')
    if attr is None:
        raise UserError('embedding: param_attr: found False, expected a table.')
    padding = None if padding_idx is None else padding_idx % rows

    def build(building, ids):
        table = parameter(attr, f'{name}.w_0', [rows, wide], Xavier())
        found = F.embedding(ids, table)
        if padding is not None:
            found = found * (ids != padding).astype('float32').unsqueeze(-1)
        return found.squeeze(1) if not input.mask else found

    return record('embedding', [input], (-1, wide), build, mask=input.mask, name=name)


def fc(input, size, num_flatten_dims=1, param_attr=None, bias_attr=None, act=None, is_test=False, name=None):
    """act(sum of x W over the inputs + b).

    Args:
        input: a value or a list of them; each vector of a sequence is one row, as in 2019.
        size: width of the result.
        num_flatten_dims: 1, for all values here are rows of vectors.
        param_attr, bias_attr: see `attr_of`; Xavier and 0. Several inputs may have a list of `param_attr`.
        act: name of an activation.
    Returns:
        a sequence if one of the inputs is one, and then all must be.
    """
    given = list(input) if isinstance(input, list | tuple) else [input]
    values('fc', *given)
    size, function = whole('fc', 'size', size), activation('fc', act)
    if num_flatten_dims not in (1, -1):
        raise UsageError(f'fc: num_flatten_dims {quoted(num_flatten_dims)}: expected 1: values are rows of vectors.')
    mask = common_mask('fc', given)
    if any(value.mask != mask or value.dtype != 'float32' for value in given):
        raise UserError(f'fc: found {", ".join(map(str, given))}, expected float32, all sequences or none.')
    name = given[0].program.name_of('fc', name)
    attrs = param_attr if isinstance(param_attr, list | tuple) else [param_attr] * len(given)
    if len(attrs) != len(given):
        raise UserError(f'fc: found {len(attrs)} param_attr, expected {len(given)}, one for each input.')
    attrs, bias = [attr_of(attr, 'fc: param_attr') for attr in attrs], attr_of(bias_attr, 'fc: bias_attr')
    if None in attrs:
        raise UserError('fc: param_attr: found False, expected a matrix.')
    wide = [width('fc', value) for value in given]

    def build(building, *inputs):
        total = None
        for i, (x, attr) in enumerate(zip(inputs, attrs, strict=True)):
            product = paddle.matmul(x, parameter(attr, f'{name}.w_{i}', [wide[i], size], Xavier()))
            total = product if total is None else total + product
        if bias is not None:
            total = total + parameter(bias, f'{name}.b_0', [size], Constant(0.0))
        return function(total) if function else total

    return record('fc', given, (-1, size), build, mask=mask, name=name)


def concat(input, axis=0, name=None):
    """Values side by side. axis: 1 or -1, their width; 2019's 0, below each other, would be another batch."""
    given = list(values('concat', *input))
    if axis not in (1, -1):
        raise UsageError(f'concat: axis {quoted(axis)}: expected 1, the width: values are rows of vectors, '
                         'a sequence too.')  # fmt: skip
    mask = common_mask('concat', given)
    if any(value.mask != mask or value.dtype != 'float32' for value in given):
        raise UserError(f'concat: found {", ".join(map(str, given))}, expected float32, all sequences or none.')
    wide = sum(width('concat', value) for value in given)
    return record('concat', given, (-1, wide), lambda building, *x: paddle.concat(list(x), -1), mask=mask)


def dropout(x, dropout_prob, is_test=False, seed=None, name=None, dropout_implementation='downgrade_in_infer'):
    """Zeros in the place of a share of the numbers, in training.

    Args:
        x: a value.
        dropout_prob: the share.
        is_test: whether it is as in prediction everywhere.
        dropout_implementation: `downgrade_in_infer`, the default of 2019: x * mask in training, x * (1 - share) after
            it; `upscale_in_train`: x * mask / (1 - share), and x.
    """
    values('dropout', x)
    if seed:
        raise UsageError(f'dropout: found seed {seed}, expected None: random numbers are those of the run.')
    if dropout_implementation not in _DROPOUTS:
        known = one_of(dropout_implementation, _DROPOUTS)
        raise UsageError(f'dropout: dropout_implementation {quoted(dropout_implementation)}: expected {known}')
    if isinstance(dropout_prob, bool) or not isinstance(dropout_prob, int | float) or not 0 <= dropout_prob <= 1:
        raise UserError(f'dropout: dropout_prob: found {quoted(dropout_prob)}, expected a share from 0 to 1.')

    mode = _DROPOUTS[dropout_implementation]

    def build(building, values):
        return F.dropout(values, dropout_prob, training=building.training and not is_test, mode=mode)

    return record('dropout', [x], x.shape, build, mask=x.mask)


def _of_one(kind, function):
    def layer(x, name=None):
        values(kind, x)
        return record(kind, [x], x.shape, lambda building, value: function(value), mask=x.mask)

    layer.__name__ = layer.__qualname__ = kind
    layer.__doc__ = f'{kind} of each number.'
    return layer


tanh, relu, sigmoid, softsign = (_of_one(kind, ACTIVATIONS[kind]) for kind in ('tanh', 'relu', 'sigmoid', 'softsign'))
abs = _of_one('abs', lambda x: paddle.abs(x))


def leaky_relu(x, alpha=0.02, name=None):
    """x where it is above 0, else alpha x."""
    values('leaky_relu', x)
    return record('leaky_relu', [x], x.shape, lambda building, value: F.leaky_relu(value, alpha), mask=x.mask)


def softmax(input, use_cudnn=False, name=None, axis=-1):
    """Shares of 1 along the width. axis: -1 or 1."""
    values('softmax', input)
    if axis not in (-1, 1):
        raise UsageError(f'softmax: axis {quoted(axis)}: expected -1; over the words of a text: sequence_softmax.')
    return record('softmax', [input], input.shape, lambda building, value: F.softmax(value, -1), mask=input.mask)


def scale(x, scale=1.0, bias=0.0, bias_after_scale=True, act=None, name=None):
    """scale x + bias, or scale (x + bias)."""
    values('scale', x)
    function = activation('scale', act) or (lambda result: result)

    def build(building, value):
        return function(value * scale + bias if bias_after_scale else (value + bias) * scale)

    return record('scale', [x], x.shape, build, mask=x.mask)


def _of_two(kind, function):
    def layer(x, y, axis=-1, act=None, name=None):
        values(kind, x, y)
        after = activation(kind, act) or (lambda result: result)
        mask = common_mask(kind, [x, y])
        if width(kind, x) != width(kind, y) and 1 not in (x.shape[-1], y.shape[-1]):
            raise UserError(f'{kind}: found {x} and {y}, expected one width, or 1.')
        wide = max(x.shape[-1], y.shape[-1])

        def build(building, a, b):
            # A vector of a text goes with each of its words.
            a, b = (v if not mask or owner.mask else v.unsqueeze(1) for v, owner in ((a, x), (b, y)))
            return after(function(a, b))

        return record(kind, [x, y], (-1, wide), build, mask=mask)

    layer.__name__ = layer.__qualname__ = kind
    layer.__doc__ = f'{kind} of two values of one width. One of a text goes with each of its words.'
    return layer


elementwise_add = _of_two('elementwise_add', lambda a, b: a + b)
elementwise_sub = _of_two('elementwise_sub', lambda a, b: a - b)
elementwise_mul = _of_two('elementwise_mul', lambda a, b: a * b)
elementwise_div = _of_two('elementwise_div', lambda a, b: a / b)
elementwise_max = _of_two('elementwise_max', lambda a, b: paddle.maximum(a, b))


def sums(input, out=None):
    """The sum of some values of one shape."""
    given = list(values('sums', *input))
    total = given[0]
    for value in given[1:]:
        total = elementwise_add(total, value)
    return total


def apply(function, *inputs, size=None, sequence=False, dtype='float32'):
    """A function of your own, of Paddle's functions, called while a graph is built.

    Args:
        function: called with a value of Paddle for each input: ids [B, T] or [B, 1], sequences float32 [B, T, D], all
            others [B, D]. Its result is one too: [B, T, size] if `sequence`, else [B, size]. It is called once for each
            graph, and must make the same layers each time.
        inputs: recorded values. `mask(x)` gives the mask of a sequence, float32 [B, T].
        size: width of the result; None: not known, then no layer that needs it can follow.
        sequence: whether the result is a sequence with the words of its inputs.
    Returns:
        the recorded result.
    """
    given = list(values('apply', *inputs))
    if not given:
        raise UserError('apply: found no value, expected one or more beside the function.')
    if not callable(function):
        raise UserError(f'apply: found {quoted(function)}, expected a function.')
    words = common_mask('apply', given)
    if sequence and not words:
        raise UserError('apply: sequence=True: found no sequence among the inputs, expected one.')
    wide = -1 if size is None else whole('apply', 'size', size)
    axes = 3 if sequence else 2

    def build(building, *arrays):
        result = function(*arrays)
        if not graph.is_value(result) or len(result.shape) != axes or wide not in (-1, result.shape[-1]):
            found = list(result.shape) if graph.is_value(result) else quoted(result)
            expected = ['B', 'T', size or 'D'] if sequence else ['B', size or 'D']
            raise UserError(f'apply: found {found} of the function, expected {expected}.')
        return result

    return record('apply', given, (-1, wide), build, mask=words if sequence else None, dtype=dtype)


def mask(x):
    """The mask of a sequence as a value for `apply`: float32 [B, T], 1 on words and 0 on padding behind them."""
    values('mask', x)
    if not x.mask:
        raise UserError(f'mask: found {x}, expected a sequence.')
    made = Value(x.program, x.program.name_of('mask'), (-1, -1), 'float32', None, [x], lambda b, _: b.mask(x))
    return x.program.add(made)
