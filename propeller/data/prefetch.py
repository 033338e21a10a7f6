"""A background thread that keeps the next items of an iterable ready."""

import queue
import threading

_POLL_SECONDS = 0.1
_JOIN_SECONDS = 5


class Prefetch:
    """Iterator over `iterable`, whose items are made in a daemon thread, at most `size` ahead.

    Items come in order and none is lost. What the iterable raises comes out of `next()` at its place, with its own
    traceback. After `close()`, at the end of the `with` block, or when the iterator is dropped, the thread ends as soon
    as the item it is making is made; the rest is not taken.

    Args:
        iterable: iterated in the thread; a generator among them is closed there too.
        size: most items that wait, at least 1.
    """

    def __init__(self, iterable, size=8):
        self._closed = threading.Event()
        if size < 1:
            raise ValueError(f'size {size} must be at least 1')
        self._queue = queue.Queue(size)
        self._ended = False
        # The thread must not hold `self`: an iterator that nobody holds any more ends it through __del__.
        self._thread = threading.Thread(
            target=_produce, args=(iterable, self._queue, self._closed), name='prefetch', daemon=True
        )
        self._thread.start()

    def __iter__(self):
        return self

    def __next__(self):
        if self._ended or self._closed.is_set():
            raise StopIteration
        item, error, is_item = self._get()
        if is_item:
            return item
        self._ended = True
        if error is not None:
            raise error
        raise StopIteration

    def _get(self):
        while not self._closed.is_set():
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue  # wakes up for a close() from another thread
        return None, None, False

    def qsize(self):
        """Number of items that wait."""
        return self._queue.qsize()

    def close(self):
        """Ends the thread and waits until it has ended; safe to call again.

        A thread that is stuck in its iterable (a pipe that nobody writes to) is left behind after a few seconds.
        """
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self._closed.set()


def _produce(iterable, items, closed):
    iterator = None
    try:
        iterator = iter(iterable)
        for item in iterator:
            if not _put(items, (item, None, True), closed):
                return
        _put(items, (None, None, False), closed)
    except BaseException as e:
        _put(items, (None, e, False), closed)
    finally:
        if hasattr(iterator, 'close'):
            iterator.close()


def _put(items, entry, closed):
    """False when the consumer has gone."""
    while not closed.is_set():
        try:
            items.put(entry, timeout=_POLL_SECONDS)
            return True
        except queue.Full:
            continue
    return False


def prefetch(iterable, size=8):
    """`Prefetch(iterable, size)`."""
    return Prefetch(iterable, size)
