"""The processes of this node: start them, see how they end, stop them with all that they have started."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys

from propeller.launch import watchdog
from propeller.launch.logs import open_log
from propeller.launch.plan import LOST_PEER


@dataclasses.dataclass
class Rank:
    """A process of the job; its process group has the same number.

    Attributes:
        rank: index in the job.
        process: the `subprocess.Popen`.
        log: path of its log, None for the console.
        log_start: size of the log when the process began.
    """

    rank: int
    process: subprocess.Popen
    log: str | None
    log_start: int

    def __str__(self):
        return f'rank {self.rank} (process {self.process.pid})'

    @property
    def code(self):
        """None while it runs; then its exit code, negative the number of the signal that killed it."""
        return self.process.poll()

    def send_group(self, number):
        """A signal for the process and all that it has started; its watchdog heeds SIGKILL only."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def clear(self):
        """Kill what is left of the group."""
        self.send_group(signal.SIGKILL)
        self.process.wait()


def start_rank(rank, command, environ, log, lifeline):
    """Start a process.

    Args:
        rank: its index in the job.
        command: the script and its arguments.
        environ: its environment.
        log: path of the file for both of its streams, None for the console.
        lifeline: reading end of a pipe; when all writing ends are closed, the process group is killed.

    Returns:
        Rank.

    Raises:
        UserError: the log cannot be written.
    """
    arguments = [sys.executable, '-S', watchdog.__file__, str(lifeline), *command]
    with open_log(log) if log else contextlib.nullcontext() as file:
        start = os.fstat(file.fileno()).st_size if file else 0
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT if file else None,
            env=environ,
            pass_fds=[lifeline],
            start_new_session=True,  # Ctrl-C is the launcher's to forward
        )
    return Rank(rank, process, log, start)


def first_failure(ranks):
    """The rank among those that failed to which the failure is put down, None if none has.

    When several are seen at once, one that was killed comes first, and one that only says that it lost another, last.
    """
    failed = [rank for rank in ranks if rank.code]
    return min(failed, key=lambda rank: (rank.code == LOST_PEER, rank.code > 0, rank.rank), default=None)


def exit_code(code):
    """The exit code that a shell reports: 128 + n for signal n."""
    return code if code >= 0 else 128 - code


def _signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f'signal {number}'


def describe(rank, node=''):
    """How the rank failed, in a sentence; `node` says where."""
    where = f'{node} (log: {rank.log})' if rank.log else node
    if rank.code == LOST_PEER:
        return f'rank {rank.rank}{where} lost the connection to another rank (exit code {rank.code})'
    if rank.code > 0:
        return f'rank {rank.rank}{where} failed with exit code {rank.code}'
    text = f'rank {rank.rank}{where} was killed by {_signal_name(-rank.code)}'
    if rank.code == -signal.SIGKILL:
        text += (
            '; the system may have run out of memory: a smaller --batch_size (with --gradient_accumulation_steps for '
            'the same result), --recompute true or --precision bf16 need less'
        )
    return text
