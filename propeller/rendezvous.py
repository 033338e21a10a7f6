"""How the processes of a job find each other through its store, and the messages while some are missing."""

import errno
import os
import re
import socket
import time

from propeller import disconfig
from propeller.errors import UserError, quoted
from propeller.launch import store as server
from propeller.launch.machine import interface_of
from propeller.log import get_logger

log = get_logger(__name__)

FIRST_WARNING = 8.0  # seconds until the log says who is missing
NEXT_WARNING = 30.0
TIME_LIMIT = 'PADDLE_LAUNCH_TIMEOUT'
_ARRIVED = 'propeller/arrived'
_VARIABLES = 'PADDLE_TRAINERS_NUM PADDLE_TRAINER_ID PADDLE_TRAINER_ENDPOINTS PADDLE_CURRENT_ENDPOINT PADDLE_MASTER'
_NAMED = 8  # ranks in a message
_held = []  # what keeps the store of this process alive, until the process ends


def time_limit(environ):
    """Seconds that the processes wait for each other: `PADDLE_LAUNCH_TIMEOUT`, else 900. Raises `UserError`."""
    text = environ.get(TIME_LIMIT, '900')
    if not re.fullmatch(r'\d{1,7}', text) or not int(text):
        raise UserError(f'{TIME_LIMIT} {quoted(text)}: expected seconds, a whole number of at least 1.')
    return int(text)


def complete_environment(environ, process, backend, limit):
    """Set in `environ` what Paddle needs, or would choose badly, where the launcher has not."""
    endpoints = environ['PADDLE_TRAINER_ENDPOINTS']
    environ.setdefault('PADDLE_CURRENT_ENDPOINT', endpoints.split(',')[process.rank].strip())
    environ.setdefault('PADDLE_DISTRI_BACKEND', backend)
    environ.setdefault('FLAGS_stop_check_timeout', str(limit))
    if is_local(endpoints) and (interface := interface_of('127.0.0.1')):
        environ.setdefault('GLOO_SOCKET_IFNAME', interface)  # else gloo listens where the host name points to


def join(process, environ, connect):
    """Connect with the store of the job, and wait for the other processes to do so.

    The first process starts the store, which listens at the address in the environment and no other: on one machine
    that is the loopback.

    Args:
        process: `propeller.distribution.ProcessInfo`.
        environ: mapping with `PADDLE_TRAINER_ENDPOINTS` and perhaps `PADDLE_MASTER`.
        connect: function (host, port) -> connected client with `add(key, number)`.

    Returns:
        what `connect` gave; all processes are connected.

    Raises:
        UserError: the port is taken, or not all came in time.
    """
    host, port, name = meeting_point(environ)
    variables = disconfig.VARIABLE if disconfig.VARIABLE in environ else _VARIABLES
    waiting = _Waiting(process, f'{host}:{port} ({name})', time_limit(environ), variables)
    if process.rank == 0:
        listening = _listen(host, port, name, environ['PADDLE_TRAINER_ENDPOINTS'])
        _held.append(server.start(listening))
        listening.close()
    else:
        while not _answers(host, port):
            waiting.warn([0])
            time.sleep(0.1)
    client = connect(host, port)
    client.add(f'{_ARRIVED}/{process.rank}', 1)
    client.add(_ARRIVED, 1)
    while client.add(_ARRIVED, 0) < process.size:
        if waiting.is_due():
            waiting.warn([rank for rank in range(process.size) if not client.add(f'{_ARRIVED}/{rank}', 0)])
        time.sleep(0.02)
    return client


def meeting_point(environ):
    """(host, port, name of the variable) of the store. Raises `UserError`."""
    name = 'PADDLE_MASTER' if environ.get('PADDLE_MASTER') else 'PADDLE_TRAINER_ENDPOINTS'
    address = environ[name].split(',')[0].strip()
    host, _, port = address.rpartition(':')
    if not host or ':' in host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f'{name} {quoted(address)}: expected ADDRESS:PORT.')
    return host, int(port), name


def _listen(host, port, name, endpoints):
    address = _own_address(host, endpoints)
    try:
        try:
            return server.listen(address, port)
        except OSError as e:
            if e.errno != errno.EADDRNOTAVAIL:
                raise
            address = ''
            return server.listen(address, port)
    except OSError as e:
        taken = 'Another job, or another program, has the port: give this job another one.'
        advice = taken if e.errno == errno.EADDRINUSE else 'Give this job another address.'
        reason = os.strerror(e.errno) if e.errno > 0 else e.strerror  # below 0: the name is not known
        raise UserError(f'{host}:{port} ({name}): process 0 cannot listen there: {reason}. {advice}') from None
    finally:
        if not address:
            log.warning('%s stands for no other address of this machine: the store listens at all of them', host)


def _own_address(host, endpoints):
    """The address to listen at; all of them ('') for a name that means the loopback here and this machine elsewhere."""
    return '' if _is_loopback(host) and not is_local(endpoints) else host


def is_local(endpoints):
    """Whether all processes are reached through the loopback. endpoints: `PADDLE_TRAINER_ENDPOINTS`."""
    return all(_is_loopback(host) for host in {part.strip().rpartition(':')[0] for part in endpoints.split(',')})


def _is_loopback(host):
    try:
        return socket.gethostbyname(host).startswith('127.')
    except OSError:
        return False


def _answers(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


class _Waiting:
    """Warns after `FIRST_WARNING` seconds, then every `NEXT_WARNING`, who is missing; ends after `limit`."""

    def __init__(self, process, address, limit, variables=_VARIABLES):
        self._own, self._address, self._limit = f'process {process.rank} of {process.size}', address, limit
        self._hint = f'If this program was started alone: unset {variables}'
        self._started, self._next = time.monotonic(), FIRST_WARNING

    def is_due(self):
        """Whether `warn` has something to say."""
        return time.monotonic() - self._started >= min(self._next, self._limit)

    def warn(self, ranks):
        """`ranks` are missing: a warning if one is due. Raises `UserError` when the time is over."""
        waited = time.monotonic() - self._started
        missing = ', '.join(map(str, ranks[:_NAMED])) + (', ...' if len(ranks) > _NAMED else '')
        missing = f'process {missing}' if len(ranks) == 1 else f'processes {missing}'
        if waited >= self._limit:
            raise UserError(
                f'{self._own} found no way to the others: {missing} did not come to {self._address} within '
                f'{self._limit} seconds. Check that all were started, and that each machine can reach this address. '
                f'{self._hint}.'
            )
        if waited >= self._next:
            self._next += NEXT_WARNING
            log.warning(
                '%s has waited %.0f seconds for %s to come to %s; it gives up after %d. %s',
                *(self._own, waited, missing, self._address, self._limit, self._hint),
            )
