"""Kills a process with SIGKILL at random moments while it saves checkpoints, and starts it again each time.

    python -m benchmark.acceptance.kill_while_saving [--kills 50] [--folder FOLDER] [--seed 1]

The process saves without pause: `step_1`, `step_2` ... of which 3 are kept, and after each a new `best` in place of the
old one. Each value of a checkpoint is computed from its step, so a mixture of two is found out. A restart passes if

- the newest checkpoint restores parameters, optimizer, random state and step, all of the same step;
- that step is not older than the last one whose saving had ended, and the same holds for `best`;
- every other checkpoint that is offered is whole too, but for the optimizer state that only the newest keeps, and after
  `recover` nothing else is left in the folder.

Prints how many restarts passed and how many kills left something unfinished behind: proof that they hit the saving.
Exit code 1 if a restart failed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmark import common
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.storage import open_tensors
from propeller.storage.folders import WORK
from propeller.train.checkpoint import (
    MODEL,
    OPTIMIZER,
    Checkpoints,
    lost_optimizer,
    read_state,
    restore_parameters,
    restore_training,
    save_checkpoint,
)

KEEP = 3
BEST = 'best'
WIDTHS = (257, 384, 129)


def small_training_program():
    """A session and a training program of two matrices, AdamW included: about 1.8 MB a checkpoint."""
    from propeller import graph
    from propeller.session import Session
    from propeller.update import minimize

    def build(x):
        for i, shape in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False)):
            x = graph.paddle.matmul(x, graph.parameter(f'layer_{i}.w_0', shape, graph.constant(0)))
        loss = (x * x).mean()
        minimize(loss, lambda step: 0.001)
        return loss

    session = Session(seed=1)
    program = session.build([graph.Feed('x', (-1, WIDTHS[0]), 'float32')], build)
    session.initialize(program)
    return session, program


def values_at(step, shapes):
    """dict name -> array: every variable of `shapes` as a checkpoint of `step` must hold it."""
    return {
        name: np.full(shape, step + i / 64, np.float32) for i, (name, shape) in enumerate(sorted(shapes.items()), 1)
    }


def set_values(session, program, step):
    """Give parameters and optimizer state the values of `step`."""
    for shapes in (program.parameters(), program.optimizer_state()):
        for name, array in values_at(step, shapes).items():
            session.write(name, array)


def mixed_up(read, step, shapes):
    """Names of variables that do not hold what belongs to `step`. read: name -> array."""
    return [name for name, array in values_at(step, shapes).items() if not np.array_equal(read(name), array)]


def check_restart(root, session, program, least_step, least_best):
    """What a restart finds in `root` after a kill.

    Args:
        root: folder of the checkpoints.
        session, program: to restore into.
        least_step, least_best: the last `step_N` and `best` whose saving had ended; 0 for none.
    Returns:
        (step, step of `best`, list of faults): steps are 0 where there is none.
    """
    faults, checkpoints = [], Checkpoints(root, keep=KEEP)
    newest = checkpoints.newest()
    expected = {BEST, *(os.path.basename(checkpoints.path(n)) for n in checkpoints.steps())}
    faults += [f'{name} is left after recovery' for name in os.listdir(root) if name not in expected]
    step = _attempt(faults, _restore, newest, session, program, faults) if newest else 0
    folder = os.path.join(root, BEST)
    best = _attempt(faults, _restore_best, folder, session, program, faults) if os.path.isdir(folder) else 0
    for offered in checkpoints.steps():
        faults += _attempt(faults, _damage, checkpoints.path(offered), offered, program) or []
    for name, found, least in (('newest checkpoint', step, least_step), (BEST, best, least_best)):
        if found < least:
            faults.append(f'{name}: found step {found}, expected at least {least}, whose saving had ended')
    return step, best, faults


def _attempt(faults, check, *args):
    """The result of a check; 0 if it refuses, and then its reason is one more fault."""
    try:
        return check(*args)
    except UserError as e:
        faults.append(str(e))
        return 0


def _damage(folder, step, program):
    found = read_state(folder)['global_step']
    faults = [] if found == step else [f'{folder} is of step {found}']
    parts = {MODEL: program.parameters(), OPTIMIZER: program.optimizer_state()}
    if lost_optimizer(folder):
        del parts[OPTIMIZER]
    for file, shapes in parts.items():
        tensors = open_tensors(os.path.join(folder, file))
        faults += [f'{folder}/{file}: {name}' for name in mixed_up(tensors.__getitem__, found, shapes)]
    return faults


def _restore(folder, session, program, faults):
    set_values(session, program, 0)
    state = restore_training(folder, session, program)
    session.set_random_state(state['random_state'])
    for part in (program.parameters(), program.optimizer_state()):
        faults += [f'{folder}: {name} restored wrongly' for name in mixed_up(session.read, state['global_step'], part)]
    return state['global_step']


def _restore_best(folder, session, program, faults):
    set_values(session, program, 0)
    step = read_state(folder)['global_step']
    restore_parameters(folder, session, program)
    faults += [f'{folder}: {name} restored wrongly' for name in mixed_up(session.read, step, program.parameters())]
    return step


# ---------------------------------------------------------------- the process that is killed


def save_without_end(root, least_step, least_best):
    """Check what the last kill left, print it as JSON, then save for ever; each finished saving prints a line."""
    session, program = small_training_program()
    step, best, faults = check_restart(root, session, program, least_step, least_best)
    print(json.dumps({'step': step, 'best': best, 'faults': faults}), flush=True)
    checkpoints = Checkpoints(root, keep=KEEP, files={'vocab.txt': b'[PAD]\n' * 20000}, lean=True)
    while True:
        step += 1
        set_values(session, program, step)
        checkpoints.save(session, program, {'global_step': step, 'random_state': session.random_state()})
        print(f'step {step}', flush=True)
        folder = os.path.join(root, BEST)
        save_checkpoint(folder, session, program, {'global_step': step}, checkpoints.files, weights_only=True)
        print(f'best {step}', flush=True)


# ---------------------------------------------------------------- the process that kills


def one_life(root, least, delay):
    """Start the saving process, kill it `delay` seconds after its check.

    Args:
        root: folder of the checkpoints.
        least: dict with the last finished `step` and `best`; brought up to date in place.
        delay: seconds.
    Returns:
        (list of faults the restart found, whether the kill left something unfinished).
    """
    command = [sys.executable, '-m', 'benchmark.acceptance.kill_while_saving', '--save_in', root]
    command += ['--least', str(least['step']), str(least['best'])]
    with tempfile.TemporaryFile('w+') as complaints:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True, cwd=common.ROOT)
        first = process.stdout.readline()
        time.sleep(delay if first else 0)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()  # what it printed lies in the pipe, however suddenly it ended
        if process.wait() != -signal.SIGKILL or not first:
            complaints.seek(0)
            text = complaints.read()[-2000:]
            raise UserError(f'the saving process ended by itself with code {process.returncode}. {text}')
    for line in rest.splitlines():
        word, _, step = line.partition(' ')
        if word in least and step.isdigit():
            least[word] = int(step)
    unfinished = any(name.startswith(WORK) for name in os.listdir(root))
    return json.loads(first)['faults'], unfinished


def kill_many(root, kills, longest, seed):
    """Returns (restarts that passed, kills that left something unfinished)."""
    rng, least = random.Random(seed), {'step': 0, 'best': 0}
    passed = unfinished = 0
    for number in range(1, kills + 1):
        faults, left = one_life(root, least, rng.uniform(0, longest))
        passed += number > 1 and not faults  # the first life starts in an empty folder: no kill came before
        unfinished += left
        _complain(number - 1, faults)
    _, _, faults = check_restart(root, *small_training_program(), least['step'], least['best'])
    _complain(kills, faults)
    print(f'{least["step"]} checkpoints were saved in between')
    return passed + (not faults), unfinished


def _complain(number, faults):
    if faults:
        print(f'restart after kill {number}: {len(faults)} faults, first: {faults[0]}', flush=True)


def main(argv=None):
    """Kill, check, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--folder', help='where to save, an empty folder on the disk in question (default: temporary)')
    parser.add_argument('--longest', type=float, default=1.0, help='a kill comes within so many seconds (default: 1)')
    parser.add_argument('--seed', type=int, default=1, help='seed of the moments')
    parser.add_argument('--save_in', help=argparse.SUPPRESS)
    parser.add_argument('--least', type=int, nargs=2, default=(0, 0), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.save_in:
        return save_without_end(args.save_in, *args.least)
    if args.kills < 1:
        raise UsageError(f'--kills {args.kills}: expected at least 1.')
    with tempfile.TemporaryDirectory() as scratch:
        root = os.path.abspath(args.folder or scratch)
        os.makedirs(root, exist_ok=True)
        if os.listdir(root):
            raise UserError(f'{root}: found files there, expected an empty folder.')
        passed, unfinished = kill_many(root, args.kills, args.longest, args.seed)
    print(f'{unfinished} of {args.kills} kills left something unfinished')
    print(f'{passed} of {args.kills} restarts found whole checkpoints')
    return int(passed < args.kills)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
