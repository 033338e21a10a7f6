"""The session of a training program, by its flags."""

from propeller import ops
from propeller.log import get_logger
from propeller.session import Session

log = get_logger(__name__)


def session_of(args, seed, world):
    """The `Session`; what computes its products is logged.

    Args:
        args: settings with `use_cuda`, `precision` and `fused_ops`.
        seed: see `Session`.
        world: `propeller.distribution.World`.
    Raises:
        UserError: there is no GPU.
        UsageError: the operators or the precision that the flags ask for cannot be had.
    """
    session = Session(args.use_cuda, seed, precision=args.precision, world=world, fused_ops=args.fused_ops)
    log.debug('precision: %s', session.precision)
    if session.precision == 'bf16' and not args.use_cuda and not ops.available(args.fused_ops):
        log.warning('--precision bf16 without fused operators is slower than fp32 on a processor')
    return session
