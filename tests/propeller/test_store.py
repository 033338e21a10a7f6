"""The store of a job: its protocol against Paddle's own client, its bounds, and where it listens."""

import os
import socket
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.launch import store
from tests.launching import ROOT, listeners, wait_for


@pytest.fixture
def served():
    """(address, function that ends it) of a store in its own process."""
    with store.listen('127.0.0.1', 0) as listening:
        address = listening.getsockname()
        held = store.start(listening)
    ended = []

    def end():
        if not ended:
            ended.append(os.close(held))

    yield address, end
    end()


def test_paddles_client(served):
    """The client of the installed Paddle, in a process of its own: adds, gets, waits for a key that comes later."""
    (host, port), end = served
    client = f"""
from paddle.base import core
import threading
one, two = (core.TCPStore({host!r}, {port}, False, 0, 20) for _ in range(2))
assert [one.add('n', 5), two.add('n', -7), two.add('n', 0)] == [5, -2, -2]
one.set('large', bytes(range(256)) * 1000)
assert two.get('large') == bytes(range(256)) * 1000
late = threading.Timer(0.3, lambda: two.set('late', b'now'))
late.start()
one.wait('late')
assert one.get('late') == b'now' and one.get('n') == b'-2'
one.set('', b'')
assert one.get('') == b''
print('passed')
"""
    done = subprocess.run([sys.executable, '-c', client], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith('passed\n'), done.stderr
    assert at(port) == ['127.0.0.1']
    end()
    wait_for(lambda: not at(port))


def at(port):
    return [address for address, number, _ in listeners() if number == port]


def request(command, key, value=None):
    data = struct.pack('=iQ', command, len(key)) + key
    if command == store.ADD:
        return data + struct.pack('=q', value)
    return data + struct.pack('=Q', len(value)) + value if command == store.SET else data


requests = st.one_of(
    st.tuples(st.sampled_from([store.GET, store.CHECK, store.WAIT]), st.binary(max_size=9), st.none()),
    st.tuples(st.just(store.ADD), st.binary(max_size=9), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(store.SET), st.binary(max_size=9), st.binary(max_size=30)),
)


@given(st.lists(requests, max_size=5), st.integers(1, 40))
def test_requests_survive_any_cutting(sent, step):
    stream, buffer, found = b''.join(request(*each) for each in sent), bytearray(), []
    for begin in range(0, len(stream), step):
        buffer += stream[begin : begin + step]
        while parsed := store.parse(buffer):
            del buffer[: parsed[0]]
            found.append(parsed[1:])
    assert found == sent and not buffer


@given(st.lists(st.tuples(st.integers(0, 2), requests), max_size=30))
def test_any_request_is_answered_or_refused(asked):
    kept = store.Store()
    for client, (command, key, value) in asked:
        try:
            for receiver, answer in kept.answer(client, command, key, value):
                assert receiver in range(3) and len(answer) in (4, 8, 8 + len(kept.values.get(key, b'')))
        except store.NoRequest:
            kept.forget(client)
        assert kept.size == sum(len(key) + len(value) for key, value in kept.values.items())


def test_bounds(monkeypatch):
    for data in (
        struct.pack('=iQ', 5, 1),
        struct.pack('=iQ', -1, 1),
        struct.pack('=iQ', store.GET, store.LONGEST_KEY + 1),
        struct.pack('=iQ', store.SET, 1) + b'k' + struct.pack('=Q', store.LONGEST_VALUE + 1),
    ):
        with pytest.raises(store.NoRequest):
            store.parse(data)
    monkeypatch.setattr(store, 'MOST_BYTES', 100)
    kept = store.Store()
    kept.answer(0, store.SET, b'key', bytes(90))
    with pytest.raises(store.NoRequest):
        kept.answer(0, store.SET, b'other', bytes(90))
    kept.answer(0, store.SET, b'key', bytes(97))
    assert kept.values == {b'key': bytes(97)}


def test_a_client_that_talks_nonsense_harms_nobody(served):
    address, _ = served
    with socket.create_connection(address) as bad, socket.create_connection(address) as good:
        bad.sendall(b'GET / HTTP/1.1\r\n\r\n')
        assert bad.recv(10) == b''
        good.settimeout(10)
        reader = threading.Thread(target=good.sendall, args=(request(store.WAIT, b'k') + request(store.ADD, b'k', 3),))
        reader.start()
        assert good.recv(8, socket.MSG_WAITALL) == struct.pack('=q', 3)
        reader.join()


def test_a_taken_port():
    with store.listen('127.0.0.1', 0) as first, pytest.raises(OSError):
        store.listen(*first.getsockname())
