"""How a job of finetune_launch.py ends: by failures, by signals, and not at all with --elastic_restarts."""

import os
import signal
import time

import pytest

from propeller.distribution import LostPeerError
from propeller.launch.plan import LOST_PEER
from tests.launching import Bench, finish, messages, port_block, wait_for

# Under load a start takes long, but not the end: what the launcher promises is measured from the failure on.
SECONDS_TO_END = 5


@pytest.fixture
def bench(tmp_path):
    result = Bench(tmp_path)
    yield result
    result.clean_up()


@pytest.mark.parametrize('failing', [0, 1, 2])
def test_the_first_failure_stops_the_others(bench, failing):
    body = f"""
helper()
ready()
if rank == {failing}:
    while not os.path.exists('go'): time.sleep(0.01)
    for i in range(30): print(f'line {{i}} of {{rank}}')
    sys.exit(7)
if {failing} == 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(99)
"""
    process = bench.start('--nproc_per_node', 3, '--start_port', port_block(3), bench.program(body))
    bench.ready(3)
    (bench.folder / 'go').touch()
    start = time.monotonic()
    code, output = finish(process)
    assert time.monotonic() - start < SECONDS_TO_END
    assert code == 7
    bench.assert_nobody_left()
    lines = output.splitlines()
    assert lines[-1] == f'error: rank {failing} (log: log/job.log.{failing}) failed with exit code 7'
    expected = [f'line {i} of {failing}' for i in range(30)]
    shown = [line for line in lines if line.startswith('line ')]
    assert shown == (expected if failing == 0 else expected[-20:])  # rank 0 has been on the console already
    assert (f'the end of log/job.log.{failing}:' in lines) == (failing != 0)


def test_a_rank_that_lost_another_is_not_the_cause(bench):
    body = 'ready()\nif rank == 2: time.sleep(99)\nif rank == 1: time.sleep(0.4)\nsys.exit({0: 75, 1: 7}[rank])'
    code, output = bench.run('--nproc_per_node', 3, '--start_port', port_block(3), bench.program(body))
    assert code == 7
    assert output.splitlines()[-1] == 'error: rank 1 (log: log/job.log.1) failed with exit code 7'


def test_a_connection_that_broke_by_itself(bench):
    body = 'if rank == 1: sys.exit(75)\ntime.sleep(99)'
    code, output = bench.run('--nproc_per_node', 2, '--start_port', port_block(2), bench.program(body))
    assert code == LOST_PEER == LostPeerError.exit_code
    line = 'error: rank 1 (log: log/job.log.1) lost the connection to another rank (exit code 75)'
    assert output.splitlines()[-1] == line


def test_kill_of_one_of_two(bench):
    process = bench.start(
        *('--nproc_per_node', 2, '--start_port', port_block(2)), bench.program('helper()\nready()\ntime.sleep(99)')
    )
    bench.ready(2)
    victim = wait_for(lambda: ranks_of(process))[1]
    start = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    code, output = finish(process)
    assert time.monotonic() - start < SECONDS_TO_END
    assert code == 128 + signal.SIGKILL
    bench.assert_nobody_left()
    line = output.splitlines()[-1]
    assert line.startswith('error: rank 1 (log: log/job.log.1) was killed by SIGKILL; ')
    for flag in ('--batch_size', '--gradient_accumulation_steps', '--recompute', '--precision'):
        assert flag in line


def ranks_of(process):
    """Process ids of the launcher's children, which are the ranks in their order."""
    with open(f'/proc/{process.pid}/task/{process.pid}/children') as f:
        return sorted(map(int, f.read().split()))


def test_a_wrong_flag_of_the_script_is_shown_once(bench):
    body = "time.sleep(0.3 if rank == 0 else 0)\nprint('error: --foo: unknown flag', file=sys.stderr)\nsys.exit(2)"
    code, output = bench.run(
        *('--nproc_per_node', 3, '--start_port', port_block(3), '--elastic_restarts', 3, bench.program(body), '--foo')
    )
    assert code == 2
    assert output.count('unknown flag') == 1
    assert 'restart' not in output
    assert output.splitlines()[-1] == 'error: rank 0 (log: log/job.log.0) failed with exit code 2'


SAVING = """
helper()
def save(number, frame):
    time.sleep(0.5)
    open(f'saved.{rank}.{number}', 'w').close()
    sys.exit(130)
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, save)
ready()
time.sleep(99)
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_processes_save(bench, number):
    process = bench.start(
        *('--nproc_per_node', 2, '--start_port', port_block(2), '--elastic_restarts', 2, bench.program(SAVING)),
        prefix=('env', '--default-signal=HUP'),
    )
    bench.ready(2)
    pids = ranks_of(process)
    process.send_signal(number)
    process.send_signal(number)  # as `timeout` does: one request, not two
    code, output = finish(process)
    assert code == 128 + number
    bench.assert_nobody_left()
    forwarded = int(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
    assert {path.name for path in bench.folder.glob('saved.*')} == {f'saved.{rank}.{forwarded}' for rank in range(2)}
    assert [line for line in messages(output) if line.startswith('killing')] == [
        f'killing rank {rank} (process {pid})' for rank, pid in enumerate(pids)
    ]
    assert 'restart' not in output
    assert 'Traceback' not in output


def test_a_second_ctrl_c_kills_at_once(bench):
    body = 'for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\nready()\ntime.sleep(99)'
    process = bench.start('--nproc_per_node', 2, '--start_port', port_block(2), bench.program(body))
    bench.ready(2)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _ = finish(process)
    assert time.monotonic() - start < 2
    assert code == 130
    bench.assert_nobody_left()


def test_ctrl_c_reaches_programs_of_a_launcher_in_the_background(bench):
    """A shell without job control starts `launcher &` with SIGINT ignored, which programs would inherit."""
    body = 'ready()\ntry: time.sleep(99)\nexcept KeyboardInterrupt: open("asked", "w").close()'
    process = bench.start(
        *('--nproc_per_node', 1, '--start_port', port_block(1), bench.program(body)),
        prefix=('env', '--ignore-signal=INT'),
    )
    bench.ready(1)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert (bench.folder / 'asked').exists()


def test_kill_of_the_launcher_kills_all(bench):
    process = bench.start(
        *('--nproc_per_node', 2, '--start_port', port_block(2)), bench.program('helper()\nready()\ntime.sleep(99)')
    )
    bench.ready(2)
    assert len(bench.left()) == 4
    process.kill()
    process.wait()
    bench.assert_nobody_left(seconds=SECONDS_TO_END)


def test_helpers_of_a_process_that_has_ended_are_ended(bench):
    code, _ = bench.run('--nproc_per_node', 1, '--start_port', port_block(1), bench.program('helper()'))
    assert code == 0
    bench.assert_nobody_left()


def test_the_program_has_no_child_that_it_has_not_started(bench):
    body = "try: os.wait()\nexcept ChildProcessError: print('no child')"
    code, output = bench.run('--nproc_per_node', 1, '--start_port', port_block(1), bench.program(body))
    assert code == 0
    assert 'no child' in output.splitlines()


COUNTING = """
starts = len([n for n in os.listdir() if n.startswith('start.')])
if rank == 0: open(f'start.{starts}', 'w').write(' '.join(sys.argv[1:]))
"""


def test_elastic_restart(bench):
    body = (
        COUNTING
        + "if rank == 1 and not os.path.exists('once'):\n    time.sleep(.1)\n    open('once', 'w'); sys.exit(5)"
    )
    body += '\ntime.sleep(0.4)'
    code, output = bench.run(
        *('--nproc_per_node', 2, '--start_port', port_block(2), '--elastic_restarts', 1),
        *(bench.program(body), '--resume', 'false'),
    )
    assert code == 0, output
    given = '--resume false --is_distributed true --use_cuda false'
    assert (bench.folder / 'start.0').read_text() == given
    assert (bench.folder / 'start.1').read_text() == f'{given} --resume true'
    assert [line for line in messages(output) if line.startswith('restart')] == [
        'restart 1 of 1 from the last checkpoint: rank 1 (log: log/job.log.1) failed with exit code 5'
    ]
    bench.assert_nobody_left()


def test_at_most_so_many_restarts(bench):
    body = COUNTING + 'time.sleep(0.2)\nos.kill(os.getpid(), signal.SIGKILL) if rank == 0 else time.sleep(99)'
    code, output = bench.run(
        *('--nproc_per_node', 2, '--start_port', port_block(2), '--elastic_restarts', 2, bench.program(body))
    )
    assert code == 137
    assert len(list(bench.folder.glob('start.*'))) == 3
    assert output.count('] ') and output.count('restart ') == 2
    assert output.splitlines()[-1].startswith('error: rank 0 ')
