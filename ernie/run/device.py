"""Where a program computes: as `--use_cuda` says, or where it is left out on a GPU that Paddle has, else not."""

from propeller.graph import cuda_devices
from propeller.log import get_logger

log = get_logger(__name__)


def with_device(args):
    """Settings whose `use_cuda` is true or false. args: settings with `use_cuda`, None where it was left out."""
    if args.use_cuda is not None:
        return args
    found = cuda_devices() > 0
    if not found:
        log.debug('no GPU that Paddle can use: computing on the processor (--use_cuda true would insist on a GPU)')
    return args.replace(use_cuda=found)
