"""`Learner` and `train_and_eval`: a model, a data set and a `RunConfig` become a training run."""

import contextlib
import itertools
import os
from typing import NamedTuple

import numpy as np

from propeller import summary
from propeller.data.dataset import Dataset
from propeller.distribution import join, log_in_main_process_only
from propeller.errors import UserError
from propeller.graph import Feed, cuda_devices
from propeller.log import get_logger
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.train.checkpoint import (
    BEST,
    Checkpoints,
    read_state,
    restore_parameters,
    restore_variables,
)
from propeller.train.hooks import EvaluationHook, LoggingHook, StopAtStepHook
from propeller.train.loop import evaluation_pass, run_metrics
from propeller.train.model import build_model_spec
from propeller.train.precision import LossScale
from propeller.train.record import EventWriter
from propeller.train.run import TrainingRun
from propeller.train.run_folder import RunFolder, run_in
from propeller.train.sharding import shard_batches
from propeller.train.state import COUNT, checked
from propeller.types import RunMode

log = get_logger(__name__)

LIST_FILE = 'ckpt_info'
DEFAULT_MAX_CKPT = 10


class Variable(NamedTuple):
    """What `WarmStartSetting.predicate_fn` is asked about: a parameter."""

    name: str
    shape: tuple


class Learner:
    """Trains, evaluates and predicts with one model.

    Args:
        model_class_or_model_fn: see `propeller.train.model.build_model_spec`.
        run_config: `RunConfig`; `model_dir` is needed.
        params: handed to the model as `config`.
        warm_start_setting: `WarmStartSetting` or None.
        use_cuda: run on GPU; None: if there is one.
        seed: of initial values and dropout; None draws one.
    Raises:
        UserError: `run_config` has no `model_dir`.
    """

    def __init__(
        self, model_class_or_model_fn, run_config, params=None, warm_start_setting=None, use_cuda=None, seed=None
    ):
        if not run_config.model_dir:
            raise UserError('run_config: model_dir is missing: the folder for checkpoints.')
        self.model, self.run_config, self.params = model_class_or_model_fn, run_config, params
        self.warm_start_setting = warm_start_setting
        self.use_cuda = bool(cuda_devices()) if use_cuda is None else use_cuda
        self.seed = seed
        self.world = join(self.use_cuda)
        log_in_main_process_only(self.world)
        keep = DEFAULT_MAX_CKPT if run_config.max_ckpt is None else run_config.max_ckpt
        self.checkpoints = Checkpoints(run_config.model_dir, prefix='model_', keep=keep, list_file=LIST_FILE)

    # ------------------------------------------------------------ the three verbs

    def train(self, dataset, train_hooks=()):
        """Train until the data end or `run_config` says stop; continues from the last checkpoint in `model_dir`.

        Returns:
            list of what the hooks' `after_train` gave.
        """
        return _Training(self, dataset, {}, train_hooks).run()

    def evaluate(self, dataset, eval_hooks=()):
        """Score the last checkpoint: dict metric name -> numpy scalar; with `eval_hooks`, their results after it."""
        folder = self._checkpoint(-1, None)
        session, program = self._restored('eval', dataset, RunMode.EVAL, folder)
        results = self.score(session, program, dataset)
        others = [hook.after_train() for hook in eval_hooks]
        self.report('eval', results, read_state(folder)['global_step'])
        return (results, *others) if others else results

    def predict(self, dataset, ckpt=-1, ckpt_path=None, steps=-1, split_batch=True):
        """Predict with a checkpoint.

        Args:
            dataset: batches of features, without label.
            ckpt: which checkpoint of `model_dir`, -1 the newest, -2 the one before ...
            ckpt_path: a checkpoint folder instead.
            steps: batches at most; -1 for all.
            split_batch: yield one tuple per example; otherwise one list of arrays per batch.
        Yields:
            tuple of Python lists (or numbers), one per prediction; or a list of arrays.
        """
        session, program = self._restored('predict', dataset, RunMode.PREDICT, self._checkpoint(ckpt, ckpt_path))
        batches = itertools.islice(dataset, None if steps < 0 else steps)
        for _, fetched in evaluation_pass(session, program, batches, program.outputs.predictions):
            if split_batch:
                yield from zip(*(array.tolist() for array in fetched), strict=True)
            else:
                yield fetched

    # ------------------------------------------------------------ parts

    @property
    def parts(self):
        """Batches of one process for one step."""
        return self.run_config.gradient_accumulation_steps or 1

    def session(self):
        """A new `Session` for this run."""
        return Session(self.use_cuda, self.seed, precision=self.run_config.precision or 'fp32', world=self.world)

    def build(self, session, name, dataset, mode):
        """The program of one mode; its inputs are called `{name}_placeholder_{i}`."""
        if not isinstance(dataset, Dataset):
            raise UserError(f'The data set is a {type(dataset).__name__}, expected a propeller Dataset.')
        dataset.name = name
        feeds = [
            Feed(f'{name}_placeholder_{i}', tuple(shape), np.dtype(dtype).name)
            for i, (shape, dtype) in enumerate(zip(dataset.data_shapes, dataset.data_types, strict=True))
        ]
        training = mode == RunMode.TRAIN
        return session.build(
            feeds,
            lambda *features: build_model_spec(self.model, features, mode, self.params, self.run_config),
            parts=self.parts if training else 1,
            loss_scale=LossScale() if training and session.precision == 'fp16' else None,
            exact=not training,
        )

    def score(self, session, program, dataset):
        """Metrics of an evaluation program over `dataset`, at most `eval_max_steps` batches of it."""
        batches = itertools.islice(dataset, self.run_config.eval_max_steps)
        return run_metrics(session, program, batches, program.outputs.metrics)

    def report(self, name, results, step):
        """Log results, and write them to `eval_history/{name}` if tensorboardX is installed."""
        log.info('*** eval res: %10s ***', name)
        for metric, value in results.items():
            log.info('%s\t%s', metric, value)
        log.info('*' * 30)
        with self.history(f'eval_history/{name}', step) as writer:
            if writer:
                writer.add_scalars({k: float(v) for k, v in results.items()}, step)

    def history(self, name, step):
        """Context: `EventWriter` in a folder of `model_dir`; None without tensorboardX, and in other processes."""
        folder = os.path.join(self.run_config.model_dir, name)
        try:
            return EventWriter(folder, resume_step=step) if self.world.is_main_process else contextlib.nullcontext()
        except UserError as e:
            log.warning('%s: no history written (%s)', folder, e)
            return contextlib.nullcontext()

    def _checkpoint(self, index, path):
        if path is not None:
            return path
        steps = self.world.broadcast_object(self._steps() if self.world.is_main_process else None)
        if not -len(steps) <= index < len(steps):
            folder = self.run_config.model_dir
            raise UserError(f'{folder}: found {len(steps)} checkpoints, expected number {index} of them.')
        return self.checkpoints.path(steps[index])

    def _steps(self):
        if self.checkpoints.run is None:
            self.checkpoints.run = run_in(self.checkpoints)
        return self.checkpoints.steps() if self.checkpoints.newest() else []

    def _restored(self, name, dataset, mode, folder):
        session = self.session()
        program = self.build(session, name, dataset, mode)
        session.initialize(program)
        restore_parameters(folder, session, program)
        return session, program


class _Training:
    """One call of `train`, with or without evaluation on the way."""

    def __init__(self, learner, train_dataset, eval_datasets, train_hooks=(), eval_hooks=(), exporters=()):
        self.learner, self.config, self.dataset = learner, learner.run_config, train_dataset
        self.session = learner.session()
        with summary.recording() as self.summaries:
            self.program = learner.build(self.session, 'train', train_dataset, RunMode.TRAIN)
        self.eval_sets = eval_datasets
        self.eval_programs = {
            name: learner.build(self.session, 'eval', dataset, RunMode.EVAL) for name, dataset in eval_datasets.items()
        }
        self.train_hooks, self.eval_hooks, self.exporters = list(train_hooks), list(eval_hooks), list(exporters)
        self.evaluation, self.results = self._evaluation(), {}

    def run(self):
        learner = self.learner
        beside = (BEST,) if self.config.best_metric else ()
        folder = RunFolder(learner.checkpoints, learner.world, 'model_dir', beside)
        with folder.held():
            return self._run(TrainingRun(folder, folder.choose(resume=True)))

    def _run(self, run):
        learner, world, parts = self.learner, self.learner.world, self.learner.parts
        self.session.initialize(self.program)
        self._warm_start()
        step = run.restore(self.session, self.program) if run.resumes else 0
        done = self._updates_consumed(run)
        run.begin(self.session, self.program, step, [LIST_FILE])
        unread = self.dataset.iterate_from(done * world.size * parts)
        with learner.history('train_history', step) as writer:
            return run.train(
                shard_batches(unread, world, parts),
                self._hooks(writer),
                save_steps=self.config.save_steps or 1000,
                evaluation=self.evaluation,
                position=lambda loop: {'data_position': done + loop.step},
                facts={'parts': parts},
                parts_of=list,
            )

    def _warm_start(self):
        setting = self.learner.warm_start_setting
        if setting is None:
            return
        parameters = map(Variable._make, self.program.parameters().items())
        chosen = {variable.name: variable.shape for variable in parameters if setting.predicate_fn(variable)}
        restore_variables(open_tensors(setting.from_dir), chosen, self.session, setting.from_dir, others=True)
        for name in chosen:
            log.info('warm start: %s', name)

    def _updates_consumed(self, run):
        """Updates whose data earlier runs have consumed."""
        found, parts = run.state.get('parts', 1), self.learner.parts
        if run.resumes and found != parts:
            raise UserError(
                f'{run.start}: found a training with gradient_accumulation_steps {found}, expected {parts}: it '
                'continues with as many.'
            )
        try:
            return checked({'data_position': 0, **run.state}, {'data_position': COUNT})['data_position']
        except UserError as e:
            raise UserError(f'{run.start}: {e}') from None

    def _hooks(self, writer):
        config, spec = self.config, self.program.outputs
        return [
            StopAtStepHook(config.max_steps, config.run_steps),
            LoggingHook(spec.loss, config.log_steps or 10, config.skip_steps or 0, writer, self.summaries),
            *(spec.train_hooks or ()),
            *self.train_hooks,
        ]

    def _evaluation(self):
        """The `EvaluationHook` of the settings; None without a set to evaluate."""
        config = self.config
        if not self.eval_programs:
            if config.best_metric or config.early_stop:
                raise UserError('run_config: best_metric and early_stop need evaluation sets: use train_and_eval.')
            return None
        order, _, self.metric = (config.best_metric or '').partition(' ')
        name, program = next(iter(self.eval_programs.items()))
        if self.metric and self.metric not in program.outputs.metrics:
            known = ', '.join(program.outputs.metrics)
            raise UserError(f'run_config: best_metric: found {self.metric}, expected a metric of {name}: {known}.')
        return EvaluationHook(
            self._evaluate,
            config.eval_steps or 1000,
            config.skip_steps or 0,
            keep_best=bool(self.metric),
            larger=order == 'max',
            patience=config.early_stop or -1,
            measure=config.best_metric,
        )

    def _evaluate(self, loop, last):
        self.results, gstep = {}, loop.gstep
        for name, program in self.eval_programs.items():
            self.results[name] = self.learner.score(self.session, program, self.eval_sets[name])
            self.learner.report(name, self.results[name], gstep)
        for hook in self.eval_hooks:
            hook.after_train()
        if self.exporters and self.learner.world.is_main_process:
            name, program = next(iter(self.eval_programs.items()))
            sample = list(next(iter(self.eval_sets[name])))[:-1]
            for exporter in self.exporters:
                exporter.export(self.session, program, self.results, gstep, sample)
        return float(next(iter(self.results.values()))[self.metric]) if self.metric else None


def train_and_eval(
    *,
    model_class_or_model_fn=None,
    params=None,
    run_config=None,
    train_dataset=None,
    eval_dataset=None,
    warm_start_setting=None,
    train_hooks=(),
    eval_hooks=(),
    exporters=(),
    use_cuda=None,
    seed=None,
):
    """Train, and evaluate every `run_config.eval_steps` steps with the live parameters.

    Args:
        model_class_or_model_fn, params, run_config, warm_start_setting, use_cuda, seed: see `Learner`.
        train_dataset: propeller `Dataset` of batches, the label last.
        eval_dataset: one such data set, or dict name -> data set, all of the same shapes and types.
        train_hooks: `RunHook`s of the training loop.
        eval_hooks: hooks whose `after_train` is called after each evaluation.
        exporters: see `propeller.train.exporter`.
    Returns:
        dict data set name -> dict metric name -> value, of the last evaluation.
    Raises:
        UserError: an argument is missing, or the evaluation sets differ in shape or type.
    """
    needed = {
        'model_class_or_model_fn': model_class_or_model_fn,
        'params': params,
        'run_config': run_config,
        'train_dataset': train_dataset,
        'eval_dataset': eval_dataset,
    }
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise UserError(f'train_and_eval needs {", ".join(missing)}.')
    eval_sets = eval_dataset if isinstance(eval_dataset, dict) else {'eval': eval_dataset}
    kinds = {(str(d.data_shapes), str(d.data_types)) for d in eval_sets.values() if isinstance(d, Dataset)}
    if len(kinds) > 1:
        raise UserError(f'The evaluation sets {", ".join(eval_sets)} differ in shapes or types: {sorted(kinds)}.')
    learner = Learner(model_class_or_model_fn, run_config, params, warm_start_setting, use_cuda, seed)
    training = _Training(learner, train_dataset, eval_sets, train_hooks, eval_hooks, exporters)
    training.run()
    return training.results
