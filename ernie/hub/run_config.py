"""`hub.RunConfig`: how long and where a task trains."""

import os
import time

from ernie.hub.log import log
from ernie.hub.strategy import DefaultStrategy
from propeller.errors import UsageError, UserError, quoted


class RunConfig:
    """Settings of a training; read-only.

    Args:
        log_interval: steps between two lines.
        eval_interval: steps between two evaluations of the dev set.
        use_pyreader: 2019's way of feeding; batches are always made ahead in a thread here.
        use_data_parallel: several processes, when a launcher (finetune_launch.py) starts them; one alone trains alone.
        save_ckpt_interval: steps between two checkpoints `step_N`; None: the best and the last.
        use_cuda: train on a GPU; where there is none, a line says so and the processor does it.
        checkpoint_dir: folder of the training; None: `ckpt_YYYYmmddHHMMSS`. In a folder that holds a training, that one
            goes on.
        num_epoch: passes over the training set.
        batch_size: rows of a batch; with a reader of `in_tokens` tokens.
        enable_memory_optim: 2019's; memory is always reused.
        strategy: None: `DefaultStrategy()`.

    Defaults are those of PaddleHub's README for v1.0; its code had `use_cuda` true.
    """

    def __init__(
        self,
        log_interval=10,
        eval_interval=100,
        use_pyreader=False,
        use_data_parallel=False,
        save_ckpt_interval=None,
        use_cuda=False,
        checkpoint_dir=None,
        num_epoch=1,
        batch_size=32,
        enable_memory_optim=True,
        strategy=None,
    ):
        numbers = {'log_interval': log_interval, 'eval_interval': eval_interval, 'num_epoch': num_epoch}
        numbers |= {'batch_size': batch_size}
        if save_ckpt_interval is not None:
            numbers['save_ckpt_interval'] = save_ckpt_interval
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f'RunConfig: {name}: found {quoted(value)}, expected a whole number from 1.')
        if checkpoint_dir is not None and (not isinstance(checkpoint_dir, str | os.PathLike) or not checkpoint_dir):
            raise UserError(f'RunConfig: checkpoint_dir: found {quoted(checkpoint_dir)}, expected a path.')
        strategy = DefaultStrategy() if strategy is None else strategy
        if not isinstance(strategy, DefaultStrategy):
            raise UserError(
                f'RunConfig: strategy: found {quoted(strategy)}, expected hub.AdamWeightDecayStrategy(...).'
            )
        folder = time.strftime('ckpt_%Y%m%d%H%M%S') if checkpoint_dir is None else os.fspath(checkpoint_dir)
        self._values = numbers | {
            'use_pyreader': bool(use_pyreader),
            'use_data_parallel': bool(use_data_parallel),
            'save_ckpt_interval': save_ckpt_interval,
            'use_cuda': bool(use_cuda),
            'checkpoint_dir': folder,
            'enable_memory_optim': bool(enable_memory_optim),
            'strategy': strategy,
        }
        log.info('Checkpoint dir: %s', folder)

    def __getattr__(self, name):
        values = self.__dict__.get('_values', {})
        if name not in values:
            raise AttributeError(f'RunConfig has no {name!r}; it has: {", ".join(values)}')
        return values[name]
