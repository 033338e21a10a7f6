"""`ernie finetune FILE`: the settings of a fine-tuning, made out of a file of somebody's own and few flags."""

import dataclasses
import os
import re

from ernie.checkpoint.labels_json import read_saved_labels
from ernie.finetune.trainer import fine_tune
from ernie.finetune.try_files import TryFiles
from ernie.reader.columns import ColumnNames
from ernie.reader.dataset_folder import is_regular, splits_of
from ernie.run.device import with_device
from ernie.settings import run_yaml
from ernie.settings.finetune import FinetuneSettings
from ernie.survey.form import task_of
from ernie.tasks import table
from ernie.zoo.resolver import resolve
from ernie.zoo.writing import default_encoder, writing_of
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.errors import UsageError
from propeller.storage.locks import FileLock
from propeller.train.checkpoint import Checkpoints
from propeller.train.run_folder import FILE as RUN_FILE

RUNS = 'runs'
_TAKEN_AS = {
    'sequence_labeling': 'tokens with a label each: tags (ernie finetune classify: classes of texts)',
    'mrc': 'questions with their texts: answers are parts of the texts (ernie finetune classify: classes)',
}
_SOURCES = ('init_pretraining_params', 'init_checkpoint', 'ernie_config_path')


def fine_tune_file(args, task=None, kind=None):
    """Do what `ernie finetune FILE` asks for.

    Args:
        args: `OwnDataSettings`.
        task: a name of `table.TASKS`; None: the one that the file is for.
        kind: see `fine_tune`.
    Returns:
        as `fine_tune`.
    Raises:
        UserError: anything the user can mend.
    """
    args = with_split(args).checked()
    log_in_main_process_only(process_info(os.environ))
    survey, spec = None, None
    if args.do_train:
        spec = table.find(task or task_of(args.train_set, ColumnNames.of(args)))
        if spec.survey and is_regular(args.train_set):
            survey = spec.load('survey')(args.train_set, args)
            survey.remark = survey.remark or ('' if task else _TAKEN_AS.get(spec.name, ''))
    spec = spec or table.find(task or _task_of_checkpoint(args.init_checkpoint))
    args = with_folder(with_device(_with_model(args, survey)))
    args = args.replace(do_test=args.do_test and bool(args.test_set))
    names = {field.name for field in dataclasses.fields(FinetuneSettings)}
    settings = FinetuneSettings(**{name: value for name, value in vars(args).items() if name in names})
    return fine_tune(settings, spec.load('training'), survey, own_data=True, kind=kind)


def with_split(args):
    """A folder of a data set may have the dev set, too."""
    splits = splits_of(args.train_set) if args.train_set else {}
    if 'validation' not in splits or args.dev_set or not args.do_val or args.gave('dev_share'):
        return args
    return args.replace(dev_set=splits['validation'])


def _task_of_checkpoint(folder):
    """The task in the labels.json of a checkpoint."""
    name = read_saved_labels(folder).get('task')
    if name not in table.TASKS:
        raise UsageError(f'{folder} does not say its task: ernie finetune classify, tag or read.')
    return name


def _with_model(args, survey):
    """The settings with the model to start from, where a name says it, or nothing does."""
    if not args.model and any(getattr(args, name) for name in _SOURCES):
        return args
    texts = survey.texts() if survey else ()
    name = args.model or default_encoder(writing_of(texts))
    return args.replace(init_pretraining_params=resolve(name, survey.texts() if survey else ()))


def with_folder(args, ending=''):
    """The folder of the run, and the prediction files in it, where they were not given. ending: of its name."""
    folder = args.checkpoints
    if not folder:
        stem = os.path.splitext(os.path.basename(os.path.normpath(args.train_set or args.init_checkpoint)))[0]
        folder = os.path.join(RUNS, re.sub(r'[\s,:]+', '_', stem) + ending)
        # One of several processes chooses: another might see what it has made by then.
        goes_on = args.resume or (args.tries and TryFiles(last(folder)).exists())
        folder = join(args.use_cuda).broadcast_object(last(folder) if goes_on else free(folder))
    args = args.replace(checkpoints=folder)
    return args if args.test_save else args.with_test_save()


def free(folder):
    """The first of FOLDER, FOLDER-2, FOLDER-3 ... in which no run has left anything."""
    number, found = 1, folder
    while is_taken(found):
        number += 1
        found = f'{folder}-{number}'
    return found


def last(folder):
    """The last of them in which a run has; FOLDER where none has."""
    number, found = 1, folder
    while is_taken(found if number == 1 else f'{folder}-{number}'):
        found = folder if number == 1 else f'{folder}-{number}'
        number += 1
    return found


def is_taken(folder):
    """Whether a run has left something in a folder, or is at work there."""
    if os.path.exists(os.path.join(folder, run_yaml.FILE)) or TryFiles(folder).exists():
        return True
    if Checkpoints(folder).folders():
        return True
    path = os.path.join(folder, RUN_FILE)
    if not os.path.exists(path):
        return False
    try:
        FileLock(path).close()
    except OSError:
        return True
    return False
