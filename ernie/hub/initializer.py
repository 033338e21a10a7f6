"""First values of parameters, by the names of `fluid.initializer`."""

from ernie.hub.parameters import (
    Constant,
    ConstantInitializer,
    Initializer,
    Normal,
    NormalInitializer,
    TruncatedNormal,
    TruncatedNormalInitializer,
    Uniform,
    UniformInitializer,
    Xavier,
    XavierInitializer,
)

__all__ = [
    'Constant',
    'ConstantInitializer',
    'Initializer',
    'Normal',
    'NormalInitializer',
    'TruncatedNormal',
    'TruncatedNormalInitializer',
    'Uniform',
    'UniformInitializer',
    'Xavier',
    'XavierInitializer',
]
