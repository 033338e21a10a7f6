"""Where this process stands among those that train together, under the names of 2019."""

import enum
import functools
import os

from propeller.distribution import process_info


class DistributionMode(enum.IntEnum):
    """Whether a process trains alone or with others."""

    LOCAL = 0
    NCCL = 1  # the name of 2019; on processors the connection is gloo


class Status:
    """This process, as the environment describes it: a launcher's variables, or `PROPELLER_DISCONFIG`.

    Every attribute raises a `UserError` where the environment contradicts itself.
    """

    @property
    def mode(self):
        """`DistributionMode.LOCAL`, or `NCCL` where several processes train together."""
        return DistributionMode.NCCL if self.num_replica > 1 else DistributionMode.LOCAL

    @property
    def num_replica(self):
        """Number of processes."""
        return process_info(os.environ).size

    @property
    def replica_id(self):
        """Number of this process, from 0."""
        return process_info(os.environ).rank

    @property
    def is_master(self):
        """Whether this is the process that logs, evaluates, saves and exports."""
        return self.replica_id == 0


status = Status()


def run_on_master(function):
    """Decorator: the function is called in the first process; in the others it does nothing and gives None."""

    @functools.wraps(function)
    def on_master(*args, **kwargs):
        return function(*args, **kwargs) if status.is_master else None

    return on_master
