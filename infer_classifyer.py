"""Prediction with a fine-tuned checkpoint, and its export. The name is that of 2019."""

import os

from propeller.errors import one_line_errors


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    from ernie.inference.flags import build_parser

    args = build_parser('infer_classifyer.py').parse_args(argv)
    if args.cpu_threads:
        os.environ['OMP_NUM_THREADS'] = str(args.cpu_threads)
    # Paddle reads the number of threads when it is loaded.
    from ernie.inference.program import infer

    infer(args)


if __name__ == '__main__':
    with one_line_errors():
        main()
