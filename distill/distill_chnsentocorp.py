"""Trains a student of words on labelled texts, and on others that a teacher has labelled or labels while it trains."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from distill import command_line
from distill.student import train
from example.command_line import program

PROGRAM = 'distill_chnsentocorp'


def build_parser(online=False):
    """The flags. online: whether those of a served teacher must be there."""
    return command_line.build_parser(f'{PROGRAM}.py', __doc__, online)


def main(argv=None, online=False):
    """Run with the flags in `argv` (default: those of the command line)."""
    accuracy = train(command_line.read_setup(PROGRAM, build_parser(online), argv))
    if accuracy is not None:
        print(f'dev_acc3\t{accuracy:.5f}')


if __name__ == '__main__':
    with program():
        main()
