"""The folder of a training run: lock, identity of the run, checkpoint to resume from, what may be deleted.

`.propeller-run.json` in the folder names the run, the process that works in it, and the files that the run writes
beside its checkpoints. The process holds a lock of the kernel on it. A run has an identity, a random text in
`training_state.json` of each of its checkpoints; a training goes on from a checkpoint of its own run, and only what is
provably of an older run is ever deleted.
"""

import contextlib
import os
import secrets
import time

from propeller.errors import UsageError, UserError, bad_input
from propeller.launch.plan import JOB, RESUME_ADDED
from propeller.log import get_logger
from propeller.storage.folders import real_target, recover, remove_folder
from propeller.storage.locks import FileLock, holder_of, this_process
from propeller.train.checkpoint import (
    OPTIMIZER,
    STATE,
    can_continue,
    check_processes,
    read_state,
    refuse_foreign,
    run_of,
)

log = get_logger(__name__)

FILE = '.propeller-run.json'


class RunFolder:
    """The folder of one training. In a job of several processes the first one holds it, for all.

    Args:
        checkpoints: `Checkpoints`; its `run` is set by `choose`.
        world: `propeller.distribution.World`.
        what: how the user names the folder, for messages.
        beside: names of folders beside the checkpoints that are made like them, as `best`.
    """

    def __init__(self, checkpoints, world, what='--checkpoints', beside=()):
        self.checkpoints, self.world, self.what, self.beside = checkpoints, world, what, beside
        self.root = os.path.abspath(checkpoints.root)
        self._lock, self._owner, self._doomed = None, {}, []

    # ------------------------------------------------------------ the lock

    @contextlib.contextmanager
    def held(self):
        """The block has the folder for itself.

        Raises:
            UserError: another training is at work in it, or it cannot be written.
        """
        try:
            if self.world.is_main_process:
                self._take()
            yield self
        finally:
            if self._lock:
                self._lock.close()
                self._lock = None

    def _take(self):
        path = os.path.join(self.root, FILE)
        try:
            os.makedirs(self.root, exist_ok=True)
            self._lock = FileLock(path)
            self._owner = self._lock.read() or {}
            self._lock.write({**self._owner, **this_process(), 'started': _now()})
        except BlockingIOError:
            raise UserError(self._busy(holder_of(path))) from None
        except OSError as e:
            raise UserError(f'{path}: cannot be written ({e.strerror or e}). Choose another {self.what}.') from e
        if not self._lock.granted:
            log.warning('%s: the file system knows no locks; a second training there would not be noticed', self.root)

    def _busy(self, holder):
        who = f'process {holder.get("pid")} on {holder.get("host")}, since {holder.get("started")}' if holder else 'one'
        return (
            f'{self.checkpoints.root}: found another training at work there ({who}), expected a folder of its own. '
            f'Wait for its end, or choose another {self.what}.'
        )

    # ------------------------------------------------------------ where it starts

    def choose(self, resume, overwrite=False, given=None, sources=()):
        """Settle which run this is, and from where it goes on. Inside `held`; deletes nothing yet.

        Args:
            resume: go on from the newest checkpoint of the folder's run, if there is one.
            overwrite: whether an older run's checkpoints may be deleted, by `begin`.
            given: a checkpoint that the user names instead, or None; if training can continue from it, its run goes on.
            sources: other files and folders that the training reads its first values from.
        Returns:
            folder of the checkpoint to start from: the newest, `given`, or None.
        Raises:
            UsageError: an older run's checkpoints are there, and nothing was said about them; or they would be deleted
                although the training starts from them.
            UserError: the checkpoint cannot be continued from, or something in the folder is not ours.
        """
        run, folder = self.world.broadcast_object(
            self._choose(resume, overwrite, given, sources) if self.world.is_main_process else (None, None)
        )
        self.checkpoints.run = run
        return folder

    def _choose(self, resume, overwrite, given, sources):
        recover(self.root)
        for name in self.beside:
            refuse_foreign(os.path.join(self.checkpoints.root, name))
        own_job = bool(self._owner.get('job')) and self._owner.get('job') == os.environ.get(JOB)
        if resume and os.environ.get(RESUME_ADDED) and not own_job:
            log.info('%s: the job has not begun there yet; it starts as it was first asked to', self.root)
            resume = False
        if resume:
            run = self._run_to_resume(own_job)
            if run:
                return run, self._newest(run)
        else:
            self._doomed = self._older(given)
            if self._doomed:
                self._may_delete(overwrite, (given, *sources))
        if not _continues(given):
            return _new_identity(), given
        check_processes(read_state(given), self.world.size, given)
        return run_of(given), given

    def _run_to_resume(self, own_job):
        """Identity of the run that goes on; None if there is none yet."""
        by_run = {}
        for step, run in self.checkpoints.runs().items():
            if run is None:
                read_state(self.checkpoints.path(step))  # complains
            by_run.setdefault(run, []).append(step)
        own = self._owner.get('run')
        if own in by_run or not by_run:
            return own if by_run else None
        if own_job:
            return None
        if len(by_run) > 1:
            found = '; '.join(f'{self._named(steps)} of {run}' for run, steps in by_run.items())
            advice = 'Move those of the others away, or name the one to go on from (--init_checkpoint).'
            raise bad_input(self.checkpoints.root, f'checkpoints of several runs ({found})', 'one run', advice=advice)
        return next(iter(by_run))

    def _newest(self, run):
        steps = [step for step, of in self.checkpoints.runs().items() if of == run]
        folder = self.checkpoints.path(steps[-1])
        if not can_continue(folder):
            before = [self.checkpoints.path(step) for step in steps[:-1]]
            go_on = 'To go on from the checkpoint before it, delete this one; to start'
            advice = (
                f'{go_on if any(map(can_continue, before)) else "To start"} a new training from its parameters, '
                'give it as --init_pretraining_params, with another folder for checkpoints.'
            )
            raise bad_input(folder, f'no {OPTIMIZER}', 'all that a training needs to go on', advice=advice)
        check_processes(read_state(folder), self.world.size, folder)
        return folder

    def _older(self, given):
        """Names in the folder of what would be mixed with the new run: other runs, and its own later steps."""
        run, last = (run_of(given), read_state(given)['global_step']) if _continues(given) else (None, 0)
        names = self.checkpoints.folders()
        found = [names[step] for step, of in self.checkpoints.runs().items() if of != run or step > last]
        for name in self.beside:
            folder = os.path.join(self.checkpoints.root, name)
            if os.path.isfile(os.path.join(folder, STATE)) and run_of(folder) != run:
                found.append(name)
        return found

    def _may_delete(self, overwrite, sources):
        root, names = self.checkpoints.root, _shortened(self._doomed)
        if not overwrite:
            raise UsageError(
                f'{root}: found checkpoints of an earlier training ({names}), expected none beside a new one. '
                f'Choose another {self.what}, continue with --resume true, or delete them with '
                f'--overwrite_checkpoints true.'
            )
        for name in self._doomed:
            doomed = os.path.realpath(os.path.join(root, name))
            for source in filter(None, sources):
                if os.path.realpath(source) == doomed or os.path.realpath(source).startswith(doomed + os.sep):
                    raise UsageError(
                        f'--overwrite_checkpoints true would delete {os.path.join(root, name)}, which this training '
                        f'starts from. Choose another {self.what}.'
                    )

    def _named(self, steps):
        return _shortened([f'{self.checkpoints.prefix}{step}' for step in steps])

    # ------------------------------------------------------------ the start

    def begin(self, step, files=()):
        """The run begins: what was to be overwritten is deleted, and the folder is the run's.

        Args:
            step: the global step that it begins after.
            files: names of the files that the run writes beside its checkpoints, in the folder or below it.
        Raises:
            UserError: a folder that no training wrote is in the place of a later checkpoint; the disk refuses.
        """
        if not self.world.is_main_process:
            return
        root = self.checkpoints.root
        for later, name in self.checkpoints.folders().items():
            if later > step:
                refuse_foreign(os.path.join(root, name))
        try:
            for name in self._doomed:
                self._delete(os.path.join(root, name))
            if self._doomed:
                log.warning('%s: deleted of an earlier training: %s', root, _shortened(self._doomed))
                self._delete_files()
            run = self.checkpoints.run
            kept = [] if self._doomed else _names(self._owner)
            facts = {'run': run, 'job': os.environ.get(JOB), 'files': sorted({*files, *kept})}
            assert self._lock, 'begin() is called inside held()'
            self._lock.write({**facts, **this_process(), 'started': _now()})
        except OSError as e:
            raise UserError(f'{e.filename or root}: {e.strerror or e}.') from e
        log.debug('run: %s', run)

    def _delete(self, folder):
        # Of a link to `best` the content goes and the link stays, for the run will follow it.
        if os.path.basename(folder) in self.beside and os.path.islink(folder):
            folder = real_target(folder)
        remove_folder(folder)

    def _delete_files(self):
        """Files of the run before, by its own list; what else lies there is not ours."""
        for name in _names(self._owner):
            path = os.path.join(self.root, name)
            if os.path.isfile(path) and not os.path.islink(path):
                os.unlink(path)


def run_in(checkpoints):
    """Identity of the run that worked last in the folder of `checkpoints`, if it has any there; else None."""
    run = holder_of(os.path.join(checkpoints.root, FILE)).get('run')
    return run if isinstance(run, str) and run in checkpoints.runs().values() else None


def _continues(folder):
    return bool(folder) and can_continue(folder)


def _names(owner):
    """The relative paths of a list of files, without any that leads out of the folder."""
    found = owner.get('files')
    names = [name for name in found if isinstance(name, str) and name] if isinstance(found, list) else []
    return [n for n in names if not os.path.isabs(n) and '\0' not in n and '..' not in n.split('/')]


def _new_identity():
    return secrets.token_hex(8)


def _shortened(names, most=6):
    names = list(names)
    return ', '.join(names if len(names) <= most else [*names[:2], '...', *names[2 - most :]])


def _now():
    return time.strftime('%Y-%m-%d %H:%M:%S')
