"""The listener of ZeroMQ: its frames, its limits, and clients that go, do not read, or send what is no message."""

import asyncio
import contextlib
import json
import random
import time

import numpy as np
import pytest
import zmq
import zmq.asyncio

from propeller.errors import UserError
from propeller.service import slots
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.security import Security
from propeller.service.zmq_listener import ZmqListener

_PATIENCE = 60  # seconds, on a machine that has other things to do
ONES = np.ones((2, 3), np.int64)


class Served:
    """A listener over a handler that adds one, and waits where the first number is 9."""

    def __init__(self, limits=None, **options):
        self.cancelled = self.answered = 0
        self.open = asyncio.Event()
        self.listener = ZmqListener(self.handle, limits=limits or Limits(), text_handler=self.text, **options)

    async def handle(self, arrays, options):
        if not arrays:
            raise ServiceError('invalid', 'found no array.')
        try:
            if arrays[0].flat[0] == 9:
                await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.answered += 1
        return [array + 1 for array in arrays]

    async def text(self, request):
        if 'fault' in request:
            raise KeyError('fault')
        return {'request': request}


@contextlib.asynccontextmanager
async def serving(limits=None, **options):
    served = Served(limits, **options)
    await served.listener.start()
    context = zmq.asyncio.Context()

    def client(kind, **settings):
        one = context.socket(kind)
        one.linger = 0
        for name, value in settings.items():
            setattr(one, name, value)
        one.connect(served.listener.address)
        return one

    served.client = client
    try:
        yield served
    finally:
        served.open.set()
        async with asyncio.timeout(_PATIENCE):
            await served.listener.stop()
        context.destroy()


async def told(client, *frames):
    await client.send_multipart(frames)
    async with asyncio.timeout(_PATIENCE):
        *way, answer = await client.recv_multipart()
    with pytest.raises(ServiceError) as caught:
        slots.decode(answer)
    return way, caught.value


async def until(condition):
    async with asyncio.timeout(_PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def test_requests_of_one_client_do_not_wait_for_each_other():
    async def scene():
        async with serving() as served:
            client = served.client(zmq.DEALER)
            for number, array in ((b'a', ONES * 9), (b'b', ONES)):
                await client.send_multipart([number, b'', slots.encode([array])])
            number, _, answer = await client.recv_multipart()
            assert number == b'b' and (slots.decode(answer)[0] == 2).all()
            served.open.set()
            number, _, answer = await client.recv_multipart()
            assert number == b'a' and slots.decode(answer)[0].shape == (2, 3)

    asyncio.run(scene())


def test_a_full_server_refuses_before_it_decodes():
    asked, error = [], ServiceError('overloaded', 'full.', None, 3)
    error.forms = {}

    def admit(says_time):
        asked.append(says_time)
        if not says_time:
            raise error

    async def scene():
        async with serving(admit=admit) as served:
            client = served.client(zmq.DEALER)
            for _ in range(2):
                way, found = await told(client, b'a', b'', slots.encode([ONES]))
                assert way == [b'a', b''] and found.code == 'overloaded' and found.retry_after == 3
                await client.send_multipart([b'', b'{no JSON'])
                assert json.loads((await client.recv_multipart())[-1])['error']['code'] == 'overloaded'
            await client.send_multipart([b'', slots.encode([ONES]) + slots.encode_options(timeout=9)])
            assert (slots.decode((await client.recv_multipart())[-1])[0] == 2).all()
            for name in ('timeout', 't\\u0069meout'):
                await client.send_multipart([b'', f'{{"{name}": 9}}'.encode()])
                assert json.loads((await client.recv_multipart())[-1]) == {'request': {'timeout': 9}}
            assert asked == [False] * 4 + [True] * 3
            way, found = await told(client, b'', b'\x0a\xff')
            assert found.code == 'malformed'

    asyncio.run(scene())


def test_the_token_is_asked_for_before_room_is_looked_for():
    def admit(says_time):
        raise ServiceError('overloaded', 'full.')

    async def scene():
        async with serving(admit=admit, security=Security('s3cret-token')) as served:
            _, found = await told(served.client(zmq.DEALER), b'', slots.encode([ONES]))
            assert found.code == 'unauthorized'

    asyncio.run(scene())


def test_wrong_frames_have_a_typed_answer():
    message = slots.encode([ONES])

    async def scene():
        async with serving() as served:
            client = served.client(zmq.DEALER)
            for frames, found, way in (
                ([b''], 'found an empty message', []),
                ([b'', b''], 'found an empty message', [b'']),
                ([message, message], 'found 2 frames', []),
                ([b'', message, message], 'found 2 frames', [b'']),
                ([b'7', b''], 'found no frame', [b'7', b'']),
                ([b'x'] * 9 + [b'', message], 'found 11 frames', []),
                ([b''] * 1000, 'found 999 frames', [b'']),
                ([b'x' * 256, b'', message], 'found a frame of 256 bytes', [b'']),
                ([b'', b'\xff'], 'found no Slots message', [b'']),
                ([slots.encode_error(ServiceError('unauthorized', 'x'))], 'found an error message', []),
                ([b'x'], 'Slots message', []),
            ):
                back, error = await told(client, *frames)
                assert error.code == 'malformed' and found in str(error) and back == way, frames
            way, error = await told(client, b'', slots.encode_options(1.0))
            assert error.code == 'invalid'
            await client.send_multipart([b'i' * 255, b'', message])
            assert (await client.recv_multipart())[0] == b'i' * 255

    asyncio.run(scene())


def test_json_is_answered_in_json():
    async def scene():
        async with serving() as served:
            client = served.client(zmq.REQ)

            async def ask(text):
                await client.send(text.encode('utf-8', 'surrogateescape'))
                return json.loads(await client.recv())

            assert await ask('{"text": "一只猫"}') == {'request': {'text': '一只猫'}}
            assert await ask('\ufeff{"text": "一只猫"}') == {'request': {'text': '一只猫'}}
            for wrong in ('{', '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\udcff"}', '{' * 70000):
                assert (await ask(wrong))['error']['code'] == 'malformed'
            assert (await ask('{' + ' ' * (16 << 20) + '}'))['error']['code'] == 'too_large'
            many = json.dumps({'texts': ['a'] * 65_535})  # the list is a value, too
            assert len((await ask(many))['request']['texts']) == 65_535
            error = (await ask(many.replace('["a"', '["a", "a"')))['error']
            assert error['code'] == 'too_large' and error['limit'] == {'name': 'json_values', 'value': 1 << 16}
            assert (await ask('{"fault": 1}'))['error']['code'] == 'internal'
            served.listener.text_handler = None
            assert (await ask('{}'))['error']['code'] == 'not_found'

    asyncio.run(scene())


def test_limits_at_the_limit_and_one_beyond():
    message = slots.encode([ONES])

    counted = []

    async def scene():
        limits = Limits(message_bytes=len(message), client_requests=3)
        async with serving(limits, refused=lambda error: counted.append(error.code)) as served:
            client = served.client(zmq.DEALER)
            await client.send_multipart([b'', message])
            assert (slots.decode((await client.recv_multipart())[1])[0] == 2).all()
            _, error = await told(client, b'', message + b'\x78')
            assert error.code == 'too_large'
            assert error.limit == {'name': 'message_bytes', 'value': len(message), 'found': len(message) + 1}
            for _ in range(3):
                await client.send_multipart([b'', slots.encode([ONES * 9])])
            _, error = await told(client, b'', message)
            assert error.code == 'overloaded' and error.limit['value'] == 3
            other = served.client(zmq.REQ)
            await other.send(message)
            assert (slots.decode(await other.recv())[0] == 2).all()
            served.open.set()
            for _ in range(3):
                assert (slots.decode((await client.recv_multipart())[1])[0] == 10).all()
            # More than twice the limit is not read at all, and the others do not notice.
            await client.send_multipart([b'', b'x' * (2 * len(message) + 1)])
            await other.send(message)
            slots.decode(await other.recv())

    asyncio.run(scene())
    assert counted == ['too_large', 'overloaded']


def test_the_requests_of_a_client_that_goes_are_cancelled_and_no_others():
    async def scene():
        async with serving() as served:
            leaving, staying = served.client(zmq.DEALER), served.client(zmq.REQ)
            await staying.send(slots.encode([ONES * 9]))
            for _ in range(2):
                await leaving.send_multipart([b'', slots.encode([ONES * 9])])
            await until(lambda: len(served.listener._tasks) == 3)
            leaving.close()
            await until(lambda: served.cancelled == 2)
            served.open.set()
            assert (slots.decode(await staying.recv())[0] == 10).all() and not served.listener._outstanding

    asyncio.run(scene())


async def asked_again(client):
    """Whether a request is answered, behind what waited; None where the answer is that something waits, or lost."""
    await client.send_multipart([b'again', b'', slots.encode([ONES])])
    with contextlib.suppress(ServiceError, TimeoutError):
        async with asyncio.timeout(5):
            while len(frames := await client.recv_multipart()) < 3:
                pass
            return bool((slots.decode(frames[-1])[0] == 2).all())


def test_a_client_that_does_not_read_costs_others_nothing():
    async def scene():
        async with serving(Limits(client_requests=2)) as served:
            slow = served.client(zmq.DEALER, rcvhwm=1, rcvbuf=4096)
            message = slots.encode([np.zeros((300, 1000), np.float32)])
            good = served.client(zmq.REQ)
            for _ in range(60):
                await slow.send_multipart([b'', message])
                await good.send(slots.encode([ONES]))
                async with asyncio.timeout(_PATIENCE):
                    assert (slots.decode(await good.recv())[0] == 2).all()
            await until(lambda: served.listener._stuck)
            assert served.answered < 120
            async with asyncio.timeout(_PATIENCE):  # it reads again, and is served again
                while (answered := await asked_again(slow)) is None:
                    pass
            assert answered

    asyncio.run(scene())


def test_a_connection_that_ended_before_its_message_was_read(caplog):
    """Frames of ZeroMQ 2 need no greeting: an empty name of the client, then a message that nobody waits for."""

    async def check():
        async with serving() as served:
            client = served.client(zmq.DEALER)
            port = served.listener.bound_port
            for number in range(20):
                _, stranger = await asyncio.open_connection('127.0.0.1', port)
                stranger.write(b'\x01\x00' + b'\x05\x00good')
                await stranger.drain()
                stranger.close()
                time.sleep(0.01)  # the loop does not read, libzmq does: message and end are both there
                await client.send_multipart([b'', slots.encode([ONES * number % 9])])
                async with asyncio.timeout(_PATIENCE):
                    _, answer = await client.recv_multipart()
                assert slots.decode(answer)[0].tolist() == (ONES * number % 9 + 1).tolist()

    asyncio.run(check())
    assert not [record for record in caplog.records if record.levelname == 'ERROR']


def test_fuzzed_frames_have_typed_answers():
    rng = random.Random(20191)
    message = bytearray(slots.encode([ONES, np.ones((1, 2), np.float32)]))

    def fuzzed():
        kind = rng.randrange(4)
        if kind == 0:
            return rng.randbytes(rng.randrange(200))
        if kind == 1:
            return b'{' + rng.randbytes(rng.randrange(50))
        content = message[:]
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(content if kind == 2 else content[: rng.randrange(len(content))])

    async def scene():
        async with serving() as served:
            client = served.client(zmq.DEALER)
            for number in range(300):
                frames = [fuzzed() for _ in range(rng.choice((1, 1, 1, 2, 5)))]
                await client.send_multipart(frames if rng.random() < 0.2 else [b'%d' % number, b'', *frames])
                async with asyncio.timeout(_PATIENCE):
                    answer = (await client.recv_multipart())[-1]
                with contextlib.suppress(ServiceError):
                    slots.decode(answer) if answer[:1] != b'{' else json.loads(answer)
            good = served.client(zmq.REQ)
            await good.send(bytes(message))
            assert (slots.decode(await good.recv())[0] == 2).all()

    asyncio.run(scene())


def test_a_port_that_is_taken_and_hosts_that_are_none():
    async def scene():
        async with serving() as served:
            port = int(served.listener.address.rpartition(':')[2])
            for host, number, found in (
                ('127.0.0.1', port, 'the port is taken'),
                ('203.0.113.7', 0, 'no address of this machine'),
                ('no such host', 0, 'no address of this machine'),
                ('127.0.0.1', 70000, 'expected 0 to 65535'),
            ):
                with pytest.raises(UserError, match=found):
                    await ZmqListener(served.handle, host, number, Limits()).start()
            assert (await told(served.client(zmq.DEALER), b'x'))[1].code == 'malformed'

    asyncio.run(scene())


def test_a_token_is_asked_for():
    async def scene():
        async with serving(security=Security('a long secret')) as served:
            client = served.client(zmq.DEALER)
            message = slots.encode([ONES])
            for wrong in (b'', slots.encode_options(token='a long secreT'), slots.encode_options(token='满')):
                assert (await told(client, message + wrong))[1].code == 'unauthorized'
            await client.send(message + slots.encode_options(token='a long secret'))
            slots.decode(await client.recv())
            for token, field in (('a long secret', 'request'), ('another', 'error'), (7, 'error')):
                await client.send(json.dumps({'token': token}).encode())
                assert field in json.loads(await client.recv())

    asyncio.run(scene())
