"""Reads the 20 variable files that a real fluid 1.x wrote (the `jieba` package ships them) and rewrites them.

Prints a line per file and `20 of 20 files rewritten byte-identical`; exit code 1 if fewer are.

    python -m benchmark.acceptance.fluid_files [FOLDER]
"""

import argparse
import os
import sys
import tempfile

from benchmark.common import package_folder
from propeller.errors import one_line_errors
from propeller.storage import open_tensors
from propeller.storage.fluid import write_variable


def jieba_folder():
    """The folder of variable files in the installed `jieba` package."""
    return package_folder('jieba', 'lac_small/model_baseline', 'pip install jieba==0.42.1, or give a folder')


def same_after_rewriting(folder, print_line=lambda line: None):
    """How many variable files of `folder` come out byte-identical when read and written, and how many there are."""
    same = 0
    tensors = open_tensors(folder)
    with tempfile.TemporaryDirectory() as copies:
        for name in tensors:
            copy = os.path.join(copies, name)
            write_variable(copy, tensors[name])
            with open(copy, 'rb') as a, open(os.path.join(folder, name), 'rb') as b:
                equal = a.read() == b.read()
            same += equal
            verdict = 'identical' if equal else 'DIFFERENT'
            print_line(f'{name:<12} {str(tensors.dtype(name)):<8} {str(list(tensors.shape(name))):<14} {verdict}')
    return same, len(tensors)


def main(argv=None):
    """Print the verdicts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?', help='A folder of variable files (default: those of the jieba package).')
    folder = parser.parse_args(argv).folder or jieba_folder()
    same, count = same_after_rewriting(folder, print)
    print(f'{same} of {count} files rewritten byte-identical')
    return int(same < count)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
