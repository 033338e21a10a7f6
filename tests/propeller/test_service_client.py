"""Clients against servers of all kinds: one that answers, and some that are dead, silent, half-closed or wrong."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq

from propeller.service import slots
from propeller.service.client import AsyncInferenceClient, InferenceBaseClient, InferenceClient, InferenceError
from propeller.service.connection import Endpoint
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.security import Security
from propeller.service.zmq_listener import ZmqListener

ROWS = np.arange(14, dtype=np.int64).reshape(7, 2)
_LATE = 5.0  # seconds that a busy machine may add to half of one; the time-outs below are as short as can be


class Served:
    """A listener in a thread of its own. A first number of 100: an error; 101: no answer within a second."""

    def __init__(self, **options):
        self._options, self._loop = options, asyncio.new_event_loop()
        self.most = self._busy = 0
        self.seen = []

    async def handle(self, arrays, options):
        self._busy += 1
        self.most = max(self.most, self._busy)
        self.seen.append(options)
        try:
            first = arrays[0].flat[0]
            if first == 100:
                raise ServiceError('overloaded', 'too much.', {'name': 'queue_tokens', 'value': 1, 'found': 2}, 3)
            await asyncio.sleep(1 if first == 101 else 0.02)
            return [arrays[0] * 2, arrays[0][:, :1].astype(np.float32)]
        finally:
            self._busy -= 1

    def __enter__(self):
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._listener = self._call(self._made())
        self.address = self._listener.address
        return self

    async def _made(self):
        listener = ZmqListener(self.handle, limits=Limits(message_bytes=4096), **self._options)
        await listener.start()
        return listener

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __exit__(self, *_):
        self._call(self._listener.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope='module')
def served():
    with Served() as one:
        yield one


def test_a_call_is_cut_and_put_together(served):
    served.most = 0
    with InferenceClient(served.address, batch_size=2, num_coroutine=3) as client:
        for _ in range(2):
            double, first = client(ROWS)
            assert (double == ROWS * 2).all() and first[:, 0].tolist() == ROWS[:, 0].tolist()
            assert first.dtype == np.float32 and double.flags.writeable
    assert served.most == 3 and served.seen[-1] == {'timeout': 10.0}


def test_calls_of_several_threads_and_of_a_running_loop(served):
    client, results = InferenceClient(served.address, batch_size=3, num_coroutine=2), {}

    def call(number):
        results[number] = client(ROWS + number)[0]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[number] == 2 * (ROWS + number)).all() for number in range(4))

    async def in_a_notebook():
        return client(ROWS)[0]

    assert (asyncio.run(in_a_notebook()) == 2 * ROWS).all()
    client.close()


def test_the_base_client_sends_arrays_as_they_are(served):
    client = InferenceBaseClient(served.address)
    double, _ = client(ROWS, np.ones((1, 1, 3), np.float32))
    assert (double == 2 * ROWS).all() and double.flags.writeable
    for wrong in ((), ([1, 2],), (ROWS, 7)):
        with pytest.raises(ValueError, match='expected'):
            client(*wrong)
    with pytest.raises(RuntimeError, match='float64'):
        client(np.ones(3))


def test_what_is_no_call(served):
    client = InferenceClient(served.address)
    for wrong in ((ROWS, ROWS[:3]), (ROWS[:0],), (np.array(3),)):
        with pytest.raises(ValueError, match='number of rows'):
            client(*wrong)
    for name in ('batch_size', 'num_coroutine', 'timeout'):
        with pytest.raises(ValueError, match=f'{name}: found 0'):
            InferenceClient(served.address, **{name: 0})
    with pytest.raises(ValueError, match='expected tcp://HOST:PORT'):
        InferenceClient('localhost 8888')(ROWS)


def test_an_error_of_the_server_is_an_exception_with_its_code(served):
    client = InferenceClient(served.address, batch_size=1, num_coroutine=2)
    with pytest.raises(RuntimeError, match='Client call failed: too much') as caught:
        client(np.array([[100], [1], [2]]))
    assert caught.value.code == 'overloaded' and caught.value.retry_after == 3 and caught.value.limit['found'] == 2
    assert client(ROWS)[0].shape == ROWS.shape  # and goes on
    with pytest.raises(InferenceError) as caught:
        InferenceClient(served.address)(np.zeros((100, 10), np.int64))
    assert caught.value.code == 'too_large'


def test_a_client_works_again_after_a_time_out(served):
    client = InferenceClient(served.address, timeout=0.3)
    begin = time.monotonic()
    with pytest.raises(InferenceError, match=r'no answer within 0\.3 s') as caught:
        client(np.array([[101]]))
    assert caught.value.code in ('expired', 'unavailable') and time.monotonic() - begin < 0.8 + _LATE
    client.timeout = 10.0
    assert (client(ROWS)[0] == 2 * ROWS).all()


def test_clients_that_are_dropped_do_not_hinder_others(served):
    for number in range(8):
        client = InferenceClient(served.address, batch_size=2, num_coroutine=4)
        client(ROWS)
        client.itself = client  # the garbage collector finds it, with its sockets in whatever order
        asyncio.run(AsyncInferenceClient(served.address)(ROWS + number))
        del client
        gc.collect()
    assert (InferenceClient(served.address)(ROWS)[0] == 2 * ROWS).all()


@contextlib.contextmanager
def _bad_server(kind):
    """The address of a server without an answer: `dead`, `deaf` (one that is stopped), `mute`, `silent`, `garbage`."""
    if kind in ('silent', 'garbage'):
        context = zmq.Context()
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        port = router.bind_to_random_port('tcp://127.0.0.1')

        def answer():
            if not router.poll(60_000):
                return
            identity, _, _ = router.recv_multipart()
            if kind == 'garbage':
                router.send_multipart([identity, b'', b'\xff\xff'])

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f'tcp://127.0.0.1:{port}'
        thread.join()
        context.destroy(linger=200)
        return
    with socket.create_server(('127.0.0.1', 0)) as listening:
        port = listening.getsockname()[1]
        if kind == 'dead':
            listening.close()
        if kind == 'mute':  # takes the connection, says nothing and closes its half
            threading.Thread(target=lambda: listening.accept()[0].shutdown(socket.SHUT_WR), daemon=True).start()
        yield f'tcp://127.0.0.1:{port}'


def test_servers_that_never_answer_cost_no_more_than_the_time_out():
    for kind, code in (
        ('dead', 'unavailable'),
        ('deaf', 'unavailable'),
        ('mute', 'unavailable'),
        ('silent', 'expired'),
        ('garbage', 'malformed'),
    ):
        with _bad_server(kind) as address:
            begin = time.monotonic()
            with pytest.raises(InferenceError) as caught:
                # So long that the connection is there on a busy machine too.
                InferenceClient(address, timeout=2.0 if code in ('expired', 'malformed') else 0.3)(ROWS)
            assert caught.value.code == code, kind
            assert time.monotonic() - begin < 2.5 + _LATE


def test_a_connection_that_ends_is_an_error_at_once(served):
    client = InferenceClient(served.address, timeout=30.0)
    with pytest.raises(InferenceError, match='the connection to .* ended') as caught:
        client(np.zeros((100, 100), np.int64))  # twice what the server takes
    assert caught.value.code == 'unavailable'
    assert (client(ROWS)[0] == 2 * ROWS).all()


def test_a_server_that_comes_back_is_found_again():
    with Served() as one:
        client = InferenceClient(one.address, timeout=5.0)
        client(ROWS)
    time.sleep(0.1)
    with Served() as other:
        client._endpoint.address = other.address
        assert (client(ROWS)[0] == 2 * ROWS).all()


def test_asyncio(served):
    async def scene():
        async with AsyncInferenceClient(served.address, batch_size=2, num_coroutine=3) as client:
            served.most = 0
            answers = await asyncio.gather(*(client(ROWS + number) for number in range(3)))
            assert all((double == 2 * (ROWS + number)).all() for number, (double, _) in enumerate(answers))
            assert served.most == 3
            with pytest.raises(InferenceError, match='too much'):
                await client(np.array([[100], [1], [2], [3]]))
            client.timeout = 0.2
            with pytest.raises(InferenceError, match='no answer within'):
                await client(np.array([[101]]))
            client.timeout = 10.0
            call = asyncio.create_task(client(np.array([[101]])))
            await asyncio.sleep(0.1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await client(ROWS))[0].shape == ROWS.shape

    asyncio.run(scene())
    client = AsyncInferenceClient(served.address)
    for _ in range(2):  # in another loop too
        assert asyncio.run(client(ROWS))[1].shape == (7, 1)


def test_a_model_is_named_by_the_client_or_by_the_call(served):
    async def asked(client):
        async with client:
            await client(ROWS)
            await client(ROWS, model='other')

    served.seen.clear()
    with InferenceClient(served.address, model='点评') as client:
        client(ROWS)
        client(ROWS, model='other')
    InferenceBaseClient(served.address)(ROWS, model='base')
    asyncio.run(asked(AsyncInferenceClient(served.address, model='later')))
    assert [options.get('model') for options in served.seen] == ['点评', 'other', 'base', 'later', 'other']
    for wrong in ('', 7, b'x', '\ud800'):
        with pytest.raises(ValueError, match='model: found .* expected the name of a model'):
            InferenceClient(served.address, model=wrong)
        with pytest.raises(ValueError, match='model: found'):
            client(ROWS, model=wrong)


class _ServerOf2019:
    """Answers each request with its own arrays, and keeps the bytes that came."""

    def __init__(self, count):
        self.requests, self._context = [], zmq.Context()
        self._socket, self._count = self._context.socket(zmq.REP), count
        self._socket.linger = 1000
        self.address = f'tcp://127.0.0.1:{self._socket.bind_to_random_port("tcp://127.0.0.1")}'
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        for _ in range(self._count):
            if not self._socket.poll(60_000):
                return
            self.requests.append(self._socket.recv())
            self._socket.send(slots.encode(slots.decode(self.requests[-1])))

    def end(self):
        self._thread.join()
        self._context.destroy()


def test_a_server_of_2019_is_asked_as_ever_and_never_answers_for_a_model_that_it_was_not_asked_for():
    server = _ServerOf2019(2)
    client = InferenceClient(server.address, timeout=2.5)
    assert (client(ROWS)[0] == ROWS).all()
    with pytest.raises(InferenceError, match="knows no models by name, and 'reviews' was asked for") as caught:
        client(ROWS, model='reviews')
    assert caught.value.code == 'not_found'
    client.close()
    server.end()
    plain = slots.encode([ROWS]) + bytes.fromhex('78c413')  # field 15: 2500 ms
    assert server.requests == [plain, slots.encode([ROWS]) + bytes.fromhex('6a0772657669657773 78c413')]


def test_a_token():
    with Served(security=Security('a long secret')) as one:
        assert (InferenceClient(one.address, auth_token='a long secret')(ROWS)[0] == 2 * ROWS).all()
        for token in (None, 'another secret'):
            with pytest.raises(InferenceError) as caught:
                InferenceBaseClient(one.address, auth_token=token)(ROWS)
            assert caught.value.code == 'unauthorized'


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    """Folder with key pairs of a server and two clients; `let_in` has the public key of one of them."""
    from zmq.auth import create_certificates

    folder = tmp_path_factory.mktemp('keys')
    for name in ('server', 'friend', 'stranger'):
        (folder / f'{create_certificates(folder, name)[1]}').chmod(0o600)
    (folder / 'let_in').mkdir()
    (folder / 'friend.key').rename(folder / 'let_in' / 'friend.key')
    return folder


def _curve(address, keys, **options):
    return InferenceClient(address, timeout=3.0, server_key=str(keys / 'server.key'), **options)


def test_curve_lets_in_clients_that_know_the_server(keys):
    with Served(security=Security(secret_key_file=str(keys / 'server.key_secret'))) as one:
        assert (_curve(one.address, keys)(ROWS)[0] == 2 * ROWS).all()
        for options in ({}, {'server_key': 'x' * 40}):
            with pytest.raises(InferenceError) as caught:  # the connection is never there, so it is not 'expired'
                InferenceClient(one.address, timeout=0.5, **options)(ROWS)
            assert caught.value.code in ('unauthorized', 'unavailable')


def test_curve_lets_in_clients_that_are_known(keys):
    security = Security(secret_key_file=str(keys / 'server.key_secret'), client_keys=str(keys / 'let_in'))
    with Served(security=security) as one:
        friend, stranger = str(keys / 'friend.key_secret'), str(keys / 'stranger.key_secret')
        assert (_curve(one.address, keys, client_key=friend)(ROWS)[0] == 2 * ROWS).all()
        with pytest.raises(InferenceError) as caught:
            _curve(one.address, keys, client_key=stranger)(ROWS)
        assert caught.value.code == 'unauthorized'


def test_curve_refuses_before_the_request_is_sent(keys, monkeypatch):
    """A client that a busy machine holds up between connecting and sending is told the same."""
    security = Security(secret_key_file=str(keys / 'server.key_secret'), client_keys=str(keys / 'let_in'))
    opened = Endpoint.open

    def open_slowly(self, context):
        made = opened(self, context)
        time.sleep(0.5)
        return made

    monkeypatch.setattr(Endpoint, 'open', open_slowly)
    stranger = {'server_key': str(keys / 'server.key'), 'client_key': str(keys / 'stranger.key_secret')}

    async def ask(address):
        async with AsyncInferenceClient(address, timeout=20, **stranger) as client:
            await client(ROWS)

    with Served(security=security) as one:
        calls = (
            lambda: InferenceClient(one.address, timeout=20, **stranger)(ROWS),
            lambda: asyncio.run(ask(one.address)),
        )
        for call in calls:
            began = time.monotonic()
            with pytest.raises(InferenceError, match='does not take the keys') as caught:
                call()
            assert caught.value.code == 'unauthorized' and time.monotonic() - began < 15


def test_keys_and_tokens_that_are_none(keys, tmp_path, monkeypatch):
    from propeller.errors import UsageError
    from propeller.service.security import TOKEN_VARIABLE, read_token

    (tmp_path / 'empty').mkdir()
    (tmp_path / 'no.key').write_text('nothing')
    (tmp_path / 'no.key').chmod(0o600)
    (keys / 'server.key').chmod(0o600)
    (tmp_path / 'open.key_secret').write_text('curve')
    (tmp_path / 'open.key_secret').chmod(0o644)
    for found, options in (
        ('that others may read', {'secret_key_file': str(tmp_path / 'open.key_secret')}),
        ('no such file', {'secret_key_file': str(tmp_path / 'none')}),
        ('no CURVE certificate', {'secret_key_file': str(tmp_path / 'no.key')}),
        ('no secret key', {'secret_key_file': str(keys / 'server.key')}),
        ('no public key', {'secret_key_file': str(keys / 'server.key_secret'), 'client_keys': str(tmp_path / 'empty')}),
        ('needs --curve_secret_key', {'client_keys': str(keys)}),
        ('8 or more', {'token': 'short'}),
        ('ASCII', {'token': '满满满满满满满满'}),
    ):
        with pytest.raises(ValueError, match=found):
            Security(**options)
    (tmp_path / 'token').write_text('of a file\n')
    assert read_token(None, str(tmp_path / 'token')) == 'of a file' and read_token() is None
    (tmp_path / 'token').write_text('short\n')
    assert read_token(file=str(tmp_path / 'token')) == 'short'  # a client's may be that of another server
    monkeypatch.setenv(TOKEN_VARIABLE, 'kürzeres Wort')
    for source, found, options in (
        (tmp_path / 'token', 'a token of 5 characters', {'file': str(tmp_path / 'token')}),
        (TOKEN_VARIABLE, 'a token of other characters', {}),
    ):
        with pytest.raises(UsageError, match=f'{source}: found {found}, expected 8 or more printable ASCII'):
            read_token(**options, of_server=True)
    monkeypatch.setenv(TOKEN_VARIABLE, 'of the environment')
    assert read_token() == 'of the environment' and read_token('of a flag') == 'of a flag'


def test_a_client_program_does_without_paddle():
    code = 'import sys, propeller.service.client as c; c.InferenceClient("tcp://127.0.0.1:1"); print(*sys.modules)'
    loaded = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()
    assert 'paddle' not in loaded and 'propeller.service.core' not in loaded
    assert slots.__name__ in loaded
