"""Encodes chunks of rows in several processes, in order and with bounded memory.

The workers are plain programs that speak over their pipes. They do not import the caller's main program, as those of
`multiprocessing` would: that one loads paddle, which takes seconds and cannot be forked safely, and a user's own script
need not be guarded by `if __name__ == '__main__'`.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading

from propeller.log import get_logger

log = get_logger(__name__)

CHUNK_ROWS = 1024
CHUNK_CHARACTERS = 1 << 18
_PROGRAM = 'from propeller.data.parallel import work; work()'


def available_cpus():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def chunked(rows, size_of, most_rows=CHUNK_ROWS, most_characters=CHUNK_CHARACTERS):
    """Lists of rows, closed at `most_rows` rows or `most_characters` characters (`size_of(row)` counts them).

    If `rows` raises, the rows before it come first: what is wrong with them has a smaller line number.
    """
    chunk, characters = [], 0
    rows = iter(rows)
    error = None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except Exception as e:
            error = e
            break
        chunk.append(row)
        characters += size_of(row)
        if len(chunk) >= most_rows or characters >= most_characters:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
    if error:
        raise error


def map_ordered(encode, chunks, processes=None, alone=8):
    """`encode(chunk)` of every chunk, in order.

    This process does the first chunks alone, so that a small file never pays for starting a process (some tenths of a
    second), and then goes on encoding beside the workers. A worker that fails costs time only: its chunk is done here.
    If `chunks` raises, the results of the chunks before it come first.

    Args:
        encode: picklable callable whose result depends on the chunk only.
        chunks: iterable of picklable chunks.
        processes: how many workers to start; None is one a processor; with fewer than 2 everything is done here. The
            processors are shared with this process, which fills the gaps that handing over leaves.
        alone: how many chunks are done before workers are started.

    Yields:
        the results.
    """
    chunks = iter(chunks)
    processes = available_cpus() if processes is None else processes
    if processes > 1:
        for chunk in itertools.islice(chunks, alone):
            yield encode(chunk)
        first = next(chunks, None)
        if first is None:
            return
        chunks = itertools.chain([first], chunks)
        with _Pool(encode, processes) as pool:
            yield from _share(encode, chunks, pool)
    else:
        yield from map(encode, chunks)


def _share(encode, chunks, pool):
    """Gives each chunk to a worker with room, or else encodes it here."""
    pending = collections.deque()  # (chunk or None, future or result), in order
    error = None

    def pop():
        chunk, outcome = pending.popleft()
        if chunk is None:
            return outcome
        try:
            return outcome.result()
        except _WorkerFailed as e:
            log.debug('A process failed (%r); its chunk is done here.', e.__cause__)
            return encode(chunk)

    while True:
        try:
            chunk = next(chunks, None)
            if chunk is None:
                break
            future = pool.submit(chunk)
            pending.append((chunk, future) if future else (None, encode(chunk)))
        except Exception as e:  # its turn comes when all before it have been given out
            error = e
            break
        while pending and (pending[0][0] is None or pending[0][1].done() or len(pending) > pool.most_pending):
            yield pop()
    while pending:
        yield pop()
    if error:
        raise error


# ------------------------------------------------------------------------------------------------------------ workers


class _WorkerFailed(Exception):
    """The worker died, or could not load or run the encoder."""


class _Pool:
    """Worker processes. Two threads here serve each: one waits for an answer, the other hands over the next chunk."""

    def __init__(self, encode, workers):
        self.most_pending = 32 * workers
        self._message = _pickled(encode)
        processes = [_start_process() for _ in range(workers if self._message else 0)]
        self._workers = [_Worker(process) for process in processes if process]
        self._idle = queue.SimpleQueue()
        for worker in self._workers * 2:
            self._idle.put(worker)
        self._threads = concurrent.futures.ThreadPoolExecutor(max(2 * len(self._workers), 1))
        self._unanswered = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self._workers:
            worker.process.kill()  # workers hold nothing that could be lost
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                with contextlib.suppress(BrokenPipeError):  # what is still in the buffer has nobody to read it
                    pipe.close()

    def submit(self, chunk):
        """A future, or None when every worker has enough to do."""
        while self._unanswered and self._unanswered[0].done():
            self._unanswered.popleft()
        if len(self._unanswered) >= 3 * len(self._workers):
            return None
        future = self._threads.submit(self._ask, chunk)
        self._unanswered.append(future)
        return future

    def _ask(self, chunk):
        worker = self._idle.get()
        try:
            return worker.ask(chunk, self._message)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as e:
            raise _WorkerFailed from e
        finally:
            self._idle.put(worker)


def _pickled(encode):
    try:
        return pickle.dumps(encode, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        log.debug('The encoder cannot be sent to other processes (%s); this one does everything.', e)
        return None


class _Worker:
    """A process and the locks that keep its answers in the order of the questions, for two threads at most."""

    def __init__(self, process):
        self.process = process
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._has_encoder = False

    def ask(self, chunk, encoder_message):
        with self._sending:
            if not self._has_encoder:
                self._has_encoder = True
                self.process.stdin.write(encoder_message)
            pickle.dump(chunk, self.process.stdin, pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()
            self._receiving.acquire()
        try:
            return pickle.load(self.process.stdout)
        finally:
            self._receiving.release()


def _start_process():
    environ = dict(os.environ, PYTHONPATH=os.pathsep.join(path or os.getcwd() for path in sys.path))
    # The threads of numpy's own libraries only take time to start.
    environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')
    try:
        return subprocess.Popen(
            [sys.executable, '-P', '-c', _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )
    except OSError as e:
        log.warning('No further process (%s): it takes longer.', e)
        return None


def work():
    """The worker's program: the encoder, then chunks come in on stdin; results go out on stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us; Ctrl-C shall show one traceback, not many
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # whatever the encoder prints must not mix with the answers
    try:
        encode = pickle.load(sys.stdin.buffer)
        while True:
            pickle.dump(encode(pickle.load(sys.stdin.buffer)), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
    except (EOFError, BrokenPipeError):
        pass
    except Exception:
        sys.exit(1)  # the parent does the chunk again, and what it raises there is what the user sees
