"""An MNLI file on stdin, our TSV on stdout: 12 columns are a train file, 16 a dev file, any other a test file."""

from cvt import MNLI_DEV, MNLI_TEST, MNLI_TRAIN, run_filter


def choose(columns):
    """The sheet for a file of so many columns."""
    return {12: MNLI_TRAIN, 16: MNLI_DEV}.get(columns, MNLI_TEST)


if __name__ == '__main__':
    run_filter(choose)
