"""OpenVINO graphs that compute padding in attention alone: the same numbers for tokens, from fewer products."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.inference.engines import OpenVinoEngine
from ernie.inference.export import export, of_tokens
from ernie.inference.folder import ModelFolder
from ernie.inference.unpadded import leave_out_padding, places, side_by_side
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG

needed = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ('openvino', 'paddle2onnx', 'onnxruntime'))), reason='no openvino'
)
KINDS = {'classify': TASK_CONFIG, 'tagging': CONFIG, 'reading': CONFIG}


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=6))
def test_places_lead_from_the_batch_to_its_tokens_and_back(rows):
    mask = np.array(rows, np.float32)
    of_tokens_, of_places = places(mask, shares=False)
    count = int(mask.sum())
    assert of_tokens_.dtype == of_places.dtype == np.int32 and of_places.shape == mask.shape
    assert len(of_tokens_) % 8 == 0 and 0 < len(of_tokens_) < count + 9
    values = np.arange(mask.size) * 10
    tokens = values[of_tokens_]
    assert list(tokens[:count]) == list(values[mask.reshape(-1) > 0])
    back = tokens[of_places]
    assert (back[mask > 0] == values.reshape(mask.shape)[mask > 0]).all()
    assert of_places.min() >= 0 and of_places.max() < len(of_tokens_)


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=7))
def test_texts_that_share_a_row_do_not_read_each_other(rows):
    mask = np.array(rows, np.float32)
    of_tokens_, _, of_slots, at_slots, together = places(mask)
    count, (shared_rows, length) = int(mask.sum()), of_slots.shape
    assert of_slots.dtype == at_slots.dtype == np.int32 and together.dtype == np.float32
    assert length % 4 == 0 and shared_rows <= len(rows)
    together = np.broadcast_to(together, (shared_rows, length, length))
    at = at_slots[:count]
    assert len(set(at)) == count and (of_slots.reshape(-1)[at] == range(count)).all()
    assert len(at_slots) == len(of_tokens_) and at_slots.max() < of_slots.size > of_slots.max() >= 0
    text, row, place = of_tokens_[:count] // mask.shape[1], at // length, at % length
    reads = np.zeros((count, count), bool)
    alike = row[:, None] == row
    reads[alike] = together[row[:, None], place[:, None], place][alike] > 0
    assert (reads == (text[:, None] == text)).all()
    elsewhere = np.ones(of_slots.size, bool)
    elsewhere[at] = False
    # No token reads what stands at padding.
    assert not (together.reshape(-1, length)[at] * elsewhere.reshape(-1, length)[row]).any()


@pytest.mark.parametrize(
    ('lengths', 'longest', 'begins', 'rows'),
    [([5, 8, 3, 4, 4], 8, [8, 0, 13, 16, 20], 3), ([8], 8, [0], 1), ([0, 0], 4, [0, 0], 1), ([], 4, [], 1)],
)
def test_texts_stand_side_by_side_where_there_is_room(lengths, longest, begins, rows):
    assert side_by_side(lengths, longest) == (begins, rows)


@pytest.fixture(scope='module', params=KINDS)
def graphs(request, tmp_path_factory):
    """(configuration, its graph with padding, the same without)."""
    import openvino

    kind, config = request.param, KINDS[request.param]
    root = tmp_path_factory.mktemp(kind)
    export(ModelFolder(write_checkpoint(root / 'checkpoint', kind, config)), str(root / 'export'), 'onnx')
    model = openvino.Core().read_model(root / 'export' / 'model.onnx')
    return config, model, leave_out_padding(model)


def plain_engine(model):
    import openvino

    return OpenVinoEngine(openvino.Core().compile_model(model, 'CPU', OpenVinoEngine.settings('fp32', 1)))


def batch(config, mask):
    rng, shape = np.random.default_rng(3), mask.shape
    ids = rng.integers(1, config['vocab_size'], shape)
    types = rng.integers(0, config['type_vocab_size'], shape)
    positions = np.broadcast_to(np.arange(shape[1]), shape).copy()
    tasks = [np.full(shape, 1)] if config.get('use_task_id') else []
    return [ids, types, positions, mask.astype(np.float32), *tasks]


@needed
@pytest.mark.parametrize('lengths', [(9,), (1, 13, 7, 2, 13), (3,) * 11])
def test_tokens_have_the_same_numbers(graphs, lengths):
    config, plain, _ = graphs
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    mask[-1, 1:2] = False  # a hole
    arrays = batch(config, mask)
    shapes = [
        [-1 if size.is_dynamic else size.get_length() for size in value.get_partial_shape()] for value in plain.outputs
    ]
    engines = plain_engine(plain), OpenVinoEngine.of_model(plain, 'fp32', 1)
    assert [engine.padding_cost < 1 for engine in engines] == [False, True]
    expected, found = (of_tokens(engine.run(arrays), shapes, arrays[3]) for engine in engines)
    assert np.ptp(expected[0]) > 1e-3
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@needed
def test_products_of_all_layers_are_of_tokens(graphs):
    config, plain, changed = graphs
    assert len(changed.inputs) == len(plain.inputs) + 5 == (10 if config.get('use_task_id') else 9)
    products = [node for node in changed.get_ordered_ops() if node.get_type_name() == 'MatMul']
    of_tokens_ = [node for node in products if str(node.input(0).get_partial_shape()).startswith('[1,')]
    # Tags and places of answers are of each token. A class is of the first: so is the last layer behind its attention.
    of_head = 1 if config is CONFIG else -3
    assert len(of_tokens_) == 4 * config['num_hidden_layers'] + of_head


@needed
def test_what_is_no_encoder_stays_as_it_is():
    import openvino
    from openvino import opset13 as op

    inputs = [op.parameter([-1, -1], kind) for kind in (np.int64, np.int64, np.int64, np.float32)]
    rows = op.gather(op.constant(np.eye(7, dtype=np.float32)), inputs[0], np.int64(0))
    bag = op.reduce_sum(op.multiply(rows, op.unsqueeze(inputs[3], np.int64(2))), np.int64(1))
    model = openvino.Model([bag], inputs, 'bag of words')
    before = len(model.get_ops())
    assert leave_out_padding(model) is None and len(model.get_ops()) == before
    assert leave_out_padding(openvino.Model([op.relu(inputs[3])], inputs[3:], 'relu')) is None
    ids = np.array([[3, 3, 5]])
    arrays = [ids, ids, ids, np.array([[1, 1, 0]], np.float32)]
    engine = OpenVinoEngine.of_model(model, 'fp32', 1)
    assert engine.padding_cost == 1 and engine.run(arrays)[0].tolist() == [[0, 0, 0, 2, 0, 0, 0]]
