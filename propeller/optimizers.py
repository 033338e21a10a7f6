"""Optimizers, and the table of them by name."""

import abc

from propeller import ops
from propeller.graph import paddle
from propeller.table import Table


class Optimizer(abc.ABC):
    """Appends the update of parameters to the program being built.

    To add one: a subclass in a file of its own, and its line in `OPTIMIZERS`. Its variables, persistable and named
    after their parameters, are saved with every checkpoint and restored from it.

    Args:
        rate: `propeller.rate_schedule.Schedule`, which Paddle's optimizers take as their learning rate.
        weight_decay: decoupled decay, in units of the learning rate.
        decays: name -> whether decay applies to that parameter.
    """

    # Whether `append` takes gradients by rows too, `propeller.ops.rows.RowGradient`.
    takes_rows = False
    # Whether it takes gradients of which each process has the sums of its share alone; then it has one more argument,
    # `segment`, and returns what the processes must have in common: see `propeller.ops.adamw`.
    takes_shares = False

    def __init__(self, rate, weight_decay=0.0, decays=lambda name: True):
        self.rate, self.weight_decay, self.decays = rate, weight_decay, decays

    @abc.abstractmethod
    def append(self, pairs, factor, skip):
        """Append the update.

        Args:
            pairs: list of (parameter, gradient), values of the same shape.
            factor: float32 value [1] that every gradient is to be multiplied with; None: they are taken as they are.
            skip: bool value [1]; where it is true nothing may change.
        """


class AdamW(Optimizer):
    """See `propeller.ops.adamw`."""

    takes_rows = takes_shares = True

    def append(self, pairs, factor, skip, segment=None):
        return ops.adamw(pairs, self.rate, self.weight_decay, self.decays, skip, factor, segment)


class PaddleOptimizer(Optimizer):
    """One of Paddle's own optimizers; a subclass says which. What must not change is copied before and taken back."""

    @abc.abstractmethod
    def make(self):
        """-> an object of `paddle.optimizer`, with `self.rate` as its learning rate."""

    def append(self, pairs, factor, skip):
        optimizer, parameters = self.make(), [p for p, _ in pairs]
        optimizer._dtype = paddle.float32  # of the learning rate; its own `backward`, which is not used, would set it
        optimizer.helper = paddle.base.layer_helper.LayerHelper(type(optimizer).__name__)
        optimizer._create_accumulators(paddle.static.default_main_program().global_block(), parameters)
        state = [value for values in optimizer._accumulators.values() for value in values.values()]
        before = [paddle.assign(value) for value in (*parameters, *state)]
        optimizer.apply_gradients([(p, g if factor is None else g * factor) for p, g in pairs])
        for value, old in zip((*parameters, *state), before, strict=True):
            paddle.assign(paddle.where(skip, old, value), output=value)


class SGD(PaddleOptimizer):
    """p <- p - lr * g."""

    def make(self):
        return paddle.optimizer.SGD(self.rate)


# Name -> subclass of `Optimizer`.
OPTIMIZERS = Table(adamw='propeller.optimizers:AdamW', sgd='propeller.optimizers:SGD')
