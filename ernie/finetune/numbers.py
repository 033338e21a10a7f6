"""The numbers that were left to `auto`, found out before the model is built."""

import math
import os

import numpy as np

from ernie.finetune.recipe import NUMBERS, choose
from ernie.run.memory import available_memory, training_memory
from ernie.settings import run_yaml
from ernie.settings.fields import AUTO
from propeller import ops
from propeller.log import get_logger

log = get_logger(__name__)

PERCENTILES = (50, 90, 95, 99, 100)


def open_numbers(args):
    """Names of the numbers of the settings that are not known yet."""
    return [name for name in NUMBERS if getattr(args, name) == AUTO]


def percentiles(lengths):
    """dict percentile -> tokens, as `Facts` has it. lengths: of rows, at least one."""
    values = np.percentile(lengths, PERCENTILES, method='higher')
    return dict(zip(PERCENTILES, map(int, values), strict=True))


def with_numbers(args, facts, world):
    """The settings with what `choose` makes of facts.

    Args:
        args: `FinetuneSettings`.
        facts: `Facts`.
        world: `World`; all processes take the numbers of the first, whose memory is asked.
    Returns:
        (the settings, dict name -> `Choice`).
    """
    missing = open_numbers(args)
    given = {name: getattr(args, name) for name in NUMBERS if name not in missing}
    chosen = choose(facts, given)
    values = world.broadcast_object({name: chosen[name].value for name in missing})
    log.debug('auto: %s', ', '.join(f'{name} {values[name]} ({chosen[name].reason})' for name in missing))
    return args.replace(**values), {name: chosen[name] for name in missing}


def recorded_numbers(args):
    """Where a training is resumed: the settings with the numbers of its run.yaml in the place of `auto`."""
    path = os.path.join(args.checkpoints, run_yaml.FILE)
    missing = open_numbers(args)
    if not missing or not os.path.isfile(path):
        return args
    found = run_yaml.read_settings(path, type(args))
    return args.replace(**{name: found[name] for name in missing if name in found})


def memory_of(args, source):
    """(function of rows and tokens -> bytes of a training, bytes that are free or None), for `Facts`.

    source: `Source` of the model.
    """
    parameters = _parameters(source)

    def need(rows, length):
        return training_memory(
            source.config,
            rows,
            length,
            parameters,
            parameters,
            'fp32' if args.precision == 'auto' else args.precision,
            args.recompute,
            args.gradient_accumulation_steps > 1,
            args.freeze_encoder,
            bool(args.use_cuda),
            not args.use_cuda and ops.available(args.fused_ops),
        ).total

    return need, None if args.use_cuda else available_memory()


def _parameters(source):
    """How many numbers the parameters have, near enough: those of the folder, or of the configuration."""
    if source.tensors is not None:
        return sum(math.prod(source.tensors.shape(name)) for name in source.tensors)
    config = source.config
    wide = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    return config.hidden_size * (config.vocab_size + config.max_position_embeddings) + config.num_hidden_layers * wide
