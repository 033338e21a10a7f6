"""Hooks: work before, between and after the steps of the training loop."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from propeller.errors import UserError, quoted
from propeller.log import get_logger
from propeller.train.hook import Arrays, RunHook
from propeller.train.metrics import Metrics
from propeller.train.metrics.base import scalar_result
from propeller.train.progress_hooks import TqdmNotebookProgressBarHook, TqdmProgressBarHook
from propeller.train.state import COUNT, COUNT_OR_NONE, NUMBER_OR_NONE, checked
from propeller.types import SummaryRecord

__all__ = [
    'CheckpointSaverHook',
    'EvalHook',
    'EvaluationHook',
    'LoggingHook',
    'RunHook',
    'StopAtStepHook',
    'TqdmNotebookProgressBarHook',
    'TqdmProgressBarHook',
]

log = get_logger(__name__)


class StopAtStepHook(RunHook):
    """Stop at a global step, or after a number of steps of this run; None for no limit.

    Raises:
        UserError: a limit is no whole number of at least 0.
    """

    def __init__(self, stop_global_step: int | None = None, stop_step: int | None = None) -> None:
        self.stop_global_step = _steps('StopAtStepHook: stop_global_step', stop_global_step, 0, optional=True)
        self.stop_step = _steps('StopAtStepHook: stop_step', stop_step, 0, optional=True)

    def should_stop(self, state: Any) -> bool:
        over_global = self.stop_global_step is not None and state.gstep >= self.stop_global_step
        over_run = self.stop_step is not None and state.step >= self.stop_step
        if over_global or over_run:
            log.debug('StopAtStepHook called stop')
        return over_global or over_run


class LoggingHook(RunHook):
    """Log loss, speed and summaries every `per_step` steps, once `skip_step` steps of this run are over.

    Args:
        loss: scalar value.
        per_step: log interval, in steps.
        skip_step: steps of this run without logging.
        summary_writer: has `add_scalar(name, value, step)` and `add_histogram`, as `propeller.train.record.EventWriter`
            and the writers of tensorboardX and VisualDL; or None.
        summary_record: `SummaryRecord` of (name, value) pairs; or None. What is not finite is left out, with a warning.
    Raises:
        UserError: an interval is no whole number.
    """

    def __init__(
        self,
        loss: Any,
        per_step: int = 10,
        skip_step: int = 100,
        summary_writer: Any = None,
        summary_record: SummaryRecord | None = None,
    ) -> None:
        self.per_step = _steps('LoggingHook: per_step', per_step, 1)
        self.skip_step = _steps('LoggingHook: skip_step', skip_step, 0)
        self.writer = summary_writer
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
                self._write(self.writer.add_scalar, name, value, state.gstep)
            for (name, _), values in zip(self.histograms, fetched[1 + len(self.scalars) :], strict=True):
                self._write(self.writer.add_histogram, name, values, state.gstep)

    @staticmethod
    def _write(add: Callable[..., Any], name: str, value: Any, step: int) -> None:
        if np.isfinite(value).all():
            add(name, value, step)
        else:
            log.warning('summary %s is not finite at step %d, left out', name, step)


class CheckpointSaverHook(RunHook):
    """Save every `per_step` global steps, once `skip_step` steps of this run are over, and at the end.

    Args:
        saver: function (state), or an object with such a method `save`.
        per_step: interval in global steps; None: at the end only.
        skip_step: steps of this run without saving.
        at_end: whether to save after the last step, if it is not saved yet.
    """

    def __init__(self, saver: Any, per_step: int | None = 10, skip_step: int = 100, at_end: bool = True) -> None:
        self.save: Callable[[Any], Any] = saver if callable(saver) else saver.save
        self.per_step = _steps('CheckpointSaverHook: per_step', per_step, 1, optional=True)
        self.skip_step = _steps('CheckpointSaverHook: skip_step', skip_step, 0)
        self.at_end = at_end
        self.saved, self.state = None, None

    def after_run(self, fetched: Arrays, state: Any) -> None:
        self.state = state
        if state.step > self.skip_step and self.per_step and state.gstep % self.per_step == 0:
            self.save(state)
            self.saved = state.gstep

    def after_train(self) -> Any:
        if self.at_end and self.state is not None and self.saved != self.state.gstep:
            self.save(self.state)


class EvalHook(RunHook):
    """Feed metric objects with the batches of an evaluation; `after_train` gives a dict name -> number.

    Args:
        metrics: dict name -> metric object, see `propeller.train.metrics`.
        summary_writer: has `add_scalar(name, value, step)`: the numbers are written there too; or None.
    Raises:
        UserError: `metrics` is no such dict; later: a metric gives no number.
    """

    def __init__(self, metrics: dict[str, Metrics], summary_writer: Any = None) -> None:
        check_metrics(metrics, 'EvalHook')
        self.metrics, self.writer = dict(metrics), summary_writer
        self._result: dict[str, Any] | None = None
        self._slots: dict[str, range] = {}
        self._tensors: list[Any] = []
        self._step = 0

    @property
    def result(self) -> dict[str, Any] | None:
        """What `after_train` gave; None before."""
        return self._result

    def before_train(self, program: Any) -> None:
        self._tensors, self._slots, self._result, self._step = [], {}, None, 0
        for name, metric in self.metrics.items():
            metric.reset()
            asked = metric.tensor if isinstance(metric.tensor, list | tuple) else [metric.tensor]
            self._slots[name] = range(len(self._tensors), len(self._tensors) + len(asked))
            self._tensors.extend(asked)

    def before_run(self, state: Any) -> list[Any]:
        return self._tensors

    def after_run(self, fetched: Arrays, state: Any) -> None:
        self._step = state.gstep
        for name, metric in self.metrics.items():
            with _naming(name):
                metric.update([fetched[i] for i in self._slots[name]])

    def after_train(self) -> dict[str, Any]:
        self._result = {name: scalar_result(name, metric) for name, metric in self.metrics.items()}
        if self.writer:
            for name, value in self._result.items():
                self.writer.add_scalar(name, float(value), self._step)
        return self._result


@contextlib.contextmanager
def _naming(name):
    """Errors inside say which metric they come from."""
    try:
        yield
    except UserError as e:
        raise UserError(f'metric {name}: {str(e).removeprefix("metrics: ")}') from None


def check_metrics(metrics: Any, where: str) -> None:
    """Raises `UserError`, which begins with `where`, if `metrics` is no dict name -> metric object."""
    if not isinstance(metrics, dict):
        raise UserError(f'{where}: found {type(metrics).__name__} as metrics, expected a dict name -> metric object.')
    for name, metric in metrics.items():
        if not isinstance(metric, Metrics):
            raise UserError(
                f'{where}: found {type(metric).__name__} as the metric {quoted(name)}, expected an object of '
                'propeller.metrics.'
            )


class EvaluationHook(RunHook):
    """Evaluate on the way; tell the best result from the others; stop when none better comes.

    Args:
        evaluate: function (state, last) -> the value that chooses the best result, or None where there is none to
            choose by. last: whether this is the evaluation after the last step.
        per_step: interval in global steps.
        skip_step: steps of this run without evaluation.
        also_after: function (state) -> whether to evaluate after that step too, as at the end of an epoch.
        last_step: the global step at which training ends, as far as that is known before: it is evaluated then, and
            wherever else training ends. None: at the interval only.
        ended_early: function (), called when the last evaluation turned out to be so only afterwards (early stop).
        keep_best: whether the training keeps a checkpoint of the best result (`TrainingRun`).
        larger: whether the larger of two values is the better one.
        patience: evaluations without a better value before training stops; -1 never stops.
        measure: what the values are; a checkpoint's best by another measure is forgotten. None: not known, here or in a
            checkpoint of an earlier version; then the best stays.
        tie: function () -> the number, smaller is better, that decides between equal values of two evaluations, such as
            the loss: small dev sets often give equal scores. None of it: the first one stays.
    """

    state_name = 'evaluation'

    def __init__(
        self,
        evaluate: Callable[[Any, bool], float | None],
        per_step: int,
        skip_step: int = 0,
        *,
        also_after: Callable[[Any], bool] = lambda state: False,
        last_step: int | None = None,
        ended_early: Callable[[], None] = lambda: None,
        keep_best: bool = False,
        larger: bool = True,
        patience: int = -1,
        measure: str | None = None,
        tie: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.tie = tie
        self.best_tie: float | None = None
        self.evaluate, self.per_step, self.skip_step, self.also_after = evaluate, per_step, skip_step, also_after
        self.last_step, self.ended_early, self.last_is_named = last_step, ended_early, False
        self.keep_best, self.larger, self.patience, self.measure = keep_best, larger, patience, measure
        self.best: float | None = None
        self.best_step: int | None = None
        self.worse, self.evaluated = 0, -1
        self.last: Any = None
        self.save_best: Callable[[Any, float], None] = lambda state, value: None  # when a value is the best so far

    def after_run(self, fetched: Arrays, state: Any) -> None:
        self.last = state
        if state.step > self.skip_step and (state.gstep % self.per_step == 0 or self.also_after(state)):
            self._evaluate(state.gstep == self.last_step)

    def _evaluate(self, last):
        value = self.evaluate(self.last, last)
        self.evaluated, self.last_is_named = self.last.gstep, last
        if value is not None and self._chooses:
            self._compare(value)

    @property
    def _chooses(self):
        return self.keep_best or self.patience > 0

    def _compare(self, value):
        state = self.last
        if not np.isfinite(value):
            log.warning('step %d: the score is %s: no number to choose the best checkpoint by', state.gstep, value)
            self.worse += 1
        elif self.best is None or (value > self.best if self.larger else value < self.best):
            self._keep(value)
            self.worse = 0
        else:
            self.worse += 1
            if value == self.best and self._wins_tie():
                self._keep(value)

    def _wins_tie(self):
        tie = self.tie()
        return tie is not None and self.best_tie is not None and tie < self.best_tie

    def _keep(self, value):
        self.best, self.best_step, self.best_tie = value, self.last.gstep, self.tie()
        if self.keep_best:
            self.save_best(self.last, value)

    @property
    def out_of_patience(self) -> bool:
        """Whether training stops because no better value came."""
        return 0 < self.patience <= self.worse

    def should_stop(self, state: Any) -> bool:
        if self.out_of_patience:
            log.info('early stop: %d evaluations without a better metric than at step %s', self.worse, self.best_step)
        return self.out_of_patience

    def after_train(self) -> Any:
        # Who interrupts a training wants it to end now: the checkpoint is saved, the rest can be had from it.
        if self.last_step is None or self.last is None or self.last.interrupted:
            return
        if self.evaluated != self.last.gstep:
            self._evaluate(last=True)
        elif not self.last_is_named:
            self.ended_early()

    def state_dict(self) -> dict[str, Any]:
        if not self._chooses:
            return {}
        state: dict[str, Any] = {'best': self.best, 'best_step': self.best_step, 'worse': self.worse}
        if self.best_tie is not None:
            state['best_tie'] = self.best_tie
        return state if self.measure is None else {**state, 'measure': self.measure}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        fields = {'best': NUMBER_OR_NONE, 'best_step': COUNT_OR_NONE, 'worse': COUNT}
        checked(state, {**fields, 'best_tie': NUMBER_OR_NONE}, needed=fields, place='hooks.evaluation.')
        found = state.get('measure')
        if None not in (found, self.measure) and found != self.measure:
            log.warning('the best result by %s is forgotten: now it is the one by %s', quoted(found), self.measure)
            return
        self.measure = self.measure or found
        self.best, self.best_step, self.worse = state['best'], state['best_step'], state['worse']
        self.best_tie = state.get('best_tie')
        if self.best is not None and not np.isfinite(self.best):  # nothing would ever be better
            self.best = self.best_step = None


def _steps(what, value, least, optional=False):
    """`value` if it is a number of steps, or None where that is allowed; else a `UserError`."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f'{what}: found {quoted(value)}, expected a whole number of at least {least}.')
    return int(value)
