"""infer_classifyer.py under the name that people look for."""

from ernie.programs import INFER
from propeller.errors import one_line_errors

build_parser, main = INFER.build_parser, INFER.main

if __name__ == '__main__':
    with one_line_errors():
        main()
