"""Training checkpoints: a folder that explains itself and from which training continues exactly.

{prefix}{global step}/
    model.safetensors      parameters by name
    optimizer.safetensors  moments and power accumulators by name
    training_state.json    steps done, data position, random state, state of the hooks
    ...                    whatever files the program adds (configuration, vocabulary, labels, metrics)
"""

import json
import os
import re

from propeller.errors import UserError, bad_input
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage import open_tensors, write_safetensors
from propeller.storage.atomic import output_file
from propeller.storage.folders import recover, remove_folder, whole_folder, write_files
from propeller.storage.values import load_values, read_finite, type_fault
from propeller.train.state import FIELDS, NEEDED, checked

log = get_logger(__name__)

MODEL, OPTIMIZER, STATE = 'model.safetensors', 'optimizer.safetensors', 'training_state.json'
BEST = 'best'  # name of the folder of the best checkpoint, beside the others
RUN = 'run'  # the key in STATE of the identity of a run
WEIGHTS_ONLY = 'weights_only'  # the key in STATE that says that the optimizer's state was taken out
UNNAMED = 'unnamed'  # all checkpoints from before runs had identities count as those of one run


class Checkpoints:
    """The checkpoints of one run, as folders `{prefix}{step}` under `root`.

    Args:
        root: folder of the run.
        prefix: what stands before the step number.
        keep: how many of the newest to keep; 0 keeps all.
        files: dict file name -> bytes, written into each checkpoint as it is.
        list_file: name of a file in `root` that lists the kept folders, oldest first; None for no such file.
        run: identity of the run, a text; None: all checkpoints in `root` count.
        lean: the optimizer's state, two thirds of a checkpoint, stays in the newest alone.
        best: name of the folder of the best checkpoint.
    """

    def __init__(self, root, prefix='step_', keep=0, files=None, list_file=None, run=None, lean=False, best=BEST):
        self.root, self.prefix, self.keep, self.list_file, self.run = root, prefix, keep, list_file, run
        self.lean, self.best = lean, best
        self.files = dict(files or {})

    def folders(self):
        """dict step -> name of each entry of `root` that is called as a checkpoint, ascending."""
        pattern = re.compile(re.escape(self.prefix) + r'(0|[1-9]\d{0,17})')
        names = os.listdir(self.root) if os.path.isdir(self.root) else []
        return dict(sorted((int(m.group(1)), name) for name in names if (m := pattern.fullmatch(name))))

    def runs(self):
        """dict step -> identity of the run of that checkpoint, ascending; None where its state is damaged."""
        found = {step: os.path.join(self.root, name) for step, name in self.folders().items()}
        return {step: run_of(path) for step, path in found.items() if os.path.isfile(os.path.join(path, STATE))}

    def steps(self):
        """Step numbers of the run's checkpoints, ascending; damaged ones among them, for somebody must complain."""
        return [step for step, run in self.runs().items() if self.run is None or run in (self.run, None)]

    def path(self, step):
        """Folder of the checkpoint at `step`."""
        return os.path.join(self.root, f'{self.prefix}{step}')

    def newest(self):
        """Folder of the newest whole checkpoint, after mending what a kill left behind; None if there is none."""
        recover(self.root)
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def save(self, session, program, state, files=None):
        """Write the checkpoint of `state['global_step']` and delete the oldest beyond `keep`. Returns its folder."""
        folder = self.path(state['global_step'])
        if self.run is not None:
            state = {**state, RUN: self.run}
        save_checkpoint(folder, session, program, state, {**self.files, **(files or {})})
        # Later steps are those of another run in the same folder: not ours to delete, nor a reason to delete this one.
        steps = [s for s, run in self.runs().items() if s <= state['global_step'] and self.run in (None, run)]
        if self.keep:
            for step in steps[: -self.keep]:
                self._delete(step)
            steps = steps[-self.keep :]
        for step in steps[:-1] if self.lean else ():
            drop_optimizer(self.path(step))
        if self.list_file:
            with output_file(os.path.join(self.root, self.list_file)) as f:
                f.writelines(f'{self.prefix}{s}\n' for s in steps)
        return folder

    def _delete(self, step):
        try:
            remove_folder(self.path(step))
        except OSError as e:  # no reason to end a training whose newest checkpoint is whole
            log.warning('%s: cannot be deleted (%s)', self.path(step), e.strerror or e)


def save_checkpoint(folder, session, program, state, files=None, weights_only=False):
    """Write one checkpoint folder, whole or not at all; an older one of that name is replaced.

    Args:
        folder: target.
        session, program: where parameters are read from; the optimizer's state is written if `program` trains.
        state: JSON-able dict, with `global_step`.
        files: dict file name -> bytes.
        weights_only: leave the optimizer's state out; training cannot continue exactly from such a checkpoint.
    Raises:
        UserError: the disk refuses, a value is not finite, or a folder of that name is no checkpoint; what was there
            is as it was.
    """
    refuse_foreign(folder)
    try:
        with whole_folder(folder, replace=True) as work:
            model = read_finite(session, program.parameters(), folder)
            write_safetensors(os.path.join(work, MODEL), model)
            if program.training and not weights_only:
                optimizer = read_finite(session, program.optimizer_state(), folder)
                write_safetensors(os.path.join(work, OPTIMIZER), optimizer)
            write_files(work, files or {})
            with open(os.path.join(work, STATE), 'w', encoding='utf-8') as f:
                json.dump(state, f, ensure_ascii=False)
    except OSError as e:
        raise UserError(f'{folder}: the checkpoint could not be written: {e.strerror or e}.') from e


def drop_optimizer(folder):
    """Take the optimizer's state out of a checkpoint, which says so from then on; it serves evaluation and prediction.

    A kill in between leaves a checkpoint from which training still continues exactly.
    """
    path = os.path.join(folder, OPTIMIZER)
    if not os.path.isfile(path):
        return
    try:
        state = {**read_state(folder), WEIGHTS_ONLY: True}
        with output_file(os.path.join(folder, STATE)) as f:
            json.dump(state, f, ensure_ascii=False)
        os.unlink(path)
    except (OSError, UserError) as e:  # no reason to end a training whose newest checkpoint is whole
        log.warning('%s: cannot be deleted (%s)', path, getattr(e, 'strerror', None) or e)


def lost_optimizer(folder):
    """Whether `drop_optimizer` took the optimizer's state out of a checkpoint."""
    try:
        return not can_continue(folder) and read_state(folder).get(WEIGHTS_ONLY) is True
    except UserError:
        return False


def refuse_foreign(folder):
    """Raises `UserError` if in the place of a checkpoint there is what no training wrote: it is not ours to replace."""
    # What has lost its state but not its moments, which others do not write, was a checkpoint.
    if not os.path.lexists(folder) or any(os.path.isfile(os.path.join(folder, name)) for name in (STATE, OPTIMIZER)):
        return
    if os.path.isdir(folder) and os.listdir(folder):
        raise bad_input(folder, f'a folder without {STATE}', 'nothing or a checkpoint there', advice=_MOVE_AWAY)
    if os.path.lexists(folder) and not os.path.isdir(folder) and not os.path.islink(folder):
        raise bad_input(folder, 'a file', 'nothing or a checkpoint there', advice=_MOVE_AWAY)


_MOVE_AWAY = 'No training made it, and none replaces it: move it away.'


def run_of(folder):
    """Identity of the run that a checkpoint belongs to, `UNNAMED` if it has none; None if its state is damaged."""
    try:
        run = read_state(folder).get(RUN, UNNAMED)
    except UserError:
        return None
    return run if isinstance(run, str) and run else None


def is_of_2019(folder):
    """Whether a folder is a checkpoint of propeller as it was in 2019: a file for each variable, and `meta`."""
    return os.path.isfile(os.path.join(folder, 'meta')) and not os.path.isfile(os.path.join(folder, STATE))


def can_continue(folder):
    """Whether `folder` holds all that a training needs to go on exactly."""
    return all(os.path.isfile(os.path.join(folder, name)) for name in (STATE, OPTIMIZER))


def read_state(folder):
    """The dict of `training_state.json`.

    Raises:
        UserError: the file is missing or damaged, or a field is of another type than `propeller.train.state` says.
    """
    path = os.path.join(folder, STATE)
    if not os.path.lexists(path):
        raise bad_input(folder, f'no {STATE}', 'a training checkpoint')
    # Not finite: a hook may remember no best score as minus infinity.
    state = read_json_object(path, 'the state of a training checkpoint', finite=False)
    try:
        return checked(state, FIELDS, NEEDED)
    except UserError as e:
        raise UserError(f'{path}: {e}') from None


def restore_parameters(folder, session, program):
    """Set every parameter of `program` from a checkpoint folder, strictly: see `restore_variables`.

    One of 2019 holds the variables of the optimizer too.
    """
    restore_variables(open_tensors(folder), program.parameters(), session, folder, others=is_of_2019(folder))


def restore_training(folder, session, program):
    """Set parameters and optimizer state of a training program. Returns the dict of `training_state.json`."""
    state = read_state(folder)
    restore_parameters(folder, session, program)
    path = os.path.join(folder, OPTIMIZER)
    if not os.path.isfile(path):
        raise bad_input(folder, f'no {OPTIMIZER}', 'a checkpoint made during training', advice=_WEIGHTS_ONLY)
    restore_variables(open_tensors(path), program.optimizer_state(), session, path)
    session.set_updates_done(program, state.get('updates', state['global_step']))
    return state


def computation_state(session, program):
    """What `training_state.json` holds of a computation besides its tensors. Called in every process of a job."""
    scale = program.update.plan.loss_scale
    return {
        'updates': session.updates_done(program),
        'loss_scale': scale and scale.state_dict(),
        'random_state': session.random_state(),
        'random_states': session.random_states(),
        'seed': session.seed,
    }


def restore_computation(session, program, state, source):
    """Take back what `computation_state` gave: random numbers of this process, loss scale.

    Args:
        state: dict of `training_state.json`.
        source: its folder, for the error.
    Raises:
        UserError: the training was one of another number of processes, or a value cannot be.
    """
    check_processes(state, session.world.size, source)
    states = state.get('random_states') or [state.get('random_state')]
    scale = program.update.plan.loss_scale
    try:
        session.set_random_state(states[session.world.rank])
        if scale and state.get('loss_scale'):
            scale.load_state_dict(state['loss_scale'])
    except UserError as e:
        raise UserError(f'{os.path.join(source, STATE)}: {e}') from None


def check_processes(state, size, source):
    """Raises `UserError` if the training of a checkpoint was one of another number of processes than `size`."""
    before = len(state.get('random_states') or [None])
    if before == size:
        return
    start = f'with --nproc_per_node {before}' if before > 1 else 'without a launcher'
    advice = f'Start it as before, {start}, or start a new training from its parameters, in another folder.'
    raise bad_input(source, f'a training of {_processes(before)}', f'one of {_processes(size)}', advice=advice)


def _processes(count):
    return f'{count} processes' if count > 1 else '1 process'


_WEIGHTS_ONLY = 'To start a new training from its weights, give the folder as --init_pretraining_params.'


def restore_variables(tensors, expected, session, source, others=False):
    """Set variables from a file of tensors, strictly.

    Args:
        tensors: `propeller.storage.Tensors`.
        expected: dict name -> shape of the variables.
        session: where they are; they have been initialised.
        source: the file or folder, for messages.
        others: whether the file may hold more.
    Raises:
        UserError: one is missing, of another shape or type, or not finite; or the file holds more.
    """
    held = [name for name in expected if name in tensors]
    wrong = [f'{name} is missing' for name in expected if name not in tensors]
    if not others:
        wrong += [f'{name} is not part of this program' for name in tensors if name not in expected]
    wrong += [
        f'{name} has shape {list(tensors.shape(name))}, expected {list(expected[name])}'
        for name in held
        if tuple(tensors.shape(name)) != tuple(expected[name])
    ]
    faults = {name: type_fault(tensors.dtype(name), session.dtype(name)) for name in held}
    wrong += [f'{name} {fault}' for name, fault in faults.items() if fault]
    if wrong:
        raise UserError(f'{source}: does not fit this program: {"; ".join(wrong)}.')
    load_values(session, expected, tensors, source)
