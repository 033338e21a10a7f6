"""`python -m propeller.tools.start_server` with a bag of words, called as in 2019, fuzzed, and stopped under load."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq

from benchmark.acceptance.zmq_server import fuzzed, kind_of
from propeller.errors import UsageError
from propeller.service import slots
from propeller.service.client import InferenceBaseClient, InferenceClient, InferenceError
from propeller.service.exported import open_exported
from propeller.service.flags import limits_of
from propeller.service.limits import Limits
from propeller.tools.start_server import parser
from tests.processes import ROOT
from tests.propeller.exported_models import bag_of_words, export, request
from tests.propeller.test_service_slots import _message_class, _protobuf

_OF_2019 = {2: np.int32, 3: np.int64, 5: np.float32}


class Server:
    """The program with its address, in an empty folder."""

    def __init__(self, folder, cwd, *flags):
        command = [sys.executable, '-m', 'propeller.tools.start_server', '-m', str(folder), '-p', '0']
        command += ['--workers', '1', '--threads', '1']
        self.log, self.cwd = [], cwd
        self.process = subprocess.Popen(
            [*command, *flags],
            cwd=cwd,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self._reader.start()
        word, _, self.address = self.process.stdout.readline().strip().partition(' ')
        assert word == 'ready', self.log

    def children(self):
        with open(f'/proc/{self.process.pid}/task/{self.process.pid}/children') as f:
            return f.read().split()

    def stop(self):
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('model')
    export(bag_of_words, folder)
    return str(folder)


@pytest.fixture(scope='module')
def server(model, tmp_path_factory):
    one = Server(model, tmp_path_factory.mktemp('cwd'), '--max_texts', '200', '--message_bytes', '100000')
    yield one
    if one.process.poll() is None:
        one.stop()


def test_flags():
    """The command line, frozen: those of 2019, and those since."""
    flags = parser()
    options = {option for action in flags._actions for option in action.option_strings}
    of_2019 = {'-m', '--model_dir', '-p', '--port', '-v', '--verbose'}
    since = 'workers threads bf16 drain_timeout host auth_token auth_token_file curve_secret_key curve_client_keys'
    limits = [field.name for field in dataclasses.fields(Limits)]
    assert options == of_2019 | {'-h', '--help'} | {f'--{name}' for name in since.split() + limits}
    values = flags.parse_args(['-m', 'x', '-p', '8113', '--max_texts', '7', '--timeout', '2.5'])
    assert values.host == '127.0.0.1' and limits_of(values) == Limits(max_texts=7, timeout=2.5)
    values.queue_tokens = 1
    with pytest.raises(UsageError, match='--queue_tokens: found 1'):
        limits_of(values)


class ClientOf2019:
    """`InferenceBaseClient` as it was: a REQ socket, protobuf's class, and types that it knows or raises at."""

    def __init__(self, address):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.REQ)
        self.socket.connect(address)

    def __call__(self, *arrays):
        self.socket.send(_protobuf(arrays).SerializeToString())
        results = []
        for slot in _message_class().FromString(self.socket.recv()).slots:
            if slot.type not in _OF_2019:
                raise RuntimeError(f'service not support {slot.type} type')
            results.append(np.frombuffer(slot.data, _OF_2019[slot.type]).reshape(tuple(slot.dims)))
        return results


def test_a_client_of_2019_is_answered_and_sees_errors_as_exceptions(server, model):
    client, (ids, weights) = ClientOf2019(server.address), request(3, 5)
    expected = open_exported(model)([ids, weights])
    for found, one in zip(client(ids[:, :, None], weights), expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-5)
    for wrong in ((ids,), (ids, weights[:2]), (ids, ids), ()):
        with pytest.raises(RuntimeError, match='service not support 20 type'):
            client(*wrong)
    np.testing.assert_allclose(client(ids, weights)[1], expected[1], rtol=1e-5)
    client.context.destroy(linger=0)


def test_calls_of_many_rows_are_answered_in_order(server, model):
    ids, weights = request(500, 7)
    found = InferenceClient(server.address, batch_size=90, num_coroutine=3, timeout=60)(ids, weights)
    for one, expected in zip(found, open_exported(model)([ids, weights]), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_limits_at_the_limit_and_one_beyond(server):
    client = InferenceBaseClient(server.address, timeout=60)
    assert client(*request(200, 3))[0].shape == (200, 3)
    with pytest.raises(InferenceError, match='max_texts') as caught:
        client(*request(201, 3))
    assert caught.value.limit == {'name': 'max_texts', 'value': 200, 'found': 201}


def test_its_model_may_be_named_and_no_other(server):
    client = InferenceBaseClient(server.address, timeout=60)
    assert client(*request(2, 3), model='model')[0].shape == (2, 3)
    with pytest.raises(InferenceError, match="model 'other' is not served here; there is model.") as caught:
        client(*request(2, 3), model='other')
    assert caught.value.code == 'not_found'


def test_ids_that_the_model_has_not_are_the_mistake_of_the_client(server):
    client = InferenceBaseClient(server.address, timeout=60)
    ids, weights = request(3, 5)
    ids[2, 1] = 1_000_000
    with pytest.raises(InferenceError, match="id 1,000,000 in row 3, expected 0 to 6: 'table' has 7 rows") as caught:
        client(ids, weights)
    assert caught.value.code == 'invalid' and client(ids % 7, weights)[0].shape == (3, 3)
    assert not any('failed on a batch' in line for line in server.log)


def test_fuzzed_frames_cost_no_worker(server):
    workers, rng, good = server.children(), random.Random(8113), slots.encode(request(2, 3))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(server.address)
    seen = set()
    for _ in range(200):
        socket.send_multipart(fuzzed(rng, good))
        assert socket.poll(60_000)
        seen.add(kind_of(socket.recv_multipart()[-1]))
    assert {'malformed', 'invalid', 'answered', 'JSON'} <= seen and 'no message' not in seen
    socket.send_multipart([b'', good])
    assert slots.decode(socket.recv_multipart()[-1])[0].shape == (2, 3)
    assert server.children() == workers and not any('takes its place' in line for line in server.log)
    context.destroy(linger=0)


@pytest.mark.skipif(sys.platform != 'linux', reason='/proc tells what a process has loaded')
def test_the_front_is_small_and_leaves_nothing_in_its_folder(server):
    with open(f'/proc/{server.process.pid}/maps') as f:
        assert 'paddle' not in f.read()
    with open(f'/proc/{server.process.pid}/status') as f:
        assert int(next(line for line in f if line.startswith('VmRSS')).split()[1]) < 150_000
    assert os.listdir(server.cwd) == []


def test_what_cannot_be_served_is_one_line(server, model, tmp_path):
    port = server.address.rpartition(':')[2]
    (tmp_path / 'model.json').write_text('{}')
    for flags, code, found in (
        (['-m', model, '-p', port], 1, 'the port is taken'),
        (['-m', str(tmp_path), '-p', '0'], 1, 'no model.pdiparams'),
        (['-m', model, '-p', '0', '--workers', '0'], 2, '--workers: found 0'),
    ):
        command = [sys.executable, '-m', 'propeller.tools.start_server', *flags]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert ended.returncode == code and found in ended.stderr and ended.stderr.count('\n') == 1, ended.stderr


def test_sigterm_under_load_loses_nothing(server, model):
    """The last test of this server."""
    expected, ends, answered = open_exported(model), [], []
    requests = [request(9, 5, number) for number in range(4)]
    results = [expected(list(arrays))[0] for arrays in requests]

    def call(number):
        client = InferenceClient(server.address, batch_size=2, num_coroutine=4, timeout=60)
        try:
            while True:
                np.testing.assert_allclose(client(*requests[number])[0], results[number], rtol=1e-4, atol=1e-5)
                answered.append(number)
        except InferenceError as e:
            ends.append((e.code, str(e)))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(set(answered)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    assert len(ends) == 4 and all(code == 'unavailable' and 'going down' in text for code, text in ends), ends
    assert any('propeller server listent on port' in line for line in server.log)
    assert any('workers: 1 process, 1 thread each (as --workers says)' in line for line in server.log)
