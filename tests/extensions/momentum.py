"""An optimizer: Paddle's gradient descent with momentum."""

from propeller.graph import paddle
from propeller.optimizers import PaddleOptimizer


class Momentum(PaddleOptimizer):
    def make(self):
        return paddle.optimizer.Momentum(self.rate, momentum=0.9)
