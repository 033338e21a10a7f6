"""A worker process: opens the models that the front names, and computes batches until the front goes.

python -m propeller.service.worker NUMBER_OF_A_SOCKET
"""

import collections
import contextlib
import functools
import math
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
import traceback

from propeller.errors import as_user_error, one_line
from propeller.service import awake, channel

_PAGE = os.sysconf('SC_PAGE_SIZE')
_EVERY = 0.25  # seconds between looks at the channel while the main thread does not read it


class Worker:
    """The worker's side of a channel: the thread that computes reads it itself, another one while it computes.

    connection: blocking socket.
    """

    def __init__(self, connection):
        self._connection = connection
        self._sending, self._reading = threading.Lock(), threading.Lock()
        self._batches = collections.deque()  # (number, content)
        self._alone, self._pause = False, math.inf  # the last batch; seconds until it came

    def run(self):
        """Until the front closes the channel."""
        kind, _, content = channel.receive(self._connection)
        assert kind == channel.START, kind
        threading.Thread(target=self._watch, daemon=True).start()
        models = self._open(channel.json.loads(bytes(content)))
        while True:
            number, content = self._next()
            self._send(self._computed(models, number, content))

    def _next(self):
        """The next batch."""
        began = time.monotonic()
        with self._reading, _ends_with_the_front():
            if self._alone and self._pause < awake.AWAKE:
                awake.until(began + awake.AWAKE, functools.partial(_poll(self._connection).poll, 0))
            while not self._batches:
                self._take()
        self._pause = time.monotonic() - began
        return self._batches.popleft()

    def _open(self, models):
        """Functions of the models, list, in the order of [[opener, arguments]]."""
        functions, descriptions = [], []
        for opener, arguments in models:
            try:
                function = pkgutil.resolve_name(opener)(**arguments)
            except Exception as e:
                error = as_user_error(e)
                if error is None:
                    raise
                self._send(channel.of_json(channel.FAILED, {'message': str(error), 'exit_code': error.exit_code}))
                os._exit(error.exit_code)
            functions.append(function)
            descriptions.append(getattr(function, 'description', {}))
        self._send(channel.of_json(channel.READY, {'models': descriptions}))
        return functions

    def _computed(self, models, number, content):
        try:
            model, arrays, self._alone = channel.read_batch(content)
            return channel.outputs(number, models[model](arrays))
        except Exception as e:  # of whatever library; the front tries each row of the batch alone
            traceback.print_exc()
            return channel.of_json(channel.FAILED, {'message': one_line(e, 500)}, number)

    def _watch(self):
        """Says that the process is alive, and ends it when the front has gone, also while a batch is computed."""
        there = _poll(self._connection)
        while True:
            time.sleep(_EVERY)
            if self._reading.acquire(blocking=False):
                with _ends_with_the_front():
                    while there.poll(0):
                        self._take()
                self._reading.release()

    def _take(self):
        """Read a message."""
        kind, number, content = channel.receive(self._connection)
        if kind == channel.PING:
            self._send(channel.of_json(channel.PONG, {'bytes': resident_bytes()}))
        else:
            self._batches.append((number, content))

    def _send(self, message):
        with self._sending:
            try:
                self._connection.sendall(message)
            except OSError:
                os._exit(0)


@contextlib.contextmanager
def _ends_with_the_front():
    try:
        yield
    except EOFError:
        os._exit(0)  # nobody waits for what is being computed


def _poll(connection):
    there = select.poll()
    there.register(connection, select.POLLIN)
    return there


def resident_bytes():
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        with open('/proc/self/statm', encoding='ascii') as f:
            return int(f.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def main():
    # Ctrl-C and the signals of a service manager go to all processes; the front decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Worker(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == '__main__':
    main()
