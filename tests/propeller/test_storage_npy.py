"""Arrays that are written piece by piece, against what NumPy reads from the file."""

import numpy as np
import pytest

from propeller.storage.npy import ArrayWriter


@pytest.mark.parametrize('shape', [(), (3,), (2, 5)])
@pytest.mark.parametrize('dtype', [np.int32, np.int64, np.float32, np.bool_])
def test_array_writer_makes_files_that_numpy_reads(tmp_path, shape, dtype):
    rng = np.random.default_rng(0)
    chunks = [(rng.random((n, *shape)) * 9).astype(dtype) for n in (3, 0, 1, 7)]
    writer = ArrayWriter(tmp_path / 'a.npy')
    for chunk in chunks:
        writer.append(chunk)
    writer.finish()
    loaded = np.load(tmp_path / 'a.npy', allow_pickle=False)
    assert loaded.dtype == dtype and np.array_equal(loaded, np.concatenate(chunks))
    assert np.load(tmp_path / 'a.npy', mmap_mode='r').offset % 64 == 0


@pytest.mark.parametrize('shape', [(), (3,), (2, 5)])
def test_rows_in_any_order(tmp_path, shape):
    rng = np.random.default_rng(1)
    expected = rng.random((131, *shape)).astype(np.float32)
    cuts = np.sort(rng.choice(131, 30, replace=False))
    starts = np.concatenate([[0], cuts])
    writer = ArrayWriter(tmp_path / 'a.npy')
    for i in rng.permutation(len(starts)):
        writer.write(starts[i], expected[starts[i] : cuts[i] if i < len(cuts) else None])
    writer.append(expected[:2])
    writer.finish()
    loaded = np.load(tmp_path / 'a.npy', allow_pickle=False)
    np.testing.assert_array_equal(loaded, np.concatenate([expected, expected[:2]]))


def test_a_gap_is_refused_and_the_unfinished_file_cannot_be_read(tmp_path):
    writer = ArrayWriter(tmp_path / 'a.npy')
    writer.write(0, np.ones((2, 3)))
    writer.write(3, np.ones((2, 3)))
    with pytest.raises(AssertionError, match='4 rows were written in the place of 5'):
        writer.finish()
    writer.close()
    with pytest.raises(ValueError):
        np.load(tmp_path / 'a.npy', allow_pickle=False)
