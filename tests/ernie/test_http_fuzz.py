"""Changed requests of `benchmark.acceptance.fuzz_http`, a few: each has a typed answer, and a good one comes after."""

import asyncio
import json

from benchmark.acceptance.fuzz_http import Verdict, ask, fuzz, is_whole, request
from ernie.service.http.app import create_app
from ernie.service.http.listener import HttpListener
from propeller.service.json_text import SMALL
from tests.ernie.fake_text_service import LONGEST, Model, Service

NAMES = ['mood', 'names', 'reader', 'vectors', 'fit']


def test_changed_requests_have_typed_answers():
    async def scene():
        service = Service()
        service.models['fit'] = Model('fit', 'regression')
        listener = HttpListener(create_app(service), port=0)
        await listener.start()
        try:
            port = int(listener.address.rpartition(':')[2])
            verdict = await fuzz('127.0.0.1', port, range(120), NAMES, patience=20)
            assert verdict.faults == []
            assert verdict.statuses[200] > 20 and verdict.statuses[400] > 10 and verdict.statuses[422] > 15
            good = b'GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
            assert (await ask('127.0.0.1', port, good))[0].startswith(b'HTTP/1.1 200 ')
        finally:
            await listener.stop()

    asyncio.run(scene())


def test_a_body_of_four_million_sizes_is_refused_before_it_is_read_to_its_end():
    """Seed 5582 took a second, most of it for what is known after the first nine sizes."""

    async def scene():
        listener = HttpListener(create_app(Service([Model('vectors', 'embed')])), port=0)
        await listener.start()
        try:
            content = request(5582, ['vectors'])
            assert content.count(b' 1,') > 3_999_000
            reply, _ = await ask('127.0.0.1', int(listener.address.rpartition(':')[2]), content, patience=20)
            return reply
        finally:
            await listener.stop()

    head, _, body = asyncio.run(scene()).partition(b'\r\n\r\n')
    assert head.startswith(b'HTTP/1.1 413 ')
    most = 3 * 1024 * LONGEST + SMALL  # numbers: ids, types and mask of the most texts that the model reads
    error = {
        'error': f'the body has more than {most:,} numbers in lists.',
        'limit': {'name': 'json_numbers', 'value': most},
    }
    assert json.loads(body) == error


def test_requests_are_the_same_each_time_and_faults_are_seen():
    assert request(7, NAMES) == request(7, NAMES) != request(8, NAMES)
    verdict = Verdict()
    verdict.take(1, b'HTTP/1.1 500 \r\n\r\n{"error":"x"}', 0.1)
    verdict.take(2, b'HTTP/1.1 422 \r\n\r\nTraceback', 0.1)
    verdict.take(3, b'HTTP/1.1 422 \r\n\r\n{"error":{"message":"x"}}', 0.1)
    verdict.take(4, b'HTTP/1.1 200 \r\n\r\n{}', 1.5)
    verdict.take(5, b'', 0)
    assert [seed for seed, _ in verdict.faults] == [1, 2, 4, 5]
    assert is_whole(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n') and is_whole(b'\x00\r\n') and not is_whole(b'GET / HT')
