"""How a parameter begins and is trained: `ParamAttr` and the initializers, by the names of fluid.

Paddle 1.6: python/paddle/fluid/param_attr.py and initializer.py.
"""

import math
from typing import Any

from propeller import graph
from propeller.errors import UsageError, UserError, quoted
from propeller.graph import paddle


class Initializer:
    """First values of a parameter; `make` gives Paddle's object."""

    def make(self):
        """-> an object of `paddle.nn.initializer`."""
        raise NotImplementedError


class Constant(Initializer):
    """One value everywhere."""

    def __init__(self, value=0.0, force_cpu=False):
        self.value = _number('Constant', 'value', value)

    def make(self):
        return graph.constant(self.value)


class Uniform(Initializer):
    """Uniform from `low` to `high`. seed: 0, for the random numbers are those of the session."""

    def __init__(self, low=-1.0, high=1.0, seed=0):
        self.low, self.high = _number('Uniform', 'low', low), _number('Uniform', 'high', high)
        if not self.low < self.high:
            raise UsageError(f'Uniform: found low {low} and high {high}, expected low below high.')
        _no_seed(seed)

    def make(self):
        return paddle.nn.initializer.Uniform(self.low, self.high)


class Normal(Initializer):
    """Normal of mean `loc` and deviation `scale`."""

    def __init__(self, loc=0.0, scale=1.0, seed=0):
        self.loc, self.scale = _number(type(self).__name__, 'loc', loc), _number(type(self).__name__, 'scale', scale)
        if self.scale < 0:
            raise UsageError(f'{type(self).__name__}: found scale {scale}, expected 0 or more.')
        _no_seed(seed)

    def make(self):
        return paddle.nn.initializer.Normal(self.loc, self.scale)


class TruncatedNormal(Normal):
    """The same, cut at two deviations."""

    def make(self):
        low, high = self.loc - 2 * self.scale, self.loc + 2 * self.scale
        return paddle.nn.initializer.TruncatedNormal(self.loc, self.scale, low, high)


class Xavier(Initializer):
    """Glorot, Bengio 2010: uniform within sqrt(6 / (rows + columns)), or normal; what a layer's matrix begins with."""

    def __init__(self, uniform=True, fan_in=None, fan_out=None, seed=0):
        self.uniform, self.fan_in, self.fan_out = uniform, fan_in, fan_out
        _no_seed(seed)

    def make(self):
        made = paddle.nn.initializer
        return (made.XavierUniform if self.uniform else made.XavierNormal)(self.fan_in, self.fan_out)


ConstantInitializer, UniformInitializer, NormalInitializer = Constant, Uniform, Normal
TruncatedNormalInitializer, XavierInitializer = TruncatedNormal, Xavier


class ParamAttr:
    """What is said of a parameter.

    Args:
        name: its name; None: that of its layer, as `fc_0.w_0`.
        initializer: `Initializer`; None: what its layer begins with.
        learning_rate: share of the learning rate; 30 trains it 30 times as fast. Weight decay has the same strength
            for all shares, as in PaddleHub.
        trainable: whether it is trained.
        regularizer, gradient_clip: of 2019, None: weight decay and clipping are the strategy's.
    """

    def __init__(
        self,
        name=None,
        initializer=None,
        learning_rate=1.0,
        regularizer=None,
        trainable=True,
        gradient_clip=None,
        do_model_average=False,
    ):
        if regularizer is not None or gradient_clip is not None or do_model_average:
            raise UsageError(
                'ParamAttr: regularizer, gradient_clip and do_model_average are not there for one parameter. '
                'Weight decay and clipping are those of the strategy.'
            )
        if initializer is not None and not isinstance(initializer, Initializer):
            raise UserError(
                f'ParamAttr: initializer: found {quoted(initializer)}, expected one of hub.initializer, such as '
                'hub.initializer.Uniform(low=-0.1, high=0.1).'
            )
        if name is not None and (not isinstance(name, str) or not name):
            raise UserError(f'ParamAttr: name: found {quoted(name)}, expected a text.')
        self.name, self.initializer, self.trainable = name, initializer, bool(trainable)
        self.learning_rate = _number('ParamAttr', 'learning_rate', learning_rate)
        if self.learning_rate < 0:
            raise UsageError(f'ParamAttr: learning_rate: found {learning_rate}, expected 0 or more.')


def attr_of(given: Any, what: str) -> ParamAttr | None:
    """What a layer was given as `param_attr` or `bias_attr`: None, a name, an initializer, False (no parameter: None
    is returned), or a `ParamAttr`.

    Raises:
        UserError: it is none of them.
    """
    if given is False:
        return None
    if given is None or given is True:
        return ParamAttr()
    if isinstance(given, str):
        return ParamAttr(name=given)
    if isinstance(given, Initializer):
        return ParamAttr(initializer=given)
    if isinstance(given, ParamAttr):
        return given
    raise UserError(f'{what}: found {quoted(given)}, expected hub.ParamAttr(...), a name, or False for none.')


def parameter(attr, name, shape, default):
    """Inside a build function: the parameter of a layer. name: where `attr` gives none. default: `Initializer`."""
    rules = {'frozen': lambda _: not attr.trainable, 'rate': lambda _: attr.learning_rate}
    with graph.parameter_rules(**rules):
        return graph.parameter(attr.name or name, list(shape), (attr.initializer or default).make())


def _number(what, name, value):
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f'{what}: {name}: found {quoted(value)}, expected a number.')
    return float(value)


def _no_seed(seed):
    if seed:
        raise UsageError(f'found seed {seed} of an initializer, expected 0: random numbers are those of the run.')
