"""A training of a task, in the folder of its configuration."""

import os

from ernie.hub.log import log
from ernie.hub.tasks.states import BEST, LOG, RunState, write_meta
from propeller.data.batching import BatchStream
from propeller.errors import Interrupted, UserError
from propeller.train.checkpoint import Checkpoints
from propeller.train.hooks import EvaluationHook
from propeller.train.run import TrainingRun
from propeller.train.run_folder import RunFolder
from propeller.train.throughput import ThroughputHook

_PREFETCHED = 8


def finetune(task, do_eval):
    """Train `task`; see `Trains.finetune`."""
    checkpoints = Checkpoints(task.config.checkpoint_dir, files=task.files(), best=BEST)
    folder = RunFolder(checkpoints, task.world, 'checkpoint_dir', beside=(BEST,))
    with folder.held():
        return _Training(task, folder, do_eval).run()


class _Training:
    def __init__(self, task, folder, do_eval):
        self.task, self.config, self.folder, self.do_eval = task, task.config, folder, do_eval
        self.root = self.config.checkpoint_dir
        log.info('Try loading checkpoint from %s', os.path.join(self.root, 'ckpt.meta'))
        self.training = TrainingRun(folder, folder.choose(resume=True))
        self.session = task.open_session(self.training.state.get('seed'))
        self.evaluation = self.lines = self.loss = None

    def run(self):
        """list of `RunState`."""
        task, config, training = self.task, self.config, self.training
        rows = task.rows('train')
        if self.do_eval:
            task.rows('dev')
        stream = self._stream(rows)
        steps = stream.total_steps
        program = task.build('train', steps)
        self.session.initialize(program)
        step = self._first_values(program)
        training.seek(stream, 'Train as before, or in another checkpoint_dir.')
        log.info(config.strategy.describe(steps))
        training.begin(self.session, program, step, ['metrics.jsonl', 'ckpt.meta', LOG])
        self._open_records()
        log.info('PaddleHub finetune start')
        if step >= steps:
            log.warning(
                '%s: all of the %d steps of this training are done, nothing is trained: give a larger num_epoch to go '
                'on, or another checkpoint_dir to train anew',
                *(self.root, steps),
            )
        self.evaluation = self._evaluation(steps) if self.do_eval else None
        self.lines = _Lines(task, self.session, program, rows, training, steps)
        training.train(
            stream,
            [self.lines],
            save_steps=config.save_ckpt_interval,
            evaluation=self.evaluation,
            after_best=self._best,
            after_save=self._saved,
            last_step=steps,
            parts_of=lambda batch: [(part.arrays, part.counted) for part in batch.parts],
            prefetched=_PREFETCHED,
        )
        task.trained = True
        log.info('PaddleHub finetune finished.')
        if training.loop.interrupted:
            raise Interrupted
        return self.lines.states

    def _stream(self, rows):
        task, session = self.task, self.session
        return BatchStream(
            rows,
            lambda indices: task.arrays(rows, indices, labelled=True),
            self.config.batch_size,
            in_tokens=task.reader.in_tokens,
            seed=session.seed,
            epochs=self.config.num_epoch,
            replica_id=session.world.rank,
            num_replicas=session.world.size,
        )

    def _first_values(self, program):
        """Give the program its values. Returns the updates that are done."""
        task, training = self.task, self.training
        if training.resumes:
            task.check_facts(training.start)
            step = training.restore(self.session, program)
            log.info(
                'PaddleHub model checkpoint loaded. current_epoch=%d, global_step=%d',
                *(training.state.get('epoch', 0), step),
            )
            return step
        log.info('PaddleHub model checkpoint not found, start training from scratch...')
        if task.module is not None:
            count = task.module.load_parameters(self.session, program)
            log.info('%d pretrained parameters loaded by PaddleHub', count)
        return 0

    def _open_records(self):
        try:
            self.training.open_records(log_dir=os.path.join(self.root, LOG))
        except UserError as e:
            log.warning('no %s: %s', LOG, e)
            self.training.open_records()

    def _evaluation(self, steps):
        return EvaluationHook(
            self._evaluate,
            self.config.eval_interval,
            last_step=steps,
            keep_best=True,
            larger=self.task.larger_is_better,
            measure=self.task.scores[0],
            tie=lambda: self.loss,
        )

    def _evaluate(self, loop, last):
        scores = self.task.evaluate('dev')
        self.loss = scores['loss']
        epoch = loop.batch.epoch if loop.batch else 0
        self.training.record('dev', loop.gstep, epoch, scores)
        return scores[self.task.scores[0]]

    def _best(self):
        name = self.task.scores[0]
        shown = 'accuracy' if name == 'acc' else name
        self.task.best_score = self.evaluation.best
        log.info('best model saved to %s [best %s=%.5f]', os.path.join(self.root, BEST), shown, self.evaluation.best)

    def _saved(self, loop):
        folder = self.training.checkpoints.path(loop.gstep)
        log.info('Saving model checkpoint to %s', folder)
        done = loop.batch.position['epoch'] if loop.batch else 0
        best = self.evaluation.best if self.evaluation else None
        write_meta(self.root, done, loop.gstep, folder, best)


class _Lines(ThroughputHook):
    """The lines of a training, every `log_interval` steps: means over the rows since the one before."""

    state_name = 'lines'

    def __init__(self, task, session, program, rows, training, steps):
        values = [*program.outputs.predictions, program.outputs.loss]
        interval = task.config.log_interval
        super().__init__(session, program, values, interval, training.queue_size, training.record, steps)
        self.task, self.rows, self.states = task, rows, []
        self._start()

    def _start(self):
        self.total, self.count, self.pairs = 0.0, 0, []

    def after_run(self, fetched, state):
        *predictions, loss = fetched
        indices = state.batch.rows
        self.total, self.count = self.total + float(loss) * len(indices), self.count + len(indices)
        self.pairs.append((self.rows, indices, predictions))
        super().after_run(fetched, state)

    def log_point(self, fetched, state, seconds):
        scores = {'loss': self.total / max(self.count, 1), **self.task.measure(self.pairs)}
        said = ' '.join(f'{name}={scores[name]:.5f}' for name in ('loss', *self.task.scores) if name in scores)
        log.info('step %d: %s [step/sec: %.2f]', state.gstep, said, self.steps / seconds)
        speeds = self.speeds(seconds, self.tokens, self.fed)
        self.record('train', state.gstep, state.batch.epoch, {**scores, **speeds})
        self.states.append(RunState(self.steps, self.count, list(scores.values()), seconds))
        self._start()


class Trains:
    """The two verbs of training, of all tasks."""

    def finetune(self, do_eval=False):
        """Train; a training that is in the folder of the configuration goes on exactly.

        Args:
            do_eval: evaluate the dev set every `eval_interval` steps and at the end, and keep the best model.
        Returns:
            list of `RunState`, one for each line.
        """
        return finetune(self, do_eval)

    def finetune_and_eval(self):
        """Train with evaluation, then score dev and test set with the best model. Returns what `finetune` does.

        A test set without labels is not scored.
        """
        tested = self._has_test()
        states = self.finetune(do_eval=True)
        self.ready(load_best=True)
        for phase in ('dev', 'test') if tested else ('dev',):
            self.evaluate(phase)
        return states

    def _has_test(self):
        """Whether there is a test set with labels; it is read before the training, so that a fault in it is found."""
        data = self.reader.dataset
        if data is None or not data.has('test') or data.examples('test')[0].label in (None, ''):
            return False
        self.rows('test')
        return True
