"""Length of a fine-tuning run: one number for schedule, log, progress bar and end; and what it is known by."""

from typing import NamedTuple

from ernie.finetune.numbers import held_share
from ernie.optimization import warmup_steps_of
from propeller.errors import quoted
from propeller.log import get_logger

log = get_logger(__name__)


class RunLength(NamedTuple):
    """steps: updates from the first to the last, those of earlier runs that this one continues included.
    warmup_steps: updates over which the rate rises.
    """

    steps: int
    warmup_steps: int


def run_length(args, stream):
    """The `RunLength` of the flags over a `propeller.data.batching.BatchStream`."""
    steps = stream.steps_of_run(args.max_steps or None)
    return RunLength(steps, warmup_steps_of(args.lr_scheduler, args.warmup_proportion, steps))


def recorded_facts(args, task, length, train_file):
    """What `training_state.json` holds of a run beside the place in it: dict.

    args: `FinetuneSettings`. task: `Task`. length: `RunLength`. train_file: digest of the training file.
    """
    return {
        'train_file': train_file,
        'schedule': length._asdict(),
        'dev_share': held_share(args),
        'encoder_dropout': task.encoder_dropout,
    }


def log_length(args, length, examples):
    """The lines of 2019, and what may surprise. examples: number of training rows."""
    log.debug('Num train examples: %d', examples)
    log.debug('Max train steps: %d', length.steps)
    log.debug('Num warmup steps: %d', length.warmup_steps)
    if args.max_steps > length.steps:
        log.info('--max_steps %d: the data of --epoch %d end after step %d', args.max_steps, args.epoch, length.steps)
    if args.warmup_proportion and not length.warmup_steps:
        log.debug('--warmup_proportion %g of %d steps is less than one step', args.warmup_proportion, length.steps)


def log_schedule_change(checkpoint, saved, length):
    """Where a training continues with another schedule than before, from which the rate may jump.

    Args:
        checkpoint: folder that the training continues from.
        saved: what it records of its `RunLength` as a dict; None if it is from before there was such a record, when
            the steps were epochs * rows // rows of an update.
        length: `RunLength` of now.
    """
    if saved is None:
        log.info('%s does not record the length of its schedule; the learning rate continues by one of %d steps',
                 checkpoint, length.steps)  # fmt: skip
    elif saved != length._asdict():
        log.info('%s was saved under a schedule of %s steps (warm-up %s); '
                 'the learning rate continues by one of %d (%d)',
                 checkpoint, quoted(saved.get('steps')), quoted(saved.get('warmup_steps')), *length)  # fmt: skip
