"""What tasks give back, and what they keep in a folder beside the checkpoints."""

import json
import os
from typing import Any, NamedTuple

from propeller.storage.atomic import output_file

META = 'ckpt.meta'
BEST, LOG = 'best_model', 'vdllog'
FACTS = 'hub.json'  # in each checkpoint: the task, its labels, its reader


class RunState(NamedTuple):
    """A part of a run: batches of a prediction, or the steps between two lines of a training.

    Attributes:
        run_step: steps in it; of a prediction 1.
        run_examples: rows in it.
        run_results: list of arrays, one for each output: of a text classification [the probabilities [B, classes]]. Of
            a training the mean loss and the scores.
        run_time_used: seconds.
    """

    run_step: int
    run_examples: int
    run_results: list[Any]
    run_time_used: float

    @property
    def run_speed(self) -> float:
        """Steps a second."""
        return self.run_step / max(self.run_time_used, 1e-9)


def write_meta(folder, epoch, step, newest, best):
    """`ckpt.meta`, the fields of PaddleHub's as JSON.

    Args:
        epoch: passes over the data that are done.
        step: global step of the newest checkpoint, in the folder `newest`.
        best: score of the best one; None without one.
    """
    fields = {'current_epoch': epoch, 'global_step': step, 'latest_model_dir': newest, 'best_score': best}
    with output_file(os.path.join(folder, META)) as file:
        file.write(f'{json.dumps(fields)}\n')


def facts_file(task):
    """`hub.json` of a task: bytes."""
    return f'{json.dumps(task.facts(), ensure_ascii=False, indent=1, sort_keys=True)}\n'.encode()
