"""Jobs on several nodes that lose a rank, a launcher, or the network, and what becomes of them."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.launching import NODES, TIMEOUT, WAITING, TwoNodes, errors, finish


@pytest.fixture
def nodes(tmp_path):
    result = TwoNodes(tmp_path)
    yield result
    result.clean_up()


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


def test_a_rank_that_lost_one_of_another_node_is_not_the_cause(nodes):
    body = 'ready()\ntime.sleep(0.2 if rank == 0 else 0.6)\nsys.exit(75 if rank == 0 else 9)'
    started = [nodes.node(node, nodes.program(body), timeout=10) for node in range(2)]
    for process in started:
        code, output = finish(process)
        assert code == 9
        assert errors(output) == ['error: rank 1 on node 1 (log: log1/job.log.1) failed with exit code 9']


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


# Rank 0 holds its port on all addresses until it is killed, as Paddle's store does.
ONCE = """
import socket
if rank == 0: server = socket.create_server(('', int(os.environ['PADDLE_MASTER'].rpartition(':')[2])))
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(1)))
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
