"""How much memory a training run needs, and how much there is."""

import math
from typing import NamedTuple

from propeller import ops
from propeller.environment import available_memory
from propeller.execution import LESS_MEMORY
from propeller.log import get_logger

log = get_logger(__name__)

MEGABYTE = 2**20
# Python, Paddle and our own modules before anything is computed, measured with PaddlePaddle 3.3 for CPU.
PROGRAM_BYTES = 330 * MEGABYTE
HALF_SHARE = 0.8  # of float32's activations in 16 bits: softmax, norms and gelu stay in float32, casts are copies


class TrainingMemory(NamedTuple):
    """Bytes at the peak of a step, by what they are for."""

    program: int
    parameters: int  # with gradients, optimizer state and buffers
    activations: int

    @property
    def total(self):
        return sum(self)


def layer_activations(config, length):
    """Bytes that one layer keeps for the backward pass, per token.

    Values of 4 bytes: its input; query, key, value; context; the two sums before and the norm between; two of the
    feed-forward width; and each head's softmax, a row of `length`. With dropout also masks of one byte, and the
    softmax once more.
    """
    hidden, wide, scores = config.hidden_size, config.intermediate_size, config.get('num_attention_heads', 0) * length
    size = 4 * (8 * hidden + 2 * wide + scores)
    if config.hidden_dropout_prob:
        size += 2 * hidden
    if config.attention_probs_dropout_prob:
        size += 5 * scores
    return size


def fused_layer_activations(config, half):
    """The same with fused operators: bytes per token, padding not counted.

    In the type of the products: the inputs of both halves, context, the activations of the feed-forward width and their
    slopes. In float32: query, key, value; the sums before both norms. No scores, no masks.
    """
    hidden, wide = config.hidden_size, config.intermediate_size
    return (2 if half else 4) * (3 * hidden + 2 * wide) + 4 * 5 * hidden


def training_memory(
    config,
    rows,
    length,
    parameters,
    trained,
    precision='fp32',
    recompute=False,
    accumulated=False,
    freeze_encoder=False,
    use_cuda=False,
    fused=False,
    by_rows=0,
):
    """An estimate of the peak of a training step with AdamW and clipping. -> `TrainingMemory`

    Args:
        config: `ErnieConfig`.
        rows, length: of the largest batch, in rows and tokens.
        parameters: how many numbers the parameters have in all.
        trained: how many of them are trained.
        precision: `fp32`, `bf16` or `fp16`.
        recompute: whether layers are computed again in the backward pass.
        accumulated: whether gradients of several batches are summed up.
        freeze_encoder: whether the backward pass ends at the head.
        use_cuda: the memory meant is that of a GPU, where the program itself does not stand.
        fused: with fused operators, see `propeller.ops`.
        by_rows: how many numbers the tables have that are trained by rows (`propeller.ops.rows`), where `fused`.
    """
    half = precision != 'fp32'
    if fused:  # beside its value: its gradient, two moments
        states = 4 * parameters + (12 + 4 * accumulated) * trained - 4 * by_rows
        layer = rows * length * fused_layer_activations(config, half)
    else:  # beside its value (in 16 bits once more): its gradient, the same clipped, two moments
        states = 4 * parameters + 2 * half * parameters + (16 + 4 * accumulated) * trained
        layer = rows * length * layer_activations(config, length) * (HALF_SHARE if half else 1)
    layers, boundary = config.num_hidden_layers, 4 * rows * length * config.hidden_size
    # One layer more for the gradients that the backward pass works on.
    if freeze_encoder:
        kept = layer
    elif recompute:
        kept = layers * boundary + 2 * layer
    else:
        kept = (layers + 1) * layer
    return TrainingMemory(0 if use_cuda else PROGRAM_BYTES, int(states), int(kept))


def report_memory(need, available):
    """Log what a training run needs, and warn when there is less.

    Args:
        need: `TrainingMemory`.
        available: bytes, None where it is not known.
    """
    megabytes = [part / MEGABYTE for part in need]
    fixed = megabytes[0] + megabytes[1]
    log.debug('Theoretical memory usage in training: %.3f - %.3f %s', fixed, sum(megabytes), 'MB')
    log.debug(
        'memory in training: about %.0f MB (program %.0f, parameters and optimizer %.0f, activations %.0f)',
        sum(megabytes),
        *megabytes,
    )
    if available is not None and need.total > available:
        log.warning('only %.0f MB of memory are available. %s', available / MEGABYTE, LESS_MEMORY)


def report_training(args, config, program, rows, freeze_encoder=False):
    """`report_memory` for a training by its flags.

    Args:
        args: flags with `max_seq_len`, `precision`, `recompute`, `gradient_accumulation_steps`, `use_cuda`,
            `fused_ops`.
        config: `ErnieConfig`.
        program: the training program.
        rows: rows of the largest batch.
        freeze_encoder: whether the backward pass ends at the head.
    Returns:
        `TrainingMemory`.
    """
    shapes = program.parameters()
    parameters = sum(map(math.prod, shapes.values()))
    trained = sum(math.prod(shapes[name]) for name in program.trainable())
    by_rows = sum(math.prod(shape) for shape, _ in program.row_tables.values())
    need = need_of(args, config, rows, args.max_seq_len, parameters, trained, by_rows, freeze_encoder)
    report_memory(need, None if args.use_cuda else available_memory())
    return need


def need_of(args, config, rows, length, parameters, trained, by_rows, freeze_encoder=False):
    """The `TrainingMemory` of flags, see `report_training`; for the others `training_memory`."""
    accumulated, fused = args.gradient_accumulation_steps > 1, not args.use_cuda and ops.available(args.fused_ops)
    return training_memory(
        config,
        rows,
        length,
        parameters,
        trained,
        precision='fp32' if args.precision == 'auto' else args.precision,
        recompute=args.recompute,
        accumulated=accumulated,
        freeze_encoder=freeze_encoder,
        use_cuda=bool(args.use_cuda),
        fused=fused,
        by_rows=by_rows if fused and not accumulated and not freeze_encoder else 0,
    )
