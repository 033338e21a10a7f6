"""Operators of the encoder in two forms: fused C++ kernels for processors, and the same in plain Paddle.

Both have the same name, parameters and results. Which one a program gets is decided when it is built: `use`, `enabled`
(`propeller.ops.choice`). The kernels are compiled at first use (`propeller.ops.build`).
"""

from propeller.ops.choice import available, enabled, use
from propeller.ops.linear import linear
from propeller.ops.random import dropout_seed

__all__ = ['available', 'dropout_seed', 'enabled', 'linear', 'use']
