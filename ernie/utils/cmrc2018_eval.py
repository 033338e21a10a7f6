"""The scores of CMRC 2018 by the name of 2019: `python -m ernie.utils.cmrc2018_eval TRUTH.json PREDICTION.json`."""

from ernie.metrics.mrc import evaluate, main, mixed_segmentation  # noqa: F401
from propeller.errors import one_line_errors

if __name__ == '__main__':
    with one_line_errors():
        main()
