"""Pre-training of ERNIE 1.0 and 2.0: masked words and what else the samples have labels for."""

from ernie.programs import PRETRAIN
from propeller.errors import one_line_errors

build_parser, main = PRETRAIN.build_parser, PRETRAIN.main

if __name__ == '__main__':
    with one_line_errors():
        main()
