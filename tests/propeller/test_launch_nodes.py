"""Launchers of several nodes: 127.0.0.1 and 127.0.0.2, or network namespaces where the system allows them."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

from tests.launching import Bench, finish, port_block, wait_for

NODES = ('127.0.0.1', '127.0.0.2')
TIMEOUT = 2


class TwoNodes(Bench):
    """Two launchers in one folder, each with its own logs."""

    def __init__(self, folder):
        super().__init__(folder)
        self.port = port_block(4) + 1  # the launchers meet one below

    def node(self, node, *arguments, nproc=1, timeout=TIMEOUT, ips=NODES, prefix=()):
        return self.start(
            *('--node_ips', ','.join(ips), '--node_id', node, '--nproc_per_node', nproc, '--start_port', self.port),
            *('--peer_timeout', timeout, '--split_log_path', f'log{node}', *arguments),
            prefix=prefix,
        )


@pytest.fixture
def nodes(tmp_path):
    result = TwoNodes(tmp_path)
    yield result
    result.clean_up()


def errors(output):
    return [line for line in output.splitlines() if line.startswith('error: ')]


WAITING = 'ready()\ntime.sleep(99)'


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


@pytest.mark.parametrize('failing', [0, 1])
def test_a_rank_that_fails_ends_both(nodes, failing):
    body = f"""
ready()
while rank != {failing} or not os.path.exists('go'): time.sleep(.01)
sys.exit(9)
"""
    started = [nodes.node(node, nodes.program(body)) for node in range(2)]
    nodes.ready(2)
    (nodes.folder / 'go').touch()
    ends = [finish(process, 5) for process in started]
    for code, output in ends:
        assert code == 9
        assert errors(output) == [
            f'error: rank {failing} on node {failing} (log: log{failing}/job.log.{failing}) failed with exit code 9'
        ]
    nodes.assert_nobody_left()


@pytest.mark.parametrize('killed', [0, 1])
def test_a_launcher_that_is_killed_ends_the_other(nodes, killed):
    started = [nodes.node(node, nodes.program(WAITING), timeout=30) for node in range(2)]
    nodes.ready(2)
    started[killed].kill()
    code, output = finish(started[1 - killed], 10)
    assert code == 1
    (line,) = errors(output)
    assert line.startswith(f'error: node {killed} ({NODES[killed]}) is lost: ')
    nodes.assert_nobody_left(seconds=3)


@pytest.mark.parametrize('stopped', [0, 1])
def test_a_silent_node_is_noticed_in_time(nodes, stopped):
    started = [nodes.node(node, nodes.program(WAITING)) for node in range(2)]
    nodes.ready(2)
    started[stopped].send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    code, output = finish(started[1 - stopped], 10)
    assert 0.5 * TIMEOUT < time.monotonic() - begin < TIMEOUT + 2  # silence is not called out early either
    assert code == 1
    (line,) = errors(output)
    assert f'node {stopped} ({NODES[stopped]}) has not been heard for' in line
    started[stopped].send_signal(signal.SIGCONT)
    assert finish(started[stopped], 10)[0] == 1
    nodes.assert_nobody_left()


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
    with socket.create_server((NODES[0], nodes.port + 1)):
        code, output = finish(nodes.node(0, nodes.program(WAITING), nproc=2))
    assert code == 1
    assert errors(output)[0].startswith(f'error: 127.0.0.1:{nodes.port + 1}: the port is taken')
    with socket.create_server((NODES[0], nodes.port - 1)):
        code, output = finish(nodes.node(0, nodes.program(WAITING)))
    assert code == 1
    assert errors(output)[0].startswith(f'error: 127.0.0.1:{nodes.port - 1}: cannot listen there')


ONCE = """
open(f'arguments.{rank}', 'a').write(' '.join(sys.argv[1:]) + chr(10))
if '--resume' not in sys.argv:
    ready()
    time.sleep(99)
"""


@pytest.mark.parametrize('killed', [0, 1])
def test_a_lost_node_that_comes_back(nodes, killed):
    script = nodes.program(ONCE)
    started = [nodes.node(node, '--elastic_restarts', 1, script, timeout=3) for node in range(2)]
    nodes.ready(2)
    started[killed].kill()
    again = nodes.node(killed, '--elastic_restarts', 1, script, timeout=3)
    assert finish(started[1 - killed])[0] == 0
    code, output = finish(again)
    assert code == 0, output
    for rank in range(2):
        assert [line.count('--resume') for line in (nodes.folder / f'arguments.{rank}').open()] == [0, 1]
    nodes.assert_nobody_left()


def test_all_nodes_start_again_after_a_failure(nodes):
    body = "if rank == 1 and '--resume' not in sys.argv: sys.exit(4)\n" + ONCE
    started = [nodes.node(node, '--elastic_restarts', 1, nodes.program(body)) for node in range(2)]
    for process in started:
        code, output = finish(process)
        assert code == 0, output
        assert output.count('restart 1 of 1 from the last checkpoint: rank 1 on node 1') == 1
    nodes.assert_nobody_left()


def test_ctrl_c_on_one_node_lets_all_processes_save(nodes):
    body = """
def save(number, frame):
    time.sleep(0.3)
    open(f'saved.{rank}', 'w').close()
    sys.exit(130)
signal.signal(signal.SIGINT, save)
ready()
time.sleep(99)
"""
    started = [nodes.node(node, '--elastic_restarts', 1, nodes.program(body)) for node in range(2)]
    nodes.ready(2)
    started[1].send_signal(signal.SIGINT)
    for process in started:
        code, output = finish(process)
        assert code == 130
        assert output.count('node 1: stopped by SIGINT') == 1
    assert {path.name for path in nodes.folder.glob('saved.*')} == {'saved.0', 'saved.1'}


def ip(*arguments):
    subprocess.run(['ip', *arguments], check=True, capture_output=True)


@pytest.fixture
def network():
    """Two network namespaces, joined by a virtual cable: their names; the cable's end in each is `cable`."""
    names = [f'launch{os.getpid()}{side}' for side in 'ab']
    if os.geteuid() != 0 or not shutil.which('ip'):
        pytest.skip('needs root and the program ip')
    try:
        for name in names:
            ip('netns', 'add', name)
        ip('-n', names[0], 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', names[1])
        for i, name in enumerate(names):
            ip('-n', name, 'addr', 'add', f'10.77.0.{i + 1}/24', 'dev', 'cable')
            for device in ('cable', 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
    except subprocess.CalledProcessError as e:
        pytest.skip(f'no network namespaces here: {e.stderr.decode()}')
    else:
        yield names
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'del', name], check=False, capture_output=True)


def test_a_cut_cable_ends_both(nodes, network):
    ips = ('10.77.0.1', '10.77.0.2')
    started = [
        nodes.node(node, nodes.program(WAITING), ips=ips, prefix=('ip', 'netns', 'exec', network[node]))
        for node in range(2)
    ]
    nodes.ready(2)
    ip('-n', network[1], 'link', 'set', 'cable', 'down')
    begin = time.monotonic()
    for node, process in enumerate(started):
        code, output = finish(process, 10)
        assert code == 1
        (line,) = errors(output)
        assert line.startswith(f'error: node {1 - node} ({ips[1 - node]}) has not been heard for')
        assert 'network' in line
    assert time.monotonic() - begin < TIMEOUT + 2
    nodes.assert_nobody_left()


def test_the_interface_of_the_nodes_address_is_used(nodes, network):
    script = nodes.program("print(os.environ['GLOO_SOCKET_IFNAME'])")
    ips = ('10.77.0.1', '10.77.0.2')
    started = [nodes.node(i, script, ips=ips, prefix=('ip', 'netns', 'exec', network[i])) for i in range(2)]
    assert [finish(process)[0] for process in started] == [0, 0]
    assert nodes.log(0, 'log0') == nodes.log(1, 'log1') == 'cable\n'
