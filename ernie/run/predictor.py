"""Evaluation and prediction: rows in batches of like length, results in the order of the file."""

import math

import numpy as np

from propeller.data.batching import plan_batches
from propeller.progress import progress
from propeller.train.loop import evaluation_pass
from propeller.train.model import build_model_spec
from propeller.types import RunMode


class Predictor:
    """Runs a task's graph without dropout over rows, sharing the parameters of its session.

    Attributes:
        lost: whether a prediction was no number, or the loss not finite, since somebody set it to False.

    Args:
        session: `propeller.session.Session`.
        task: `Task`.
        batch_size, in_tokens: see `propeller.data.batching.plan_batches`.
    """

    def __init__(self, session, task, batch_size, in_tokens=False):
        self.session, self.task = session, task
        self.batch_size, self.in_tokens = batch_size, in_tokens
        self._programs = {}
        self.lost = False

    def program(self, labelled):
        """The program, built at first use: with the label as last input and the loss, or without both."""
        if labelled not in self._programs:
            mode = RunMode.EVAL if labelled else RunMode.PREDICT
            params = self.task.hparams(1, 0)

            def build(*features):
                return build_model_spec(self.task.model_class, features, mode, params, None)

            # In float32, as what is exported: scores and predictions are the same everywhere.
            self._programs[labelled] = self.session.build(self.task.feeds(labelled), build, exact=True)
        return self._programs[labelled]

    def batches(self, rows, labelled):
        """Yields (row indices, list of predictions, loss or None) per batch; batches are grouped by length.

        The processes of a job share the work; each of them gets all results.
        """
        program = self.program(labelled)
        spec = program.outputs
        plan = plan_batches(rows.lengths, self.batch_size, in_tokens=self.in_tokens, shuffle=False)
        fetch = [*spec.predictions, *([spec.loss] if labelled else [])]
        arrays_of = lambda indices: self.task.arrays(rows, indices, labelled)  # noqa: E731
        passes = evaluation_pass(self.session, program, plan, fetch, arrays_of)
        what = 'evaluating' if labelled else 'predicting'
        for indices, fetched in progress(passes, what, len(rows), count=lambda pair: len(pair[0])):
            predictions, loss = fetched[: len(spec.predictions)], float(fetched[-1]) if labelled else None
            self.lost = self.lost or not math.isfinite(loss or 0.0) or any(np.isnan(p.sum()) for p in predictions)
            yield indices, predictions, loss

    def collect(self, rows, labelled, output=-1):
        """Predictions of fixed width for all rows, in the order of the file.

        Returns:
            (float array [N, W] of prediction number `output`, mean loss per row or None).
        """
        result, total = None, 0.0
        for indices, predictions, loss in self.batches(rows, labelled):
            if result is None:
                result = np.empty((len(rows), *predictions[output].shape[1:]), predictions[output].dtype)
            result[indices] = predictions[output]
            total += (loss or 0.0) * len(indices)
        return result, total / len(rows) if labelled else None
