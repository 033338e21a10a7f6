"""One call of `Learner.train` or `train_and_eval`."""

import contextlib

from propeller import summary
from propeller.errors import UserError
from propeller.log import get_logger
from propeller.train.checkpoint import BEST
from propeller.train.hooks import EvaluationHook, LoggingHook, StopAtStepHook
from propeller.train.run import TrainingRun
from propeller.train.run_folder import RunFolder
from propeller.train.sharding import is_own_share, own_batches, shard_batches
from propeller.train.state import COUNT, checked
from propeller.types import RunMode

log = get_logger(__name__)

LIST_FILE = 'ckpt_info'


class Training:
    """A training, with or without evaluation on the way. The graphs are built at once, `run` does the rest.

    Args:
        learner: `Learner`.
        train_dataset: `Dataset` of batches.
        eval_datasets: dict name -> `Dataset`; {}: no evaluation.
        train_hooks, eval_hooks, exporters: see `train_and_eval`.

    Attributes:
        results: dict data set name -> dict metric name -> value, of the last evaluation.
    """

    def __init__(self, learner, train_dataset, eval_datasets, train_hooks=(), eval_hooks=(), exporters=()):
        self.learner, self.config, self.dataset = learner, learner.run_config, train_dataset
        self.session = learner.session()
        with summary.recording() as self.summaries:
            self.program = learner.build(self.session, 'train', train_dataset, RunMode.TRAIN)
        for name, dataset in eval_datasets.items():
            learner.check_end(name, dataset)
            if is_own_share(dataset, learner.world):
                raise UserError(
                    f'evaluation set {name}: found a share of the data in each process, expected the whole set in all '
                    'of them: they share out its batches. Leave out shard.'
                )
        self.eval_sets, self.eval_program = eval_datasets, None
        for dataset in eval_datasets.values():  # of the same shapes and types, so that one graph serves them all
            dataset.name = 'eval'
            if self.eval_program is None:
                self.eval_program = learner.build(self.session, 'eval', dataset, RunMode.EVAL)
        self.train_hooks, self.eval_hooks, self.exporters = list(train_hooks), list(eval_hooks), list(exporters)
        self.evaluation, self.results, self._histories = self._evaluation(), {}, {}

    def run(self):
        """Train. Returns list of what the hooks' `after_train` gave."""
        learner = self.learner
        beside = (BEST,) if self.config.best_metric else ()
        folder = RunFolder(learner.checkpoints, learner.world, 'model_dir', beside)
        with folder.held():
            learner.refuse_those_of_2019()
            return self._run(TrainingRun(folder, folder.choose(resume=True)))

    def _run(self, run):
        learner, world, parts = self.learner, self.learner.world, self.learner.parts
        log.debug('propeller runs in %s mode', 'CUDA' if learner.use_cuda else 'CPU')
        log.debug('replica id %d of %d', world.rank, world.size)
        self.session.initialize(self.program)
        learner.warm_start(self.session, self.program)
        step = run.restore(self.session, self.program) if run.resumes else 0
        done = self._updates_consumed(run)
        run.begin(self.session, self.program, step, [LIST_FILE])
        if done and not self.dataset.seeded:
            log.warning(
                'the data are shuffled without a seed: what follows may hold rows of before. Give shuffle a seed.'
            )
        own = is_own_share(self.dataset, world)
        unread = self.dataset.checked_from(done * parts * (1 if own else world.size))
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(learner.history('train_history', step))
            for name in self.eval_sets:
                self._histories[name] = stack.enter_context(learner.history(f'eval_history/{name}', step))
            gave = run.train(
                own_batches(unread, parts) if own else shard_batches(unread, world, parts),
                self._hooks(writer),
                save_steps=self.config.save_steps or 1000,
                evaluation=self.evaluation,
                position=lambda loop: {'data_position': done + loop.step},
                facts={'parts': parts},
                parts_of=list,
                first_own=(lambda: next(own_batches(self.dataset.checked_from(), parts), None)) if own else None,
            )
        self._say_what_was_not_done(run.loop)
        return gave

    def _say_what_was_not_done(self, loop):
        if not loop.step and not loop.interrupted:
            log.warning(
                'nothing to train: %s is at step %d, max_steps is %s, and so much data was used up',
                *(self.config.model_dir, loop.gstep, self.config.max_steps),
            )
        elif self.eval_sets and not self.results and not loop.interrupted:
            log.warning(
                'no evaluation in this run of %d steps: eval_steps is %d, skip_steps %d',
                *(loop.step, self.config.eval_steps or 1000, self.config.skip_steps or 0),
            )

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
        if self.eval_program is None:
            if config.best_metric or config.early_stop:
                raise UserError('run_config: best_metric and early_stop need evaluation sets: use train_and_eval.')
            return None
        order, _, self.metric = (config.best_metric or '').partition(' ')
        metrics = self.eval_program.outputs.metrics
        if self.metric and self.metric not in metrics:
            name, known = next(iter(self.eval_sets)), ', '.join(metrics)
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
        results, gstep, learner, program = {}, loop.gstep, self.learner, self.eval_program
        for name, dataset in self.eval_sets.items():
            results[name] = learner.score(self.session, program, dataset, self.eval_hooks, gstep)[0]
            learner.report(name, results[name], gstep, self._histories.get(name))
        self.results = results
        if self.exporters and learner.world.is_main_process:
            if program.sample is None:
                program.sample = next(next(iter(self.eval_sets.values())).checked_from(), None)
            for exporter in self.exporters:
                exporter.export(self.session, program, program.outputs, results, loop)
        return float(next(iter(results.values()))[self.metric]) if self.metric else None
