"""Layers of fluid over recorded values, by their names and with their defaults of 2019.

In the place of `fluid.layers`: `import ernie.hub as hub`, and `hub.layers.fc(...)`. Each layer says where its formula
stands in Paddle 1.6. What is not here is done by `apply`, with Paddle's functions of today.
"""

from ernie.hub.layers.dense import (
    abs,
    apply,
    concat,
    data,
    dropout,
    elementwise_add,
    elementwise_div,
    elementwise_max,
    elementwise_mul,
    elementwise_sub,
    embedding,
    fc,
    leaky_relu,
    mask,
    relu,
    scale,
    sigmoid,
    softmax,
    softsign,
    sums,
    tanh,
)
from ernie.hub.layers.recurrent import dynamic_gru, dynamic_lstm
from ernie.hub.layers.sequences import (
    sequence_conv,
    sequence_first_step,
    sequence_last_step,
    sequence_pool,
    sequence_reverse,
    sequence_softmax,
)

__all__ = [
    'abs',
    'apply',
    'concat',
    'data',
    'dropout',
    'dynamic_gru',
    'dynamic_lstm',
    'elementwise_add',
    'elementwise_div',
    'elementwise_max',
    'elementwise_mul',
    'elementwise_sub',
    'embedding',
    'fc',
    'leaky_relu',
    'mask',
    'relu',
    'scale',
    'sequence_conv',
    'sequence_first_step',
    'sequence_last_step',
    'sequence_pool',
    'sequence_reverse',
    'sequence_softmax',
    'sigmoid',
    'softmax',
    'softsign',
    'sums',
    'tanh',
]
