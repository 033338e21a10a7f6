"""`propeller.tools.bench_client`, on servers whose latencies are known."""

import asyncio
import contextlib
import itertools
import json
import random
import re
import threading
import time

import numpy as np
import pytest

from propeller.errors import UsageError, UserError
from propeller.service import slots
from propeller.service.errors import ServiceError
from propeller.tools.bench_client import bodies_of, main, parser
from propeller.tools.load import result
from propeller.tools.load.arrivals import arrivals
from propeller.tools.load.bodies import Rows, Template
from propeller.tools.load.connections import Failure, HttpTarget, ZmqTarget
from propeller.tools.load.drive import Load, Plan
from tests.processes import free_ports
from tests.propeller.load_servers import SkippingLoop, ToyHttp, ToyServer

BODY = '{"texts": ["{line}"]}'


def plan(due=None, clients=1, warmup=0.0, duration=None, requests=None, timeout=5.0):
    return Plan(due, clients, warmup, duration, requests, timeout)


def on(server, plan, bodies=lambda number: b'x'):
    """The summary of a load on a `ToyServer`, whose clock waits for nobody."""
    load = Load(server, bodies, plan)
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return result.summary(runner.run(load.run()), plan, 2, load.processor_seconds)


async def over_http(server, plan, bodies=lambda number: b'x'):
    """The summary of a load on a `ToyHttp`."""
    load = Load(HttpTarget(f'http://127.0.0.1:{server.port}/v1/x'), bodies, plan)
    return result.summary(await load.run(), plan, 1, load.processor_seconds)


def test_bodies_are_json_whatever_the_lines_hold():
    lines = ['say "x"\\', '오늘\u2028중', '{line}', 'tab\there']
    one = Template(BODY, lines)
    assert [json.loads(one(i))['texts'] for i in range(5)] == [[line] for line in [*lines, lines[0]]]
    many = Template('{"texts": {lines}, "pair": ["{line}", "x"]}', lines, count=3)
    assert many.texts == 4
    assert json.loads(many(1)) == {'texts': lines[:3], 'pair': [lines[3], 'x']}
    assert Template('{}')(7) == b'{}' and Template('{}').texts == 0
    with pytest.raises(UsageError, match='--texts'):
        Template(BODY)


def test_rows_of_arrays_go_round():
    arrays = [np.arange(15, dtype=np.int64).reshape(5, 3), np.arange(5, dtype=np.float32)]
    rows = Rows(arrays, 2)
    ids, values = slots.decode(rows(2))
    assert ids.tolist() == arrays[0][[4, 0]].tolist() and values.tolist() == [4, 0]
    with pytest.raises(UserError, match='array 0: type uint8'):
        Rows([np.zeros((2, 2), np.uint8)])


def test_arrivals_have_the_rate_that_was_asked_for():
    even = list(itertools.islice(arrivals('even', 50), 4))
    assert even == pytest.approx([0, 0.02, 0.04, 0.06])
    times = np.array(list(itertools.islice(arrivals('poisson', 50, seed=3), 20_000)))
    gaps = np.diff(times)
    # An exponential distribution: its deviation is its mean.
    assert gaps.mean() == pytest.approx(0.02, rel=0.03) and gaps.std() == pytest.approx(0.02, rel=0.05)
    assert times[1] == list(itertools.islice(arrivals('poisson', 50, seed=3), 2))[1]


def test_a_second_of_silence_is_in_the_percentiles_of_an_open_load():
    server = ToyServer(0.002, silence=(0.7, 1.7))
    opened = on(server, plan(arrivals('even', 100), clients=500, warmup=0.2, duration=2.0))
    # 100 of 200 requests were due in the silence, and waited for 0.5 s on average.
    assert opened['requests'] == {'sent': 200, 'answered': 200} and 100 <= server.most <= 102
    assert opened['latency_ms']['p50'] == 2 and opened['latency_ms']['p90'] == pytest.approx(802, abs=15)
    assert opened['latency_ms']['max'] == pytest.approx(1002, abs=10)
    assert opened['latency_ms']['mean'] == pytest.approx(252, abs=6)
    assert opened['answered_in_second'] == [50, 150]
    # The only client of a closed load waits through it once.
    closed = on(ToyServer(0.002, silence=(0.7, 1.7)), plan(duration=2.2))
    assert closed['latency_ms']['max'] == pytest.approx(1002, abs=3) and closed['latency_ms']['p99'] == 2


def test_latency_counts_from_when_a_request_was_due_also_where_no_connection_is_free():
    server = ToyServer(0.05)
    found = on(server, plan(arrivals('even', 40), clients=1, requests=20))
    assert server.most == 1 and found['requests']['answered'] == 20
    # Each is due 25 ms after the one before and takes 50 ms.
    assert found['latency_ms']['max'] == pytest.approx(50 + 19 * 25) and found['latency_ms']['p50'] == 50 + 9 * 25
    assert found['send_delay_ms']['max'] == pytest.approx(19 * 25)
    given_up = on(ToyServer(0.05), plan(arrivals('even', 200), clients=1, requests=40, timeout=0.3))
    assert given_up['requests']['answered'] == 6 and given_up['errors'] == {'timeout': 34}
    assert given_up['error_latency_ms']['timeout']['max'] == pytest.approx(300, abs=1)


def test_a_closed_load_leaves_its_warm_up_out():
    server = ToyServer(0.02)
    found = on(server, plan(clients=4, warmup=0.3, duration=0.6), Template(BODY, ['중', 'b']))
    assert server.most == 4 and found['requests'] == {'sent': 120, 'answered': 120} and len(server.bodies) == 180
    assert found['per_second'] == {'requests': 200.0, 'texts': 400.0, 'tokens': 1400.0}
    assert found['latency_ms']['p50'] == found['latency_ms']['max'] == 20
    assert found['tool']['cpu_share'] > 0
    counted = on(ToyServer(0.02), plan(clients=4, warmup=0.3, requests=10))
    assert counted['requests'] == {'sent': 10, 'answered': 10} and counted['seconds'] == pytest.approx(0.06, abs=0.002)


def test_failures_are_counted_by_what_they_are():
    answers = iter(
        [
            (429, json.dumps({'error': {'code': 'overloaded', 'message': 'x'}}).encode()),
            (422, json.dumps({'error': 'of another kind', 'error_type': 'Validation'}).encode()),
            (500, b'<html>'),
            None,
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n"tok\r\nc\r\nens": [1, 2]\r\n0\r\n\r\n',
            b'nonsense\r\n\r\n',
            b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab',
            (200, b'{}'),
        ]
    )

    async def run():
        async with ToyHttp(answer=lambda body: next(answers)) as server:
            return await over_http(server, plan(requests=8))

    found = asyncio.run(run())
    expected = {'overloaded': 1, 'status 422': 1, 'status 500': 1, 'disconnected': 1, 'not HTTP': 1}
    assert found['errors'] == expected and found['requests'] == {'sent': 8, 'answered': 3}
    said = {'overloaded': 'x', 'status 422': 'of another kind', 'status 500': '<html>'}
    assert found['error_messages'] == said
    shown = result.lines(found)
    assert shown[shown.index('  the first: x') - 1].startswith('overloaded (1), ms: p50')


def test_answers_are_read_whole_however_they_come():
    answers = (
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"a\r\n"',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=1\r\n\r\n\r\n\r\n1\r\nb\r\n0\r\nEnd: 1\r\n\r\n',
        b'HTTP/1.1 204 No Content\r\n\r\n',
        b'HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\nup to its end',
    )

    async def serve(reader, writer):
        for answer in answers:
            await reader.readuntil(b'x')
            for piece in range(len(answer)):
                writer.write(answer[piece : piece + 1])
                await asyncio.sleep(0.0005)
        writer.close()

    async def run():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        connection = HttpTarget(f'http://127.0.0.1:{server.sockets[0].getsockname()[1]}').connection()
        found = []
        for _ in answers:
            try:
                found.append(await connection.request(b'x'))
            except Failure as e:
                found.append(str(e))
        server.close()
        return found

    assert asyncio.run(run()) == [b'"a\r\n"', b'\r\n\r\nb', b'', 'status 503', b'up to its end']


def test_time_outs_end_a_request_and_its_connection():
    async def run():
        async with ToyHttp(delay=2.0) as server:
            return await over_http(server, plan(requests=2, timeout=0.1))

    found = asyncio.run(run())
    assert found['errors'] == {'timeout': 2} and found['latency_ms'] == {}
    assert found['error_latency_ms']['timeout']['p50'] >= 100


def test_percentiles_are_values_that_were_measured():
    values = np.array(random.Random(5).sample(range(10_000), 1001)) / 1000
    found = result.percentiles(values)
    ordered = sorted(values)
    assert found['p50'] == round(1000 * ordered[500]) and found['p99.9'] == round(1000 * ordered[999])
    assert found['max'] == round(1000 * ordered[-1])


def test_zmq_carries_arrays_and_json():
    zmq, ours = pytest.importorskip('zmq'), pytest.importorskip('zmq.asyncio')

    async def serve(socket):
        while True:
            who, empty, message = await socket.recv_multipart()
            if message.startswith(b'{'):
                fields = json.loads(message)
                refused = fields['texts'] == ['b']
                answer = b'{"error": {"code": "invalid", "message": "b"}}' if refused else b'{"tokens": [2]}'
            else:
                arrays = slots.decode(message)
                refused = not arrays[0].any()
                answer = slots.encode_error(ServiceError('overloaded', 'x')) if refused else slots.encode(arrays)
            await socket.send_multipart([who, empty, answer])

    async def run():
        with ours.Context() as context, context.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port('tcp://127.0.0.1')
            server, found = asyncio.ensure_future(serve(router)), []
            for bodies in (Template(BODY, ['a', 'b', '중']), Rows([np.array([[0, 0], [1, 2], [3, 4]])])):
                load = Load(ZmqTarget(f'tcp://127.0.0.1:{port}'), bodies, plan(clients=2, requests=30))
                records = await load.run()
                found.append(result.summary(records, load.plan, 1, 0.0))
            server.cancel()
            return found

    of_json, of_slots = asyncio.run(run())
    assert of_json['errors'] == {'invalid': 10} and of_json['per_second']['tokens'] > 0
    assert of_json['error_messages'] == {'invalid': 'b'} and of_slots['error_messages'] == {'overloaded': 'x'}
    assert of_slots['errors'] == {'overloaded': 10} and of_slots['requests']['answered'] == 20


def test_one_zmq_client_waits_without_the_event_loop_and_is_given_up_all_the_same():
    zmq = pytest.importorskip('zmq')

    def serve(router, answers):
        with contextlib.suppress(zmq.ZMQError):
            while router.poll(1000):
                who, empty, _ = router.recv_multipart()
                time.sleep(0.15 if answers == 3 else 0)  # longer than the loop stands still at once
                if answers:
                    answers -= 1
                    router.send_multipart([who, empty, b'{"tokens": [2]}'])

    def load(answers, **fields):
        with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port('tcp://127.0.0.1')
            thread = threading.Thread(target=serve, args=(router, answers))
            thread.start()
            one = Load(ZmqTarget(f'tcp://127.0.0.1:{port}'), lambda number: b'{}', plan(timeout=0.5, **fields))
            records = asyncio.run(one.run())
            thread.join()
            return records, one.processor_seconds

    records, _ = load(3, requests=5)
    assert records.codes == ['', '', '', 'timeout', 'timeout']
    seconds = [ended - sent for sent, ended in zip(records.sent, records.ended, strict=True)]
    assert seconds[0] > 0.15 and max(seconds[1:3]) < 0.15 and 0.5 <= seconds[3] < 0.8
    records, processor = load(1000, warmup=0.1, duration=0.2)
    assert len(records.codes) > 20 and not any(records.codes) and 0 < processor < 0.25


def test_what_cannot_be_is_said_in_one_line(tmp_path):
    (port,) = free_ports(1)
    for flags, message in (
        ([f'http://127.0.0.1:{port}/'], f'127.0.0.1:{port}: found no server'),
        (['ftp://x'], 'expected http://HOST:PORT/PATH'),
        (['tcp://nothing'], 'expected tcp://HOST:PORT'),
        (['http://x', '--rate', '0'], '--rate: found 0.0'),
        (['http://x', '--duration', '3', '--requests', '5'], 'expected one of them'),
        (['http://x', '--body', '{line}'], '--texts FILE'),
        (['http://x', '--texts', str(tmp_path / 'no')], 'no such file'),
        (['tcp://x:1', '--arrays', str(tmp_path / 'no.npy')], 'no such file'),
        (['http://x', '--header', 'a: b\r\nc: d'], 'printable'),
    ):
        with pytest.raises(UserError, match=message):
            main(flags)


def test_a_token_goes_with_every_message():
    flags = parser().parse_args(['tcp://127.0.0.1:1', '--body', '{"texts": []}'])
    assert json.loads(bodies_of(flags, 'a "token"')(0)) == {'token': 'a "token"', 'texts': []}
    assert json.loads(bodies_of(parser().parse_args(['tcp://127.0.0.1:1', '--body', '{}']), 't')(3)) == {'token': 't'}
    rows = Rows([np.array([[1, 2]])], 1, slots.encode_options(token='a token'))
    assert slots.decode_options(rows(0)) == {'token': 'a token'} and slots.decode(rows(0))[0].tolist() == [[1, 2]]
    target = HttpTarget('http://127.0.0.1:1/v1/x?a=1', headers=['Authorization: Bearer t'])
    head = target.message(b'ab').decode()
    assert head.startswith('POST /v1/x?a=1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAuthorization: Bearer t\r\n')
    assert head.endswith('Content-Length: 2\r\n\r\nab') and target.message(b'').startswith(b'GET ')


def test_texts_are_left_out_where_the_body_has_none_and_a_refusal_is_told(capsys):
    async def run(answer):
        async with ToyHttp(answer=answer) as server:
            flags = [f'http://127.0.0.1:{server.port}/v1/x', '--body', '{}', '--requests', '3', '--warmup', '0']
            return await asyncio.to_thread(main, flags)

    assert asyncio.run(run(lambda body: (200, b'{}'))) == 0
    assert re.search(r'^a second: [\d.,]+ requests$', capsys.readouterr().out, re.M)
    refusal = {'error': {'code': 'invalid', 'message': 'text: missing\n, but required.'}}
    with pytest.raises(UserError, match=r'no request was answered \(invalid: text: missing\\n, but required.\).'):
        asyncio.run(run(lambda body: (422, json.dumps(refusal).encode())))


def test_the_program_prints_json(tmp_path, capsys):
    (tmp_path / 't.txt').write_text('a\n\n중\r\n', encoding='utf-8')
    template = tmp_path / 'body.json'
    template.write_text(BODY, encoding='utf-8')

    async def run():
        async with ToyHttp() as server:
            flags = [f'http://127.0.0.1:{server.port}/v1/embed', '--texts', str(tmp_path / 't.txt')]
            flags += ['--body', f'@{template}', '--requests', '5', '--warmup', '0', '--json']
            code = await asyncio.to_thread(main, [*flags, '--output', str(tmp_path / 'out.json')])
            return code, server

    code, server = asyncio.run(run())
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and found['requests'] == {'sent': 5, 'answered': 5} and found['loop'] == 'closed'
    assert [json.loads(body)['texts'] for body in server.bodies[:3]] == [['a'], ['중'], ['a']]
    assert json.loads((tmp_path / 'out.json').read_text()) == found
