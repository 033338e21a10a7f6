"""One training in its folder: resume, records, evaluation, checkpoints, the best of them, early stop."""

import os
import sys

from propeller.data.prefetch import prefetch
from propeller.errors import UserError, bad_input
from propeller.log import get_logger
from propeller.train.checkpoint import (
    RUN,
    STATE,
    can_continue,
    computation_state,
    read_state,
    restore_computation,
    restore_training,
    save_checkpoint,
)
from propeller.train.hook_states import restore_states, states_of
from propeller.train.hooks import CheckpointSaverHook, StopAtStepHook, TqdmProgressBarHook
from propeller.train.loop import LoopState, one_part, train_loop
from propeller.train.record import METRICS_FILE, Records
from propeller.train.sharding import until_all_end
from propeller.train.throughput import ThroughputHook

log = get_logger(__name__)


def epoch_and_position(loop):
    """The place in the data after the last update of a `LoopState`, for batches that know it."""
    return {'epoch': loop.batch.epoch, 'data_position': loop.batch.position}


class TrainingRun:
    """What every training has besides its graph, its batches and its own hooks.

    A trainer makes it in the folder that it holds, gives its programs their first values, calls `begin` and `train`.
    In a job of several processes all of them do; the main process alone writes files.

    Args:
        folder: `RunFolder`.
        start: folder of the checkpoint that the training starts from; None: it starts from none.
        resume: whether it goes on exactly from `start` if that holds all that is needed.

    Attributes:
        resumes: whether it does: with the checkpoint's moments, data position, random numbers, state of the hooks.
        state: then the dict of its `training_state.json`, else {}.
        loop: the `LoopState`, from `begin` on.
    """

    def __init__(self, folder, start=None, resume=True):
        self.folder, self.checkpoints, self.start = folder, folder.checkpoints, start
        self.is_main_process = folder.world.is_main_process
        self.resumes = bool(resume and start and can_continue(start))
        self.state = read_state(start) if self.resumes else {}
        self.loop = self.evaluation = self._waiting = None
        self.records, self.hooks = Records(), []

    def seek(self, batches, advice=''):
        """Put a stream of batches where the checkpoint stands; where there is none, leave it at the beginning.

        Args:
            batches: has `seek(position)`, see `propeller.data.batching.BatchStream`.
            advice: what to do when it cannot, a sentence for the error.
        Raises:
            UserError: the position is that of other data or other settings.
        """
        if not self.resumes:
            return
        try:
            batches.seek(self.state.get('data_position'))
        except UserError as e:
            raise UserError(f'{self.start}: {e} {advice}'.rstrip()) from None

    def restore(self, session, program, needed=('data_position',)):
        """Where the training resumes: give an initialised program its parameters and moments.

        Args:
            needed: what the training state must hold.
        Returns:
            number of updates done by earlier runs.
        Raises:
            UserError: the checkpoint does not fit the program, or its state lacks something.
        """
        log.debug('continuing from %s', self.start)
        restore_training(self.start, session, program)
        absent = [key for key in needed if key not in self.state]
        if absent:
            raise bad_input(os.path.join(self.start, STATE), f'no {", ".join(absent)}', 'what our runs save')
        return self.state['global_step']

    def begin(self, session, program, step=0, files=()):
        """The first values are there: take back the random numbers, and make the folder this run's.

        Args:
            session, program: the training program, initialised; parameters and moments are those of `start`.
            step: updates done in earlier runs.
            files: names of the files that the run writes beside its checkpoints.
        Raises:
            UserError: see `restore_computation` and `RunFolder.begin`.
        """
        self.session, self.program, self.loop = session, program, LoopState(step)
        session.seed_dropout_by_rank()
        if self.resumes:
            restore_computation(session, program, self.state, self.start)
        self.folder.begin(step, files)

    def open_records(self, name=METRICS_FILE, log_dir=None):
        """From here on `record` writes: to the file `name` in the folder, and event files to `log_dir` if it is given.

        Records of steps after the one where this run begins go; a mere evaluation, which has no `begin`, keeps all.
        """
        if self.is_main_process:
            path = os.path.join(self.checkpoints.root, name)
            self.records = Records(path, log_dir, self.loop.gstep if self.loop else None)

    def record(self, *values, **settings):
        """See `Records.append`; nothing before `open_records`, nor in other processes."""
        self.records.append(*values, **settings)

    def draw(self, values, step, prefix):
        """Numbers for the event files alone, if there are any: see `EventWriter.add_scalars`."""
        if self.records.events:
            self.records.events.add_scalars(values, step, prefix)

    def queue_size(self):
        """Batches that wait to be computed."""
        return self._waiting.qsize()

    # ------------------------------------------------------------ training

    def train(
        self,
        batches,
        hooks,
        *,
        save_steps,
        evaluation=None,
        position=epoch_and_position,
        facts=None,
        files=dict,
        best_files=dict,
        after_best=lambda: None,
        after_save=lambda loop: None,
        last_step=None,
        title=None,
        parts_of=one_part,
        prefetched=8,
        first_own=None,
    ):
        """Train until the batches end or a hook says stop; the last update is always saved.

        Args:
            batches: iterable of batches, one per update, from where the training goes on.
            hooks: list of `RunHook`. Evaluation, saving, stop and progress bar come after them, in this order.
            save_steps: interval of checkpoints.
            evaluation: `EvaluationHook`, or None.
            position: function (state of the loop) -> dict for `training_state.json`, the place in the data.
            facts: dict, what else that file holds.
            files: function () -> dict file name -> bytes, for each checkpoint beside its fixed ones.
            best_files: the same for the checkpoint of the best result alone.
            after_best: function (), called when that one is written, in the main process.
            after_save: function (state of the loop), called when any other checkpoint is written, in the main process.
            last_step: the global step at which training stops; None: no limit, and no progress bar.
            title: what stands before the progress bar, which is shown on a terminal; None: none is.
            parts_of: see `train_loop`.
            prefetched: batches that are made ahead.
            first_own: where each process has batches of its own, perhaps not as many as the others: function () -> the
                first update of them, see `until_all_end`. None: all have as many.
        Returns:
            list of what the `after_train` of all hooks gave.
        Raises:
            UserError: a hook cannot take back its state; see `train_loop`.
        """
        self._position, self._facts, self._files, self.evaluation = position, facts or {}, files, evaluation
        self._best_files, self._after_best, self._after_save = best_files, after_best, after_save
        untimed = next((hook.outside for hook in hooks if isinstance(hook, ThroughputHook)), lambda work: work)
        self.hooks = list(hooks)
        if evaluation:
            evaluation.evaluate, evaluation.save_best = untimed(evaluation.evaluate), untimed(self._save_best)
            self.hooks.append(evaluation)
        self.hooks.append(CheckpointSaverHook(untimed(self._save), save_steps, skip_step=0))
        if last_step is not None:
            self.hooks.append(StopAtStepHook(last_step))
        if title and self.shows_bar():
            self.hooks.append(TqdmProgressBarHook(last_step, title, status=self._status))
        if self.resumes:
            restore_states(self.hooks, self.state.get('hooks', {}), os.path.join(self.start, STATE))
        with prefetch(batches, prefetched) as self._waiting:
            source = until_all_end(self._waiting, self.session.world, first_own) if first_own else self._waiting
            results = train_loop(self.session, self.program, source, self.hooks, self.loop, parts_of)
        self.records.close()
        return results

    def shows_bar(self):
        """Whether this process shows a progress bar while it trains: on a terminal."""
        return self.is_main_process and sys.stderr.isatty()

    def _status(self):
        """What the progress bar shows beside the progress: of the training and of the evaluations."""
        found = [hook.status() for hook in self.hooks if isinstance(hook, ThroughputHook)]
        if self.evaluation and self.evaluation.best is not None:
            found.append(f'best {self.evaluation.best:.4f}')
        return ', '.join(filter(None, found))

    def _save(self, loop):
        state = {
            **computation_state(self.session, self.program),
            'global_step': loop.gstep,
            **self._position(loop),
            **self._facts,
            'hooks': states_of(self.hooks),
        }
        if self.is_main_process:
            self.checkpoints.save(self.session, self.program, state, self._files())
            self._after_save(loop)

    def _save_best(self, loop, value):
        if not self.is_main_process:
            return
        epoch = {name: number for name, number in self._position(loop).items() if name == 'epoch'}
        state = {'global_step': loop.gstep, **epoch, 'value': value, RUN: self.checkpoints.run}
        files = {**self.checkpoints.files, **self._files(), **self._best_files()}
        folder = os.path.join(self.checkpoints.root, self.checkpoints.best)
        save_checkpoint(folder, self.session, self.program, state, files, weights_only=True)
        log.debug('best so far: %f at step %d, saved to %s', value, loop.gstep, folder)
        self._after_best()

    @property
    def best(self):
        """Folder of the checkpoint of the best result; None if there is none, or it is that of another folder."""
        folder = os.path.join(self.checkpoints.root, self.checkpoints.best)
        kept = self.evaluation and self.evaluation.keep_best and self.evaluation.best is not None
        return folder if kept and os.path.isfile(os.path.join(folder, STATE)) else None

    @property
    def stopped_early(self):
        """Whether the training ended because no better result came."""
        return bool(self.evaluation and self.evaluation.out_of_patience)

    def log_checkpoints(self):
        """Say where the best and the newest checkpoint are."""
        if not self.is_main_process:
            return
        if self.best:
            log.debug('best checkpoint: %s (step %d, %f)', self.best, self.evaluation.best_step, self.evaluation.best)
        newest = self.checkpoints.newest()
        if newest:
            log.debug('last checkpoint: %s', newest)
