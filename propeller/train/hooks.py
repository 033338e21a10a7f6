"""What happens around each step of the training loop."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from propeller.log import get_logger
from propeller.types import SummaryRecord

log = get_logger(__name__)
Arrays = list[np.ndarray]
T = TypeVar('T')


class RunHook:
    """Base of all hooks; every method may be left out.

    Attributes:
        state_name: the name under which a checkpoint keeps the state; None: that of the class. Two hooks of one name
            are told apart by their order.
    """

    state_name: str | None = None

    def before_train(self, program: Any) -> None:
        """Once, before the first step."""

    def before_run(self, state: Any) -> list[Any]:
        """-> list of values to fetch in this step. Best the same list always: each new one costs a compilation."""
        return []

    def after_part(self, fetched: Arrays, number: int, state: Any) -> None:
        """After each step, for each batch of this process in it, by its number, with the arrays asked for."""

    def after_run(self, fetched: Arrays, state: Any) -> None:
        """After each step, with the arrays asked for: those of the step's last batch."""

    def should_stop(self, state: Any) -> bool:
        """Asked before each step."""
        return False

    def after_train(self) -> Any:
        """Once, after the last step; the result is collected by the loop."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able dict that each checkpoint keeps; {} if there is none."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, before the first step of a training that continues.

        What the checkpoint's JSON holds may be anything: see `state.checked`.
        """


class ClockedHook(RunHook):
    """A hook that measures speeds over the steps since `restart_clock`."""

    def restart_clock(self) -> None:
        """Begin to measure anew."""
        self.clock = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since then, without that of `outside`."""
        return max(time.monotonic() - self.clock, 1e-9)

    def before_train(self, program: Any) -> None:
        self.restart_clock()

    def outside(self, work: Callable[..., T]) -> Callable[..., T]:
        """`work`, a function, such that its time does not count as training time."""

        def timed(*args: Any) -> T:
            started = time.monotonic()
            result = work(*args)
            self.clock += time.monotonic() - started
            return result

        return timed


class StopAtStepHook(RunHook):
    """Stop at a global step, or after a number of steps of this run; None for no limit."""

    def __init__(self, stop_global_step: int | None = None, stop_step: int | None = None) -> None:
        self.stop_global_step, self.stop_step = stop_global_step, stop_step

    def should_stop(self, state: Any) -> bool:
        over_global = self.stop_global_step is not None and state.gstep >= self.stop_global_step
        over_run = self.stop_step is not None and state.step >= self.stop_step
        if over_global or over_run:
            log.info('StopAtStepHook called stop')
        return over_global or over_run


class LoggingHook(RunHook):
    """Log loss, speed and summaries every `per_step` steps, once `skip_step` steps of this run are over.

    Args:
        loss: scalar value.
        per_step: log interval, in steps.
        skip_step: steps of this run without logging.
        summary_writer: `propeller.train.record.EventWriter`, or None.
        summary_record: `SummaryRecord` of (name, value) pairs; or None.
    """

    def __init__(
        self,
        loss: Any,
        per_step: int = 10,
        skip_step: int = 100,
        summary_writer: Any = None,
        summary_record: SummaryRecord | None = None,
    ) -> None:
        self.per_step, self.skip_step, self.writer = per_step, skip_step, summary_writer
        self.scalars = list(summary_record.scalar or []) if summary_record else []
        self.histograms = list(summary_record.histogram or []) if summary_record else []
        self.values = [loss, *(v for _, v in self.scalars), *(v for _, v in self.histograms)]
        self.last: tuple[int, float] | None = None

    def before_run(self, state: Any) -> list[Any]:
        return self.values

    def after_run(self, fetched: Arrays, state: Any) -> None:
        if state.step <= self.skip_step or state.gstep % self.per_step:
            return
        now, speed = time.monotonic(), -1.0
        if self.last:
            speed = (state.gstep - self.last[0]) / max(now - self.last[1], 1e-9)
        self.last = (state.gstep, now)
        loss = float(np.mean(fetched[0]))
        scalars = dict(zip((n for n, _ in self.scalars), (float(np.mean(f)) for f in fetched[1:]), strict=False))
        extra = ' '.join(f'{name}:{value:.5f}' for name, value in scalars.items())
        log.debug('step: %d\tsteps/sec: %.5f\tloss: %.5f\t%s', state.gstep, speed, loss, extra)
        if self.writer:
            for name, value in (scalars | {'loss': loss, 'global_step': speed}).items():
                self.writer.add_scalar(name, value, state.gstep)
            for (name, _), value in zip(self.histograms, fetched[1 + len(self.scalars) :], strict=True):
                self.writer.add_histogram(name, value, state.gstep)


class CheckpointSaverHook(RunHook):
    """Call `save(state)` every `per_step` global steps, once `skip_step` steps of this run are over, and at the end."""

    def __init__(
        self, save: Callable[[Any], Any], per_step: int | None = 10, skip_step: int = 0, at_end: bool = True
    ) -> None:
        self.save, self.per_step, self.skip_step, self.at_end = save, per_step, skip_step, at_end
        self.saved, self.state = None, None

    def after_run(self, fetched: Arrays, state: Any) -> None:
        self.state = state
        if state.step > self.skip_step and self.per_step and state.gstep % self.per_step == 0:
            self.save(state)
            self.saved = state.gstep

    def after_train(self) -> Any:
        if self.at_end and self.state is not None and self.saved != self.state.gstep:
            self.save(self.state)


class PeriodicEvaluationHook(RunHook):
    """Call `evaluate(gstep)` every `per_step` global steps, once `skip_step` steps of this run are over."""

    def __init__(self, evaluate: Callable[[int], Any], per_step: int, skip_step: int = 0) -> None:
        self.evaluate, self.per_step, self.skip_step = evaluate, per_step, skip_step

    def after_run(self, fetched: Arrays, state: Any) -> None:
        if state.step > self.skip_step and state.gstep % self.per_step == 0:
            self.evaluate(state.gstep)


class TqdmProgressBarHook(RunHook):
    """A progress bar on stderr; log lines are printed above it.

    Args:
        max_steps: number of global steps at 100 %; None if unknown.
        desc: text before the bar.
        loggers: names of the loggers whose lines go above the bar.
    """

    def __init__(
        self, max_steps: int | None = None, desc: str = '', loggers: Sequence[str] = ('propeller', 'ernie')
    ) -> None:
        self.max_steps, self.desc, self.loggers = max_steps, desc, loggers
        self.bar: Any = None
        self.redirect: Any = None

    def _bar_class(self):
        from tqdm import tqdm

        return tqdm

    def before_train(self, program: Any) -> None:
        import logging

        from tqdm.contrib.logging import logging_redirect_tqdm

        self.redirect = logging_redirect_tqdm([logging.getLogger(name) for name in self.loggers])
        self.redirect.__enter__()
        self.bar = self._bar_class()(total=self.max_steps, desc=self.desc, unit='step', dynamic_ncols=True)

    def after_run(self, fetched: Arrays, state: Any) -> None:
        self.bar.update(state.gstep - self.bar.n)

    def after_train(self) -> Any:
        self.bar.close()
        self.redirect.__exit__(None, None, None)


class TqdmNotebookProgressBarHook(TqdmProgressBarHook):
    """The same in a notebook."""

    def _bar_class(self):
        from tqdm.notebook import tqdm

        return tqdm
