"""Layers that look at the words of a text together. B texts, T words, D width; padding never changes a result.

Formulas: Paddle 1.6, python/paddle/fluid/layers/nn.py (`sequence_*`) and operators/sequence_ops.
"""

from ernie.hub.layers.common import activation, record, sequence, spread, whole, width
from ernie.hub.parameters import Constant, Xavier, attr_of, parameter
from ernie.model.recurrent import Turn
from propeller.errors import UsageError, one_of, quoted
from propeller.graph import F, paddle

_FAR_BELOW = 1e9  # taken from a number on padding, which is then no maximum


def _count(mask):
    """Words of each text, 1 at least: [B, 1]."""
    return paddle.clip(mask.sum(-1, keepdim=True), min=1.0)


def _last(mask):
    """[B, T], 1 at the last word of each text alone."""
    behind = F.pad(mask, [0, 0, 0, 1])[:, 1:]
    return mask * (1.0 - behind)


def _largest(x, mask):
    words = x + (spread(mask, x) - 1.0) * _FAR_BELOW
    # Not `max`, whose gradient is slow: see `ernie.model.recurrent.largest_of_words`.
    return paddle.take_along_axis(words, words.argmax(1, keepdim=True), axis=1, broadcast=False).squeeze(1)


# Name -> function of x [B, T, D] and mask [B, T] -> [B, D]; of a text without words 0.
_POOLS = {
    'sum': lambda x, m: (x * spread(m, x)).sum(1),
    'average': lambda x, m: (x * spread(m, x)).sum(1) / _count(m),
    'sqrt': lambda x, m: (x * spread(m, x)).sum(1) / paddle.sqrt(_count(m)),
    'max': lambda x, m: _largest(x, m),
    'last': lambda x, m: (x * spread(_last(m), x)).sum(1),
    'first': lambda x, m: x[:, 0],
}


def sequence_pool(input, pool_type, is_test=False, pad_value=0.0):
    """One vector for each text: `sum`, `average`, `sqrt` (sum / sqrt of the number of words), `max`, `last`, `first`.

    pad_value: of a text without words.
    """
    sequence('sequence_pool', input)
    name = pool_type.lower() if isinstance(pool_type, str) else pool_type
    if name not in _POOLS:
        raise UsageError(f'sequence_pool: pool_type {quoted(pool_type)}: expected {one_of(name, _POOLS)}')

    def build(building, x):
        mask = building.mask(input)
        some = mask.max(-1, keepdim=True)  # 0 for a text without words
        return _POOLS[name](x, mask) * some + (1.0 - some) * pad_value

    return record('sequence_pool', [input], input.shape, build)


def sequence_first_step(input):
    """The first word of each text."""
    return sequence_pool(input, 'first')


def sequence_last_step(input):
    """The last word of each text."""
    return sequence_pool(input, 'last')


def sequence_softmax(input, use_cudnn=False, name=None):
    """Shares of 1 over the words of each text. input: a sequence of width 1."""
    sequence('sequence_softmax', input)

    def build(building, x):
        mask = building.mask(input)
        scores = F.softmax(x.squeeze(-1) + (mask - 1.0) * _FAR_BELOW, -1)
        return (scores * mask).unsqueeze(-1)

    if width('sequence_softmax', input) != 1:
        raise UsageError(f'sequence_softmax: found {input}, expected a sequence of width 1.')
    return record('sequence_softmax', [input], input.shape, build, mask=input.mask)


def sequence_reverse(x, name=None):
    """The words of each text in the opposite order."""
    sequence('sequence_reverse', x)
    return record('sequence_reverse', [x], x.shape, lambda b, value: Turn(b.mask(x))(value), mask=x.mask)


def sequence_conv(
    input,
    num_filters,
    filter_size=3,
    filter_stride=1,
    padding=True,
    padding_start=None,
    bias_attr=None,
    param_attr=None,
    act=None,
    name=None,
):
    """act([x at `filter_size` places side by side] W + b) for each word; before and behind a text stand zeros.

    Args:
        input: a sequence of width D.
        num_filters: width of the result.
        filter_size: words of a window.
        filter_stride: 1.
        padding: True; padding_start: where a window begins, from its word; None: -(filter_size // 2).
        param_attr, bias_attr: of W [filter_size * D, num_filters] and b; Xavier and 0.
    """
    sequence('sequence_conv', input)
    if filter_stride != 1 or padding is not True:
        raise UsageError('sequence_conv: filter_stride and padding: expected 1 and True, as Paddle 1.6 allowed.')
    size, filters = (
        whole('sequence_conv', 'filter_size', filter_size),
        whole('sequence_conv', 'num_filters', num_filters),
    )
    start = -(size // 2) if padding_start is None else padding_start
    if isinstance(start, bool) or not isinstance(start, int):
        raise UsageError(f'sequence_conv: padding_start {quoted(start)}: expected a whole number.')
    function, wide = activation('sequence_conv', act), width('sequence_conv', input)
    weight, bias = attr_of(param_attr, 'sequence_conv: param_attr'), attr_of(bias_attr, 'sequence_conv: bias_attr')
    if weight is None:
        raise UsageError('sequence_conv: param_attr: found False, expected a matrix.')
    name = input.program.name_of('sequence_conv', name)

    def build(building, x):
        x = x * spread(building.mask(input), x)
        before, behind = max(-start, 0), max(start + size - 1, 0)
        padded = F.pad(x.unsqueeze(0), [0, 0, before, behind, 0, 0], data_format='NCDHW').squeeze(0)
        length = paddle.shape(x)[1]
        places = [padded[:, start + before + i : start + before + i + length] for i in range(size)]
        matrix = parameter(weight, f'{name}.w_0', [size * wide, filters], Xavier())
        result = paddle.matmul(paddle.concat(places, -1), matrix)
        if bias is not None:
            result = result + parameter(bias, f'{name}.b_0', [filters], Constant(0.0))
        return function(result) if function else result

    return record('sequence_conv', [input], (-1, filters), build, mask=input.mask, name=name)
