"""The ports of this node: chosen once, and held until the job ends, so that no other job takes them meanwhile."""

import contextlib
import errno
import socket
import sys

from propeller.errors import UserError
from propeller.log import get_logger

log = get_logger(__name__)


class Ports:
    """Ports that this launcher holds.

    A port is bound here, but nobody listens, so the process that it belongs to can still listen there, and the system
    gives it to nobody who asks for any. Other launchers of this machine know by a lock.
    """

    def __init__(self):
        self._held = contextlib.ExitStack()

    def hold(self, host, port):
        """Hold a port (on Linux; elsewhere only look). Returns whether it was free.

        Raises:
            UserError: `host` is no address of this machine.
        """
        if sys.platform != 'linux':
            return is_free(host, port)
        with contextlib.ExitStack() as stack:
            if not self._lock(stack, host, port) or not is_free(host, port):
                return False
            holder = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):  # somebody was faster: the process will say so
                holder.bind((host, port))
            self._held.enter_context(stack.pop_all())
        return True

    def hold_any(self, host, avoid):
        """Hold a port that is free and not in `avoid`. Returns its number."""
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((host, 0))
                port = probe.getsockname()[1]
            if port not in avoid and self.hold(host, port):
                return port

    @staticmethod
    def _lock(stack, host, port):
        """Whether no other launcher of this machine holds the port."""
        lock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            # An abstract name: it has no file, ends with the process, and belongs to the network, as ports do.
            lock.bind(f'\0propeller/port/{host}:{port}')
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                return False
        return True

    def close(self):
        self._held.close()


def choose(held, node_ips, node_id, start_port, nproc, master):
    """(ports of the processes, address of the master), held; on one machine others instead of those that are taken.

    Args:
        held: `Ports`.
        node_ips, node_id, start_port, nproc, master: see `propeller.launch.job.Settings`.

    Raises:
        UserError: a port is taken that cannot be changed, or this node's address is not of this machine.
    """
    ip, alone = node_ips[node_id], len(node_ips) == 1
    ports = [start_port + i for i in range(nproc)]
    taken = [port for port in ports if not held.hold(ip, port)]
    if taken and not alone:
        raise UserError(
            f'{ip}:{taken[0]}: the port is taken by another program. All nodes need the ports {ports[0]} to '
            f'{ports[-1]}; --start_port moves them.'
        )
    if taken:
        others = {}
        for port in taken:
            others[port] = held.hold_any(ip, {*ports, *others.values()})
        log.warning('ports taken by other programs: %s; used instead: %s', taken, list(others.values()))
        ports = [others.get(port, port) for port in ports]
    if master is None:
        return tuple(ports), f'{node_ips[0]}:{ports[0]}'
    host, _, port = master.rpartition(':')
    own = host == ip and int(port) in ports
    if node_id == 0 and not own and not held.hold(host, int(port)):
        raise UserError(f'--master {master}: the port is taken by another program; give a free one.')
    return tuple(ports), master


def is_free(host, port):
    """Whether a server can listen on the port at this address. Raises `UserError` if it is none of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as e:
            if e.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise UserError(
                f'{host}: no address of this machine ({e.strerror or e}); see --node_ips and --node_id.'
            ) from e
    return True
