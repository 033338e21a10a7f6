"""Which form a program gets, and what is said of it, on machines that have less than this one."""

import functools
import json
import types

import numpy as np
import pytest

from propeller import graph, ops
from propeller.errors import UsageError
from propeller.graph import paddle
from propeller.ops import choice
from propeller.ops.build import Unavailable
from propeller.ops.choice import Kernels
from propeller.session import Session
from tests.propeller.ops_oracle import LinearProgram, close, expected, python, sample

ARRAYS = sample((3, 5), 12, 30)
# Results and log of a program elsewhere: in a process of its own, for what a machine has is found out once.
PROGRAM = """
import json, os, sys
from tests.propeller.ops_oracle import LinearProgram, sample

kept = []

def threads(mode):
    # Those of the process after a product of more than one tile.
    kept.append(LinearProgram('gelu', sys.argv[1], 3, 384, 384, mode))
    kept[-1].run(*sample((32, 24), 384, 384))
    return len(os.listdir('/proc/self/task'))

program = LinearProgram('gelu', sys.argv[1], 3, 12, 30, 'auto')
results = program.run(*sample((3, 5), 12, 30))
print(json.dumps({
    'results': [array.tolist() for array in results],
    'operators': program.operators(),
    'threads': [threads(mode) for mode in ('false', 'false', 'auto')] if len(sys.argv) > 2 else None,
}))
"""


def elsewhere(*arguments, **environ):
    """(what PROGRAM printed, its log lines)."""
    done = python('-c', PROGRAM, *(arguments or ['fp32']), **environ)
    assert done.returncode == 0, done.stderr
    log = [line.partition('\t')[2] for line in done.stderr.splitlines() if line.startswith(('[INFO]', '[DEBUG]'))]
    return json.loads(done.stdout.splitlines()[-1]), log


def right(results, tolerance):
    close([np.array(array, np.float32) for array in results], expected(*ARRAYS, 'gelu'), tolerance)


# ------------------------------------------------------------------------------------------ machines


def test_no_compiler_plain_form_one_line_same_results(tmp_path):
    found, log = elsewhere(PATH=str(tmp_path), CXX='', PROPELLER_OPS_CACHE=str(tmp_path))
    right(found['results'], 1e-5)
    assert not any('propeller_linear' in name for name in found['operators'])
    text = 'plain operators: no C++ compiler was found (looked for g++, c++, clang++); install g++ 9 or newer'
    assert log == [text]


def test_compiler_that_fails_plain_form_one_line_same_results(tmp_path):
    log = elsewhere(CXX='false', PROPELLER_OPS_CACHE=str(tmp_path))[1]
    assert len(log) == 1 and log[0].startswith('plain operators: ') and log[0].endswith('install g++ 9 or newer')


def test_another_onednn_is_not_called(monkeypatch):
    """Its values have other meanings than those that our calls are written with."""
    fault = functools.partial(bytes, b'value 384 of oneDNN is BA16a4b')
    functions = {'propeller_ops_onednn': lambda: 31300, 'propeller_ops_onednn_fault': fault}
    monkeypatch.setattr(choice.ctypes, 'CDLL', lambda place: types.SimpleNamespace(**functions))
    monkeypatch.setattr(paddle.utils.cpp_extension, 'load_op_meta_info_and_register_op', lambda path: None)
    with pytest.raises(Unavailable, match='x.so does not fit the oneDNN that is loaded: value 384 of oneDNN'):
        choice.load('x.so')


def test_no_bfloat16_products_float32_ones(compiled):
    found, log = elsewhere('bf16', ONEDNN_MAX_CPU_ISA='AVX512_CORE')
    right(found['results'], 1e-5)
    assert any('propeller_linear' in name for name in found['operators'])
    assert log == [f'fused operators: float32 (this processor has no bfloat16 products), oneDNN {compiled.onednn}']


def test_threads_are_those_that_paddle_has_already(compiled):
    """A second OpenMP would start its own beside them, and each would wait for the other's to leave the core."""
    found, log = elsewhere('fp32', 'count', OMP_NUM_THREADS='3', MKL_DYNAMIC='FALSE')
    right(found['results'], 1e-5)
    first, second, fused = found['threads']  # each program has an executor, with a thread of its own
    assert fused - second == second - first
    assert log[0] == compiled.describe()


# ------------------------------------------------------------------------------------------ modes


def fused(mode, on_cpu=True):
    def build(x):
        graph.building().on_cpu = on_cpu
        weight = graph.parameter('w', [12, 30], graph.constant(1))
        return ops.linear(x, weight, graph.parameter('b', [30], graph.constant(1)))

    with ops.use(mode):
        program = Session(seed=1).build([graph.Feed('x', (-1, 12), 'float32')], build)
    return is_fused(program)


def is_fused(program):
    return any('propeller_linear' in op.name() for op in program.main.global_block().ops)


def test_modes(compiled):
    assert fused('auto') and fused('true') and not fused('false')
    with ops.use('false'):
        assert fused('true')  # the innermost decides
    with pytest.raises(ValueError, match="found mode 'no', expected one of auto, true, false"), ops.use('no'):
        pass


def test_a_gpu_gets_plain_operators():
    assert not fused('auto', on_cpu=False)


def test_where_there_are_none(monkeypatch):
    monkeypatch.setattr(choice, 'kernels', lambda: Kernels(why='no C++ compiler was found'))
    assert not fused('auto')
    with pytest.raises(UsageError, match='cannot be had here: no C.. compiler was found.'), ops.use('true'):
        pass


def test_bfloat16_where_nothing_multiplies_it(monkeypatch):
    monkeypatch.setattr(paddle.base.core, 'supports_bfloat16', lambda: False)
    with pytest.raises(UsageError, match='this processor has no products of bfloat16 numbers: use --precision fp32'):
        Session(precision='bf16', fused_ops='false')
    Session(precision='auto', fused_ops='false')
    if ops.available():
        Session(precision='bf16')


def test_demanded_on_a_gpu_is_an_error():
    with pytest.raises(UsageError, match='fused operators are for processors: on a GPU use --fused_ops auto or false'):
        Session(use_cuda=True, fused_ops='true')


def test_plain_form_is_that_of_paddle():
    program = LinearProgram('gelu', None, 3, 12, 30, 'false')
    assert [name for name in program.operators() if 'linear' in name or 'gelu' in name or 'matmul' in name]
    right(program.run(*ARRAYS), 1e-5)


# ------------------------------------------------------------------------------------------ programs that are exported


def test_a_program_to_export_is_made_of_plain_operators(compiled, tmp_path):
    def build(x):
        weight = graph.parameter('w', [12, 30], graph.truncated_normal(0.5))
        return x, ops.linear(x, weight, graph.parameter('b', [30], graph.constant(1)), 'gelu')

    session, feeds = Session(seed=1, precision='bf16'), [graph.Feed('x', (-1, 12), 'float32')]
    program = session.build(feeds, build, exact=True)
    session.initialize(program)
    twin = session.portable(program)
    assert is_fused(program) and not is_fused(twin) and session.portable(twin) is twin
    assert not is_fused(session.build(feeds, build, portable=True))
    arrays = [np.random.default_rng(1).normal(size=(7, 12)).astype(np.float32)]
    found, expected = (session.run(p, arrays, [p.outputs[1]])[0] for p in (twin, program))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    session.export_inference(twin, [twin.outputs[0]], [twin.outputs[1]], str(tmp_path), arrays)
    assert (tmp_path / 'model.json').is_file()


# ------------------------------------------------------------------------------------------ the command


def command(*arguments, **environ):
    return python('-m', 'propeller.ops', *arguments, **environ)


def test_status_and_build_where_they_are_compiled(compiled):
    done = command()
    assert (done.returncode, done.stdout) == (0, f'{compiled.describe()}: {compiled.path}\n'), done.stderr
    assert command('build').stdout == done.stdout


def test_status_and_build_where_they_are_not(tmp_path):
    empty = {'PROPELLER_OPS_CACHE': str(tmp_path)}
    done = command('status', **empty)
    assert done.stdout.startswith('fused operators: not compiled yet') or done.stdout.startswith('plain operators: ')
    done = command('status', CXX='g++-77', **empty)
    assert (done.returncode, done.stdout.split(' (')[0]) == (0, 'plain operators: no C++ compiler was found')
    done = command('build', CXX='g++-77', **empty)
    text = 'error: no fused operators: no C++ compiler was found (looked for g++-77); install g++ 9 or newer.'
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, '', text)
    assert not list(tmp_path.iterdir())
