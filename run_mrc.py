"""Reading comprehension on SQuAD-form files: training, evaluation, prediction."""

from ernie.programs import READ
from propeller.errors import one_line_errors

build_parser, main = READ.build_parser, READ.main

if __name__ == '__main__':
    with one_line_errors():
        main()
