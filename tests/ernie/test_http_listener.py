"""The application behind real sockets: clients that go, are slow, or speak no HTTP, and the end of the server."""

import asyncio
import contextlib
import json
import socket

import pytest

from ernie.service.http import door
from ernie.service.http.app import create_app
from ernie.service.http.connection import Connection
from ernie.service.http.exchange import Arrival
from ernie.service.http.listener import HttpListener
from ernie.service.http.visit import VISIT
from propeller.errors import UserError
from propeller.service.limits import Limits
from tests.ernie.fake_text_service import SLOW, Service

HEAD = b'POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'


def request(content, head=HEAD):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return head + b'Content-Length: %d\r\n\r\n' % len(body) + body


@contextlib.asynccontextmanager
async def serving(app=None, service=None, limits=None, **options):
    listener = HttpListener(app or create_app(service or Service(), limits=limits), port=0, **options)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


def connect(listener):
    return asyncio.open_connection('127.0.0.1', int(listener.address.rpartition(':')[2]))


async def answer(reader):
    """(status, headers, content) of one answer."""
    head = (await reader.readuntil(b'\r\n\r\n')).decode().split('\r\n')
    headers = dict(line.lower().split(': ', 1) for line in head[1:-2])
    body = await reader.readexactly(int(headers['content-length']))
    return int(head[0].split()[1]), headers, json.loads(body)


async def ask(listener, data):
    reader, writer = await connect(listener)
    writer.write(data)
    try:
        return await answer(reader)
    finally:
        writer.close()


async def until(condition, seconds=5):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def run(scene):
    async def limited():
        async with asyncio.timeout(20):
            await scene()

    asyncio.run(limited())


def test_a_connection_takes_several_requests():
    async def scene():
        async with serving() as listener:
            reader, writer = await connect(listener)
            for text in ('a', '好'):
                writer.write(request({'text': text}))
                status, headers, content = await answer(reader)
                assert status == 200 and content['tokens'] == [3] and 'server' not in headers
            writer.close()

    run(scene)


def test_an_answer_is_one_packet(monkeypatch):
    async def scene():
        async with serving() as listener:
            reader, writer = await connect(listener)
            await until(lambda: listener._server.server_state.connections)
            (connection,) = listener._server.server_state.connections
            packets, write = [], connection.transport.write
            monkeypatch.setattr(connection.transport, 'write', lambda data: (packets.append(data), write(data)))
            for data in (request({'text': 'a'}), request({'text': ''}), b'HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n'):
                writer.write(data)
                head = await reader.readuntil(b'\r\n\r\n')
                size = 0 if data.startswith(b'HEAD') else int(head.lower().partition(b'content-length: ')[2].split()[0])
                body = await reader.readexactly(size)
                assert [packet for packet in packets if packet] == [head + body]
                packets.clear()
            writer.close()

    run(scene)


def test_a_port_that_is_taken_is_said_in_one_line():
    async def scene():
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(UserError, match=rf'127.0.0.1:{port}: cannot be listened to .*--http_port'):
                await HttpListener(create_app(Service()), port=port).start()
        with pytest.raises(UserError, match='no.such.host.invalid:80: found no address'):
            await HttpListener(create_app(Service()), 'no.such.host.invalid', 80).start()

    run(scene)


def test_nothing_is_computed_for_a_client_that_has_gone():
    async def scene():
        service = Service()
        async with serving(service=service) as listener:
            _, writer = await connect(listener)
            writer.write(request({'text': SLOW}))
            await until(lambda: service.begun)
            writer.close()
            count = 'ernie_http_requests_total{code="499",route="/v1/classify"} 1.0'
            await until(lambda: count in service.core.observer.text().decode())
            assert service.computed == []

    run(scene)


def test_slow_clients_are_given_up_and_others_are_answered(monkeypatch):
    monkeypatch.setattr(door, 'BODY_SECONDS', 0.3)

    async def scene():
        async with serving(patience=0.3) as listener:
            silent, half_head, half_body = [await connect(listener) for _ in range(3)]
            half_head[1].write(HEAD)
            half_body[1].write(HEAD + b'Content-Length: 9\r\n\r\n{')
            assert (await ask(listener, request({'text': 'a'})))[0] == 200
            status, headers, content = await answer(half_body[0])
            assert status == 408 and content['error']['limit'] == {'name': 'body_seconds', 'value': 0.3}
            assert headers['connection'] == 'close'
            for reader, writer in (silent, half_head):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b''
                writer.close()
            half_body[1].close()

    run(scene)


def test_a_client_that_takes_nothing_of_its_answer_is_given_up():
    async def endless(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        for _ in range(100):
            await send({'type': 'http.response.body', 'body': b' ' * (1 << 20), 'more_body': True})
        await send({'type': 'http.response.body', 'body': b''})

    async def scene():
        async with serving(endless, patience=0.3) as listener:
            _, writer = await connect(listener)
            writer.write(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            await until(lambda: listener._server.server_state.connections)
            await until(lambda: not listener._server.server_state.connections)
            writer.close()

    run(scene)


def test_bodies_beyond_the_limit_are_refused_before_they_are_read():
    async def scene():
        async with serving(limits=Limits(message_bytes=1000)) as listener:
            status, _, content = await ask(listener, HEAD + b'Content-Length: 1001\r\n\r\n')
            assert status == 413 and content['error']['limit'] == {
                'name': 'message_bytes',
                'value': 1000,
                'found': 1001,
            }
            chunks = b'Transfer-Encoding: chunked\r\n\r\n' + b'190\r\n' + b'a' * 400 + b'\r\n'
            status, _, content = await ask(listener, HEAD + chunks + (b'190\r\n' + b'a' * 400 + b'\r\n') * 2)
            assert status == 413 and content['error']['limit']['found'] in (1001, 1200)
            assert (await ask(listener, request({'text': 'a'})))[0] == 200

    run(scene)


@pytest.mark.parametrize('data', [b'\x16\x03\x01\x02\x00\r\n\r\n', b'GET / HTTP/9\r\n\r\n', b'GET /' + b'a' * 70_000])
def test_what_is_no_http_gets_a_typed_error(data):
    async def scene():
        async with serving() as listener:
            status, headers, content = await ask(listener, data)
            assert status == 400 and content['error']['code'] == 'malformed' and headers['connection'] == 'close'

    run(scene)


def test_connections_beyond_the_most_are_refused(monkeypatch):
    monkeypatch.setattr(Connection, 'most', 2)

    async def scene():
        async with serving() as listener:
            kept = [await connect(listener) for _ in range(2)]
            status, headers, content = await ask(listener, b'')
            assert status == 503 and headers['retry-after'] == '1'
            assert content['error']['limit'] == {'name': 'connections', 'value': 2}
            for _, writer in kept:
                writer.close()

    run(scene)


def test_many_connections_may_wait_to_be_taken():
    async def scene():
        async with serving() as listener:
            address = '127.0.0.1', int(listener.address.rpartition(':')[2])
            with contextlib.ExitStack() as stack:  # the event loop has no turn meanwhile
                for _ in range(100):
                    stack.enter_context(socket.create_connection(address, timeout=0.5))
                await until(lambda: len(listener._server.server_state.connections) == 100)

    run(scene)


def test_answers_on_their_way_are_sent_before_the_end():
    async def scene():
        service = Service()
        service.pause = 0.3
        async with serving(service=service) as listener:
            reader, writer = await connect(listener)
            writer.write(request({'text': SLOW}))
            await until(lambda: service.begun)
            stopping = asyncio.create_task(listener.stop())
            status, _, content = await answer(reader)
            assert status == 200 and content['model'] == 'mood'
            await stopping
            writer.close()
            with pytest.raises(ConnectionError):
                await connect(listener)

    run(scene)


BAD = {
    'two lengths': b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'lengths that differ': b'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x',
    'a length that is none': b'Content-Length: +2\r\n\r\n{}',
    'another encoding': b'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'an encoding that is none': b'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
    'chunked before another': b'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
    'a folded line': b'Content-Length: 2\r\n 3\r\n\r\n{}x',
    'a space before the colon': b'Content-Length : 2\r\n\r\n{}',
    'a chunk of no size': b'Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
    'a chunk of a negative size': b'Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n',
    'a chunk that is too large': b'Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}',
    'a chunk that goes on': b'Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n',
    'a control character': b'X: a\x00b\r\nContent-Length: 2\r\n\r\n{}',
    'two hosts': b'Host: y\r\nContent-Length: 2\r\n\r\n{}',
    'a head that is too large': b'X: ' + b'a' * 40_000 + b'\r\nContent-Length: 2\r\n\r\n{}',
    'many lines': b'X: a\r\n' * 9_000 + b'Content-Length: 2\r\n\r\n{}',
}


def test_what_two_readers_may_read_in_two_ways_is_refused():
    async def scene():
        async with serving() as listener:
            heads = {name: HEAD + rest for name, rest in BAD.items()}
            heads['no host'] = b'GET /livez HTTP/1.1\r\n\r\n'
            heads['chunks in HTTP/1.0'] = HEAD.replace(b'1.1', b'1.0') + b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
            heads['bare line feeds'] = b'GET /livez HTTP/1.1\nHost: x\n\n'
            heads['CONNECT'] = b'CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n'
            for name, data in heads.items():
                smuggled = b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
                reader, writer = await connect(listener)
                writer.write(data + smuggled)
                status, headers, content = await answer(reader)
                assert (status, content['error']['code']) == (400, 'malformed'), name
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b'', name
                writer.close()

    run(scene)


def test_a_head_without_end_is_refused():
    async def scene():
        async with serving() as listener:
            reader, writer = await connect(listener)
            writer.write(b'GET /livez HTTP/1.1\r\nX: ')
            for _ in range(33):
                writer.write(b'a' * 1000)
                await asyncio.sleep(0)
            assert (await answer(reader))[0] == 400
            writer.close()

    run(scene)


def test_a_request_that_waits_is_in_memory_once():
    """Thousands of them wait at the same time."""

    async def scene():
        service = Service()
        async with serving(service=service) as listener:
            whole, parts = await connect(listener), await connect(listener)
            data = request({'text': SLOW})
            whole[1].write(data)
            parts[1].write(data[:-7])
            await asyncio.sleep(0.05)
            parts[1].write(data[-7:])
            await until(lambda: service.begun == 2)
            for connection in listener._server.server_state.connections:
                visit = connection._current.scope[VISIT]
                assert visit.held == len(data.partition(b'\r\n\r\n')[2]) and visit.whole is visit.body is None
                assert not connection._current.body and len(vars(connection)) <= 30
            assert [(await answer(reader))[0] for reader, _ in (whole, parts)] == [200, 200]

    run(scene)


def test_whoever_waits_for_an_arrival_hears_of_it():
    async def scene():
        arrival = Arrival()
        waiting = [asyncio.create_task(arrival.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        assert not waiting[0].done()
        arrival.set()
        await asyncio.gather(waiting[0], waiting[2], arrival.wait())
        arrival.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(arrival.wait(), 0.01)
        arrival.set()
        await arrival.wait()

    run(scene)


def test_requests_behind_each_other_are_answered_in_their_order():
    async def scene():
        service = Service()
        service.pause = 0.05
        async with serving(service=service) as listener:
            reader, writer = await connect(listener)
            texts = [SLOW, 'bb', 'c' * 5000, *(['d'] * 300), 'eeee']
            writer.write(b''.join(request({'text': text}) for text in texts) + b'no HTTP\r\n\r\n')
            for text in texts:
                status, _, content = await answer(reader)
                assert status == 200 and content['tokens'] == [min(len(text) + 2, 16)]
            assert (await answer(reader))[0] == 400
            assert service.begun == len(texts)
            writer.close()

    run(scene)


def test_what_waits_behind_a_slow_request_is_not_read_without_end():
    async def scene():
        service = Service()
        async with serving(service=service) as listener:
            _, writer = await connect(listener)
            writer.write(request({'text': SLOW}))
            await until(lambda: service.begun)
            (connection,) = listener._server.server_state.connections
            small = b'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
            for _ in range(200):
                writer.write(small * 1000)
                await asyncio.sleep(0)
            assert len(connection.pipeline) < 100 and len(connection._left) < 1 << 20
            assert not connection.transport.is_reading()
            writer.transport.abort()

    run(scene)


@pytest.mark.parametrize('length', [b'Content-Length: 11\r\n\r\n', b'Transfer-Encoding: chunked\r\n\r\n'])
def test_another_protocol_is_declined(length):
    """As `curl --http2` asks: the request is answered in this one, with its body."""

    async def scene():
        async with serving() as listener:
            asked = b'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n'
            body = b'{"text":""}' if b'11' in length else b'c\r\n{"text":"a"}\r\n0\r\n\r\n'
            reader, writer = await connect(listener)
            writer.write(HEAD + asked + length + body + request({'text': 'bb'}))
            assert (await answer(reader))[0] == (422 if b'11' in length else 200)
            assert (await answer(reader))[2]['tokens'] == [4]
            writer.close()

    run(scene)


def test_a_client_that_waits_for_a_word_gets_it_or_an_answer():
    async def scene():
        service = Service()
        async with serving(service=service) as listener:
            asked = HEAD + b'Expect: 100-continue\r\nContent-Length: 13\r\n\r\n'
            reader, writer = await connect(listener)
            writer.write(asked)
            assert await reader.readuntil(b'\r\n\r\n') == b'HTTP/1.1 100 Continue\r\n\r\n'
            writer.write(b'{"text": "a"}')
            assert (await answer(reader))[0] == 200
            writer.close()
            service.core.wait = None
            reader, writer = await connect(listener)
            writer.write(asked)
            status, headers, _ = await answer(reader)
            assert status == 429 and headers['connection'] == 'close' and await reader.read() == b''
            writer.close()

    run(scene)


def test_a_full_server_refuses_on_one_connection_again_and_again():
    async def scene():
        service = Service()
        service.core.wait = None
        async with serving(service=service) as listener:
            reader, writer = await connect(listener)
            for head, body in ((HEAD, b'{"text": "a"}'), (HEAD, b' ' * 100_000), (HEAD + b'X-Request-ID: 7\r\n', b'')):
                writer.write(request(body, head))
                status, headers, content = await answer(reader)
                assert status == 429 and headers['retry-after'] == '2' and content['error']['code'] == 'overloaded'
                assert 'date' in headers and 'connection' not in headers
            assert headers['x-request-id'] == '7'
            service.core.wait = 20  # too much for 30 s: refused by its body, unless that says more
            writer.write(request({'text': 'a'}) * 3 + request({'text': 'a', 'timeout': 100}))
            assert [(await answer(reader))[0] for _ in range(4)] == [429, 429, 429, 200]
            writer.write(request({'text': 'a'}, HEAD + b'Connection: close\r\n') + b'more')
            assert (await answer(reader))[1]['connection'] == 'close' and await reader.read() == b''
            writer.close()
            assert service.begun == 1
            text = service.core.observer.text().decode()
            assert 'ernie_rejected_requests_total{reason="overloaded"} 7.0' in text
            assert 'ernie_http_requests_total{code="429",route="/v1/classify"} 7.0' in text

    run(scene)


def test_an_old_client_gets_an_answer_that_ends_with_the_connection():
    async def parts(scope, receive, send):
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        for part in (b'a', b'', b'bc'):
            await send({'type': 'http.response.body', 'body': part, 'more_body': True})
        await send({'type': 'http.response.body', 'body': b'd'})

    async def scene():
        async with serving(parts) as listener:
            for version, expected in ((b'1.0', b'abcd'), (b'1.1', b'1\r\na\r\n2\r\nbc\r\n1\r\nd\r\n0\r\n\r\n')):
                reader, writer = await connect(listener)
                writer.write(b'GET / HTTP/%s\r\nHost: x\r\nConnection: close\r\n\r\n' % version)
                head, _, body = (await reader.read()).partition(b'\r\n\r\n')
                assert body == expected and (b'chunked' in head) == (version == b'1.1')
                writer.close()

    run(scene)
