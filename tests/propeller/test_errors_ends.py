"""How programs end: one line and an exit code, whatever the system refuses and however the streams stand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, resource, signal, sys
from propeller.errors import UserError, one_line_errors
with one_line_errors():
    exec(sys.argv[1])
"""
INTERRUPTED_IMPORT = """
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    raise ImportError('initialization failed')
"""
FULL = 'error: standard output: cannot be written (No space left on device).'


def ended(code, shell='', unbuffered=False):
    """(exit code, lines on stderr) of a program of `code`, its streams redirected as the shell says."""
    environ = os.environ | {'PYTHONUNBUFFERED': '1' if unbuffered else ''}
    command = ['sh', '-c', f'exec "$0" -c "$1" "$2" {shell}', sys.executable, PROGRAM, code]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize('unbuffered', [False, True])
@pytest.mark.parametrize(
    'code', ['print("x")', '[print(i) for i in range(99999)]', 'sys.stdout.write("x"); sys.exit(0)']
)
def test_standard_output_is_full(code, unbuffered):
    assert ended(code, '>/dev/full', unbuffered) == (1, [FULL])


@pytest.mark.parametrize(
    ('code', 'shell', 'expected'),
    [
        ('print("x")', '>&-', (1, ['error: standard output is closed.'])),
        ('sys.stdin.readline()', '<&-', (1, ['error: standard input is closed.'])),
        ('sys.stdin.buffer.read()', '<&-', (1, ['error: standard input is closed.'])),
        ('print("x")', '2>&- >/dev/full', (1, [])),
        ('raise UserError("wrong")', '2>/dev/full', (1, [])),
        ('raise UserError("wrong")', '2>&-', (1, [])),
        ('raise UserError("wrong")', '>&-', (1, ['error: wrong'])),
        ('print("x", file=sys.stderr)', '<&- >&-', (0, ['x'])),
        ('[print(i) for i in range(99999)]', '| true', (0, [])),
        ('os.kill(os.getpid(), signal.SIGTERM)', '', (130, ['interrupted'])),
        ('os.kill(os.getpid(), signal.SIGINT)', '', (130, ['interrupted'])),
        (INTERRUPTED_IMPORT, '', (130, ['interrupted'])),
        ('open("/no/file")', '', (1, ['error: /no/file: No such file or directory.'])),
        ('sys.exit(3)', '', (3, [])),
    ],
)
def test_streams_signals_and_files(code, shell, expected):
    assert ended(code, shell) == expected


def test_a_file_never_gets_the_number_of_a_closed_stream():
    code = 'print(open("/dev/zero").fileno(), os.readlink("/proc/self/fd/1"), file=sys.stderr)'
    assert ended(code, '<&- >&-') == (0, ['3 /dev/null'])


def test_the_reader_of_another_pipe_is_not_that_of_standard_output():
    code, lines = ended('ends = os.pipe(); os.close(ends[0]); os.write(ends[1], b"x")')
    assert code == 1 and lines[0].endswith('Broken pipe.') and len(lines) == 1
    piped = subprocess.run(
        ['bash', '-c', '"$0" -c "$1" "print(1); print(2)" | true; exit ${PIPESTATUS[0]}', sys.executable, PROGRAM],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {'PYTHONUNBUFFERED': ''},
    )
    assert piped.returncode in (0, 141) and not piped.stderr


def test_limits():
    files = 'resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16)); held = [open("/dev/null") for i in range(99)]'
    code, lines = ended(files)
    assert code == 1 and len(lines) == 1 and 'Too many open files' in lines[0] and 'ulimit -n' in lines[0]
    code, lines = ended('resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytes(1 << 31)')
    assert code == 1 and len(lines) == 1 and lines[0].startswith('error: not enough memory')


@pytest.mark.parametrize(
    ('raised', 'expected'),
    [
        ('MemoryError()', 'not enough memory'),
        ('RuntimeError("a\\nb\\nResourceExhaustedError: cannot allocate 3 GB (at x.cc:3)\\n")', 'not enough memory'),
        ('ImportError("libphi_core.so: failed to map segment from shared object")', 'not enough memory'),
        ('RuntimeError("Resource temporarily unavailable")', 'no further thread'),
        ('RuntimeError("can\'t start new thread")', 'no further thread'),
    ],
)
def test_what_libraries_say_of_limits(raised, expected):
    code, lines = ended(f'raise {raised}')
    assert code == 1 and len(lines) == 1 and lines[0].startswith(f'error: {expected}')


def test_a_fault_of_the_program_keeps_its_traceback():
    code, lines = ended('{}["x"]')
    assert code == 1 and lines[0].startswith('Traceback') and lines[-1] == "KeyError: 'x'"
