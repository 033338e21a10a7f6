"""How a worker opens a model: what the largest batch takes is taken before the first request."""

import types

import numpy as np
import pytest

from ernie.service import opener
from propeller.service.core import ServiceCore
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings
from tests.ernie.tiny_service import served, write_models


class Engine:
    """Notes the shapes of its batches; each row takes so many seconds of a clock of its own."""

    padding_cost = 0.25

    def __init__(self, seconds=0.0):
        self.shapes, self.now, self.seconds = [], 0.0, seconds

    def run(self, arrays):
        shapes = {array.shape for array in arrays}
        assert len(shapes) == 1
        ids, types_, positions, mask, *_ = arrays
        assert ids.max() == positions.max() == 0 and mask.min() == 1.0 and mask.dtype == np.float32
        assert {array.dtype for array in (ids, types_, positions)} == {np.dtype(np.int64)}
        self.shapes.append(ids.shape)
        self.now += self.seconds * len(ids)
        return [mask]


@pytest.fixture
def opened(monkeypatch):
    """Function: the shapes that a model has computed when it is open."""

    def shapes(largest, seconds=0.0, inputs=4):
        engine = Engine(seconds)
        monkeypatch.setattr(opener, 'open_engine', lambda *_: engine)
        monkeypatch.setattr(opener, 'time', types.SimpleNamespace(monotonic=lambda: engine.now))
        run = opener.open_served('folder', 'openvino', 'fp32', 1, False, inputs, largest)
        assert run.func == engine.run and run.description == {'padding_cost': 0.25}
        return engine.shapes

    return shapes


def test_the_largest_batch_is_computed_before_the_first_request(opened):
    assert opened([21, 7]) == [(1, 8), (8, 7), (21, 7)]
    assert opened([21, 7], inputs=5) == [(1, 8), (8, 7), (21, 7)]
    assert opened([3, 50]) == [(1, 8), (3, 50)]
    assert opened(None) == [(1, 8)]


def test_a_slow_model_does_not_hold_up_the_start(opened):
    assert opened([64, 64], seconds=0.15) == [(1, 8), (8, 64), (64, 64)]
    assert opened([64, 64], seconds=0.16) == [(1, 8), (8, 64)]  # 10.24 s


@pytest.mark.parametrize(
    'limits, largest',
    [
        ({'batch_tokens': 48, 'batch_rows': 6}, [6, 8]),
        ({'batch_tokens': 7, 'batch_rows': 64}, [1, 4]),
        ({'batch_tokens': 4096, 'batch_rows': 2}, [2, 20]),  # as long as the model reads, 17
    ],
)
def test_a_model_knows_how_large_its_batches_can_be(tmp_path, limits, largest):
    (model,) = served(write_models(tmp_path, 'mean'), 'mean')
    ServiceCore([model], Limits(**limits), PoolSettings())
    assert model.arguments['largest'] == largest
