"""A tokenizer, an encoder, an optimizer, an engine: each is a file of `tests/extensions` and a line in a table."""

import json

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.inference.engines import ENGINES
from ernie.inference.folder import ModelFolder
from ernie.model.encoders import ENCODERS, backbone_shapes
from ernie.tokenizers import TOKENIZERS
from propeller import graph
from propeller.errors import UsageError, UserError
from propeller.optimizers import OPTIMIZERS
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.update import minimize
from tests.ernie import tiny_tagging
from tests.ernie.tiny_inference import infer, write_checkpoint
from tests.ernie.tiny_model import (
    CONFIG,
    VOCABULARY,
    probabilities,
    records,
    run,
    sentences,
    table,
    write_model,
)

FILLERS = ['我们', '昨天', '在', 'the', '去了', '和', '很', '早上']
PEOPLE, PLACES = ['小明', '王芳', 'anna'], ['北京', '上海', 'rome']
WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *FILLERS, *PEOPLE, *PLACES]


def tagged_words(count, seed):
    """[(words, labels)]: fillers with a person and a place among them."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        words = [(str(rng.choice(FILLERS)), 'O') for _ in range(rng.integers(1, 6))]
        for kind, names in (('PER', PEOPLE), ('LOC', PLACES)):
            words.insert(rng.integers(len(words) + 1), (str(rng.choice(names)), f'B-{kind}'))
        rows.append(tuple(map(list, zip(*words, strict=True))))
    return rows


@pytest.fixture
def whitespace(monkeypatch):
    monkeypatch.setitem(TOKENIZERS, 'WhitespaceTokenizer', 'tests.extensions.whitespace:WhitespaceTokenizer')


@pytest.mark.slow
def test_a_tokenizer_trains_caches_tags_exports_and_predicts(tmp_path, monkeypatch, whitespace):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    model = write_model(tmp_path / 'm', config={**CONFIG, 'hidden_dropout_prob': 0.0}, vocabulary=WORDS)
    (model / 'tokenizer_config.json').write_text('{"tokenizer_class": "WhitespaceTokenizer"}')
    (model / 'synonyms.txt').write_text('roma rome\n')
    flags = {
        'init_pretraining_params': model,
        'label_map_config': tiny_tagging.write_map(tmp_path / 'map.json'),
        'train_set': tiny_tagging.write_rows(tmp_path / 'train.tsv', tagged_words(60, 1)),
        'dev_set': tiny_tagging.write_conll(tmp_path / 'dev.txt', tagged_words(17, 2)),
        'learning_rate': 0.02,
        'epoch': 4,
        'cache': True,
    }
    first = tiny_tagging.run(**flags, checkpoints=tmp_path / 'c')
    assert 'from the cache' not in first.log and 'WhitespaceTokenizer' in first.log
    again = tiny_tagging.run(**flags, checkpoints=tmp_path / 'again')
    assert 'from the cache' in again.log
    losses = [[r['loss'] for r in records(tmp_path / name, 'train')] for name in ('c', 'again')]
    assert losses[0] == losses[1]
    assert max(r['f1'] for r in records(tmp_path / 'c', 'dev')) > 0.9
    best = tmp_path / 'c' / 'best'
    assert json.loads((best / 'tokenizer_config.json').read_text())['tokenizer_class'] == 'WhitespaceTokenizer'
    assert (best / 'synonyms.txt').read_text() == 'roma rome\n'
    text = ' 昨天 王芳  去了 Roma\t和 上海'
    (tmp_path / 'in.txt').write_text(text + '\n', encoding='utf-8')
    ran = infer(
        init_checkpoint=best,
        predict_set=tmp_path / 'in.txt',
        input_format='text',
        format='jsonl',
        save_inference_model_path=tmp_path / 'e',
    )
    found = [(e['type'], e['text'], e['start']) for e in json.loads(ran.out)['entities']]
    assert found == [(k, w, text.index(w)) for k, w in (('PER', '王芳'), ('LOC', 'Roma'), ('LOC', '上海'))]
    exported = ModelFolder(tmp_path / 'e' / 'best_inference_model')
    assert exported.codec.tokenizer.encode('ROMA rome x') == [WORDS.index('rome')] * 2 + [3]


def test_a_tokenizer_that_nobody_knows(tmp_path):
    model = write_model(tmp_path / 'm')
    (model / 'tokenizer_config.json').write_text('{"tokenizer_class": "WhitespaceTokenizer"}')
    with pytest.raises(UserError, match=r'tokenizer_config.json: found tokenizer_class \W?WhitespaceTokenizer'):
        run(
            init_pretraining_params=model,
            train_set=table(tmp_path / 't.tsv', sentences(9, 1)),
            checkpoints=tmp_path / 'c',
        )


LSTM = {
    'encoder': 'mean_lstm',
    'vocab_size': len(VOCABULARY),
    'hidden_size': 14,
    'num_hidden_layers': 2,
    'max_position_embeddings': 17,
    'initializer_range': 0.3,
}


@pytest.fixture
def bilstm(monkeypatch):
    monkeypatch.setitem(ENCODERS, 'mean_lstm', 'tests.extensions.bilstm:BiLstm')


@pytest.mark.slow
def test_an_encoder_trains_resumes_predicts_and_exports(tmp_path, bilstm):
    (tmp_path / 'config.json').write_text(json.dumps(LSTM))
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    test = table(tmp_path / 'test.tsv', [(text,) for text, _ in sentences(13, 3)], ('text_a',))
    flags = {
        'ernie_config_path': tmp_path / 'config.json',
        'vocab_path': tmp_path / 'vocab.txt',
        'train_set': table(tmp_path / 'train.tsv', sentences(90, 1)),
        'dev_set': table(tmp_path / 'dev.tsv', sentences(30, 2)),
        'test_set': test,
        'learning_rate': 0.02,
        'epoch': 3,
        'save_steps': 20,
        'warmup_proportion': 0,
        'skip_steps': 1,
    }
    run(**flags, checkpoints=tmp_path / 'whole', test_save=tmp_path / 'whole.out')
    run(**flags, checkpoints=tmp_path / 'part', test_save=tmp_path / 'part.out', max_steps=20)
    run(**flags, checkpoints=tmp_path / 'part', test_save=tmp_path / 'part.out', resume=True)
    losses = {name: [r['loss'] for r in records(tmp_path / name, 'train')] for name in ('whole', 'part')}
    assert losses['whole'][20:] == losses['part'][20:] and len(losses['whole']) == 36
    assert max(r['acc'] for r in records(tmp_path / 'whole', 'dev')) > 0.9
    best, last = tmp_path / 'whole' / 'best', tmp_path / 'whole' / 'step_36'
    names = set(backbone_shapes(ErnieConfig(LSTM))) | {'_cls_out_w', '_cls_out_b'}
    assert set(open_tensors(best / 'model.safetensors')) == names
    ran = infer(init_checkpoint=last, predict_set=test, save_inference_model_path=tmp_path / 'e')
    ours = np.array([[float(p) for p in line.split('\t')] for line in ran.out.splitlines()])
    np.testing.assert_allclose(ours, probabilities(tmp_path / 'whole.out.2.36'), rtol=1e-5, atol=1e-6)
    (tmp_path / 'shallow.json').write_text(json.dumps({**LSTM, 'num_hidden_layers': 1}))
    with pytest.raises(UserError, match='8 tensors of the encoder would not be used: lstm_1_backward'):
        run(
            **{**flags, 'ernie_config_path': tmp_path / 'shallow.json'},
            init_pretraining_params=best,
            checkpoints=tmp_path / 's',
        )


@pytest.mark.parametrize(
    'changed, message',
    [
        ({'hidden_size': 13}, 'hidden_size = 13, expected an even number: two directions'),
        ({'encoder': 'lstm'}, "encoder = 'lstm', expected one of ernie, bow, bilstm, elmo, mean_lstm"),
        ({'encoder': 3}, 'encoder = 3, expected one of ernie, bow, bilstm, elmo, mean_lstm'),
        (
            {'vocab_size': None},
            "key 'vocab_size' is missing. Required keys: vocab_size, hidden_size, num_hidden_layers",
        ),
    ],
)
def test_the_configuration_of_an_encoder(bilstm, changed, message):
    with pytest.raises(UserError) as caught:
        ErnieConfig({**LSTM, **changed})
    assert message in str(caught.value)


def momentum(rates, gradients, start):
    """Numpy's float64 idea of the optimizer."""
    value, velocity, found = np.float64(start), np.zeros_like(start, np.float64), []
    for rate, gradient in zip(rates, gradients, strict=True):
        if np.isfinite(gradient).all():
            velocity = 0.9 * velocity + gradient
            value = value - rate * velocity
        found.append(value)
    return found


def test_an_optimizer_trains_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, 'momentum', 'tests.extensions.momentum:Momentum')
    flags = {
        'init_pretraining_params': write_model(tmp_path / 'm', config={**CONFIG, 'hidden_dropout_prob': 0.0}),
        'train_set': table(tmp_path / 'train.tsv', sentences(90, 1)),
        'optimizer': 'momentum',
        'learning_rate': 0.02,
        'warmup_proportion': 0,
        'save_steps': 9,
        'skip_steps': 1,
    }
    run(**flags, checkpoints=tmp_path / 'whole')
    run(**flags, checkpoints=tmp_path / 'part', max_steps=18)
    with pytest.raises(UserError, match='optimizer.safetensors: does not fit this program: .*moment1_0 is missing'):
        run(**{**flags, 'optimizer': 'adamw'}, checkpoints=tmp_path / 'part', resume=True)
    run(**flags, checkpoints=tmp_path / 'part', resume=True)
    losses = [[r['loss'] for r in records(tmp_path / name, 'train')] for name in ('whole', 'part')]
    assert losses[0] == losses[1] and len(set(losses[0])) == 36
    with pytest.raises(UsageError, match='--optimizer adam: expected one of adamw, sgd, momentum'):
        run(**{**flags, 'optimizer': 'adam'}, checkpoints=tmp_path / 'other')


@pytest.mark.parametrize('parts', [1, 2])
def test_an_optimizer(monkeypatch, parts):
    monkeypatch.setitem(OPTIMIZERS, 'momentum', 'tests.extensions.momentum:Momentum')
    session, start = Session(seed=3), np.float32([0.5, -1.0, 2.0])

    def build(x):
        weight = graph.parameter('w', [3], graph.values(start))
        minimize((x * weight).sum(-1).mean(), lambda step: 0.1 / (1 + step), optimizer='momentum')

    program = session.build([graph.Feed('x', (-1, 3), 'float32')], build, parts=parts)
    session.initialize(program)
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(parts, 4, 3)).astype(np.float32) for _ in range(5)]
    batches[2][0, 0, 1] = np.inf
    found = []
    for batch in batches:
        session.update(program, [([part], True) for part in batch], [])
        found.append(session.read('w'))
    steps = [0, 1, 2, 2, 3]  # a skipped update does not count
    expected = momentum([0.1 / (1 + s) for s in steps], [b.mean((0, 1)) for b in batches], start)
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert np.array_equal(found[1], found[2])
    assert sum('velocity' in name for name in program.optimizer_state()) == 1


def test_an_engine_predicts(tmp_path, monkeypatch):
    for package in ('onnx', 'onnxruntime', 'paddle2onnx'):
        pytest.importorskip(package)
    monkeypatch.setitem(ENGINES, 'reference', 'tests.extensions.reference_engine:ReferenceEngine')
    checkpoint = write_checkpoint(tmp_path / 'c', 'tagging')
    lines = [text for text, _ in sentences(7, 3, most=25)]
    (tmp_path / 'in.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    flags = {'predict_set': tmp_path / 'in.txt', 'input_format': 'text', 'format': 'jsonl'}
    ours = infer(init_checkpoint=checkpoint, engine='reference', save_inference_model_path=tmp_path / 'e', **flags)
    theirs = infer(init_checkpoint=tmp_path / 'e' / 'c_inference_model', engine='onnxruntime', **flags)
    ours, theirs = ([json.loads(line) for line in ran.out.splitlines()] for ran in (ours, theirs))
    assert len(ours) == len(lines) and any(row['entities'] for row in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert [dict(e, confidence=0) for e in one['entities']] == [dict(e, confidence=0) for e in other['entities']]
        confidence = [[e['confidence'] for e in row['entities']] for row in (one, other)]
        np.testing.assert_allclose(*confidence, rtol=1e-4)
    with pytest.raises(UsageError, match='--precision bf16: --engine reference cannot'):
        infer(init_checkpoint=checkpoint, engine='reference', precision='bf16', **flags)
