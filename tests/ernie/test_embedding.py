"""Vectors of texts and tokens: pooling against float64, batches against one row at a time, files against both."""

import itertools
import re
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.checkpoint import open_model
from ernie.config import ErnieConfig
from ernie.inference.embedding import Embedder, check_room, write_vectors
from ernie.inference.pooling import POOLINGS, layer_number, pool, unit_length
from ernie.model.ernie import ErnieModel
from ernie.model.task_model import encoder_feeds
from ernie.reader.tokenized_set import collect
from propeller.errors import UsageError, UserError
from propeller.session import Session
from propeller.storage import write_safetensors
from tests.ernie.tiny_model import CONFIG, random_parameters, write_model

# English ERNIE 2.0 names its sentence types otherwise, and has a task embedding.
ENGLISH = {
    **{key: value for key, value in CONFIG.items() if key != 'type_vocab_size'},
    'num_hidden_layers': 3,
    'sent_type_vocab_size': 4,
    'use_task_id': True,
    'task_type_vocab_size': 5,
}
CONFIGS = {'chinese': CONFIG, 'english': ENGLISH}
TASK_ID = 3


def pool64(tokens, pooling):
    """One vector from those of one text, [T, H] without padding."""
    tokens = tokens.astype(np.float64)
    return {'cls': tokens[0], 'mean': tokens.sum(0) / len(tokens), 'max': np.sort(tokens, 0)[-1]}[pooling]


@pytest.mark.parametrize('pooling', ['cls', 'mean', 'max'])
def test_pooling_equals_float64(pooling):
    rng = np.random.default_rng(4)
    lengths = np.array([7, 1, 4, 2, 6])
    tokens = rng.standard_normal((5, 7, 11)).astype(np.float32) - 3  # all maxima below zero: padding must not win
    mask = (np.arange(7) < lengths[:, None]).astype(np.float32)
    tokens[mask == 0] = 1e4
    pooled = pool(tokens, mask, pooling)
    assert pooled.dtype == np.float32
    expected = [pool64(row[:length], pooling) for row, length in zip(tokens, lengths, strict=True)]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)


def test_unit_length():
    vectors = np.array([[3, 4], [0, 0], [-1e-10, 0]], np.float32)
    np.testing.assert_allclose(unit_length(vectors), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-6)


@pytest.mark.parametrize(('layer', 'number'), [(None, 3), (3, 3), (1, 1), (0, 0), (-1, 3), (-3, 1)])
def test_layer_numbers(layer, number):
    assert layer_number(layer, 3) == number


@pytest.mark.parametrize('layer', [4, -4])
def test_layers_that_are_not_there(layer):
    with pytest.raises(UsageError, match=f'--layer {layer}: expected 0 .* 1 to 3, or -3 to -1'):
        layer_number(layer, 3)


# ------------------------------------------------------------------------------------------ the encoder


def random_rows(count=67, seed=7):
    """Rows of 2 to 17 tokens, a third of them pairs, in no order of length."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 18, count)
    split = np.where(rng.random(count) < 1 / 3, rng.integers(1, lengths + 1), lengths)
    chunk = {
        'ids': rng.integers(1, CONFIG['vocab_size'], lengths.sum()).astype(np.int32),
        'lengths': lengths,
        'split': split.astype(np.int32),
        'lines': np.arange(count) + 2,
    }
    return collect([chunk])


@pytest.fixture(scope='module', params=CONFIGS)
def one_by_one(request, tmp_path_factory):
    """(config, model, rows, per row the outputs of all layers [L + 1, T, H], pooled outputs [N, H]).

    Each row is computed alone, in a batch of one without padding, by a graph of all layers.
    """
    values = CONFIGS[request.param]
    config, rows = ErnieConfig(values), random_rows()
    parameters = random_parameters(values)
    folder = write_model(tmp_path_factory.mktemp('m') / 'm', parameters, values)
    session = Session(seed=3)

    def build(ids, types, positions, mask, tasks=None):
        model = ErnieModel(ids, positions, types, tasks, mask, config)
        return [model.embedding_output, *model.layer_outputs, model.get_pooled_output()]

    program = session.build(encoder_feeds(config), build)
    session.initialize(program)
    for name, value in parameters.items():
        session.write(name, value)
    layers, pooled = [], []
    for i in range(len(rows)):
        ids, types = rows.row(i)
        arrays = [ids[None].astype(np.int64), types[None], np.arange(len(ids))[None], np.ones((1, len(ids)), 'float32')]
        arrays += [np.full((1, len(ids)), TASK_ID)] if config.use_task_id else []
        outputs = session.run(program, arrays, program.outputs)
        layers.append(np.concatenate(outputs[:-1]))
        pooled.append(outputs[-1][0])
    return config, open_model(folder), rows, layers, np.array(pooled)


def embed(config, model, **settings):
    embedder = Embedder(Session(seed=1), config, task_id=TASK_ID, **settings)
    embedder.load(model)
    return embedder


def test_every_pooling_of_every_layer_is_written_in_the_order_of_the_file(one_by_one, tmp_path):
    config, model, rows, layers, pooled = one_by_one
    settings = itertools.product(POOLINGS, range(config.num_hidden_layers + 1))
    for (pooling, layer), normalize in zip(settings, itertools.cycle([False, True])):
        folder = tmp_path / f'{pooling}{layer}'
        folder.mkdir()
        write_vectors(folder, embed(config, model, pooling=pooling, layer=layer), rows, 5, normalize)
        expected = pooled if pooling == 'pooled' else np.array([pool64(row[layer], pooling) for row in layers])
        if normalize:
            expected = expected / np.sqrt((expected.astype(np.float64) ** 2).sum(1, keepdims=True))
        texts, tokens, offsets = (np.load(folder / f'{n}.npy') for n in ('cls_emb', 'top_layer_emb', 'offsets'))
        assert texts.dtype == tokens.dtype == np.float32 and offsets.dtype == np.int64
        np.testing.assert_allclose(texts, expected, atol=2e-5, err_msg=folder.name)
        assert offsets[0] == 0 and offsets[-1] == len(tokens)
        for i, row in enumerate(layers):
            np.testing.assert_allclose(tokens[offsets[i] : offsets[i + 1]], row[layer], atol=2e-5, err_msg=folder.name)


def test_batches_hold_texts_of_like_length_and_no_more_than_asked(one_by_one):
    config, model, rows, _, pooled = one_by_one
    batches = list(embed(config, model, token_vectors=False).batches(rows, 4))
    lengths = [rows.lengths[indices] for indices, _, _ in batches]
    assert max(map(len, lengths)) == 4 and sum(map(np.sum, lengths)) == rows.offsets[-1]
    assert np.mean([found.max() - found.min() for found in lengths]) < 1  # of lengths between 2 and 17
    for indices, vectors, tokens in batches:
        assert tokens is None
        np.testing.assert_allclose(vectors, pooled[indices], atol=2e-5)


def test_without_token_vectors_there_is_one_file(one_by_one, tmp_path):
    config, model, rows, layers, _ = one_by_one
    write_vectors(tmp_path, embed(config, model, pooling='mean', layer=1, token_vectors=False), rows, 7)
    assert [path.name for path in tmp_path.iterdir()] == ['cls_emb.npy']
    expected = [pool64(row[1], 'mean') for row in layers]
    np.testing.assert_allclose(np.load(tmp_path / 'cls_emb.npy'), expected, atol=2e-5)


class Blocks:
    """Stands in for an `Embedder`: vectors of 2,560 numbers, all equal to the number of their row or token."""

    token_vectors = True

    def describe(self):
        return {'cls_emb.npy': '', 'top_layer_emb.npy': ''}

    def batches(self, rows, batch_size):
        for start in range(0, len(rows), batch_size):
            indices = np.arange(start, min(start + batch_size, len(rows)))[::-1]
            width = rows.lengths[indices].max()
            tokens = rows.offsets[indices][:, None] + np.arange(width)
            vectors = [np.repeat(numbers[..., None].astype(np.float32), 2560, -1) for numbers in (indices, tokens)]
            yield indices, *vectors


def test_memory_is_that_of_a_batch(tmp_path):
    rows = random_rows(400)
    tracemalloc.start()
    write_vectors(tmp_path, Blocks(), rows, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tokens = np.load(tmp_path / 'top_layer_emb.npy', mmap_mode='r')
    assert tokens.nbytes > 35e6 and peak < 4e6
    np.testing.assert_array_equal(tokens[:, ::2559], np.arange(len(tokens))[:, None] * [1, 1])
    np.testing.assert_array_equal(np.load(tmp_path / 'cls_emb.npy')[:, 7], np.arange(400))


def test_the_task_id_changes_the_vectors(tmp_path):
    model = open_model(write_model(tmp_path / 'm', config=ENGLISH))
    rows, found = random_rows(5), []
    for task_id in (0, 4):
        embedder = Embedder(Session(seed=1), ErnieConfig(ENGLISH), task_id=task_id)
        embedder.load(model)
        found.append(np.concatenate([vectors for _, vectors, _ in embedder.batches(rows, 9)]))
    assert np.abs(found[0] - found[1]).max() > 1e-2


# ------------------------------------------------------------------------------------------ loading


def saved(tmp_path, drop=(), **others):
    parameters = {
        name: value for name, value in random_parameters().items() if not re.match('|'.join(drop) or '$', name)
    }
    write_safetensors(tmp_path / 'model.safetensors', {**parameters, **others})
    return open_model(tmp_path / 'model.safetensors')


def test_a_missing_parameter_is_named(tmp_path):
    model = saved(tmp_path, ['encoder_layer_1_ffn'])
    with pytest.raises(UserError, match=r'4 missing: encoder_layer_1_ffn_fc_0\.w_0 \[12, 48\]'):
        embed(ErnieConfig(CONFIG), model)
    embed(ErnieConfig(CONFIG), model, pooling='mean', layer=1)  # does not read the second layer


def test_a_model_without_pooled_output_says_what_else_there_is(tmp_path):
    model = saved(tmp_path, ['pooled_fc'])
    with pytest.raises(UserError, match=r'no pooled output .* --pooling cls, mean or max'):
        embed(ErnieConfig(CONFIG), model)
    for pooling in ('cls', 'mean', 'max'):
        embed(ErnieConfig(CONFIG), model, pooling=pooling)


def test_what_is_not_used_is_named(tmp_path, capsys):
    model = saved(tmp_path, _cls_out_w=np.ones((12, 2), np.float32))
    embed(ErnieConfig(CONFIG), model, pooling='cls', layer=1)
    log = capsys.readouterr().err
    assert 'not used: _cls_out_w\n' in log and 'encoder_layer_1' not in log


def test_a_layer_that_nothing_would_be_taken_from():
    with pytest.raises(UsageError, match='--layer 1: --pooling pooled is made of the last layer'):
        Embedder(Session(seed=1), ErnieConfig(CONFIG), layer=1, token_vectors=False)
    Embedder(Session(seed=1), ErnieConfig(CONFIG), layer=2, token_vectors=False)


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    rows = random_rows(9)
    texts, tokens = 9, int(rows.offsets[-1])
    for token_vectors in (True, False):
        embedder = Embedder(Session(seed=1), ErnieConfig(CONFIG), token_vectors=token_vectors)
        needed = 4 * 12 * (texts + tokens * token_vectors)
        monkeypatch.setattr('shutil.disk_usage', lambda path, free=needed: SimpleNamespace(free=free))
        check_room(tmp_path, embedder, rows)
        monkeypatch.setattr('shutil.disk_usage', lambda path, free=needed - 1: SimpleNamespace(free=free))
        with pytest.raises(UserError, match='MB free') as caught:
            check_room(tmp_path, embedder, rows)
        assert ('--top_layer false' in str(caught.value)) == token_vectors
