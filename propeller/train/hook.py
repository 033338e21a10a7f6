"""`RunHook`, the base of all hooks."""

from typing import Any

import numpy as np

Arrays = list[np.ndarray]


class RunHook:
    """Base of all hooks; every method may be left out.

    Attributes:
        state_name: the name under which a checkpoint keeps the state; None: that of the class. Two hooks of one name
            are told apart by their order.
    """

    state_name: str | None = None

    def before_train(self, program: Any) -> None:
        """Once, before the first step. `program` may be left out of the arguments."""

    def before_run(self, state: Any) -> list[Any]:
        """-> list of values to fetch in this step. Best the same list always: each new one costs a compilation.

        In an evaluation it is asked once, for all batches.
        """
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
