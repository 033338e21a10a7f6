"""infer_classifyer.py under the name that people look for."""

from infer_classifyer import main
from propeller.errors import one_line_errors

if __name__ == '__main__':
    with one_line_errors():
        main()
