"""From the flags of train.py to a schedule and its tasks: what cannot be is refused before any work is done."""

import os

from ernie.optimization import SCHEDULERS
from ernie.pretrain.reader_settings import LEAST_BATCH
from ernie.pretrain.schedule import read_schedule, single
from ernie.pretrain.tasks import make_tasks
from ernie.run.precision import check_precision
from ernie.run.start import check_resume
from ernie.utils.args import split_list
from propeller.errors import UsageError, UserError
from propeller.log import get_logger

log = get_logger(__name__)


def check_flags(args):
    """Refuse flags that cannot be, or that contradict each other.

    Raises:
        UsageError: names the flag, what was found and what was expected.
        UserError: a file that is not there.
    """
    check_precision(args)
    if args.do_test and not (args.test_filelist and args.init_checkpoint):
        raise UsageError('--do_test true needs --test_filelist and --init_checkpoint.')
    if not args.do_test and bool(args.train_filelist) == bool(args.schedule):
        raise UsageError('found --train_filelist and --schedule both or neither, expected one of them to train from.')
    if args.schedule and 'tasks' in args.given:
        raise UsageError('--tasks and --schedule: give one; a schedule names its own tasks.')
    check_resume(args)
    if args.early_stop == 0:
        raise UsageError('--early_stop 0: expected the number of validations to wait, or -1 for never.')
    if (args.keep_best or args.early_stop > 0) and not args.valid_filelist:
        raise UsageError('--keep_best and --early_stop need a --valid_filelist.')
    if args.batch_size <= LEAST_BATCH:
        raise UsageError(f'--batch_size {args.batch_size}: it counts tokens and must exceed {LEAST_BATCH}.')
    if args.batch_size < args.max_seq_len:
        raise UsageError(
            f'--batch_size {args.batch_size} counts tokens and must be at least --max_seq_len {args.max_seq_len}.'
        )
    if args.lr_scheduler not in SCHEDULERS:
        raise UsageError(f'--lr_scheduler {args.lr_scheduler}: expected one of {", ".join(SCHEDULERS)}.')
    _check_numbers(args)
    for flag in ('train_filelist', 'valid_filelist', 'test_filelist', 'schedule'):
        path = getattr(args, flag)
        if path and not os.path.isfile(path):
            found = 'found a folder, expected a file' if os.path.isdir(path) else 'no such file'
            raise UserError(f'--{flag}: {path}: {found}.')


def _check_numbers(args):
    least = dict.fromkeys(
        ('epoch', 'num_train_steps', 'save_steps', 'validation_steps', 'skip_steps', 'gradient_accumulation_steps'), 1
    )
    least |= {'max_seq_len': 3, 'max_ngram': 1, 'buffer_size': 1, 'cpu_threads': 1}
    least |= {'warmup_steps': 0, 'weight_decay': 0, 'max_checkpoints': 0, 'random_seed': 0, 'early_stop': -1}
    for name, smallest in least.items():
        value = getattr(args, name)
        if value is not None and not value >= smallest:
            raise UsageError(f'--{name} {value}: expected at least {smallest}.')
    if not args.learning_rate > 0:
        raise UsageError(f'--learning_rate {args.learning_rate}: expected a number above 0.')
    if not 0 < args.masking_rate < 1:
        raise UsageError(f'--masking_rate {args.masking_rate}: expected a share between 0 and 1.')


def schedule_of(args):
    """The `Schedule` of the flags: that of a file, or one stage of --num_train_steps updates."""
    if args.schedule:
        schedule = read_schedule(args.schedule)
        idle = [name for name in schedule.filelists if not any(stage.steps.get(name) for stage in schedule.stages)]
        if idle:
            log.warning('%s: no stage has updates for %s', args.schedule, ', '.join(idle))
        return schedule
    return single(args.train_filelist or args.test_filelist, args.num_train_steps)


def tasks_of(args, schedule):
    """The tasks whose heads the program has, in the order of their ids.

    Those of --tasks; with --schedule its own.
    """
    names = list(schedule.filelists) if args.schedule else split_list(args.tasks)
    if not names:
        raise UsageError('--tasks is empty: expected names of pre-training tasks, joined by commas.')
    return make_tasks(names, schedule.classes)
