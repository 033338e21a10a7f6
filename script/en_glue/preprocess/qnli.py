"""A QNLI or RTE file on stdin, our TSV on stdout: 4 columns are a train or dev file, any other a test file."""

from cvt import ENTAILED, PLAIN_PAIR_TEST, run_filter


def choose(columns):
    """The sheet for a file of so many columns."""
    return ENTAILED if columns == 4 else PLAIN_PAIR_TEST


if __name__ == '__main__':
    run_filter(choose)
