"""The whole model trained with one thread and with several: processes that `OMP_NUM_THREADS` gives so many."""

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from tests.propeller.ops_oracle import python
from tests.propeller.threads_worker import DROPOUT, MODEL, UPDATES, WIDTH, batch

pytestmark = pytest.mark.usefixtures('compiled')


@pytest.fixture(scope='module')
def trained(compiled, tmp_path_factory):
    """dict number of threads -> what `threads_worker` found with them."""
    folder, found = tmp_path_factory.mktemp('threads'), {}
    for count in (1, 2, 3):
        done = python('-m', 'tests.propeller.threads_worker', folder / f'{count}.npz', OMP_NUM_THREADS=str(count))
        assert done.returncode == 0, done.stderr
        with np.load(folder / f'{count}.npz') as file:
            found[count] = dict(file)
        assert found[count]['threads'] == count
    return found


@pytest.mark.parametrize('count', [2, 3])
def test_dropout_masks_are_the_same(trained, count):
    for update in range(UPDATES):
        for name in (f'units {update}', f'weights {update}'):
            np.testing.assert_array_equal(trained[count][name], trained[1][name], err_msg=name)
    # With equal parameters and masks the model's outputs are the same too.
    for name in ('tokens 0', 'pooled 0'):
        np.testing.assert_array_equal(trained[count][name], trained[1][name], err_msg=name)


@pytest.mark.parametrize('count', [2, 3])
def test_losses_are_the_same(trained, count):
    losses, alone = ([float(trained[n][f'loss {update}']) for update in range(UPDATES)] for n in (count, 1))
    assert losses == pytest.approx(alone, rel=1e-6, abs=0)
    assert alone[-1] < 0.95 * alone[0]
    for name in (name for name in trained[1] if name.startswith('parameter ')):
        if name.endswith('key_fc.b_0'):
            continue  # its gradient is 0 but for rounding, of which AdamW makes whole steps
        np.testing.assert_allclose(trained[count][name], trained[1][name], atol=1e-5, err_msg=name)


def test_what_is_compared_are_masks(trained):
    """Units and weights are 0 or what is left of 1, at the rate of the dropout, others in every update."""
    kept, units, weights = np.float32(1 / (1 - np.float64(np.float32(DROPOUT)))), [], []
    for update in range(UPDATES):
        lengths = batch(update)[3].sum(1).astype(int)
        assert set(np.unique(trained[1][f'units {update}'])) == {0, kept}
        units.append(trained[1][f'units {update}'] == 0)
        rows = np.split(trained[1][f'weights {update}'], np.cumsum(lengths)[:-1])
        for row, length in zip(rows, lengths, strict=True):
            assert row.shape == (length, MODEL.max_position_embeddings) and not row[:, length:].any()
            there = row[:, :length]
            np.testing.assert_allclose(there[there != 0], kept / length, rtol=1e-5)
            weights.append(there == 0)
    for dropped in (np.concatenate([m.ravel() for m in found]) for found in (units, weights)):
        assert abs(dropped.mean() - DROPOUT) < 4 * np.sqrt(DROPOUT * (1 - DROPOUT) / dropped.size)
    least = min(map(len, units))
    assert units[0].shape[1] == WIDTH and len({mask[:least].tobytes() for mask in units}) == UPDATES


def test_all_threads_are_of_one_runtime(compiled):
    """Paddle's OpenMP lacks some functions that g++ calls. A second runtime may have them, and knows nothing of the
    threads of the first: each of them would compute all of a loop.
    """
    names = set(re.findall(rb'\0(GOMP_\w+|__kmpc_\w+)', Path(compiled.path).read_bytes()))
    runtime = ctypes.CDLL('libiomp5.so')
    assert names and not [name for name in names if not hasattr(runtime, name.decode())]
