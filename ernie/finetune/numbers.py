"""The numbers that were left to `auto`, found out before the model is built."""

import math
import os

import numpy as np

from ernie.checkpoint.sizes import parameter_count
from ernie.finetune.recipe import NUMBERS, READING, TEXT_ENCODERS, Facts, choose
from ernie.model.encoders import backbone_shapes
from ernie.run.memory import need_of
from ernie.settings import run_yaml
from ernie.settings.fields import AUTO
from ernie.settings.finetune import FinetuneSettings
from propeller.environment import available_memory
from propeller.log import get_logger

log = get_logger(__name__)

PERCENTILES = (50, 90, 95, 99, 100)
_LEAST_PART = 35  # tokens of a window beside the question, special ones included


def open_numbers(args):
    """Names of the numbers of the settings that are not known yet."""
    return [name for name in NUMBERS if getattr(args, name) == AUTO]


def percentiles(lengths):
    """dict percentile -> tokens, as `Facts` has it. lengths: of rows, at least one."""
    values = np.percentile(lengths, PERCENTILES, method='higher')
    return dict(zip(PERCENTILES, map(int, values), strict=True))


def facts_of(args, survey, coverage, source, processes=1):
    """The `Facts` of a training.

    Args:
        args: `FinetuneSettings`.
        survey: `Survey` of the training file.
        coverage: `Coverage` of its sample.
        source: `Source` of the model.
        processes: of the job.
    """
    config, parts = source.config, processes * args.gradient_accumulation_steps
    rows = max(round(survey.rows * (1 - held_share(args))), 1)
    # The question has its room whether it needs it or not.
    least = args.max_query_length + _LEAST_PART if survey.task == READING else 0
    lengths, memory = percentiles(coverage.lengths), memory_of(args, source)
    classes, positions = survey.num_labels, config.max_position_embeddings
    # What was fine-tuned has the layers that it was trained with.
    makes_vectors = source.origin.get('name') in TEXT_ENCODERS and not source.saved
    model = config.hidden_size, config.get('num_hidden_layers') or 0, makes_vectors
    return Facts(survey.task, survey.kind, rows, lengths, classes, positions, *memory, *model, parts, least)


def held_share(args):
    """Share of the training rows that are held out; 0 where there is a dev set, or nothing is evaluated."""
    return args.dev_share if args.do_val and not args.dev_set else 0.0


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


def plain_numbers(args, positions):
    """The settings with 2019's numbers in the place of `auto`: nothing is trained, or nothing is known of the data.

    positions: tokens that the model can read at most.
    """
    values = {name: FinetuneSettings.__dataclass_fields__[name].default for name in open_numbers(args)}
    if 'max_seq_len' in values:
        values['max_seq_len'] = min(values['max_seq_len'], positions)
    return args.replace(**values)


def memory_of(args, source):
    """(function of rows and tokens -> bytes of a training, bytes that are free or None), for `Facts`.

    source: `Source` of the model.
    """
    count, table = parameter_count(source.config), backbone_shapes(source.config).get('word_embedding', [0])

    def need(rows, length):
        by_rows = math.prod(table)
        return need_of(args, source.config, rows, length, count, count, by_rows, args.freeze_encoder).total

    return need, None if args.use_cuda else available_memory()
