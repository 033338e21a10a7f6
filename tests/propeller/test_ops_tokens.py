"""Batches without padding: where their tokens are, and what is packed, unpacked and picked from them."""

import numpy as np
import pytest

from propeller import graph, ops
from propeller.graph import paddle
from propeller.ops.tokens import Packed, Padded
from tests.propeller.attention import mask_of
from tests.propeller.ops_oracle import Built, refused

MASKS = {
    'right': mask_of([5, 1, 13, 9]),
    'anywhere': mask_of([5, 1, 13, 9], columns=17, seed=3),
    'an empty row': mask_of([0, 7, 0]),
    'all': np.ones((3, 7), np.float32),
    'nothing': np.zeros((3, 7), np.float32),
    'no rows': np.zeros((0, 7), np.float32),
    'no columns': np.zeros((3, 0), np.float32),
}


@pytest.fixture(params=['true', 'false'])
def mode(request):
    if request.param == 'true':
        request.getfixturevalue('compiled')
    return request.param


def feed(name, array):
    """A feed whose leading sizes vary."""
    return graph.Feed(name, (-1,) * min(array.ndim, 2) + array.shape[2:], str(array.dtype))


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('dtype', ['float32', 'int64', 'int32', 'bool'])
@pytest.mark.usefixtures('compiled')
def test_packed_is_what_numpy_selects(name, dtype):
    mask = MASKS[name].astype(bool)
    rng = np.random.default_rng(1)
    x, ids = rng.normal(size=(*mask.shape, 6)).astype(np.float32), rng.integers(0, 99, (*mask.shape, 1))

    def build(mask, x, ids):
        layout = ops.token_layout(mask)
        assert isinstance(layout, Packed)
        packed = layout.pack(x)
        assert list(packed.shape) == [-1, 6]
        whole = layout.unpack(packed)
        assert list(whole.shape) == [-1, -1, 6]
        return [layout.starts, packed, layout.pack_ids(ids), layout.pack_ids(ids.squeeze(-1)), whole]

    arrays = [mask.astype(dtype), x, ids]
    feeds = [feed(n, a) for n, a in zip(('mask', 'x', 'ids'), arrays, strict=True)]
    starts, packed, packed_ids, same_ids, whole = Built(feeds, build).run(*arrays)
    np.testing.assert_array_equal(starts, np.concatenate([[0], np.cumsum(mask.sum(1))]))
    np.testing.assert_array_equal(packed, x[mask])
    np.testing.assert_array_equal(packed_ids, ids[mask][:, 0])
    np.testing.assert_array_equal(same_ids, ids[mask][:, 0])
    np.testing.assert_array_equal(whole, x * mask[..., None])


@pytest.mark.parametrize('name', ['right', 'anywhere', 'all'])
def test_both_forms_give_the_same_rows_and_gradients(mode, name):
    mask = MASKS[name]
    rng = np.random.default_rng(1)
    x = rng.normal(size=(*mask.shape, 70)).astype(np.float32)
    tokens = np.flatnonzero(mask)
    positions = rng.choice(tokens, 9)  # some twice
    positions[:2] = positions[2]
    dfirst, drows = rng.normal(size=(len(mask), 70)).astype(np.float32), rng.normal(size=(9, 70)).astype(np.float32)

    def build(mask, x, positions, dfirst, drows):
        x.stop_gradient = False
        layout = ops.token_layout(mask)
        assert isinstance(layout, Packed if mode == 'true' else Padded)
        packed = layout.pack(x)
        found = [layout.firsts(packed), layout.rows(packed, positions)]
        return [*found, *paddle.static.gradients(found, [x], [dfirst, drows])]

    arrays = [mask, x, positions[:, None], dfirst, drows]
    feeds = [feed(n, a) for n, a in zip(('mask', 'x', 'positions', 'dfirst', 'drows'), arrays, strict=True)]
    feeds[2:] = [graph.Feed('positions', (-1, 1), 'int64'), *(graph.Feed(n, (-1, 70), 'float32') for n in ('df', 'dr'))]
    firsts, rows, dx = Built(feeds, build, mode).run(*arrays)
    starts = np.flatnonzero(mask[:, 0])  # what a form gives for padding means nothing
    np.testing.assert_array_equal(firsts[starts], x[starts, 0])
    np.testing.assert_array_equal(rows, x.reshape(-1, 70)[positions])
    right = np.zeros((mask.size, 70))
    np.add.at(right, starts * mask.shape[1], dfirst[starts])
    np.add.at(right, positions, drows)
    np.testing.assert_allclose(dx.reshape(-1, 70)[tokens], right[tokens], rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures('compiled')
def test_rows_without_tokens_and_padding_are_zeros():
    def build(mask, x):
        layout = ops.token_layout(mask)
        packed = layout.pack(x)
        return [layout.firsts(packed), layout.rows(packed, paddle.to_tensor(np.array([3, 7, -1], np.int32)))]

    arrays = [MASKS['an empty row'], np.ones((3, 7, 2), np.float32)]
    firsts, rows = Built([feed('mask', arrays[0]), feed('x', arrays[1])], build).run(*arrays)
    np.testing.assert_array_equal(firsts, [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(rows, [[0, 0], [1, 1], [0, 0]])


def test_mistakes(mode):
    for shape, dtype, text in [
        (
            (-1, 5, 1),
            'float32',
            r'mask is float32 \[-1, 5, 1\], expected float32, int32, int64 or bool \[rows, columns\]',
        ),
        ((-1, 5), 'float64', r'mask is float64 \[-1, 5\], expected float32'),
    ]:
        refused(f'ops.token_layout: {text}', [graph.Feed('mask', shape, dtype)], ops.token_layout, [mode])


@pytest.mark.parametrize('position', [-2, 21, 2**40])
@pytest.mark.usefixtures('compiled')
def test_positions_outside_the_batch_are_refused(position):
    def build(mask, x, positions):
        layout = ops.token_layout(mask)
        return [layout.rows(layout.pack(x), positions)]

    arrays = [MASKS['all'], np.ones((3, 7, 2), np.float32), np.array([3, position])]
    feeds = [feed(n, a) for n, a in zip(('mask', 'x', 'positions'), arrays, strict=True)]
    text = rf'take: index of shape \[2\] holds {position}, expected -1 to 20 for x of shape \[21\]'
    with pytest.raises(ValueError, match=text):
        Built(feeds, build).run(*arrays)
