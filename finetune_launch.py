"""Starts the processes of a data-parallel job: finetune_launch.py [its own flags] script.py [flags of the script]."""

import sys

from propeller.launch.command import build_parser, main, program, read_settings, split_arguments

__all__ = ['build_parser', 'main', 'program', 'read_settings', 'split_arguments']

if __name__ == '__main__':
    sys.exit(program())
