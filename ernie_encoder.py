"""Vectors of texts and of their tokens from a pre-trained or fine-tuned encoder, as NumPy files."""

from ernie.programs import ENCODE
from propeller.errors import one_line_errors

build_parser, main = ENCODE.build_parser, ENCODE.main

if __name__ == '__main__':
    with one_line_errors():
        main()
