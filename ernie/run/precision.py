"""Precision and kind of the operators, as the flags ask for them."""

from propeller.environment import FUSED_OPS
from propeller.errors import UsageError
from propeller.train.precision import PRECISIONS, LossScale


def check_precision(args):
    """Settle --precision: 2019's --use_fp16 true is fp16. Check --fused_ops."""
    for flag, values in (('precision', ('auto', *PRECISIONS)), ('fused_ops', FUSED_OPS)):
        if getattr(args, flag) not in values:
            raise UsageError(f'--{flag} {getattr(args, flag)}: expected one of {", ".join(values)}.')
    if args.use_fp16:
        if 'precision' in args.given and args.precision != 'fp16':
            raise UsageError(f'--use_fp16 true and --precision {args.precision}: give one.')
        args.precision = 'fp16'
    if args.precision == 'fp16' and not args.use_cuda:
        flag = '--use_fp16 true' if args.use_fp16 else '--precision fp16'
        raise UsageError(f'{flag} needs a GPU; on a processor take --precision bf16 or fp32.')
    if args.fused_ops == 'true' and args.use_cuda:
        raise UsageError('--fused_ops true is for processors; on a GPU take auto or false.')
    loss_scale(args)


def loss_scale(args):
    """The `LossScale` of the flags, or None where the precision needs none.

    Raises:
        UsageError: a value that cannot be.
    """
    if args.precision != 'fp16':
        return None
    return LossScale(
        args.init_loss_scaling,
        args.use_dynamic_loss_scaling,
        args.incr_every_n_steps,
        args.decr_every_n_nan_or_inf,
        args.incr_ratio,
        args.decr_ratio,
    )
