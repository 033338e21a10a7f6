"""Pre-training of ERNIE 1.0 and 2.0: masked words and what else the samples have labels for."""

import os

from ernie.pretrain.flags import build_parser
from propeller.errors import one_line_errors


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser('train.py').parse_args(argv)
    if args.cpu_threads:
        os.environ['OMP_NUM_THREADS'] = str(args.cpu_threads)
    # Paddle reads the number of threads when it is loaded.
    from ernie.pretrain.trainer import pretrain

    pretrain(args)


if __name__ == '__main__':
    with one_line_errors():
        main()
