"""From the settings of train.py to a schedule and its tasks."""

from ernie.pretrain.schedule import read_schedule, single
from ernie.pretrain.tasks import make_tasks
from propeller.args import split_list
from propeller.errors import UsageError
from propeller.log import get_logger

log = get_logger(__name__)


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
