"""Operators of the encoder in two forms: fused C++ kernels for processors, and the same in plain Paddle.

Both have the same name, parameters and results. Which one a program gets is decided when it is built: `use`, `enabled`
(`propeller.ops.choice`). The kernels are compiled at first use (`propeller.ops.build`).
"""

from propeller.ops.attention import attention
from propeller.ops.choice import available, enabled, use
from propeller.ops.cross_entropy import softmax_cross_entropy
from propeller.ops.embedding import embedding_norm
from propeller.ops.encoder import EncoderSizes, PackedEncoder
from propeller.ops.first_attention import first_attention
from propeller.ops.linear import linear, linear_side_by_side
from propeller.ops.lstm import lstm
from propeller.ops.norm import layer_norm, residual_norm
from propeller.ops.optimizer import adamw, square_norm
from propeller.ops.random import dropout_seed
from propeller.ops.rows import trained_rows, used_rows
from propeller.ops.sublayers import Linear, Norm, feed_forward, self_attention
from propeller.ops.tokens import token_layout

__all__ = [
    'EncoderSizes',
    'Linear',
    'Norm',
    'PackedEncoder',
    'adamw',
    'attention',
    'available',
    'dropout_seed',
    'embedding_norm',
    'enabled',
    'feed_forward',
    'first_attention',
    'layer_norm',
    'linear',
    'linear_side_by_side',
    'lstm',
    'residual_norm',
    'self_attention',
    'softmax_cross_entropy',
    'square_norm',
    'token_layout',
    'trained_rows',
    'use',
    'used_rows',
]
