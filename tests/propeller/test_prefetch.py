import gc
import itertools
import threading
import time
import traceback

import pytest

from propeller.data.prefetch import prefetch


def ended(items, seconds=2):
    items._thread.join(seconds)
    return not items._thread.is_alive()


@pytest.mark.parametrize('size', [1, 3, 50])
@pytest.mark.parametrize('n', [0, 1, 7, 50])
def test_all_items_in_order(n, size):
    items = prefetch((None if i == 2 else i for i in range(n)), size)  # None is an item like any other
    assert list(items) == [None if i == 2 else i for i in range(n)]
    assert list(items) == []
    assert ended(items)


def test_works_ahead_up_to_size():
    made = []
    items = prefetch((made.append(i) or i for i in itertools.count()), size=3)
    deadline = time.monotonic() + 5
    while (items.qsize() < 3 or len(made) < 4) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert items.qsize() == 3
    time.sleep(0.05)
    assert len(made) == 4  # three wait, one is in the hand
    assert next(items) == 0
    items.close()
    assert ended(items)


def failing():
    yield 1
    yield 2
    raise ZeroDivisionError('in the producer')


def test_an_error_comes_at_its_place_with_its_traceback():
    items = prefetch(failing())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ZeroDivisionError, match='in the producer') as caught:
        next(items)
    assert 'failing' in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert list(items) == []
    assert ended(items)


def test_an_iterable_that_cannot_start_raises_too():
    with pytest.raises(TypeError, match='not iterable'):
        next(prefetch(5))


def test_early_close_ends_thread_and_generator():
    closed = threading.Event()

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    with prefetch(source(), size=2) as items:
        assert next(items) == 0
    assert ended(items) and closed.is_set()
    with pytest.raises(StopIteration):
        next(items)
    items.close()


def test_a_dropped_iterator_ends_its_thread():
    items = prefetch(itertools.count(), size=2)
    thread = items._thread
    assert next(items) == 0
    del items
    gc.collect()
    thread.join(2)
    assert not thread.is_alive()


def test_close_wakes_a_waiting_consumer():
    release = threading.Event()

    def blocked():
        release.wait(10)
        yield 1

    items = prefetch(blocked())
    result = []
    consumer = threading.Thread(target=lambda: result.extend(items))
    consumer.start()
    items._closed.set()
    consumer.join(2)
    release.set()
    assert not consumer.is_alive() and result == []


def test_size_is_checked():
    with pytest.raises(ValueError, match='size 0'):
        prefetch([], 0)
