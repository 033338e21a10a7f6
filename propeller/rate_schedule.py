"""A learning rate by a function of the number of updates, as Paddle's optimizers take it."""

from propeller.graph import paddle


class Schedule(paddle.optimizer.lr.LRScheduler):
    """Paddle's scheduler interface over a pure function step -> rate."""

    def __init__(self, rate):
        self._rate = rate
        super().__init__(learning_rate=rate(0))

    def get_lr(self):
        return float(self._rate(self.last_epoch))

    def move_to(self, updates):
        """Stand where so many updates leave it."""
        self.last_epoch = int(updates)
        self.last_lr = self.get_lr()
