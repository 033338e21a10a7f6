"""Number formats of a computation, and the loss scale that half precision needs."""

import math

from propeller.errors import UsageError
from propeller.train.state import COUNT, checked, is_number

PRECISIONS = ('fp32', 'bf16', 'fp16')
TYPE_NAMES = {'bf16': 'bfloat16', 'fp16': 'float16'}
SMALLEST_SCALE = 1.0


class LossScale:
    """The factor on the loss that keeps small gradients in the range of float16 (Micikevicius et al. 2018, section
    3.2).

    With `dynamic`, it grows after `incr_every` good updates and the one that follows, and shrinks after `decr_every`
    overflows in a row and the one that follows, never below 1: the counting of the 2019 suite.

    Args:
        initial: first scale.
        dynamic: whether it is ever changed.
        incr_every, decr_every: number of updates in a row.
        incr_ratio, decr_ratio: factors.
    Raises:
        UsageError: a value that cannot be, by the name of its flag.
    """

    def __init__(self, initial=102400.0, dynamic=True, incr_every=100, decr_every=2, incr_ratio=2.0, decr_ratio=0.8):
        self.scale, self.dynamic = float(initial), bool(dynamic)
        self.incr_every, self.decr_every = int(incr_every), int(decr_every)
        self.incr_ratio, self.decr_ratio = float(incr_ratio), float(decr_ratio)
        self.good = self.bad = 0
        for flag, value, fits, expected in (
            ('init_loss_scaling', initial, initial >= SMALLEST_SCALE and math.isfinite(initial), 'a number from 1 on'),
            ('incr_every_n_steps', incr_every, incr_every >= 0, 'a number from 0 on'),
            ('decr_every_n_nan_or_inf', decr_every, decr_every >= 0, 'a number from 0 on'),
            ('incr_ratio', incr_ratio, 1 <= incr_ratio < math.inf, 'a number from 1 on'),
            ('decr_ratio', decr_ratio, 0 < decr_ratio <= 1, 'a number above 0 and at most 1'),
        ):
            if not fits:
                raise UsageError(f'--{flag} {value}: expected {expected}.')

    def update(self, finite):
        """Take note of an update. finite: whether all of its gradients were finite."""
        if not self.dynamic:
            return
        self.good, self.bad = (self.good + 1, 0) if finite else (0, self.bad + 1)
        if self.good > self.incr_every:
            self.good = 0
            if math.isfinite(self._float32(self.scale * self.incr_ratio)):
                self.scale *= self.incr_ratio
        elif self.bad > self.decr_every:
            self.bad = 0
            self.scale = max(self.scale * self.decr_ratio, SMALLEST_SCALE)

    @staticmethod
    def _float32(value):
        return value if value <= 3.4028234663852886e38 else math.inf

    def state_dict(self):
        """JSON-able state for a checkpoint."""
        return {'scale': self.scale, 'good': self.good, 'bad': self.bad}

    def load_state_dict(self, state):
        """Take back what `state_dict` gave. Raises `UserError` for anything else."""
        scale = (lambda value: is_number(value) and SMALLEST_SCALE <= value < math.inf, 'a number from 1 on')
        checked(state, {'scale': scale, 'good': COUNT, 'bad': COUNT}, place='loss_scale.')
        self.scale, self.good, self.bad = float(state['scale']), state['good'], state['bad']
