"""Sequence labelling, e.g. named entities: training, evaluation, prediction."""

import os

from ernie.finetune.flags import build_parser
from propeller.errors import one_line_errors


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser('run_sequence_labeling.py').parse_args(argv)
    if args.cpu_threads:
        os.environ['OMP_NUM_THREADS'] = str(args.cpu_threads)
    # Paddle reads the number of threads when it is loaded.
    from ernie.finetune.trainer import fine_tune
    from ernie.tasks.sequence_labeling.training import SequenceLabelTask

    fine_tune(args, SequenceLabelTask)


if __name__ == '__main__':
    with one_line_errors():
        main()
