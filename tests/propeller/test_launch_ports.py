"""What launchers of one machine hold: ports until the processes listen, and logs until the job ends."""

import contextlib
import socket

import pytest

from propeller.errors import UserError
from propeller.launch import store
from propeller.launch.logs import LogFiles
from propeller.launch.ports import Ports, choose, is_free
from tests.launching import Bench, finish, messages, port_block, wait_for


@pytest.fixture
def holders():
    """Function -> `Ports` of one more launcher."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Ports()))


def test_a_port_is_held_from_choosing_to_listening(holders):
    """Two launchers started one after the other, before a process of the first listens: the second takes others."""
    port = port_block(3)
    first, second = holders(), holders()
    assert choose(first, ['127.0.0.1'], 0, port, 2, None) == ((port, port + 1), f'127.0.0.1:{port}')
    ports, master = choose(second, ['127.0.0.1'], 0, port, 3, None)
    assert len({port, port + 1, *ports}) == 5 and ports[2] == port + 2
    assert master == f'127.0.0.1:{ports[0]}'
    # Who asks for any port gets none of them, and the processes can listen at theirs; so can Paddle, at all addresses.
    others = {machine_port() for _ in range(200)}
    assert not others & {port, port + 1, *ports}
    for host, own in (('127.0.0.1', port), ('', port + 1), ('127.0.0.1', ports[0])):
        store.listen(host, own).close()


def machine_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


def test_a_port_is_free_or_taken():
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        assert not is_free('127.0.0.1', port)
    assert is_free('127.0.0.1', port)  # at once, though connections to it may linger
    with pytest.raises(UserError, match='192.0.2.1: no address of this machine'):
        is_free('192.0.2.1', port)


def test_ports_are_free_again_at_the_end(holders):
    port, first = port_block(1), holders()
    assert first.hold('127.0.0.1', port)
    assert not holders().hold('127.0.0.1', port)
    assert holders().hold('127.0.0.2', port)  # another node, to be tried out on one machine
    first.close()
    assert holders().hold('127.0.0.1', port)


def test_ports_that_cannot_be_changed(holders):
    port, first = port_block(3), holders()
    nodes = ['127.0.0.1', '127.0.0.2']
    assert choose(first, nodes, 0, port, 2, f'127.0.0.1:{port + 2}')[1] == f'127.0.0.1:{port + 2}'
    with pytest.raises(UserError, match=f'127.0.0.1:{port}: the port is taken .* --start_port moves them'):
        choose(holders(), nodes, 0, port, 2, None)
    with pytest.raises(UserError, match=f'--master 127.0.0.1:{port + 2}: the port is taken'):
        choose(holders(), nodes[:1], 0, port, 1, f'127.0.0.1:{port + 2}')
    assert choose(holders(), nodes, 1, port, 2, f'127.0.0.1:{port + 2}')[0] == (port, port + 1)
    with pytest.raises(UserError, match='no address of this machine'):
        choose(holders(), ['192.0.2.1'], 0, port, 2, None)


def test_the_masters_port_may_be_that_of_a_process(holders):
    port = port_block(2)
    assert choose(holders(), ['127.0.0.1'], 0, port, 2, f'127.0.0.1:{port + 1}')[1] == f'127.0.0.1:{port + 1}'


def test_logs_of_two_jobs_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:

        def logs(*arguments):
            return stack.enter_context(contextlib.closing(LogFiles(*arguments)))

        first = logs('log', '', range(2))
        assert [first.path(rank) for rank in range(2)] == ['log/job.log.0', 'log/job.log.1']
        assert logs('log', '', range(1, 3)).path(1) == 'log-2/job.log.1'
        assert logs('log/', '', range(2)).path(0) == 'log-3/job.log.0'
        # Another prefix, and another node of the same job, are no conflict; the console has no logs.
        assert logs('log', 'other.', range(2)).path(0) == 'log/other.job.log.0'
        assert logs('log', '', range(2, 4)).path(2) == 'log/job.log.2'
        assert logs('', '', range(2)).path(0) is None
        first.close()
        assert logs('log', '', range(2)).path(0) == 'log/job.log.0'


def test_two_launchers_in_one_folder(tmp_path):
    """Neither has a process that listens: the second knows by what the first one holds."""
    bench, port = Bench(tmp_path), port_block(2)
    try:
        body = "ready()\nprint(os.environ['PADDLE_MASTER'], flush=True)\nwhile not os.path.exists('go'): time.sleep(.1)"
        arguments = ('--nproc_per_node', 2, '--start_port', port, bench.program(body))
        first = bench.start(*arguments)
        bench.ready(2)
        second = bench.start(*arguments)
        wait_for(lambda: len(list(tmp_path.glob('log*/job.log.*'))) == 4)
        (tmp_path / 'go').touch()
        (code, one), (other_code, two) = finish(first), finish(second)
    finally:
        bench.clean_up()
    assert (code, other_code) == (0, 0), one + two
    assert bench.log(0) == f'127.0.0.1:{port}\n'
    assert bench.log(0, folder='log-2') != bench.log(0)
    assert 'another job writes its logs to log: those of this one go to log-2' in messages(two)
    assert any(line.startswith(f'ports taken by other programs: [{port}, {port + 1}]') for line in messages(two))
    assert not any('taken' in line or 'another job' in line for line in messages(one))
