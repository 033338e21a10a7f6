"""Starts the processes of a pre-training; see `finetune_launch.py`."""

import sys

from propeller.launch.command import program

if __name__ == '__main__':
    sys.exit(program(split_log_path='./log'))
