"""`python -m ernie.zoo list` and `download`."""

from ernie.zoo.cli import main
from propeller.errors import one_line_errors

if __name__ == '__main__':
    with one_line_errors():
        main()
