"""What an engine scores on a dev set, and how many rows a second it computes. Shapes: N rows, H hidden."""

import math
import statistics
import time

import numpy as np

from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.evaluation import Evaluated
from ernie.run.predictor import Predictor
from propeller.data.batching import plan_batches

BATCH_SIZE = 32


class EnginePredictor(Predictor):
    """`Predictor` whose model is an engine's: it computes no loss, which is NaN.

    Args:
        engine: `ernie.inference.engines.Engine`.
        task: `Task`.
        constants: dict, those of the export.
    """

    def __init__(self, engine, task, constants):
        super().__init__(None, task, BATCH_SIZE)
        self.engine, self.constants = engine, constants

    def batches(self, rows, labelled):
        for indices in sorted_batches(rows.lengths):
            outputs = self.engine.run(self.task.arrays(rows, indices, labelled=False))
            yield indices, self.task.predictions_of(outputs, self.constants), math.nan


class TaskScores:
    """The scores of a task on its dev set, in points: 100 is the best.

    Args:
        task: `Task`.
        constants: dict, those of the export.
        name: of the dev set, as people call it.
        rows: of the dev set, as `Task.read_scored` gives them.
    Attributes:
        measure: name of the score.
    """

    def __init__(self, task, constants, name, rows):
        self.task, self.constants, self.name, self.rows = task, constants, name, rows
        self.measure = task.measure

    def of(self, engine):
        """The score of an engine; -inf where it computes no numbers."""
        evaluated = Evaluated(*self.task.evaluate(EnginePredictor(engine, self.task, self.constants), self.rows, ''))
        score = self.task.points * self.task.main_value(evaluated.values)
        return score if math.isfinite(score) else -math.inf

    def arrays(self, indices):
        """Inputs of the model for some rows."""
        return self.task.arrays(self.rows, indices, labelled=False)


class VectorScores:
    """How near vectors are to those of a reference: 100 times the mean cosine, so that the reference has 100.

    Args:
        name: of the texts.
        rows: `TokenizedSet`.
        task_id: value of the task id input; None where the model has none.
    """

    measure = 'cosine to the fp32 vectors'

    def __init__(self, name, rows, task_id=None):
        self.name, self.rows, self.task_id, self._reference = name, rows, task_id, None

    def of(self, engine):
        """The score of an engine. The first one is the reference."""
        vectors = None
        for indices in sorted_batches(self.rows.lengths):
            (batch,) = engine.run(self.arrays(indices))
            vectors = np.empty((len(self.rows), batch.shape[1])) if vectors is None else vectors
            vectors[indices] = batch
        if self._reference is None:
            self._reference = vectors
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(self._reference, axis=1)
        cosines = (vectors * self._reference).sum(1) / np.maximum(norms, 1e-12)
        return 100 * float(cosines.mean()) if np.isfinite(vectors).all() else -math.inf

    def arrays(self, indices):
        """Inputs of the model for some rows."""
        return encoder_arrays(self.rows, indices, self.task_id)


def sorted_batches(lengths):
    """Batches of rows sorted by length, as lists of indices."""
    return plan_batches(lengths, BATCH_SIZE, window=len(lengths), shuffle=False)


def rates(engines, scores, rows=512, rounds=3):
    """Rows a second of engines that take turns: medians over rounds, after one that does not count.

    Args:
        engines: dict name -> engine.
        scores: `TaskScores` or `VectorScores`, whose rows are computed.
        rows: so many of them at most, evenly spread.
        rounds: that count.
    Returns:
        (dict name -> rows a second, rows of a round).
    """
    batches, count = batches_of(scores, rows)
    seconds = seconds_in_turns({name: (engine, batches) for name, engine in engines.items()}, rounds)
    return {name: count / taken for name, taken in seconds.items()}, count


def batches_of(scores, rows):
    """(batches of so many rows at most, sorted by length, as inputs of the model; how many rows these are)."""
    chosen = np.unique(np.linspace(0, len(scores.rows) - 1, min(len(scores.rows), rows)).astype(np.int64))
    lengths = np.asarray(scores.rows.lengths)[chosen]
    return [scores.arrays(chosen[indices]) for indices in sorted_batches(lengths)], len(chosen)


def seconds_in_turns(sides, rounds):
    """Seconds of a pass of each side, which take turns: dict name -> median over rounds, after one that does not count.

    Args:
        sides: dict name -> (engine, batches).
        rounds: that count.
    """
    seconds = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, (engine, batches) in sides.items():
            started = time.perf_counter()
            for batch in batches:
                engine.run(batch)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
