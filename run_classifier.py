"""Classification, regression and multi-label classification: training, evaluation, prediction."""

from ernie.programs import CLASSIFY
from propeller.errors import one_line_errors

build_parser, main = CLASSIFY.build_parser, CLASSIFY.main

if __name__ == '__main__':
    with one_line_errors():
        main()
