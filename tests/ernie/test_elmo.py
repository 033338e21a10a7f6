"""ELMo as an encoder: numpy's float64 idea of it; training, resume, export, prediction."""

import json

import numpy as np
import pytest

import ernie
from ernie.config import ErnieConfig
from ernie.model.encoders import backbone_shapes, build_encoder
from ernie.model.task_model import encoder_feeds
from propeller import ops
from propeller.errors import UserError
from propeller.session import Session
from tests.ernie.test_students import WORDS
from tests.ernie.tiny_model import records, run, sentences, table

ELMO = {
    'encoder': 'elmo',
    'vocab_size': len(WORDS),
    'emb_size': 7,
    'hidden_size': 10,
    'cell_size': 9,
    'num_hidden_layers': 2,
    'cell_clip': 0.6,
    'state_clip': 0.25,
    'max_position_embeddings': 17,
    'initializer_range': 0.5,
}


def outputs(config, ids, mask, mode):
    """(pooled output, the mix, the layers), dict of the parameters in float64."""
    config, session = ErnieConfig(config), Session(seed=5)

    def build(*features):
        encoder = build_encoder(features, config)
        return [encoder.get_pooled_output(), encoder.get_sequence_output(), *encoder.layer_outputs]

    with ops.use(mode):
        program = session.build(encoder_feeds(config), build)
    session.initialize(program)
    rng, values = np.random.default_rng(1), {name: session.read(name) for name in program.parameters()}
    assert {name: value.shape for name, value in values.items()} == backbone_shapes(config)
    for name, value in values.items():
        if name.startswith('gamma') or name.endswith('b_0'):
            values[name] = rng.normal(size=value.shape).astype(np.float32)
            session.write(name, values[name])
    zeros = np.zeros_like(ids)
    found = session.run(program, [ids, zeros, zeros, mask.astype(np.float32)], program.outputs)
    return found, {name: value.astype(np.float64) for name, value in values.items()}


def direction(x, p, way, lstms, cell_clip=ELMO['cell_clip'], state_clip=ELMO['state_clip']):
    """Layers [T, P] of one direction over word vectors [T, E]. lstms: the numbers in the names of its LSTMs."""
    layers = []
    for i, number in enumerate(lstms):
        state, cell, states = np.zeros(5), np.zeros(9), []
        for gates in x @ p[f'{way}_layer{i + 1}_gate_w'] + p[f'lstmp_{number}.b_0'][0]:
            u, *gates = np.split(gates + state @ p[f'lstmp_{number}.w_0'], 4)
            entry, forget, out = (1 / (1 + np.exp(-gate)) for gate in gates)
            cell = np.clip(forget * cell + entry * np.tanh(u), -cell_clip, cell_clip)
            state = np.clip((out * np.tanh(cell)) @ p[f'lstmp_{number}.w_1'], -state_clip, state_clip)
            states.append(state)
        layers.append(np.array(states) + (x if i else 0))
        x = layers[-1]
    return layers


@pytest.mark.parametrize('mode', ['auto', 'false'])
def test_layers_mix_and_pooled_output(mode):
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(1, ELMO['vocab_size'], (3, 6)), np.arange(6) < np.array([[6], [2], [1]])
    (pooled, mixed, *layers), p = outputs(ELMO, ids * mask, mask, mode)
    for row, length in enumerate(mask.sum(1)):
        x = p['embedding_para'][ids[row, :length]]
        ways = direction(x, p, 'fw', (0, 1)), direction(x[::-1], p, 'bw', (2, 3))
        right = [np.concatenate([f, b[::-1]], axis=1) for f, b in zip(*ways, strict=True)]
        for layer, one in zip(layers, right, strict=True):
            np.testing.assert_allclose(layer[row, :length], one, rtol=2e-5, atol=1e-6)
        mix = (p['gamma1'] * right[0] + p['gamma2'] * right[1]) / 2 * p['gamma']
        np.testing.assert_allclose(mixed[row, :length], mix, rtol=2e-5, atol=1e-6)
        vector = np.tanh(mix.max(0) @ p['middle_fc.w_0'] + p['middle_fc.b_0'])
        np.testing.assert_allclose(pooled[row], vector, rtol=2e-5, atol=1e-6)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder of a training of a classifier."""
    folder = tmp_path_factory.mktemp('elmo')
    config = {**ELMO, 'hidden_size': 16, 'cell_size': 16, 'cell_clip': 3.0, 'state_clip': 3.0}
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'vocab.txt').write_text('\n'.join(WORDS) + '\n', encoding='utf-8')
    rows = [[(' '.join(text), label) for text, label in sentences(count, seed)] for count, seed in ((90, 1), (30, 2))]
    run(
        ernie_config_path=folder / 'config.json',
        vocab_path=folder / 'vocab.txt',
        tokenizer='WordTokenizer',
        train_set=table(folder / 'train.tsv', rows[0]),
        dev_set=table(folder / 'dev.tsv', rows[1]),
        learning_rate=0.02,
        warmup_proportion=0,
        epoch=8,
        checkpoints=folder / 'c',
    )
    return folder / 'c'


TEXTS = ['这 中 好 好', '臭', '没见过 的 词']


def test_it_trains_exports_and_predicts_like_any_other(trained):
    assert max(r['acc'] for r in records(trained, 'dev')) > 0.9
    model = ernie.load(trained)
    found = model(TEXTS)
    assert [row['label'] for row in found[:2]] == ['1', '0']
    executor = ernie.load(trained, engine='executor')
    for one, other in zip(found, executor(TEXTS), strict=True):
        np.testing.assert_allclose(*(list(r['probabilities'].values()) for r in (one, other)), rtol=1e-4, atol=1e-6)


def test_onnx_runtime_gives_the_same(trained):
    for package in ('onnxruntime', 'paddle2onnx'):
        pytest.importorskip(package)
    onnx = ernie.load(trained, engine='onnxruntime')
    for one, other in zip(ernie.load(trained, engine='executor')(TEXTS), onnx(TEXTS), strict=True):
        np.testing.assert_allclose(*(list(r['probabilities'].values()) for r in (one, other)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    'changed, message',
    [
        ({'cell_size': 0}, 'found cell_size = 0, expected a whole number from 1'),
        ({'cell_size': None}, "key 'cell_size' is missing"),
        ({'hidden_size': 7}, 'found hidden_size = 7, expected an even number'),
        ({'cell_clip': -1}, 'found cell_clip = -1, expected a number from 0'),
        ({'state_clip': 'x'}, "found state_clip = 'x', expected a number from 0"),
        ({'emb_size': 0}, 'found emb_size = 0'),
    ],
)
def test_configurations_that_cannot_be(changed, message):
    with pytest.raises(UserError, match=message):
        ErnieConfig({**ELMO, **changed})
