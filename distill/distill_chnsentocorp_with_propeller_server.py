"""distill_chnsentocorp.py with a teacher that a server serves: its flags must be given, as in 2019."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from distill.distill_chnsentocorp import main
from example.command_line import program

if __name__ == '__main__':
    with program():
        main(online=True)
