"""`from propeller.metrics import Acc`, as the README of 2019 names them: the classes of `propeller.train.metrics`."""

from propeller.train.metrics import *  # noqa: F403
from propeller.train.metrics import __all__ as __all__
