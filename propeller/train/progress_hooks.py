"""Hooks that show how far a training is."""

from collections.abc import Callable, Sequence
from typing import Any

from propeller.train.hook import Arrays, RunHook


class TqdmProgressBarHook(RunHook):
    """A progress bar on stderr; log lines are printed above it.

    Args:
        max_steps: number of global steps at 100 %; None if unknown.
        desc: text before the bar.
        loggers: names of further loggers whose lines go above the bar, beside those of `propeller.log`.
        status: function () -> text behind the bar.
    """

    def __init__(
        self,
        max_steps: int | None = None,
        desc: str = '',
        loggers: Sequence[str] = (),
        status: Callable[[], str] = lambda: '',
    ) -> None:
        self.max_steps, self.desc, self.loggers, self.status = max_steps, desc, loggers, status
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
        self.bar.set_postfix_str(self.status(), refresh=False)
        self.bar.update(state.gstep - self.bar.n)

    def after_train(self) -> Any:
        self.bar.close()
        self.redirect.__exit__(None, None, None)


class TqdmNotebookProgressBarHook(TqdmProgressBarHook):
    """The same in a notebook."""

    def _bar_class(self):
        from tqdm.notebook import tqdm

        return tqdm
