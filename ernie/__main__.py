"""`python -m ernie` is the command `ernie`."""

import sys

from ernie.command import program

if __name__ == '__main__':
    sys.exit(program())
