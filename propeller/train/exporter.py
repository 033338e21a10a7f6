"""Exporters: keep the best model so far as a checkpoint or as an inference model."""

import abc
import json
import math
import os
from collections.abc import Callable
from typing import Any

from propeller.data.dataset import Dataset
from propeller.errors import UserError
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.folders import whole_folder
from propeller.storage.values import read_finite
from propeller.train.checkpoint import Checkpoints
from propeller.train.state import NUMBER, checked
from propeller.types import RunMode

log = get_logger(__name__)

_BEST_FILE = 'best.json'
Results = dict[str, dict[str, float]]  # data set -> metric -> value


class Exporter(abc.ABC):
    """Base: remembers the best results in `export_dir`, also over restarts.

    Args:
        export_dir: folder.
        cmp_fn: function (old results, new results) -> whether the new ones are better; results are dicts data set name
            -> dict metric name -> value. The first evaluation always counts as better.
    """

    def __init__(self, export_dir: str, cmp_fn: Callable[[Results, Results], bool]) -> None:
        self.export_dir, self.cmp_fn = export_dir, cmp_fn
        self.best = self._remembered()

    @property
    def _best(self) -> Results | None:
        """The name under which programs of 2019 read it."""
        return self.best

    def _remembered(self):
        path = os.path.join(self.export_dir, _BEST_FILE)
        if not os.path.lexists(path):
            return None
        try:
            best = read_json_object(path, 'data set -> metric -> value', finite=False)
            for name, values in best.items():
                fields = dict.fromkeys(values, NUMBER) if isinstance(values, dict) else {}
                checked(values, fields, place=f'{name}.')
        except UserError as e:
            raise UserError(f'{e} Delete it to forget the best result.') from None
        # Nothing would ever be better than not-a-number.
        return None if _not_finite(best) else best

    def export(self, session: Any, program: Any, results: Results, gstep: int, sample: list[Any]) -> None:
        """Called after each evaluation with its program, its results, and the inputs (without label) of one batch.

        Results with a number that is not finite are never the best.

        Raises:
            UserError: a parameter is not finite.
        """
        results = {name: {k: float(v) for k, v in values.items()} for name, values in results.items()}
        fault = _not_finite(results)
        if fault:
            log.warning('[Best Exporter]: step %d is not exported: %s', gstep, fault)
            return
        if self.best is not None and not self.cmp_fn(self.best, results):
            return
        for name in program.parameters():
            read_finite(session, [name], self.export_dir)
        self.write(session, program, gstep, sample)
        self.best = results
        path = os.path.join(self.export_dir, _BEST_FILE)
        with output_file(path) as f:
            json.dump(results, f)
        log.info('[Best Exporter]: export to %s at step %d', self.export_dir, gstep)

    @abc.abstractmethod
    def write(self, session: Any, program: Any, gstep: int, sample: list[Any]) -> None:
        """Write the model."""


def _not_finite(results):
    """The first score that is no finite number, in words; None if all are. results: see `Exporter`."""
    for name, values in results.items():
        for metric, value in values.items():
            if not math.isfinite(value):
                return f'{metric} of {name} is {value}'
    return None


class BestExporter(Exporter):
    """Keeps the best model as the checkpoint `export_dir/model_{gstep}`."""

    def write(self, session: Any, program: Any, gstep: int, sample: list[Any]) -> None:
        checkpoints = Checkpoints(self.export_dir, prefix='model_', keep=1, list_file='ckpt_info')
        checkpoints.save(session, program, {'global_step': gstep})


class BestInferenceModelExporter(Exporter):
    """Exports the best model for inference to `export_dir/inference`.

    Args:
        export_dir, cmp_fn: see `Exporter`.
        model_class_or_model_fn, hparams, dataset: if all three are given, the PREDICT graph is exported, otherwise the
            graph of the evaluation. `dataset` gives the inputs, without label.
    """

    def __init__(
        self,
        export_dir: str,
        cmp_fn: Callable[[Results, Results], bool],
        model_class_or_model_fn: Any = None,
        hparams: Any = None,
        dataset: Dataset | None = None,
    ) -> None:
        super().__init__(export_dir, cmp_fn)
        self.model, self.hparams, self.dataset = model_class_or_model_fn, hparams, dataset
        self._predict_program = None

    def write(self, session: Any, program: Any, gstep: int, sample: list[Any]) -> None:
        if self.model is not None and self.dataset is not None:
            program, sample = self._predict_graph(session), list(next(iter(self.dataset)))
        program = session.portable(program)
        spec = program.outputs.inference_spec
        specs = spec if isinstance(spec, dict) else {'': spec}
        with whole_folder(os.path.join(self.export_dir, 'inference'), replace=True) as work:
            for name, one in specs.items():
                folder = os.path.join(work, name) if name else work
                os.makedirs(folder, exist_ok=True)
                session.export_inference(program, one.inputs, one.outputs, folder, sample)

    def _predict_graph(self, session):
        """Built once: parameters are shared by name, so it always sees the live ones."""
        if self._predict_program is None:
            from propeller.train.learner import Learner
            from propeller.types import RunConfig

            learner = Learner(self.model, RunConfig(model_dir=self.export_dir), self.hparams)
            self._predict_program = learner.build(session, 'eval', self.dataset, RunMode.PREDICT)
        return self._predict_program


# The name in 2019's documentation.
BestInferenceExporter = BestInferenceModelExporter
