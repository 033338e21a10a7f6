"""`python -m propeller.ops [status|build]`: what fused operators this machine has; compile them now."""

import sys

from propeller.args import Parser
from propeller.errors import UserError, one_line_errors
from propeller.ops import build
from propeller.ops.choice import kernels, load
from propeller.ops.selftest import check


def main(argv=None, prog='python -m propeller.ops'):
    """Returns the exit code."""
    parser = Parser(prog=prog, description=__doc__)
    actions = parser.add_subparsers(dest='action', metavar='ACTION')
    actions.add_parser('status', help='say what there is; compiles nothing (default)')
    actions.add_parser('build', help='compile them, also if that has failed before')
    actions.add_parser('check', help='run the test of a library; ends with 1 if it fails').add_argument('library')
    args = parser.parse_args(argv)
    try:
        if args.action == 'check':
            check(load(args.library))
        elif args.action == 'build':
            path = build.library(again=True, say=print)
            print(f'{kernels().describe()}: {path}')
        else:
            print(status())
    except build.Unavailable as e:
        raise UserError(f'no fused operators: {e}.') from None
    return 0


def status():
    """What there is, in a line; before it a line for each place that is not trusted."""
    said = []
    try:
        found = build.existing(said.append)
        if found:
            text = f'{kernels().describe()}: {found}'
        else:
            text = 'fused operators: not compiled yet; the first program that needs them does it, or `... build`'
    except build.Unavailable as e:
        text = f'plain operators: {e}'
    return '\n'.join([*said, text])


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
