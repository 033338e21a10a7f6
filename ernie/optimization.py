"""Learning-rate schedules and the AdamW recipe of the suite.

The 2019 linear schedule decays from step 0, not from the end of the warm-up, so the rate drops by the factor
(1 - warmup_steps / total_steps) at that point; and without warm-up it did not decay at all. Both are kept as the
default because all published results were made that way.
"""

from propeller.errors import UsageError, one_of
from propeller.log import get_logger
from propeller.update import minimize

log = get_logger(__name__)

SCHEDULERS = ('linear_warmup_decay', 'noam_decay', 'constant')


def warmup_steps_of(scheduler, proportion, steps):
    """A share of the updates of a run as a number of updates, rounded down as in 2019.

    `noam_decay` has no form without a warm-up: where a share was asked for it gets at least one update.
    """
    warmup = int(steps * proportion + 1e-9)  # 0.29 * 100 is a little less than 29
    return max(warmup, 1) if scheduler == 'noam_decay' and proportion > 0 else warmup


def learning_rate_schedule(scheduler, base, warmup_steps, total_steps, decay_without_warmup=False):
    """A function of the number of updates done -> learning rate.

    The rate of update s + 1 is that of s updates done: of N updates the last one has `linear_warmup_decay`'s base / N.

    Args:
        scheduler: `linear_warmup_decay`: base * s/W below W, then base * (1 - min(s, N)/N);
            `noam_decay`: base * min(sqrt(W/s), s/W) with s counted from 1 (Vaswani et al. 2017, section 5.3, scaled to
            reach `base` at its peak); `constant`: base after a linear warm-up.
        base: peak rate.
        warmup_steps: W. At 0 the rate is constant whatever the scheduler ...
        total_steps: N.
        decay_without_warmup: ... unless this is set, when `linear_warmup_decay` decays from the first step.
    Raises:
        UsageError: unknown scheduler, rate not positive.
    """
    if scheduler not in SCHEDULERS:
        raise UsageError(f'--lr_scheduler {scheduler}: expected {one_of(scheduler, SCHEDULERS)}')
    if not base > 0:
        raise UsageError(f'--learning_rate {base}: expected a number above 0.')
    warmup, total = int(warmup_steps), max(int(total_steps), 1)

    def linear(s):
        return base * s / warmup if s < warmup else base * (1.0 - min(s, total) / total)

    def noam(s):
        return base * min((warmup / (s + 1)) ** 0.5, (s + 1) / warmup)

    def constant(s):
        return base * min(1.0, s / warmup) if warmup > 0 else base

    if scheduler == 'constant' or (warmup <= 0 and not (scheduler == 'linear_warmup_decay' and decay_without_warmup)):
        return constant
    return linear if scheduler == 'linear_warmup_decay' else noam


def describe_schedule(
    scheduler, base, warmup_steps, total_steps, decay_without_warmup=False, hint='--decay_without_warmup true'
):
    """One sentence for the log: what the rate will do. hint: the flag that lets it decay without warm-up."""
    peak, rises = f'{base:g}', f'up to {base:g} over {warmup_steps} steps'
    if 0 < total_steps <= warmup_steps:
        rate = learning_rate_schedule(scheduler, base, warmup_steps, total_steps)(total_steps - 1)
        sentence = f'up to {rate:g} at step {total_steps}, the last one: the warm-up to {peak} has {warmup_steps} steps'
    elif scheduler == 'constant':
        sentence = f'{rises}, then constant' if warmup_steps > 0 else f'constant {peak}'
    elif warmup_steps <= 0 and not (scheduler == 'linear_warmup_decay' and decay_without_warmup):
        hint = f' ({hint} makes it)' if scheduler == 'linear_warmup_decay' else ''
        sentence = f'constant {peak}: {scheduler} without warm-up does not decay{hint}'
    elif scheduler == 'noam_decay':
        sentence = f'noam decay, peak {peak} at step {warmup_steps}'
    elif warmup_steps > 0:
        after = base * (1 - warmup_steps / max(total_steps, 1))
        sentence = f'{rises}, then from {after:g} linearly to 0 at step {total_steps}'
    else:
        sentence = f'from {peak} linearly to 0 at step {total_steps}'
    return f'learning rate: {sentence}'


def decays(name):
    """Whether weight decay applies to the parameter: not to norms and biases."""
    return 'layer_norm' not in name and not name.endswith(('_bias', '_b', '.b_0'))


def optimization(
    loss,
    learning_rate,
    num_train_steps,
    warmup_steps=0,
    weight_decay=0.01,
    scheduler='linear_warmup_decay',
    decay_without_warmup=False,
    clip_norm=1.0,
    optimizer='adamw',
):
    """Append an optimizer to the program being built: AdamW by default, global-norm clipping, a schedule.

    Args:
        loss: scalar value.
        learning_rate, warmup_steps, num_train_steps, scheduler, decay_without_warmup: see `learning_rate_schedule`.
        weight_decay: decoupled decay on everything but norms and biases.
        clip_norm: largest global gradient norm; 0 or None for no clipping.
        optimizer: name of `propeller.optimizers.OPTIMIZERS`.
    """
    settings = (scheduler, learning_rate, warmup_steps, num_train_steps, decay_without_warmup)
    log.debug(describe_schedule(*settings))
    minimize(loss, learning_rate_schedule(*settings), weight_decay, decays, clip_norm or None, optimizer)
