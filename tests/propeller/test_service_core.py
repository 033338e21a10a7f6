"""The core of a server, with real worker processes: batches, deadlines, limits, and workers that die, hang or grow."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from propeller.errors import UserError
from propeller.service.core import Observer, ServiceCore
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.pace import Pace
from propeller.service.pool import Batch, PoolSettings
from propeller.service.requests import Row
from tests.propeller.service_models import BAD, GROW, HANG, POISON, SLOW, STOP, Sums


class Noting(Observer):
    def __init__(self):
        self.noted, self.batches = [], []

    def batch(self, model, rows, tokens, padded, seconds):
        self.batches.append((rows, tokens, padded))

    def rejected(self, code):
        self.noted.append(code)

    def worker_replaced(self, reason):
        self.noted.append(reason)


@contextlib.asynccontextmanager
async def serving(workers=1, limits=None, models=None, **settings):
    core = ServiceCore(
        models or [Sums()], limits or Limits(), PoolSettings(workers=workers, **settings), observer=Noting()
    )
    await core.start()
    try:
        yield core
    finally:
        await core.drain(timeout=0)


def ask(core, *rows, **options):
    return core.submit(core.model(), list(rows), **options)


async def until(condition, seconds=30):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def test_results_come_in_order_whatever_the_batches_were():
    async def scene():
        async with serving() as core:
            rows = [[i, *[1] * (i * 37 % 200)] for i in range(300)]
            answer, single = await asyncio.gather(ask(core, *rows), ask(core, [7, 8]))
            assert [total for total, _ in answer.results] == [sum(row) for row in rows]
            assert single.results[0][0] == 15 and core.queue_tokens == 0
            assert min(answer.seconds) > 0
            assert sum(rows for rows, _, _ in core.observer.batches) == 301
            assert all(tokens <= padded <= core.limits.batch_tokens for _, tokens, padded in core.observer.batches)
            assert (await ask(core)).results == []

    asyncio.run(scene())


def test_what_waits_while_a_worker_computes_becomes_one_batch():
    async def scene():
        async with serving() as core:
            slow = asyncio.create_task(ask(core, [SLOW]))
            await asyncio.sleep(0.1)
            await asyncio.gather(slow, *(ask(core, [i, i]) for i in range(1, 7)))
            assert [rows for rows, _, _ in core.observer.batches] == [1, 6]

    asyncio.run(scene())


def test_limits_at_the_limit_and_one_beyond():
    limits = Limits(max_texts=3, request_tokens=10, queue_tokens=12)

    async def refused(core, *rows, **options):
        with pytest.raises(ServiceError) as caught:
            await ask(core, *rows, **options)
        return caught.value

    async def scene():
        async with serving(limits=limits) as core:
            assert len((await ask(core, [1], [2], [3])).results) == 3
            assert (await ask(core, [1] * 10)).results[0][0] == 10
            error = await refused(core, [1], [2], [3], [4])
            assert error.status == 413 and error.limit == {'name': 'max_texts', 'value': 3, 'found': 4}
            error = await refused(core, [1] * 11)
            assert error.code == 'too_large' and error.limit == {'name': 'request_tokens', 'value': 10, 'found': 11}
            first = asyncio.create_task(ask(core, [SLOW]))
            await asyncio.sleep(0.05)
            waiting = [asyncio.create_task(ask(core, [1] * 6)) for _ in range(2)]
            await asyncio.sleep(0)
            error = await refused(core, [1])
            assert error.status == 429 and error.retry_after >= 1 and error.limit['found'] == 13
            await asyncio.gather(first, *waiting)
            assert (await ask(core, [1])).results[0][0] == 1
            assert core.observer.noted == ['too_large', 'too_large', 'overloaded']

    asyncio.run(scene())


def test_time_at_the_limit_and_beyond():
    core = ServiceCore([], Limits(timeout=3, max_timeout=5), PoolSettings())
    assert [core.seconds(asked) for asked in (None, 4, 5, 5.001)] == [3, 4, 5, 5]


def test_results_wait_in_bounded_memory():
    async def scene():
        async with serving(limits=Limits(result_bytes=16 * 200, batch_rows=8)) as core:
            assert len((await ask(core, *[[1]] * 200)).results) == 200  # a sum and a process: 16 bytes
            with pytest.raises(ServiceError, match='3,328 bytes of results|3,216 bytes of results') as caught:
                await ask(core, *[[1]] * 208)
            assert caught.value.limit['name'] == 'result_bytes'

    asyncio.run(scene())


def test_an_expired_or_abandoned_request_costs_no_batch():
    async def scene():
        async with serving() as core:
            slow = asyncio.create_task(ask(core, [SLOW]))
            await asyncio.sleep(0.05)
            abandoned = asyncio.create_task(ask(core, [1, 1]))
            await asyncio.sleep(0)
            abandoned.cancel()
            with pytest.raises(ServiceError) as caught:
                await ask(core, [2, 2], timeout=0.05)
            assert caught.value.status == 504 and caught.value.limit == {'name': 'timeout', 'value': 0.05}
            await slow
            await ask(core, [3, 3, 3])
            assert core.models['sums'].batches == [[1], [3]]
            assert core.observer.noted == ['abandoned', 'expired']

    asyncio.run(scene())


def test_a_row_that_kills_workers_is_refused_and_the_others_are_answered():
    async def scene():
        async with serving(workers=2) as core:
            blocked = [asyncio.create_task(ask(core, [SLOW])) for _ in range(2)]
            await asyncio.sleep(0.1)
            good = [asyncio.create_task(ask(core, [i, 1])) for i in range(5)]
            with pytest.raises(ServiceError, match='row 2 of the request could not be computed, twice') as caught:
                await ask(core, [5], [POISON], [6])
            assert caught.value.status == 500
            assert [(await task).results[0][0] for task in good] == [1, 2, 3, 4, 5]
            await asyncio.gather(*blocked)
            await until(lambda: core.workers_up == 2)
            assert core.observer.noted == ['ended with exit code 3'] * 2

    asyncio.run(scene())


def test_a_row_that_the_model_refuses_fails_alone():
    async def scene():
        async with serving() as core:
            slow = asyncio.create_task(ask(core, [SLOW]))
            await asyncio.sleep(0.1)
            bad = asyncio.create_task(ask(core, [BAD, 1]))
            assert (await ask(core, [4, 4])).results[0][0] == 8
            with pytest.raises(ServiceError, match='row 1 .* twice: the model fails on it'):
                await bad
            await slow
            assert core.observer.noted == [] and core.workers_up == 1

    asyncio.run(scene())


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSTOP])
def test_the_requests_of_a_lost_worker_are_answered_by_another(number):
    async def scene():
        async with serving(workers=2, silence=1.5) as core:
            victims = {(await ask(core, [SLOW, i])).results[0][1] for i in range(2)}
            asked = [asyncio.create_task(ask(core, [SLOW, i])) for i in range(4)]
            await asyncio.sleep(0.1)
            os.kill(victims.pop(), number)
            answers = await asyncio.gather(*asked)
            assert [answer.results[0][0] for answer in answers] == [SLOW + i for i in range(4)]
            await until(lambda: core.workers_up == 2)
            assert len(core.observer.noted) == 1

    asyncio.run(scene())


def test_a_worker_that_stops_itself_is_replaced():
    async def scene():
        async with serving(silence=1.5) as core:
            with pytest.raises(ServiceError, match='no sign of life for 1.5 s'):
                await ask(core, [STOP])
            await until(lambda: core.ready)
            assert (await ask(core, [1])).results[0][0] == 1

    asyncio.run(scene())


def test_a_machine_that_was_halted_keeps_its_workers():
    async def scene():
        async with serving(silence=1.5) as core:
            process = (await ask(core, [1])).results[0][1]
            os.kill(process, signal.SIGSTOP)
            time.sleep(3)  # the front is halted too
            os.kill(process, signal.SIGCONT)
            await asyncio.sleep(2.5)
            assert (await ask(core, [1])).results[0][1] == process and core.observer.noted == []

    asyncio.run(scene())


def test_a_batch_that_takes_too_long_ends_with_its_worker():
    async def scene():
        async with serving(batch_timeout=0.5) as core:
            hanging = asyncio.create_task(ask(core, [HANG]))
            await asyncio.sleep(0.1)
            assert (await ask(core, [1])).results[0][0] == 1
            with pytest.raises(ServiceError, match='a batch took more than 0.5 s'):
                await hanging
            assert core.observer.noted == ['a batch took more than 0.5 s'] * 2

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc tells the memory of a process')
def test_a_worker_that_grows_is_replaced():
    async def scene():
        async with serving(growth=32 << 20) as core:
            for i in range(100):
                await ask(core, [i])
            await asyncio.sleep(1.5)
            await ask(core, [GROW])
            await until(lambda: core.observer.noted)
            assert core.observer.noted[0].startswith('it grew from ')
            await until(lambda: core.ready)

    asyncio.run(scene())


def test_draining_answers_what_was_admitted_and_refuses_the_rest():
    async def scene():
        async with serving(workers=2) as core:
            asked = [asyncio.create_task(ask(core, [SLOW, i])) for i in range(5)]
            await asyncio.sleep(0)
            draining = asyncio.create_task(core.drain())
            await asyncio.sleep(0)
            with pytest.raises(ServiceError) as caught:
                await ask(core, [1])
            assert caught.value.status == 503 and not core.ready
            assert [answer.results[0][0] for answer in await asyncio.gather(*asked)] == [SLOW + i for i in range(5)]
            await draining

    asyncio.run(scene())


def test_a_model_that_cannot_be_opened_is_an_error_at_the_start():
    async def scene(models):
        with pytest.raises(UserError, match='no such model here'):
            async with serving(workers=2, models=models):
                pass

    asyncio.run(scene([Sums(broken='no such model here')]))


@pytest.mark.parametrize(
    ('waiting', 'under_way', 'workers', 'expected'),
    [(30, [], 2, 200), (540, [360], 2, 300), (540, [360], 1, 450), (100_000, [640, 640], 2, 640)],
)
def test_a_batch_leaves_a_part_for_the_next_worker(waiting, under_way, workers, expected):
    core = ServiceCore([Sums()], Limits(), PoolSettings(workers=workers))
    core._queue.tokens = waiting
    batches = [SimpleNamespace(tokens=tokens) for tokens in under_way]
    core._pool = SimpleNamespace(up=workers, under_way=lambda: batches)
    assert core._share() == expected


def test_models_by_name():
    core = ServiceCore([Sums(), Sums('other')], Limits(), PoolSettings())
    assert core.model('other').name == 'other'
    for name, found in (
        (None, 'no model is named in the request; there are sums, other.'),
        ('quick', "model 'quick' is not served here; there are sums, other."),
        ('summs', "model 'summs' is not served here; there are sums, other. Did you mean sums?"),
        ('', "model '' is not served here; there are sums, other."),
    ):
        with pytest.raises(ServiceError) as caught:
            core.model(name)
        assert caught.value.status == 404 and str(caught.value) == found


def test_a_request_that_would_not_have_its_turn_in_time_is_refused_at_once():
    async def scene():
        async with serving(limits=Limits(batch_rows=1)) as core:
            slow = [asyncio.ensure_future(ask(core, [SLOW])) for _ in range(12)]
            await until(lambda: sum(one.done() for one in slow) >= 2)  # the second left others waiting
            # Several of 0.3 s each wait: too many for a second, not for many.
            with pytest.raises(ServiceError, match='tokens wait already, about') as refused:
                await ask(core, [1], timeout=1.0)
            assert refused.value.code == 'overloaded' and refused.value.limit['name'] == 'timeout'
            assert refused.value.retry_after >= 1 and core.observer.noted == ['overloaded']
            patient = await ask(core, [1, 2], timeout=20.0)
            assert patient.results[0][0] == 3 and all(one.done() for one in slow)
            assert (await ask(core, [1, 2], timeout=0.5)).results[0][0] == 3  # nothing waits any more

    asyncio.run(scene())


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace()
    assert pace.wait(1000, 2) == 0.0
    for _ in range(100):
        pace.note(500, 0.25)
    assert pace.wait(4000, 2) == pytest.approx(1.0)
    for _ in range(30):
        pace.note(500, 1.0)
    assert pace.wait(4000, 1) == pytest.approx(8.0, rel=0.01)


def test_a_batch_that_takes_longer_than_those_before_slows_the_pace_before_it_is_done():
    pace = Pace()
    assert pace.wait(100, 2, [(50, 2.0)]) == pytest.approx(2.0)  # nothing else is known: 25 tokens a second, at most
    for _ in range(100):
        pace.note(500, 0.25)
    usual = pace.wait(4000, 2)
    assert pace.wait(4000, 2, [(500, 0.2), (500, 0.25)]) == usual  # as fast as the others, as far as is known
    waits = [pace.wait(4000, 2, [(500, seconds)]) for seconds in (0.5, 1.0, 3.0, 30.0)]
    assert usual < waits[0] and waits == sorted(waits)
    assert waits[-1] == pytest.approx(4000 / 2 * 30 / 500, rel=0.01)
    assert pace.wait(4000, 2) == usual


def test_what_would_be_late_is_refused_while_a_batch_takes_longer_than_usual():
    async def scene():
        core = ServiceCore([], Limits(timeout=3), PoolSettings())
        core._queue.tokens = 100
        for _ in range(50):
            core._pace.note(100, 0.5)  # half a second of work waits
        batch = Batch(None, [Row(None, 0, None, 100, '')], asyncio.get_running_loop().time() - 20, crowded=True)
        for crowded, batches, taken in ((True, [], True), (False, [batch], True), (True, [batch], False)):
            batch.crowded, core._pool.under_way = crowded, lambda batches=batches: batches
            with contextlib.nullcontext() if taken else pytest.raises(ServiceError, match='about .* s of work'):
                core.check_room(1)

    asyncio.run(scene())
