"""Fixtures of the tests of the fused operators."""

import ctypes

import pytest


@pytest.fixture(scope='session')
def compiled():
    """The kernels. A test that asks for them is skipped where there are none."""
    from propeller.ops.choice import kernels  # most tests of this folder do without Paddle

    if kernels().path is None:
        pytest.skip(kernels().describe())
    return kernels()


@pytest.fixture
def bfloat16(compiled):
    """A test that asks for it is skipped where kernels have no products of bfloat16 numbers."""
    if not compiled.bf16:
        pytest.skip('this processor has no bfloat16 products')


@pytest.fixture(params=['fp32', 'bf16'])
def precision(request, compiled):
    """`fp32`, then `bf16`."""
    if request.param == 'bf16':
        request.getfixturevalue('bfloat16')
    return request.param


@pytest.fixture
def threads(compiled):
    """Function that sets the number of OpenMP threads of Paddle; put back afterwards."""
    library = ctypes.CDLL('libiomp5.so')
    before = library.omp_get_max_threads()
    yield library.omp_set_num_threads
    library.omp_set_num_threads(before)
