"""Runs the processes of a job on this node: waits for the other nodes, starts, watches and stops them, begins again."""

import contextlib
import dataclasses
import os
import secrets
import signal
import sys
import time

from propeller.environment import usable_cores
from propeller.errors import UsageError, UserError
from propeller.launch import machine
from propeller.launch.logs import Echo, LogFiles, last_lines
from propeller.launch.messages import SECRET, Failure
from propeller.launch.nodes import Coordinator, Member
from propeller.launch.peers import Finished, Started
from propeller.launch.plan import LOST_PEER, Plan, environment, job_environment, script_arguments
from propeller.launch.ports import Ports, choose
from propeller.launch.ranks import describe, exit_code, first_failure, start_rank
from propeller.launch.signals import Signals
from propeller.log import get_logger

log = get_logger(__name__)

# A process that fails gets no time to save: its peers cannot finish a step without it.
_SECONDS_TO_STOP = 3
# After Ctrl-C the processes finish their step and save a checkpoint.
_SECONDS_TO_SAVE = 30
_USAGE_ERROR = 2
# A failure may be the consequence of another one, which is seen a moment later.
_SECONDS_TO_EXPLAIN = 1


class JobFailed(UserError):
    """The job has ended with an error; `exit_code` is that of the rank that failed first."""

    def __init__(self, failure):
        super().__init__(failure.text)
        self.exit_code = failure.code


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the launcher was asked for, checked.

    Attributes:
        node_ips, node_id, nproc: the nodes and the processes on each.
        start_port: port of the first process of each node.
        master: `address:port` of the store in rank 0; None: the first process's.
        gpu_groups: per process the names of its GPUs; empty on a CPU.
        visible_gpus: the names of all GPUs of this node.
        log_folder, log_prefix: where the logs go; an empty folder means the console.
        peer_timeout: seconds after which a silent node is lost.
        elastic_restarts: how often the job may begin again.
        print_config: log the plan.
        script, arguments: the program and its arguments as the user gave them; '-m' and (module, ...) for a module.
    """

    node_ips: tuple
    node_id: int
    nproc: int
    start_port: int
    master: str | None
    gpu_groups: tuple
    visible_gpus: tuple
    log_folder: str
    log_prefix: str
    peer_timeout: float
    elastic_restarts: int
    print_config: bool
    script: str
    arguments: tuple

    @property
    def ranks(self):
        """Numbers of the processes of this node."""
        return range(self.node_id * self.nproc, (self.node_id + 1) * self.nproc)

    def facts(self):
        """What the launchers of all nodes must agree in, by flag."""
        return {
            '--node_ips': ','.join(self.node_ips),
            '--master': self.master or f'{self.node_ips[0]}:{self.start_port}',
            '--nproc_per_node': self.nproc,
            '--start_port': self.start_port,
            '--peer_timeout': self.peer_timeout,
            '--elastic_restarts': self.elastic_restarts,
            'the device': 'GPU' if self.gpu_groups else 'CPU',
            'the script': f'-m {self.arguments[0]}' if self.script == '-m' else os.path.basename(self.script),
        }


def run_job(settings, environ):
    """Run the job to its end.

    Args:
        settings: Settings.
        environ: environment for the processes, before the launcher's additions.

    Returns:
        0, or 128 + n after the signal n, sent to this launcher or another one.

    Raises:
        JobFailed: with the exit code of the first rank that failed, or of a usage error.
        UserError: a port is taken or a log cannot be written.
    """
    with Signals() as signals, contextlib.ExitStack() as held:
        lifeline = os.pipe()  # its end tells the watchdogs that the launcher is gone
        for end in lifeline:
            held.callback(os.close, end)
        peers = held.enter_context(_peers(settings, signals.notify, environ.get(SECRET, '').encode()))
        return _Job(settings, environ, signals, peers, lifeline[0], held).run()


def _peers(settings, notify, secret):
    """The connection to the launchers of the other nodes, not yet started; None in a context if there are none."""
    if len(settings.node_ips) == 1:
        return contextlib.nullcontext()
    facts, timeout = settings.facts(), settings.peer_timeout
    port = int(facts['--master'].rpartition(':')[2]) - 1
    if settings.start_port <= port < settings.start_port + settings.nproc:
        raise UsageError(
            f'--master {settings.master}: the launchers meet one port below, {port}, which --start_port and '
            f'--nproc_per_node give to a process. Choose another one.'
        )
    if settings.node_id == 0:
        return Coordinator(timeout, notify, settings.node_ips, port, facts, secret)
    return Member(timeout, notify, settings.node_id, (settings.node_ips[0], port), facts, secret)


class _Job:
    def __init__(self, settings, environ, signals, peers, lifeline, held):
        self.settings, self.environ, self.signals, self.peers = settings, environ, signals, peers
        self.lifeline, self.name = lifeline, secrets.token_hex(8)
        self.ranks, self.failed, self.echo = [], None, None
        self.held, self.plan, self.logs = held, None, None

    def run(self):
        generation = 0
        while True:
            failure, generation = self._once(generation)
            if failure is None:
                return 0
            if failure.signal:
                log.warning('%s', failure.text)
                return failure.code
            if not failure.restartable or generation >= self.settings.elastic_restarts:
                raise JobFailed(failure)
            generation += 1
            log.warning(
                'restart %d of %d from the last checkpoint: %s',
                generation,
                self.settings.elastic_restarts,
                failure.text,
            )

    def _once(self, generation):
        """One start of the job: (failure or None, generation in which all nodes were)."""
        try:
            if self.peers is not None:
                self.peers.join_job(generation)
            while (event := self._interruption() or self._event(Started(generation))) is None:
                self.signals.wait()
            if isinstance(event, Failure):
                return event, generation
            generation = event.generation
            try:
                if self.plan is None:
                    # Not before: until all nodes have come together, processes of the last start may hold the ports.
                    self._take_ports_and_logs()
                self._start_all(self.plan, restarted=generation > 0)
            except UserError as e:
                self._tell(Failure(str(e), e.exit_code, restartable=False))
                raise
            return self._watch(), generation
        finally:
            self._clear()

    def _take_ports_and_logs(self):
        s = self.settings
        self.logs = self.held.enter_context(contextlib.closing(LogFiles(s.log_folder, s.log_prefix, s.ranks)))
        ports = self.held.enter_context(contextlib.closing(Ports()))
        ports, master = choose(ports, s.node_ips, s.node_id, s.start_port, s.nproc, s.master)
        self.plan = Plan(s.node_ips, s.node_id, s.nproc, ports, master, s.gpu_groups, s.visible_gpus)

    def _start_all(self, plan, restarted):
        settings, self.failed = self.settings, None
        if settings.print_config:
            log.debug('%s', plan.describe())
        arguments = script_arguments(settings.arguments, bool(settings.gpu_groups), restarted)
        base = self.environ | job_environment(self.name, settings.arguments, restarted)
        interface = None if plan.gpu_groups else machine.interface_of(plan.current_ip)
        for local_rank in range(plan.nproc):
            environ = environment(plan, local_rank, base, usable_cores(), settings.peer_timeout, interface)
            path = self.logs.path(plan.rank(local_rank))
            rank = start_rank(plan.rank(local_rank), [settings.script, *arguments], environ, path, self.lifeline)
            self.ranks.append(rank)
            log.debug(
                'subprocess launched, check log at %s' if path else 'subprocess launched', *[path] if path else []
            )
            if rank.rank == 0 and path:
                self.echo = Echo(path, rank.log_start)
        paths = [rank.log for rank in self.ranks if rank.log]
        log.info('%d processes%s', len(self.ranks), f', what they say: {", ".join(paths)}' if paths else '')

    def _watch(self):
        """Wait for the end of all processes, here and elsewhere. The failure that ended the job, or None."""
        finished = set()
        while True:
            event = self._interruption() or self._own_failure() or self._event()
            if isinstance(event, Failure):
                self._stop(event)
                return event
            if isinstance(event, Finished):
                return None
            for rank in self.ranks:
                if rank.code == 0 and rank.rank not in finished:
                    finished.add(rank.rank)
                    rank.clear()
                    log.debug('proc %d finsh', rank.rank)  # spelt as in 2019
                    if len(finished) == len(self.ranks):
                        if self.peers is None:
                            return None
                        self.peers.report_done()
            self.signals.wait()

    def _event(self, alone=None):
        """The next news from the other nodes, None if there is none; without other nodes `alone`."""
        return self.peers.next_event() if self.peers is not None else alone

    def _interruption(self):
        if not self.signals.received:
            return None
        number = self.signals.received[0]
        text = f'node {self.settings.node_id}: stopped by {signal.Signals(number).name}'
        return self._tell(Failure(text, 128 + number, restartable=False, signal=number))

    def _own_failure(self):
        rank = first_failure(self.ranks)
        if rank is None:
            return None
        if rank.code == LOST_PEER:
            self._wait_for_cause(lambda: first_failure(self.ranks).code != LOST_PEER)
            rank = first_failure(self.ranks)
        elif rank.code == _USAGE_ERROR:
            # All ranks find the same wrong flag; the console shows what rank 0 says about it.
            self._wait_for_cause(lambda: self.ranks[0].code is not None)
            rank = self.ranks[0] if self.ranks[0].code == _USAGE_ERROR else rank
        elsewhere = self._event() if rank.code == LOST_PEER else None
        if elsewhere is not None:
            return elsewhere
        self.failed = rank
        node = f' on node {self.settings.node_id}' if self.peers is not None else ''
        return self._tell(Failure(describe(rank, node), exit_code(rank.code), restartable=rank.code != _USAGE_ERROR))

    def _wait_for_cause(self, seen):
        peers = self.peers
        self._wait_until(lambda: seen() or (peers is not None and peers.has_news()), _SECONDS_TO_EXPLAIN)

    def _wait_until(self, condition, seconds):
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            self.signals.wait(max(0.0, deadline - time.monotonic()))

    def _tell(self, failure):
        if self.peers is not None:
            self.peers.report(failure)
        return failure

    def _stop(self, failure):
        """End the processes of this node: at leisure after a signal of the user, quickly after a failure."""
        running = [rank for rank in self.ranks if rank.code is None]
        for rank in running:
            if failure.signal:
                log.debug('killing %s', rank)
                # Not its helpers, which it may still need.
                rank.process.send_signal(signal.SIGINT if failure.signal == signal.SIGINT else signal.SIGTERM)
            else:
                rank.send_group(signal.SIGTERM)
        enough = 2 if self.signals.received else 1  # one more Ctrl-C ends the waiting
        self._wait_until(
            lambda: len(self.signals.received) >= enough or all(rank.code is not None for rank in running),
            _SECONDS_TO_SAVE if failure.signal else _SECONDS_TO_STOP,
        )
        self._clear()
        failed = self.failed
        if failed is not None and failed.log and failed.rank != 0:  # what rank 0 said has been on the console
            lines = last_lines(failed.log, failed.log_start)
            if lines:
                print(f'the end of {failed.log}:', *lines, sep='\n', file=sys.stderr, flush=True)

    def _clear(self):
        """Leave nothing behind: processes, what they have started, and their last output."""
        for rank in self.ranks:
            rank.send_group(signal.SIGKILL)
        for rank in self.ranks:
            rank.clear()
        self.ranks = []
        if self.echo is not None:
            self.echo.finish()
            self.echo = None
