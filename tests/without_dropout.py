"""`python -m tests.without_dropout PROGRAM.py FLAGS`: the program without the dropout that its head always has."""

import importlib
import sys

if __name__ == '__main__':
    from propeller.errors import one_line_errors

    with one_line_errors():
        from ernie.model import heads

        heads.HEAD_DROPOUT = 0.0
        importlib.import_module(sys.argv[1].removesuffix('.py')).main(sys.argv[2:])
