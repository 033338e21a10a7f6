"""Length of a pre-training run: stages, updates, rates, and their log lines."""

from propeller.errors import quoted
from propeller.log import get_logger
from propeller.train.checkpoint import read_state

log = get_logger(__name__)


def rate_settings(args):
    """What `Schedule.rate` takes of the flags."""
    return args.lr_scheduler, args.learning_rate, args.warmup_steps


def settle_schedule(args, updates, world, checkpoint=None):
    """Let the schedule end where the data do, and say what will be done and what cannot be meant.

    Args:
        updates: `ernie.pretrain.updates.Updates`; its schedule is changed.
        world: `propeller.distribution.World`.
        checkpoint: folder that the training continues from, perhaps under another schedule; None if it begins.
    Returns:
        the `Schedule` of the run.
    """
    counted = world.broadcast_object(updates.count() if world.is_main_process else None)
    if counted is not None and counted < updates.schedule.total:
        updates.schedule = updates.schedule._replace(end=max(counted, 1))
        log.warning('the data of --epoch %d end before the schedule, after %d updates', args.epoch, counted)
    schedule = updates.schedule
    log.debug('schedule: %d updates, stages: %d', schedule.total, len(schedule.stages))
    for line in schedule.lines(*rate_settings(args)):
        log.debug(line)
    if counted is None:
        told = 'the data are too large to be counted: whether they last for %d updates (--epoch %d) is not known'
        log.info(told, schedule.total, args.epoch)
    for number, (*_, warmup, steps) in enumerate(schedule.settings(*rate_settings(args)), start=1):
        if warmup >= steps:
            told = (
                'stage %d: the warm-up of %d updates is not over when the stage ends after %d; give fewer warm-up steps'
            )
            log.warning(told, number, warmup, steps)
    if checkpoint:
        saved = read_state(checkpoint).get('schedule')
        if saved is not None and saved != schedule_record(args, schedule):
            log.warning('%s was saved under another schedule: %s', checkpoint, quoted(saved.get('stages')))
    return schedule


def schedule_record(args, schedule):
    """What `training_state.json` keeps of the schedule."""
    return {'stages': schedule.lines(*rate_settings(args))}


def warn_of_early_end(args, schedule, done):
    """Where the data were too large to be counted, and ended before the schedule. done: updates."""
    if done < schedule.total:
        told = 'the data of --epoch %d ended after %d of %d updates, and the rate did not come to its end'
        log.warning(told, args.epoch, done, schedule.total)
