"""Launchers of several nodes: 127.0.0.1 and 127.0.0.2."""

import random
import socket
import time

import pytest

from tests.launching import NODES, WAITING, TwoNodes, errors, finish, wait_for


@pytest.fixture
def nodes(tmp_path):
    result = TwoNodes(tmp_path)
    yield result
    result.clean_up()


def test_two_nodes_that_start_at_different_times(nodes):
    script = nodes.program(
        "print({k: os.environ[k] for k in ('PADDLE_TRAINER_ENDPOINTS', 'PADDLE_MASTER', 'PADDLE_NODES_NUM')})\n"
        "print(os.environ['PADDLE_CURRENT_ENDPOINT'], os.environ['PADDLE_LOCAL_RANK'], os.environ['PADDLE_LOCAL_SIZE'])"
    )
    second = nodes.node(1, script, nproc=2)
    time.sleep(0.7)
    first = nodes.node(0, script, nproc=2)
    (code0, out0), (code1, out1) = finish(first), finish(second)
    assert (code0, code1) == (0, 0), out0 + out1
    port = nodes.port
    endpoints = [f'{ip}:{port + i}' for ip in NODES for i in range(2)]
    common = {
        'PADDLE_TRAINER_ENDPOINTS': ','.join(endpoints),
        'PADDLE_MASTER': endpoints[0],
        'PADDLE_NODES_NUM': '2',
    }
    for rank, endpoint in enumerate(endpoints):
        assert nodes.log(rank, f'log{rank // 2}') == f'{common}\n{endpoint} {rank % 2} 2\n'
    assert f'{endpoints[0]} 0 2' in out0.splitlines()
    assert 'waiting for node 0 (127.0.0.1)' in out1
    assert 'num_nodes: 2' in out1


def test_current_node_ip_and_master(nodes):
    script = nodes.program("print(os.environ['PADDLE_TRAINER_ID'], os.environ['PADDLE_MASTER'])")
    master = f'127.0.0.1:{nodes.port + 2}'
    common = ['--node_ips', ','.join(NODES), '--nproc_per_node', 1, '--start_port', nodes.port, '--master', master]
    started = [nodes.start(*common, '--current_node_ip', ip, script) for ip in NODES]
    assert [finish(process)[0] for process in started] == [0, 0]
    assert nodes.log(1) == f'1 {master}\n'


def test_garbage_at_the_port_harms_nobody(nodes):
    script = nodes.program("ready()\nwhile not os.path.exists('go'): time.sleep(.01)")
    first = nodes.node(0, script, timeout=5)
    address = (NODES[0], nodes.port - 1)
    wait_for(lambda: connects(address))
    send_garbage(address)
    second = nodes.node(1, script, timeout=5)
    nodes.ready(2)
    send_garbage(address)
    (nodes.folder / 'go').touch()
    for process in (first, second):
        code, output = finish(process)
        assert code == 0, output
        assert 'Traceback' not in output


def connects(address):
    try:
        socket.create_connection(address, 1).close()
    except OSError:
        return False
    return True


def send_garbage(address):
    """What scanners, browsers and enemies send: each from a connection of its own, some of which stay open."""
    greeting = b'{"node": 1, "generation": 0, "facts": {}}\n'
    texts = [
        random.Random(5).randbytes(5000),
        b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        b'\n' * 1000,
        b'x' * 300_000,
        b'[' * 60_000 + b'\n',
        b'1' * 10_000 + b'\n',
        b'[]\nnull\n"a"\n',
        b'{"failed": {"text": "no", "code": 1, "restartable": false, "signal": 2}}\n',
        b'{"done": true}\n{"start": 0}\n',
        b'{"node": true, "generation": 0, "facts": {}}\n',
        b'{"node": 99, "generation": 0, "facts": {}}\n',
        b'{"node": 1, "generation": -1, "facts": {}}\n',
        b'{"node": 1, "generation": 0, "facts": 3}\n',
        b'{"node": 1, "generation": 1e400, "facts": {}}\n',
        greeting,
        greeting[:20],
        b'',
    ]
    connections = [socket.create_connection(address, 5) for _ in range(100)]
    for i, connection in enumerate(connections):
        try:
            connection.sendall(texts[i % len(texts)])
            if i % 2:
                connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the launcher has hung up on us
            pass
    time.sleep(0.2)
    for connection in connections:
        connection.close()


def test_settings_that_differ_are_explained(nodes):
    script = nodes.program(WAITING)
    ends = [finish(process, 10) for process in (nodes.node(0, script), nodes.node(1, script, nproc=2))]
    for code, output in ends:
        assert code == 2
        (line,) = errors(output)
        assert 'the launchers disagree: --nproc_per_node is 1 on node 0 and 2 on node 1.' in line
    assert not list(nodes.folder.glob('ready.*'))


def test_a_node_of_another_job_is_sent_away(nodes):
    script = nodes.program("ready()\nwhile not os.path.exists('go'): time.sleep(.01)")
    first = nodes.node(0, script, timeout=5)
    code, output = finish(nodes.node(1, script, timeout=5, ips=('127.0.0.1', '127.0.0.3')), 10)
    assert code == 2
    assert '--node_ips is 127.0.0.1,127.0.0.2 on node 0 and 127.0.0.1,127.0.0.3 on node 1' in errors(output)[0]
    second = nodes.node(1, script, timeout=5)
    nodes.ready(2)
    (nodes.folder / 'go').touch()
    assert [finish(process)[0] for process in (first, second)] == [0, 0]


def test_a_node_that_is_there_twice_is_sent_away(nodes):
    script = nodes.program(WAITING)
    ips = (*NODES, '127.0.0.3')
    nodes.node(0, script, ips=ips)
    twice = [nodes.node(1, script, ips=ips) for _ in range(2)]
    ended = wait_for(lambda: next((process for process in twice if process.poll() is not None), None))
    code, output = finish(ended)
    assert code == 2
    assert 'node 1 has joined already' in errors(output)[0]


def test_a_taken_port_is_named(nodes):
    with socket.create_server((NODES[1], nodes.port + 1)):
        started = [nodes.node(node, '--elastic_restarts', 2, nodes.program(WAITING), nproc=2) for node in range(2)]
        for process in started:
            code, output = finish(process)
            assert code == 1
            (line,) = errors(output)
            assert line.startswith(f'error: 127.0.0.2:{nodes.port + 1}: the port is taken')
            assert 'restart ' not in output
    assert not nodes.left()
    with socket.create_server((NODES[0], nodes.port - 1)):
        code, output = finish(nodes.node(0, nodes.program(WAITING)))
    assert code == 1
    assert errors(output)[0].startswith(f'error: 127.0.0.1:{nodes.port - 1}: cannot listen there')
