"""Sequence labelling, e.g. named entities: training, evaluation, prediction."""

from ernie.programs import TAG
from propeller.errors import one_line_errors

build_parser, main = TAG.build_parser, TAG.main

if __name__ == '__main__':
    with one_line_errors():
        main()
