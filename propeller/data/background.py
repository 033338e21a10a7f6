"""Items that a process of their own makes ahead.

The process is a fork: what makes the items is a chain of functions and closures, which cannot be sent. It runs nothing
but them, and never Paddle. It ends with `close`, with the iterator, and with the process that started it, however that
ends.
"""

import atexit
import contextlib
import os
import pickle
import queue
import random
import select
import signal
import sys
import threading
import time
import traceback
import warnings

import numpy as np

from propeller.data.prefetch import prefetch
from propeller.errors import UserError, quoted

_POLL_SECONDS = 0.5
_ANSWER_BYTES = 4096


class RemoteTraceback(Exception):
    """The cause of an error that came out of another process: its text is the traceback there."""

    def __str__(self):
        return f'\n"""\n{self.args[0]}"""'


def made_ahead(make_iterator, size):
    """Yields what `make_iterator()` gives, made in another process, at most `size` items ahead.

    Args:
        make_iterator: function without arguments; it is called there.
        size: int, at least 1.
    Raises:
        what the iterator raises there, with the traceback of that process as its `__cause__`.
        UserError: no process can be started, or it was killed.
    """
    if not hasattr(os, 'fork'):
        with prefetch(make_iterator(), size) as items:
            yield from items
        return
    worker = _Worker(make_iterator, size)
    try:
        yield from worker.items()
    finally:
        worker.close()


# ------------------------------------------------------------------------------------------------- on the asking side

_forking = threading.Lock()  # a process must not inherit ends of pipes that are being made for another one
_open = set()  # workers of this process


@atexit.register
def _close_all():
    for worker in list(_open):
        worker.close()


class _Worker:
    def __init__(self, make_iterator, size):
        from multiprocessing.connection import Connection

        self._size, self._made, self._owner, self._ended = size, 0, os.getpid(), None
        seed = random.getrandbits(64)  # else each pass of the data would begin with the same random numbers there
        with _forking:
            _flush_streams()
            answers, results = os.pipe()
            read_credits, credits = os.pipe()
            try:
                self.pid = _fork()
            except OSError as e:
                for end in (answers, results, read_credits, credits):
                    os.close(end)
                raise UserError(f'buffered: no further process can be started ({e.strerror or e}).') from None
            self._results, self._credits = Connection(answers, writable=False), credits
            _open.add(self)
            if not self.pid:
                _become(make_iterator, size, results, read_credits, seed, self._owner)
            os.close(results)
            os.close(read_credits)

    def items(self):
        taken = 0
        while True:
            items, end = pickle.loads(self._receive())
            for item in items:
                self._made += 1
                taken += 1
                if taken * 2 >= self._size:
                    self._grant(taken)
                    taken = 0
                yield item
            if end is not None:
                if end:
                    raise _error(*end)
                return

    def _receive(self):
        with contextlib.suppress(EOFError, OSError):
            while not self._results.poll(_POLL_SECONDS):
                # Its end of the pipe may live on in a process that it has started.
                if self._code() is not None and not self._results.poll(0):
                    break
            else:
                return self._results.recv_bytes()
        raise self._lost()

    def _grant(self, count):
        """Let `count` more items be made."""
        with contextlib.suppress(OSError):  # it has ended, which `_receive` finds out
            os.write(self._credits, b'.' * count)

    def _code(self):
        """The exit code of the process, negative for a signal; None while it lives."""
        if self._ended is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                pid, status = self.pid, 0
            self._ended = os.waitstatus_to_exitcode(status) if pid else None
        return self._ended

    def _lost(self):
        code, patience = self._code(), time.monotonic() + _POLL_SECONDS
        while code is None and time.monotonic() < patience:  # its pipe closes a little before it has ended
            time.sleep(0.01)
            code = self._code()
        by = f'signal {-code} ({signal.strsignal(-code)})' if code and code < 0 else 'itself'
        return UserError(
            f'buffered: the process that makes the data was ended by {by} after {self._made} elements, expected its '
            'end of the data. Signal 9 often means that memory was short.'
        )

    def close(self):
        """End the process; safe to call again. Nothing happens in a process that inherited the worker."""
        if self not in _open or os.getpid() != self._owner:
            return
        self.forget()
        if self._code() is None:
            os.kill(self.pid, signal.SIGKILL)  # it holds nothing that could be lost
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)

    def forget(self):
        """Close the pipes."""
        _open.discard(self)
        self._results.close()
        os.close(self._credits)


def _error(pickled, name, text, trace):
    error = RuntimeError(f'{name}: {text}')
    if pickled is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(pickled)
    error.__cause__ = RemoteTraceback(trace)
    return error


def _fork():
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads. The process uses none of what they may hold.
        warnings.simplefilter('ignore', DeprecationWarning)
        return os.fork()


def _flush_streams():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


# ------------------------------------------------------------------------------------------------- in the new process


def _become(make_iterator, size, results, credits, seed, parent):
    """What the new process does; it does not return."""
    try:
        global _forking
        _forking = threading.Lock()
        for worker in list(_open):  # ends that would keep others' pipes open
            worker.forget()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C shall show one traceback, not many
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Paddle's own handler prints stacks
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (the user's functions may use it)
        allowed = threading.Semaphore(size)
        threading.Thread(target=_watch, args=(credits, allowed, parent), daemon=True).start()
        made = queue.SimpleQueue()
        writer = threading.Thread(target=_send, args=(made, results), daemon=True)
        writer.start()
        _make(make_iterator, made, allowed)
        writer.join()
        _flush_streams()
        os._exit(0)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(1)


def _make(make_iterator, made, allowed):
    try:
        iterator = iter(make_iterator())
        while allowed.acquire():
            item = next(iterator, made)
            if item is made:
                break
            made.put((item, None))
        made.put((None, ()))
    except BaseException as e:
        made.put((None, _described(e)))


def _described(error):
    trace = ''.join(traceback.format_exception(error))
    pickled = None
    with contextlib.suppress(Exception):
        pickled = pickle.dumps(error)
        if type(pickle.loads(pickled)) is not type(error):
            pickled = None
    return pickled, type(error).__name__, str(error), trace


def _send(made, results):
    """Writes what is made: (list of items, None, or () at the end, or what `_described` gives)."""
    from multiprocessing.connection import Connection

    pipe = Connection(results, readable=False)
    end = None
    try:
        while end is None:
            item, end = made.get()
            items = [] if end is not None else [item]
            while end is None and not made.empty():
                item, end = made.get()
                if end is None:
                    items.append(item)
            try:
                message = pickle.dumps((items, end), pickle.HIGHEST_PROTOCOL)
            except Exception as e:
                end = _described(_unsendable(e, items))
                message = pickle.dumps(([], end))
            pipe.send_bytes(message)
    except BaseException:  # nobody reads any more; or else nothing would ever be said
        os._exit(1)


def _unsendable(error, items):
    kinds = ', '.join(sorted({type(item).__name__ for item in items}))
    return UserError(f'buffered: found elements that cannot be sent between processes ({kinds}: {quoted(str(error))}).')


def _watch(credits, allowed, parent):
    """Takes what the asking side grants, and ends the process when that side has gone."""
    try:
        asking = select.poll()
        asking.register(credits, select.POLLIN)
        while os.getppid() == parent:
            if asking.poll(1000 * _POLL_SECONDS):
                granted = os.read(credits, _ANSWER_BYTES)
                if not granted:
                    break
                allowed.release(len(granted))
    finally:
        os._exit(0)
