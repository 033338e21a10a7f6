"""How parameters are updated: the strategies of PaddleHub."""

import math

from ernie.hub.log import log
from propeller import graph
from propeller.errors import UsageError, one_of, quoted

_SCHEDULERS = {'linear_decay': 'linear_warmup_decay', 'noam_decay': 'noam_decay'}  # PaddleHub's -> ours
_OPTIMIZERS = {'adam': 'adamw', 'sgd': 'sgd'}


def _number(what, name, value, holds, expected):
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not holds(value):
        raise UsageError(f'{what}: {name}: found {quoted(value)}, expected {expected}.')
    return float(value)


class DefaultStrategy:
    """A constant rate, without weight decay or clipping.

    Args:
        learning_rate: the rate.
        optimizer_name: `adam` or `sgd`.
    Raises:
        UsageError: a value that cannot be. (PaddleHub took Adam for a name that it did not know.)
    """

    names = tuple(_OPTIMIZERS)

    def __init__(self, learning_rate=1e-4, optimizer_name='adam'):
        what = type(self).__name__
        self.learning_rate = _number(what, 'learning_rate', learning_rate, lambda n: n > 0, 'a number above 0')
        if optimizer_name not in self.names:
            known = one_of(optimizer_name, self.names)
            raise UsageError(f'{what}: optimizer_name {quoted(optimizer_name)}: expected {known}')
        self.optimizer_name = optimizer_name

    def minimize(self, loss, steps):
        """Inside a build function: append the updates. loss: scalar value. steps: updates of the whole training."""
        from propeller.update import minimize

        minimize(loss, self.learning_rate, optimizer=_OPTIMIZERS[self.optimizer_name])

    def describe(self, steps):
        """What the rate will do, a sentence."""
        return f'learning rate: constant {self.learning_rate:g}'


class AdamWeightDecayStrategy(DefaultStrategy):
    """Adam with decoupled weight decay (Loshchilov, Hutter 2019) and gradients clipped to a global norm of 1.

    Args:
        learning_rate: the highest rate.
        lr_scheduler: `linear_decay`: up to the rate over the warm-up, then rate * (1 - step / steps), which drops at
            the end of the warm-up, as in PaddleHub; `noam_decay`: up over the warm-up, then with 1 / sqrt(step), and
            without warm-up constant.
        warmup_proportion: share of the steps for the warm-up.
        weight_decay: of all parameters but norms and biases, in units of the rate, whatever share of it they have.
        optimizer_name: `adam`.

    The steps are those of the training; PaddleHub divided them by the number of cores, and the rate was 0 too early.
    """

    names = ('adam',)

    def __init__(
        self,
        learning_rate=1e-4,
        lr_scheduler='linear_decay',
        warmup_proportion=0.1,
        weight_decay=0.01,
        optimizer_name='adam',
    ):
        super().__init__(learning_rate, optimizer_name)
        what = type(self).__name__
        if lr_scheduler not in _SCHEDULERS:
            known = one_of(lr_scheduler, _SCHEDULERS)
            raise UsageError(f'{what}: lr_scheduler {quoted(lr_scheduler)}: expected {known}')
        self.lr_scheduler = lr_scheduler
        share = (lambda n: 0 <= n <= 1, 'a share from 0 to 1')
        self.warmup_proportion = _number(what, 'warmup_proportion', warmup_proportion, *share)
        self.weight_decay = _number(what, 'weight_decay', weight_decay, lambda n: n >= 0, 'a number from 0')

    def minimize(self, loss, steps):
        from ernie.optimization import decays, learning_rate_schedule
        from propeller.update import minimize

        rates = graph.building().rates

        def share(name):
            # AdamW decays by the rate of the parameter; PaddleHub by that of the strategy.
            return decays(name) / rates[name] if rates[name] else 0.0

        if self.lr_scheduler == 'noam_decay' and not self._warmup(steps):
            log.warning('noam_decay without a warm-up is constant: give warmup_proportion')
        minimize(loss, learning_rate_schedule(*self._schedule(steps)), self.weight_decay, share, clip_norm=1.0)

    def _warmup(self, steps):
        from ernie.optimization import warmup_steps_of

        return warmup_steps_of(self.lr_scheduler, self.warmup_proportion, steps)

    def _schedule(self, steps):
        return _SCHEDULERS[self.lr_scheduler], self.learning_rate, self._warmup(steps), steps, True

    def describe(self, steps):
        from ernie.optimization import describe_schedule

        return describe_schedule(*self._schedule(steps))
