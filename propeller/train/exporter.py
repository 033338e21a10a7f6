"""Exporters: keep the best model so far as a checkpoint or as an inference model."""

import abc
import json
import math
import os
import re
from collections.abc import Callable
from typing import Any

from propeller.data.dataset import Dataset
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.folders import whole_folder
from propeller.storage.values import read_finite
from propeller.train.checkpoint import Checkpoints
from propeller.train.model import build_program
from propeller.train.state import NUMBER, checked
from propeller.types import InferenceSpec, RunConfig, RunMode

log = get_logger(__name__)

_BEST_FILE = 'best.json'
Results = dict[str, dict[str, float]]  # data set -> metric -> value


class Exporter(abc.ABC):
    """Base of what `train_and_eval` calls after each evaluation, in the first process of a job."""

    @abc.abstractmethod
    def export(self, exe: Any, program: Any, eval_model_spec: Any, eval_result: Results, state: Any) -> None:
        """Write what there is to write.

        Args:
            exe: `propeller.session.Session`, which reads variables and exports.
            program: `propeller.graph.Program` of the evaluation; `program.sample` is one of its batches.
            eval_model_spec: its `ModelSpec`.
            eval_result: dict data set name -> dict metric name -> number.
            state: `propeller.train.loop.LoopState`; `state.gstep` is the global step.
        """


class _Best(Exporter):
    """Writes when the results are better than the best so far, which it remembers in `export_dir`, over restarts too.

    Args:
        export_dir: folder.
        cmp_fn: function (old, new) -> whether the new results are better; both are dicts data set name -> dict metric
            name -> number. The first evaluation always counts as better.
    """

    def __init__(self, export_dir: str, cmp_fn: Callable[[Results, Results], bool]) -> None:
        self.export_dir, self.cmp_fn = export_dir, cmp_fn
        self._best: Results | None = self._remembered()
        if self._best is not None:
            log.info('[Best Exporter]: the best so far, from %s: %s', os.path.join(export_dir, _BEST_FILE), self._best)

    @property
    def best(self) -> Results | None:
        """The best results so far; None before the first evaluation."""
        return self._best

    def _remembered(self) -> Results | None:
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

    def export(self, exe: Any, program: Any, eval_model_spec: Any, eval_result: Results, state: Any) -> None:
        """Write the model if `eval_result` is the best so far. A number that is not finite is never the best.

        Raises:
            UserError: a parameter is not finite; the model cannot be exported.
        """
        results = {name: {k: float(v) for k, v in values.items()} for name, values in eval_result.items()}
        fault = _not_finite(results)
        if fault:
            log.warning('[Best Exporter]: step %d is not exported: %s', state.gstep, fault)
            return
        if self._best is not None and not self._is_better(results):
            return
        for name in program.parameters():
            read_finite(exe, [name], self.export_dir)
        self.write(exe, program, state.gstep)
        self._best = results
        with output_file(os.path.join(self.export_dir, _BEST_FILE)) as f:
            json.dump(results, f)
        log.info('[Best Exporter]: export to %s at step %d', self.export_dir, state.gstep)

    def _is_better(self, results: Results) -> bool:
        try:
            return bool(self.cmp_fn(self._best, results))  # type: ignore[arg-type]
        except KeyError as e:
            known = '; '.join(f'{name}: {", ".join(values)}' for name, values in results.items())
            raise UserError(
                f'cmp_fn of {self.export_dir}: found no {quoted(e.args[0])}, expected data sets and metrics of the '
                f'evaluation ({known}). Best so far: {quoted(self._best)}.'
            ) from e

    @abc.abstractmethod
    def write(self, session: Any, program: Any, gstep: int) -> None:
        """Write the model."""


def _not_finite(results):
    """The first score that is no finite number, in words; None if all are. results: see `Exporter`."""
    for name, values in results.items():
        for metric, value in values.items():
            if not math.isfinite(value):
                return f'{metric} of {name} is {value}'
    return None


class BestExporter(_Best):
    """Keeps the best model as the checkpoint `export_dir/model_{gstep}`. Arguments: `export_dir`, `cmp_fn`."""

    def write(self, session: Any, program: Any, gstep: int) -> None:
        checkpoints = Checkpoints(self.export_dir, prefix='model_', keep=1, list_file='ckpt_info')
        checkpoints.save(session, program, {'global_step': gstep})


class BestInferenceModelExporter(_Best):
    """Exports the best model for inference to `export_dir/inference`.

    Where the model has a dict of `InferenceSpec`, each goes to the folder `export_dir/KEY`.

    Args:
        export_dir: folder.
        cmp_fn: function (old, new) -> whether the new results are better, see `Exporter`.
        model_class_or_model_fn, hparams, dataset: if they are given, the PREDICT graph is built, once, and exported;
            otherwise it is the graph of the evaluation. `dataset` has batches of the inputs, without label.
    Raises:
        UserError: a model without a data set, or the other way round.
    """

    def __init__(
        self,
        export_dir: str,
        cmp_fn: Callable[[Results, Results], bool],
        model_class_or_model_fn: Any = None,
        hparams: Any = None,
        dataset: Dataset | None = None,
    ) -> None:
        if (model_class_or_model_fn is None) != (dataset is None):
            what = 'dataset' if dataset is None else 'model_class_or_model_fn'
            raise UserError(
                f'BestInferenceModelExporter: found no {what}, expected a model with a data set of its inputs, or '
                'neither (then the graph of the evaluation is exported).'
            )
        super().__init__(export_dir, cmp_fn)
        self.model, self.hparams, self.dataset = model_class_or_model_fn, hparams, dataset
        self._exported: tuple[Any, Any] | None = None  # the graph of the evaluation, and what is exported for it

    def write(self, session: Any, program: Any, gstep: int) -> None:
        program = self._portable(session, program)
        spec = program.outputs.inference_spec
        specs = spec if isinstance(spec, dict) else {'inference': spec}
        for name, one in specs.items():
            _check_spec(name, one)
        for name, one in specs.items():
            with whole_folder(os.path.join(self.export_dir, name), replace=True) as folder:
                session.export_inference(program, list(one.inputs), list(one.outputs), folder, program.sample)

    def _portable(self, session: Any, program: Any) -> Any:
        """The graph to export, built at the first call: it shares the live parameters by name."""
        if self._exported is None or self._exported[0] is not program:
            if self.model is None or self.dataset is None:
                graph, sample = program, program.sample
            else:
                settings = RunConfig(model_dir=self.export_dir)
                graph = build_program(
                    session, 'eval', self.dataset, RunMode.PREDICT, self.model, self.hparams, settings
                )
                sample = next(self.dataset.checked_from(), None)
            if sample is None:
                raise UserError(f'{self.export_dir}: found no batch, expected one to prove the exported model with.')
            graph = session.portable(graph)
            graph.sample = sample
            self._exported = program, graph
        return self._exported[1]


def _check_spec(name, spec):
    """Raises `UserError` for what is no `InferenceSpec`, or has a name that is none of a folder."""
    if not isinstance(spec, InferenceSpec) or not spec.inputs or not spec.outputs:
        raise UserError(
            f'inference_spec: found {quoted(spec)}, expected InferenceSpec(inputs, outputs), two lists of graph '
            'values, or a dict of them. A function that is a model gives it in its ModelSpec, in EVAL and PREDICT.'
        )
    if not isinstance(name, str) or not re.fullmatch(r'\w[\w.-]*', name) or name == _BEST_FILE:
        raise bad_input('inference_spec', f'the key {quoted(name)}', 'the name of a folder: letters, digits, _ . and -')


# The name in 2019's documentation.
BestInferenceExporter = BestInferenceModelExporter
