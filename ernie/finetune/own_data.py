"""`ernie finetune FILE`: the settings of a fine-tuning, made out of a file of somebody's own and few flags."""

import dataclasses
import os
import re

from ernie.finetune.trainer import fine_tune
from ernie.finetune.try_files import TryFiles
from ernie.run.device import with_device
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from ernie.tasks import table
from propeller.distribution import join
from propeller.errors import UsageError
from propeller.storage.locks import FileLock
from propeller.train.checkpoint import Checkpoints
from propeller.train.run_folder import FILE as RUN_FILE

RUNS = 'runs'
_SOURCES = ('init_pretraining_params', 'init_checkpoint', 'ernie_config_path')


def fine_tune_file(args, task=None):
    """Do what `ernie finetune FILE` asks for.

    Args:
        args: `OwnDataSettings`.
        task: a name of `table.TASKS`; None: the one that the file is for.
    Returns:
        as `fine_tune`.
    Raises:
        UserError: anything the user can mend.
    """
    args = with_device(args.checked())
    spec = table.find(task or task_of(args.train_set))
    args = _with_folder(_with_model(_with_sets(args)))
    names = {field.name for field in dataclasses.fields(FinetuneSettings)}
    settings = FinetuneSettings(**{name: value for name, value in vars(args).items() if name in names})
    return fine_tune(settings, spec.load('training'))


def task_of(path):
    """The name of the task that a file is for."""
    return 'classification'


def _with_sets(args):
    """What is evaluated and predicted: what there is."""
    share = 0.0 if args.dev_set or not args.do_val else args.dev_share
    early_stop = args.early_stop if args.dev_set or share else -1
    return args.replace(dev_share=share, early_stop=early_stop, do_test=args.do_test and bool(args.test_set))


def _with_model(args):
    if args.model:
        return args.replace(init_pretraining_params=args.model)
    if args.resume or any(getattr(args, name) for name in _SOURCES):
        return args
    raise UsageError('--model is missing: the folder of a pre-trained model.')


def _with_folder(args):
    """The folder of the run, and the prediction files in it, where they were not given."""
    folder = args.checkpoints
    if not folder:
        stem = os.path.splitext(os.path.basename(os.path.normpath(args.train_set or args.init_checkpoint)))[0]
        folder = os.path.join(RUNS, re.sub(r'[\s,:]+', '_', stem))
        # One of several processes chooses: another might see what it has made by then.
        goes_on = args.resume or (args.tries and TryFiles(_last(folder)).exists())
        folder = join(args.use_cuda).broadcast_object(_last(folder) if goes_on else _free(folder))
    return args.replace(checkpoints=folder, test_save=args.test_save or os.path.join(folder, 'test_result'))


def _free(folder):
    """The first of FOLDER, FOLDER-2, FOLDER-3 ... in which no run has left anything."""
    number, found = 1, folder
    while is_taken(found):
        number += 1
        found = f'{folder}-{number}'
    return found


def _last(folder):
    """The last of them in which a run has; FOLDER where none has."""
    number, found = 1, folder
    while is_taken(found if number == 1 else f'{folder}-{number}'):
        found = folder if number == 1 else f'{folder}-{number}'
        number += 1
    return found


def is_taken(folder):
    """Whether a run has left something in a folder, or is at work there."""
    if os.path.exists(os.path.join(folder, run_yaml.FILE)) or Checkpoints(folder).folders():
        return True
    path = os.path.join(folder, RUN_FILE)
    if not os.path.exists(path):
        return False
    try:
        FileLock(path).close()
    except OSError:
        return True
    return False
