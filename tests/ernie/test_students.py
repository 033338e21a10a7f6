"""The encoders of students: numpy's float64 idea of them; training, export, prediction and serving from a folder."""

import json

import numpy as np
import pytest

import ernie
from ernie.config import ErnieConfig
from ernie.model.encoders import backbone_shapes, build_encoder
from ernie.model.task_model import encoder_feeds
from propeller.errors import UserError
from propeller.session import Session
from tests.ernie.tiny_inference import infer
from tests.ernie.tiny_model import probabilities, records, run, sentences, table

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *'好美赞棒香差丑烂坏臭的一是不了人我在有他这中大来上国个到说们']
BOW = {
    'encoder': 'bow',
    'vocab_size': len(WORDS) + 3,
    'emb_size': 7,
    'hidden_size': 6,
    'num_hidden_layers': 1,
    'max_position_embeddings': 17,
    'initializer_range': 0.5,
}
LSTM = {**BOW, 'encoder': 'bilstm', 'num_hidden_layers': 2}


def pooled(config, ids, mask):
    """(output of the graph, dict of its parameters in float64)."""
    config, session = ErnieConfig(config), Session(seed=5)
    feeds = encoder_feeds(config)
    program = session.build(feeds, lambda *features: build_encoder(features, config).get_pooled_output())
    session.initialize(program)
    values = {name: session.read(name) for name in program.parameters()}
    rng = np.random.default_rng(1)
    for name in values:
        if name.endswith('b_0'):
            values[name] = rng.normal(size=values[name].shape).astype(np.float32)
            session.write(name, values[name])
    assert {name: value.shape for name, value in values.items()} == backbone_shapes(config)
    zeros = np.zeros_like(ids)
    (found,) = session.run(program, [ids, zeros, zeros, mask.astype(np.float32)], [program.outputs])
    return found, {name: value.astype(np.float64) for name, value in values.items()}


def batch():
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(1, BOW['vocab_size'], (3, 5)), np.arange(5) < np.array([[5], [2], [1]])
    return ids * mask, mask


def test_a_bag_of_words():
    ids, mask = batch()
    found, p = pooled(BOW, ids, mask)
    total = (p['word_embedding'][ids] * (ids != 0)[..., None]).sum(1)
    total = total / (1 + np.abs(total))
    np.testing.assert_allclose(found, np.tanh(total @ p['middle_fc.w_0'] + p['middle_fc.b_0']), rtol=2e-5, atol=1e-6)


def lstm(x, w_in, w_state, b_in, b_state):
    """float64 outputs [T, H] of one direction for x [T, E]; gates are input, forget, candidate, output."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    hidden = cell = np.zeros(w_state.shape[1])
    outputs = []
    for row in x:
        i, f, g, o = np.split(w_in @ row + b_in + w_state @ hidden + b_state, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def test_a_bilstm():
    ids, mask = batch()
    found, p = pooled(LSTM, ids, mask)
    for row, length in enumerate(mask.sum(1)):
        x = p['word_embedding'][ids[row, :length]]
        for layer in range(2):
            ways = [
                [p[f'lstm_{layer}_{way}_{name}'] for name in ('in.w_0', 'state.w_0', 'in.b_0', 'state.b_0')]
                for way in ('forward', 'backward')
            ]
            x = np.concatenate([lstm(x, *ways[0]), lstm(x[::-1], *ways[1])[::-1]], axis=1)
        expected = np.tanh(x.max(0) @ p['middle_fc.w_0'] + p['middle_fc.b_0'])
        np.testing.assert_allclose(found[row], expected, rtol=2e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('config', [BOW, LSTM], ids=['bow', 'bilstm'])
def test_it_trains_exports_and_predicts_like_any_other(tmp_path, config, caplog):
    for package in ('onnxruntime', 'paddle2onnx'):
        pytest.importorskip(package)
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'vocab.txt').write_text('\n'.join(WORDS) + '\n', encoding='utf-8')

    def rows(count, seed):
        return [(' '.join(text), label) for text, label in sentences(count, seed)]

    test = table(tmp_path / 'test.tsv', [(text,) for text, _ in rows(13, 3)], ('text_a',))
    run(
        ernie_config_path=tmp_path / 'config.json',
        vocab_path=tmp_path / 'vocab.txt',
        tokenizer='WordTokenizer',
        train_set=table(tmp_path / 'train.tsv', rows(90, 1)),
        dev_set=table(tmp_path / 'dev.tsv', rows(30, 2)),
        test_set=test,
        test_save=tmp_path / 'out',
        learning_rate=0.05,
        warmup_proportion=0,
        epoch=6,
        checkpoints=tmp_path / 'c',
    )
    assert max(r['acc'] for r in records(tmp_path / 'c', 'dev')) > 0.9
    best = tmp_path / 'c' / 'best'
    ran = infer(init_checkpoint=tmp_path / 'c', predict_set=test, save_inference_model_path=tmp_path / 'e')
    assert len(ran.out.splitlines()) == 13 and probabilities(next(tmp_path.glob('out.*'))).shape == (13, 2)
    assert 'reads words with spaces' not in caplog.text
    model, exported = ernie.load(best), ernie.load(tmp_path / 'e' / 'best_inference_model')
    texts = ['这 中 好 好', '臭', '没见过 的 词']
    for one, other in zip(model(texts), exported(texts), strict=True):
        assert one['label'] == other['label']
        np.testing.assert_allclose(*(list(r['probabilities'].values()) for r in (one, other)), rtol=1e-4, atol=1e-6)
    assert [row['label'] for row in model(texts[:2])] == ['1', '0']
    onnx = ernie.load(best, engine='onnxruntime')(texts)
    for one, other in zip(model(texts), onnx, strict=True):
        np.testing.assert_allclose(*(list(r['probabilities'].values()) for r in (one, other)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    'changed, message',
    [
        ({'emb_size': 0}, 'found emb_size = 0, expected a whole number from 1'),
        ({'emb_size': '7'}, "found emb_size = '7', expected a whole number from 1"),
        ({'num_hidden_layers': 2}, 'found num_hidden_layers = 2, expected 1: a bag of words has one layer'),
        ({'encoder': 'bilstm', 'hidden_size': 7}, 'found hidden_size = 7, expected an even number'),
    ],
)
def test_configurations_that_cannot_be(changed, message):
    with pytest.raises(UserError) as caught:
        ErnieConfig({**BOW, **changed})
    assert message in str(caught.value)


def test_a_bag_of_words_has_no_vector_for_each_word():
    config = ErnieConfig(BOW)
    with pytest.raises(UserError, match='the encoder bow: found a task that reads a vector for each word'):
        Session(seed=1).build(
            encoder_feeds(config), lambda *features: build_encoder(features, config).get_sequence_output()
        )
