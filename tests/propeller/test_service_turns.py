"""The event loop of the front: who is heard first, and that everybody has a turn."""

import asyncio
import collections
import contextlib
import os
import select
import selectors
import socket
from types import SimpleNamespace

import pytest

from propeller.service.pool import BUSY, PoolSettings, WorkerPool
from propeller.service.turns import FrontLoop, Turns, hear_first, hear_seldom, new_loop, stay_awake

pytestmark = pytest.mark.skipif(not hasattr(select, 'epoll'), reason='the system has no epoll')
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@contextlib.contextmanager
def turns_over(count, portion=4):
    """(`Turns`, list of pairs of sockets whose first is registered with its place as data)."""
    turns, pairs = Turns(portion), [socket.socketpair() for _ in range(count)]
    try:
        for place, (here, _) in enumerate(pairs):
            turns.register(here.fileno(), READ, place)
        yield turns, pairs
    finally:
        turns.close()
        for pair in pairs:
            for one in pair:
                one.close()


def told(turns, timeout=0):
    return [key.data for key, _ in turns.select(timeout)]


def test_a_portion_of_many_is_told_at_once_and_all_have_their_turn():
    with turns_over(23) as (turns, pairs):
        for _, there in pairs:
            there.send(b'a')  # never read: all of them stay ready
        seen, found = [], collections.Counter()
        for _ in range(60):
            seen.append(told(turns))
            assert len(seen[-1]) == 4
            found.update(seen[-1])
        assert set(sum(seen[:6], [])) == set(range(23))
        assert max(found.values()) - min(found.values()) <= 1


def test_preferred_files_are_told_first_wherever_they_stand():
    with turns_over(23) as (turns, pairs):
        for _, there in pairs:
            there.send(b'a')
        late, other = socket.socketpair()
        turns.prefer(late.fileno())  # before it is registered
        turns.register(late.fileno(), READ, 'late')
        turns.prefer(pairs[17][0].fileno())  # after it was
        other.send(b'a')
        assert set(told(turns)) == {17, 'late'}
        late.recv(1)
        pairs[17][0].recv(1)
        assert len(told(turns)) == 4 and 17 not in told(turns)
        late.close(), other.close()


def test_preferred_files_that_are_always_ready_leave_others_their_turn():
    with turns_over(9) as (turns, pairs):
        for _, there in pairs:
            there.send(b'a')
        turns.prefer(pairs[0][0].fileno())
        seen = [told(turns) for _ in range(30)]
        assert all(one[0] == 0 for one in seen)
        assert set(sum(seen, [])) == set(range(9))


def test_a_closed_number_that_is_used_again_is_one_of_the_others():
    with turns_over(3) as (turns, pairs):
        number = pairs[1][0].fileno()
        turns.prefer(number)
        turns.unregister(number)
        turns.register(number, READ, 'again')
        for _, there in pairs:
            there.send(b'a')
        assert sorted(map(str, told(turns))) == ['0', '2', 'again']


def test_events_are_those_of_the_selector_of_the_standard_library():
    """Against `selectors.EpollSelector`: reading, writing, both, a change, an end, a time-out, unknown files."""
    one, other = socket.socketpair()
    for preferred in (False, True):
        mine, theirs = Turns(), selectors.EpollSelector()
        if preferred:
            mine.prefer(one.fileno())
        found = []
        for selector in (mine, theirs):
            found.append([])
            note = lambda: found[-1].append([(key.fd, key.data, events) for key, events in selector.select(0)])  # noqa: B023, E731
            selector.register(one, WRITE, 'a')
            note()
            selector.modify(one, READ | WRITE, 'b')
            note()
            selector.modify(one.fileno(), READ, 'c')
            note()
            other.send(b'a')
            note()
            one.recv(1)
            assert selector.get_key(one).events == READ
            with pytest.raises(KeyError):
                selector.register(one, READ)
            assert selector.select(0.002) == []
            selector.unregister(one)
            note()
            for call in (lambda: selector.unregister(one), lambda: selector.modify(one, READ)):  # noqa: B023
                with pytest.raises(KeyError):
                    call()
            selector.close()
        assert found[0] == found[1] and any(found[0])
    one.close(), other.close()


def test_a_worker_is_heard_while_hundreds_of_clients_send():
    """Between what a worker says and its being heard, few clients are seen to."""

    async def scene():
        loop, log = asyncio.get_running_loop(), []
        assert isinstance(loop, FrontLoop)
        clients, (worker, there) = [socket.socketpair() for _ in range(200)], socket.socketpair()
        for here, client in clients:
            client.send(b'a')
            loop.add_reader(here.fileno(), log.append, here.fileno())  # reads nothing: is ready for ever
        hear_first(loop, worker.fileno())
        loop.add_reader(worker.fileno(), lambda: log.append(worker.recv(1)))
        while len(log) < 500:
            await asyncio.sleep(0)
        begun = len(log)
        there.send(b'w')
        while b'w' not in log:
            await asyncio.sleep(0)
        assert log.index(b'w') - begun <= 2 * 16 and len(set(log)) == 201
        # Threads and timers are heard too.
        assert await asyncio.wait_for(asyncio.to_thread(os.getpid), 5) == os.getpid()
        for one in (*[here for here, _ in clients], worker):
            loop.remove_reader(one.fileno())
        for pair in (*clients, (worker, there)):
            pair[0].close(), pair[1].close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scene())


def test_a_server_that_refuses_hears_workers_at_once_and_others_from_time_to_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr('propeller.service.turns.time', SimpleNamespace(monotonic=lambda: now[0]))
    with turns_over(9) as (turns, pairs):
        turns.prefer(pairs[0][0].fileno())
        for _, there in pairs[1:]:
            there.send(b'a')  # never read: they stay ready
        turns.crowded_until = 101.0
        assert len(told(turns)) == len(told(turns)) == 4  # there are more than a portion, who are not made to wait
        for here, _ in pairs[3:]:
            here.recv(1)
        assert sorted(told(turns)) == [1, 2] and told(turns) == []  # all were heard: they wait now
        now[0] += 0.019
        assert told(turns) == [] and told(turns, 0) == []  # a timer is due before they are heard
        now[0] += 0.001
        assert sorted(told(turns)) == [1, 2]
        assert sorted(told(turns, 5)) == [1, 2]  # after 20 ms
        pairs[0][1].send(b'a')
        assert told(turns, 5) == [0]
        pairs[0][0].recv(1)
        now[0] = 101.0
        assert sorted(told(turns)) == sorted(told(turns)) == [1, 2]


def test_a_loop_that_stays_awake_gives_its_core_away_and_sees_files_and_timers(monkeypatch):
    now, given, then = [100.0], [], {}

    def give():
        given.append(now[0])
        now[0] += 0.001
        then.get(len(given), lambda: None)()

    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr('propeller.service.turns.time', clock)
    monkeypatch.setattr('propeller.service.awake.time', clock)
    monkeypatch.setattr('propeller.service.awake.os', SimpleNamespace(sched_yield=give))
    with turns_over(3) as (turns, pairs):
        turns.prefer(pairs[0][0].fileno())
        turns.awake_until = 100.03
        then[5] = lambda: pairs[2][1].send(b'a')
        assert told(turns) == [] and not given
        assert told(turns, 1) == [2] and len(given) == 5
        pairs[2][0].recv(1)
        then[8] = lambda: pairs[0][1].send(b'a')
        assert told(turns, 1) == [0] and len(given) == 8
        pairs[0][0].recv(1)
        assert told(turns, 0.004) == [] and len(given) == 12  # a timer is due
        assert told(turns, 0.025) == [] and now[0] == pytest.approx(100.03)  # then it sleeps
        count = len(given)
        pairs[1][1].send(b'a')
        assert told(turns, 1) == [1] and len(given) == count


@pytest.mark.parametrize('spare', [0, 1])
def test_a_front_stays_awake_for_one_client_that_asks_again(spare):
    async def scene():
        loop, turns = asyncio.get_running_loop(), asyncio.get_running_loop().turns
        pool = WorkerPool(['model'], PoolSettings(spare_cores=spare), None)
        worker = SimpleNamespace(run=lambda batch, model, arrays, alone: seen.append(alone), batch=None, state=BUSY)
        pool._workers[0] = worker

        def begun(crowded=False):
            pool.run(worker, SimpleNamespace(crowded=crowded, model='model'), [])
            return turns.awake_until - loop.time() > 0

        seen = []
        assert not begun()  # the first after a pause
        pool.done(True)
        assert (turns.awake_until > loop.time()) == bool(spare)
        assert begun() == bool(spare) and seen == [True, True]
        worker.batch = 'one under way'
        assert not begun() and not seen[-1]
        worker.batch = None
        pool.done(False)
        assert not begun(crowded=True)
        pool._alone_until = loop.time() - 0.1
        assert not begun() and seen[-1]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scene())


def test_another_loop_knows_no_order(monkeypatch):
    async def scene():
        hear_first(asyncio.get_running_loop(), 0)
        stay_awake(asyncio.get_running_loop(), 1)
        hear_seldom(asyncio.get_running_loop())

    asyncio.run(scene())
    monkeypatch.delattr(select, 'epoll')
    loop = new_loop()
    assert not isinstance(loop, FrontLoop)
    loop.close()
