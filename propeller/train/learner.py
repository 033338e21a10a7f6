"""`Learner` and `train_and_eval`: a model, a data set and a `RunConfig` become a training run."""

import contextlib
import itertools
import math
import os
from typing import NamedTuple

from propeller.data.dataset import Dataset
from propeller.distribution import join, log_in_main_process_only
from propeller.errors import UserError, bad_input, quoted
from propeller.graph import cuda_devices
from propeller.log import get_logger
from propeller.session import Session
from propeller.storage import Tensors, open_tensors
from propeller.train.checkpoint import (
    Checkpoints,
    is_of_2019,
    read_state,
    restore_parameters,
    restore_variables,
)
from propeller.train.hooks import EvalHook
from propeller.train.loop import evaluation_loop, evaluation_pass
from propeller.train.model import build_program
from propeller.train.record import EventWriter
from propeller.train.run_folder import run_in
from propeller.train.training import LIST_FILE, Training
from propeller.types import RunConfig, RunMode

log = get_logger(__name__)

DEFAULT_MAX_CKPT = 10


class Variable(NamedTuple):
    """What `WarmStartSetting.predicate_fn` is asked about: a parameter."""

    name: str
    shape: tuple
    dtype: str = 'float32'
    persistable: bool = True


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
        UserError: `run_config` is no `RunConfig`, or has no `model_dir`.
    """

    def __init__(
        self, model_class_or_model_fn, run_config, params=None, warm_start_setting=None, use_cuda=None, seed=None
    ):
        if not isinstance(run_config, RunConfig):
            raise UserError(f'run_config: found {quoted(run_config)}, expected a propeller.RunConfig.')
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
        return Training(self, dataset, {}, train_hooks).run()

    def evaluate(self, dataset, eval_hooks=()):
        """Score the last checkpoint over `dataset`, at most `eval_max_steps` batches of it.

        Returns:
            dict metric name -> numpy scalar. With `eval_hooks` a tuple: this dict, then what the `after_train` of each
            of them gave.
        """
        folder = self._checkpoint(-1)
        if folder is None:
            raise bad_input(self.run_config.model_dir, 'no checkpoint', 'one to evaluate', advice='Train first.')
        session, program = self._restored('eval', dataset, RunMode.EVAL, folder)
        self.check_end('eval', dataset)
        step = read_state(folder)['global_step']
        results, *others = self.score(session, program, dataset, eval_hooks, step)
        with self.history('eval_history/eval', step) as writer:
            self.report('eval', results, step, writer)
        return (results, *others) if others else results

    def predict(self, dataset, ckpt=-1, ckpt_path=None, steps=-1, split_batch=True):
        """Predict with a checkpoint, or with the values of the warm start where there is none.

        Args:
            dataset: batches of features, without label.
            ckpt: which checkpoint of `model_dir`, -1 the newest, -2 the one before ...
            ckpt_path: a checkpoint folder instead.
            steps: batches at most; -1 or None for all.
            split_batch: yield one tuple per example; otherwise one list per batch.
        Yields:
            tuple of Python lists (or numbers), one per prediction; or a list of them, each of a whole batch.
        """
        folder = ckpt_path if ckpt_path is not None else self._checkpoint(ckpt)
        session, program = self._restored('predict', dataset, RunMode.PREDICT, folder)
        batches = itertools.islice(dataset.checked_from(), None if steps is None or steps < 0 else steps)
        for _, fetched in evaluation_pass(session, program, batches, program.outputs.predictions):
            values = [array.tolist() for array in fetched]
            if split_batch:
                _check_rows(fetched)
                yield from zip(*values, strict=True)
            else:
                yield values

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
        return build_program(session, name, dataset, mode, self.model, self.params, self.run_config)

    def score(self, session, program, dataset, hooks=(), step=0):
        """Metrics of an evaluation program over `dataset`, at most `eval_max_steps` batches of it.

        Args:
            hooks: of the evaluation; those of the model come before them.
            step: the global step that the parameters are those of.
        Returns:
            list: dict metric name -> numpy scalar, then what the `after_train` of each of `hooks` gave.
        """
        spec, batches = program.outputs, itertools.islice(dataset.checked_from(), self.run_config.eval_max_steps)
        own = [EvalHook(spec.metrics), *(spec.eval_hooks or ())]
        results = evaluation_loop(session, program, batches, [*own, *hooks], step)
        return [results[0], *results[len(own) :]]

    def check_end(self, name, dataset):
        """Raises `UserError` for an evaluation set without end, as `build_dataset` makes them by default."""
        if self.run_config.eval_max_steps is None and dataset.count() == math.inf:
            raise UserError(
                f'evaluation set {name}: found data without end, expected some that end. Build it with repeat=False, '
                'or set eval_max_steps in run_config.'
            )

    def report(self, name, results, step, writer):
        """Log results, and write them to the event file `writer` if there is one."""
        log.info('*** eval res: %10s ***', name)
        for metric, value in results.items():
            log.info('%s\t%s', metric, value)
        log.info('*' * 30)
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

    def warm_start(self, session, program):
        """Load the parameters that the setting chooses. Returns their names."""
        setting = self.warm_start_setting
        if setting is None:
            return []
        tensors = setting.from_dir if isinstance(setting.from_dir, Tensors) else None
        source = setting.from_dir if tensors is None else tensors.path
        if tensors is None and not os.path.lexists(source):
            raise bad_input(source, 'nothing there', 'the folder that the training starts from (from_dir)')
        parameters = [Variable(name, shape, session.dtype(name).name) for name, shape in program.parameters().items()]
        chosen = {variable.name: variable.shape for variable in parameters if setting.predicate_fn(variable)}
        if not chosen:
            log.warning('warm start: predicate_fn chose none of the %d parameters', len(parameters))
        restore_variables(open_tensors(source) if tensors is None else tensors, chosen, session, source, others=True)
        for name in chosen:
            log.info('warm start: %s', name)
        return list(chosen)

    def _checkpoint(self, index):
        """Folder of checkpoint number `index` of `model_dir`; None where there is none at all."""
        steps = self.world.broadcast_object(self._steps() if self.world.is_main_process else None)
        if not steps:
            return None
        if isinstance(index, bool) or not isinstance(index, int) or not -len(steps) <= index < len(steps):
            folder = self.run_config.model_dir
            raise UserError(f'{folder}: found {len(steps)} checkpoints, expected number {quoted(index)} of them.')
        return self.checkpoints.path(steps[index])

    def refuse_those_of_2019(self):
        """Raises `UserError` where `model_dir` holds checkpoints of propeller of 2019, which would be passed over."""
        root = self.run_config.model_dir
        old = [name for name in self.checkpoints.folders().values() if is_of_2019(os.path.join(root, name))]
        if old:
            raise bad_input(
                root,
                f'a checkpoint of 2019 ({old[-1]})',
                "those of today's runs, or none",
                advice='Train in another model_dir, from it by a WarmStartSetting; predict with it by ckpt_path.',
            )

    def _steps(self):
        self.refuse_those_of_2019()
        if self.checkpoints.run is None:
            self.checkpoints.run = run_in(self.checkpoints)
        return self.checkpoints.steps() if self.checkpoints.newest() else []

    def _restored(self, name, dataset, mode, folder):
        """A session and its program of one mode, with the values of the checkpoint `folder`, or of a warm start."""
        session = self.session()
        program = self.build(session, name, dataset, mode)
        session.initialize(program)
        if folder is not None:
            restore_parameters(folder, session, program)
            return session, program
        chosen = self.warm_start(session, program)
        missing = [parameter for parameter in program.parameters() if parameter not in chosen]
        if missing:
            raise bad_input(
                self.run_config.model_dir,
                f'0 checkpoints, and no value of {missing[0]} from a warm start',
                'the values of all parameters',
                advice='Train first, or name a checkpoint (ckpt_path): what was never trained predicts nothing.',
            )
        return session, program


def _check_rows(arrays):
    """Raises `UserError` where predictions cannot be told apart by example."""
    rows = [array.shape[0] if array.ndim else None for array in arrays]
    if len(set(rows)) > 1 or None in rows:
        shapes = ', '.join(str(list(array.shape)) for array in arrays)
        raise UserError(
            f'predictions: found shapes {shapes}, expected as many rows in each as there are examples in the batch. '
            'Take whole batches with split_batch=False.'
        )


def train_and_eval(
    *positional,
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
    """Train, and evaluate every `run_config.eval_steps` steps with the live parameters. All arguments have names.

    Args:
        model_class_or_model_fn, params, run_config, warm_start_setting, use_cuda, seed: see `Learner`.
        train_dataset: propeller `Dataset` of batches, the label last.
        eval_dataset: one such data set, or dict name -> data set, all of the same shapes and types.
        train_hooks: `RunHook`s of the training loop.
        eval_hooks: `RunHook`s of each evaluation of each set.
        exporters: see `propeller.train.exporter`.
    Returns:
        dict data set name -> dict metric name -> value, of the last evaluation.
    Raises:
        UserError: an argument is missing or has no name, or the evaluation sets differ in shape or type.
    """
    needed = {
        'model_class_or_model_fn': model_class_or_model_fn,
        'params': params,
        'run_config': run_config,
        'train_dataset': train_dataset,
        'eval_dataset': eval_dataset,
    }
    if positional:
        raise UserError(
            f'train_and_eval: found {len(positional)} arguments without a name, expected names: '
            f'train_and_eval({", ".join(f"{name}=..." for name in needed)}).'
        )
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise UserError(f'train_and_eval needs {", ".join(missing)}.')
    eval_sets = _evaluation_sets(eval_dataset)
    learner = Learner(model_class_or_model_fn, run_config, params, warm_start_setting, use_cuda, seed)
    training = Training(learner, train_dataset, eval_sets, train_hooks, eval_hooks, exporters)
    training.run()
    return training.results


def _evaluation_sets(given):
    """dict name -> data set. Raises `UserError`: there is none, or they differ in shape or type."""
    sets = given if isinstance(given, dict) else {'eval': given}
    if not sets:
        raise UserError('eval_dataset: found no data set, expected at least one.')
    for name, dataset in sets.items():
        if not isinstance(dataset, Dataset):
            raise UserError(
                f'eval_dataset {quoted(name)}: found {type(dataset).__name__}, expected a propeller Dataset.'
            )
        if not isinstance(name, str) or not name or '/' in name or name in ('.', '..'):
            raise UserError(f'eval_dataset: found the name {quoted(name)}, expected one that a folder can have.')
    (first, one), *others = ((name, _kind(dataset)) for name, dataset in sets.items())
    for name, other in others:
        if other != one:
            raise UserError(
                f'The evaluation sets differ in shapes or types: {first} has {one}, {name} has {other}. '
                'Set data_shapes and data_types of each, with -1 where sizes vary.'
            )
    return sets


def _kind(dataset):
    return ' '.join(
        f'{dtype}{list(shape)}' for shape, dtype in zip(dataset.input_shapes(), dataset.data_types, strict=True)
    )
