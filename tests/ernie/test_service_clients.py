"""Clients of ERNIE over ZeroMQ, against a server in a thread: numbers equal those of `ernie_encoder.py`."""

import asyncio
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from zmq.auth import create_certificates

import ernie
from ernie.checkpoint import open_model
from ernie.config import ErnieConfig
from ernie.inference.embedding import Embedder
from ernie.inference.predict import tokenized_rows
from ernie.reader.tokenized_set import encoder_arrays
from ernie.service import client as client_program
from ernie.service.arrays import ArrayService
from ernie.service.client import AsyncErnieClient, AsyncTextClient, ErnieClient, TextClient, TextEncoder
from ernie.service.encoder_server import _no_texts
from ernie.service.requests import answer
from propeller.errors import UsageError, UserError
from propeller.service.client import InferenceBaseClient, InferenceError
from propeller.service.security import Security
from propeller.service.zmq_listener import ZmqListener
from propeller.session import Session
from tests.ernie.tiny_service import listening, served, write_models

NAMES = ('classify', 'crf', 'reading', 'encoder', 'tokens')
TEXTS = ['好美赞', '', '差', '的一是不了人我在有他这中大来上国个到说们', 'Finely, poor。', '坏 fine']
PAIRS = ['一是', '好', '不了人', 'fine', '差', '']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp('models'), *NAMES)


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    """Folder of key pairs: `server`, `friend`, whose public one is in `let_in`, and `stranger`."""
    folder = tmp_path_factory.mktemp('keys')
    for name in ('server', 'friend', 'stranger'):
        os.chmod(create_certificates(folder, name)[1], 0o600)
    (folder / 'let_in').mkdir()
    (folder / 'friend.key').rename(folder / 'let_in' / 'friend.key')
    return folder


@pytest.fixture(scope='module')
def ports(folder, keys):
    """dict name of a model -> port of its listener; those of '' and 'curve' take arrays and JSON for all of them."""
    models = served(folder, *NAMES)
    security = Security(secret_key_file=str(keys / 'server.key_secret'), client_keys=str(keys / 'let_in'))

    def make(service):
        limits, text = service.core.limits, lambda request: answer(service, request)
        arrays = {'limits': limits, 'text_handler': _no_texts}  # as `encoder_server.py` without --text
        listeners = [ZmqListener(ArrayService(service.core, name).run, **arrays) for name in NAMES]
        whole = {'limits': limits, 'text_handler': text}
        listeners += [ZmqListener(ArrayService(service.core).run, **whole)]
        return [*listeners, ZmqListener(ArrayService(service.core).run, security=security, **whole)]

    with listening(models, make) as listeners:
        yield {name: listener.bound_port for name, listener in zip([*NAMES, '', 'curve'], listeners, strict=True)}


@pytest.fixture(scope='module')
def vocabulary(folder):
    return str(folder / 'encoder' / 'vocab.txt')


@pytest.fixture(scope='module')
def expected(folder):
    """Vectors of `TEXTS`, and of pairs, from Paddle's executor."""
    with ernie.load(folder / 'encoder', task='embedding', for_cn=False) as model:
        return model(TEXTS), model(list(zip(TEXTS, PAIRS, strict=True)))


def test_vectors_of_texts_and_pairs(ports, vocabulary, expected):
    for options in ({}, {'batch_size': 2, 'num_coroutine': 3}):
        with ErnieClient(vocabulary, port=ports['encoder'], max_seqlen=17, **options) as client:
            np.testing.assert_allclose(client(TEXTS), expected[0], atol=1e-5)
            np.testing.assert_allclose(client(TEXTS, PAIRS), expected[1], atol=1e-5)
            np.testing.assert_allclose(client([TEXTS[0].encode()]), expected[0][:1], atol=1e-5)

    async def run():
        async with AsyncErnieClient(vocabulary, port=ports['encoder'], batch_size=2, max_seqlen=17) as client:
            return await asyncio.gather(client(TEXTS), client(TEXTS, PAIRS))

    for got, want in zip(asyncio.run(run()), expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_one_of_several_models_is_named_by_the_client_or_by_the_call(ports, vocabulary, expected):
    with ErnieClient(vocabulary, port=ports[''], max_seqlen=17, batch_size=4, model='encoder') as client:
        np.testing.assert_allclose(client(TEXTS), expected[0], atol=1e-5)
        assert client(TEXTS, model='classify').shape == (len(TEXTS), 3)
        assert client(TEXTS, PAIRS, model='tokens').shape[2] == 12
        with pytest.raises(InferenceError) as caught:
            client(TEXTS, model='encode')
        assert caught.value.code == 'not_found'
        assert "'encode' is not served here; there are classify, crf, reading, encoder, tokens." in str(caught.value)
        assert str(caught.value).endswith('Did you mean encoder?')
    unnamed = ErnieClient(vocabulary, port=ports[''])
    with pytest.raises(InferenceError, match='no model is named in the request; there are classify, crf'):
        unnamed(TEXTS)
    with ErnieClient(vocabulary, port=ports['encoder'], model='encoder') as client:  # a name is heeded by any of ours
        assert client(TEXTS[:1], model='classify').shape == (1, 3)

    async def run():
        async with AsyncErnieClient(vocabulary, port=ports[''], max_seqlen=17, model='encoder') as client:
            return await asyncio.gather(client(TEXTS), client(TEXTS, model='classify'))

    vectors, scores = asyncio.run(run())
    np.testing.assert_allclose(vectors, expected[0], atol=1e-5)
    assert scores.shape == (len(TEXTS), 3)


def test_vectors_of_tokens_of_a_layer(ports, folder, vocabulary):
    client = ErnieClient(vocabulary, port=ports['tokens'], batch_size=4, max_seqlen=17)
    got = client(TEXTS)
    ids, _ = client.encoder(TEXTS)
    assert got.shape == (len(TEXTS), ids.shape[1], 12) and got.dtype == np.float32
    rows = [row[row > 0].tolist() for row in ids[:, :, 0]]
    config = ErnieConfig(str(folder / 'encoder' / 'ernie_config.json'))
    embedder = Embedder(Session(False), config, 'cls', 1)
    embedder.load(open_model(str(folder / 'encoder')))
    for place, row in enumerate(rows):
        arrays = encoder_arrays(tokenized_rows([row], [len(row)]), np.array([0]), 0)
        np.testing.assert_allclose(got[place, : len(row)], embedder.run(arrays)[1][0], atol=1e-5)
        assert not got[place, len(row) :].any()
    client.close()


def test_arrays_in_the_order_of_2019_give_the_outputs_of_a_fine_tuned_model(ports, folder):
    ids = np.array([[1, 5, 9, 2, 0, 0], [1, 11, 12, 13, 14, 2]], np.int64)[:, :, None]
    positions = np.arange(6)[None, :, None].repeat(2, 0)
    mask = (ids > 0).astype(np.float32)
    with InferenceBaseClient(f'tcp://localhost:{ports["classify"]}') as client:
        (found,) = client(ids, np.zeros_like(ids), positions * (ids > 0), mask)
        (two,) = client(ids[:, :, 0].astype(np.int32), np.zeros((2, 6), np.int32))
    with ernie.load(folder / 'classify-exported') as model:
        arrays = [ids[:, :, 0], np.zeros((2, 6), np.int64), (positions * (ids > 0))[:, :, 0], mask[:, :, 0]]
        (want,) = model._prediction.engine.run(arrays)
    np.testing.assert_allclose(found, want, atol=1e-5)
    np.testing.assert_allclose(two, want, atol=1e-5)
    with InferenceBaseClient(f'tcp://localhost:{ports["crf"]}') as client:
        (found,) = client(ids, np.zeros_like(ids))
    assert found.shape == (2, 6, 5) and not found[0, 4:].any()


IDS = np.array([[1, 5, 2, 0]], np.int64)
BAD = [
    ((IDS,), 'found 1 arrays, expected token ids and sentence types'),
    ((IDS, IDS[:, :3]), r'found arrays of the shapes \[1, 4\], \[1, 3\], expected one shape'),
    ((IDS[None, :, :], IDS[None, :, :]), r'token ids of the shape \[1, 1, 4\]'),
    ((IDS.astype(np.float32), 0 * IDS), 'token ids of the type float32, expected int64'),
    ((IDS + 58, 0 * IDS), r'token ids: 63 in row 1, expected numbers from 0 to 60, for the model has 61'),
    ((-IDS, 0 * IDS), 'token ids: -1 in row 1'),
    ((IDS, IDS), 'sentence types: 5 in row 1, expected numbers from 0 to 1, for the model has 2'),
    ((IDS * [[1, 99, 1, 1]], 0 * IDS, np.arange(4)[None], np.array([[1.0, 0, 1, 0]], np.float32)), '495 in row 1'),
    ((0 * IDS, 0 * IDS), 'row 1 without a token'),
    ((np.ones((1, 18), np.int64), np.zeros((1, 18), np.int64)), '18 tokens in row 1, where the model has 17 positions'),
    ((IDS, 0 * IDS, IDS), 'positions of tokens that do not count from 0'),
    ((IDS, 0 * IDS, np.arange(4)[None], np.full((1, 4), np.nan, np.float32)), 'a mask with other numbers than 0 and 1'),
    ((IDS, 0 * IDS, np.arange(4)[None], (IDS > 0).astype(np.float32), IDS), 'other task ids, expected 0'),
]


def test_arrays_that_cannot_be_used_are_told_and_harm_nobody(ports, vocabulary, expected):
    client = InferenceBaseClient(f'tcp://localhost:{ports["encoder"]}')
    for arrays, message in BAD:
        with pytest.raises(InferenceError, match=message):
            client(*arrays)
    assert client(IDS, 0 * IDS)[0].shape == (1, 12)
    with pytest.raises(InferenceError, match='no model is named'):
        InferenceBaseClient(f'tcp://localhost:{ports[""]}')(IDS, 0 * IDS)


def test_texts_that_are_none_are_told_before_anything_is_sent(vocabulary):
    client = ErnieClient(vocabulary, port=9)
    for given, message in (
        (('好',), "text_a: found '好' .str., expected a list of texts"),
        ((['好', 7],), r'text_a: text 2 is 7 \(int\), expected a text'),
        ((['好'], ['a', 'b']), 'text_b: found 2 texts for 1 first ones'),
        (([b'\xff'],), 'text_a: text 1 is not UTF-8'),
        (([],), 'found no text'),
    ):
        with pytest.raises(ValueError, match=message):
            client(*given)
    with pytest.raises(UsageError, match='max_seqlen: found 2'):
        ErnieClient(vocabulary, max_seqlen=2)


def test_the_longest_text_is_what_the_files_beside_the_vocabulary_say(vocabulary, folder, tmp_path, caplog):
    beside = tmp_path / 'vocab.txt'
    beside.write_bytes(Path(vocabulary).read_bytes())
    encoder, long = TextEncoder(beside), '好 ' * 600
    assert encoder([long])[0].shape == (1, 128, 1)
    assert encoder(['好', long, long])[0].shape == (3, 128, 1)  # told once
    assert caplog.messages == ['1 of 1 texts do not fit into 128 tokens and were cut (max_seqlen); this is logged once']
    for name, content, longest in (
        ('tokenizer_config.json', {'model_max_length': int(1e30)}, 128),
        ('bert_config.json', {'max_position_embeddings': 2048}, 512),
        ('config.json', {'max_position_embeddings': 514}, 512),
        ('tokenizer_config.json', {'model_max_length': 300}, 300),
        ('ernie_config.json', {'max_position_embeddings': 17}, 17),
        ('inference.json', {'vectors': {'reading': {'max_seq_len': 15}}}, 15),
        ('labels.json', {'max_seq_len': 16}, 16),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        assert TextEncoder(beside)([long])[0].shape[1] == longest, name
        assert TextEncoder(beside, 400)([long])[0].shape[1] == 400
    assert TextEncoder(vocabulary)([long])[0].shape[1] == 17
    for model in served(folder, 'classify', 'encoder'):
        assert TextEncoder(Path(model.path) / 'vocab.txt')([long])[0].shape[1] == model.info['max_seq_len']


def test_texts_as_json_give_the_results_of_load(ports, folder, expected):
    texts = [text for text in TEXTS if text]
    client = TextClient(port=ports[''], model='classify', batch_size=2)
    with ernie.load(folder / 'classify', engine='executor') as model, client:
        assert [r['label'] for r in client(texts)] == [r['label'] for r in model(texts)]
        assert client(texts[0], top_k=1)['probabilities'].keys() == model(texts[0], top_k=1)['probabilities'].keys()
        pair = {'text_a': texts[0], 'text_b': texts[1]}
        assert client((texts[0], texts[1])) == client(pair)
        assert client(pair)['probabilities'] == pytest.approx(model(pair)['probabilities'], abs=1e-5)
    client = TextClient(port=ports[''], model='reading')
    with ernie.load(folder / 'reading', engine='executor') as model, client:
        record = {'question': '谁好', 'context': '好美赞的一是不了人。' * 5}
        assert client(record)['answer'] == model(record)['answer']
    client = TextClient(port=ports[''], model='encoder')
    vectors = client(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected[0][[i for i, text in enumerate(TEXTS) if text]], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(client(texts[0], normalize=True)), 1, rtol=1e-5)
    with pytest.raises(InferenceError, match='text 2: found an empty text') as caught:
        client(['好', ''])
    assert caught.value.code == 'invalid'
    assert client(['好']).shape == (1, 12)
    with pytest.raises(UserError, match='input 2: found 7'):
        client(['好', 7])
    assert client(['好'], model='classify')[0].keys() == {'label', 'probabilities'}
    with pytest.raises(InferenceError, match="model 'nothing' is not served here; there are classify, crf"):
        client(['好'], model='nothing')
    with pytest.raises(ValueError, match='model: found 7'):
        client(['好'], model=7)
    with pytest.raises(InferenceError, match='takes arrays .Slots., no JSON: start it with --text for that.'):
        TextClient(port=ports['encoder'])(['好'])

    async def run():
        async with AsyncTextClient(port=ports[''], model='encoder', batch_size=1) as client:
            return await asyncio.gather(client(texts), client(texts, model='classify'))

    again, classes = asyncio.run(run())
    np.testing.assert_allclose(again, vectors, atol=1e-6)
    assert [r.keys() for r in classes] == [{'label', 'probabilities'}] * len(texts)


def test_curve_with_clients_of_texts(ports, keys, vocabulary, expected):
    known = {'server_key': str(keys / 'server.key'), 'client_key': str(keys / 'friend.key_secret')}
    strange = known | {'client_key': str(keys / 'stranger.key_secret')}
    to_server = {'port': ports['curve'], 'model': 'encoder', 'batch_size': 4}
    texts = [text for text in TEXTS if text]

    def clients(**options):
        yield ErnieClient(vocabulary, max_seqlen=17, **to_server, **options)
        yield TextClient(**to_server, **options)

    for client in clients(**known):
        with client:
            found = client(texts)
        np.testing.assert_allclose(found, expected[0][[i for i, text in enumerate(TEXTS) if text]], atol=1e-5)
    for client in clients(**strange, timeout=10.0):  # told at once, not after the time-out
        began = time.monotonic()
        with client, pytest.raises(InferenceError, match='does not take the keys of this client') as caught:
            client(['好'])
        assert caught.value.code == 'unauthorized' and time.monotonic() - began < 9
    for client in clients(timeout=0.5):  # without keys
        with client, pytest.raises(InferenceError) as caught:
            client(['好'])
        assert caught.value.code in ('unauthorized', 'unavailable')

    async def run():
        arrays = AsyncErnieClient(vocabulary, max_seqlen=17, **to_server, **known)
        async with arrays, AsyncTextClient(**to_server, **known) as strings:
            found = await asyncio.gather(arrays(texts), strings(texts))
        async with AsyncTextClient(**to_server, **strange) as client:
            with pytest.raises(InferenceError) as caught:
                await client(['好'])
        return found, caught.value.code

    (arrays, strings), code = asyncio.run(run())
    assert code == 'unauthorized'
    np.testing.assert_allclose(arrays, strings, atol=1e-6)


def test_wrong_json_requests(ports):
    import zmq

    context = zmq.Context()
    one = context.socket(zmq.REQ)
    one.connect(f'tcp://127.0.0.1:{ports[""]}')
    for request, message in (
        ({}, 'found no text, expected one of text, texts, items'),
        ({'text': '好', 'texts': []}, 'found text and texts'),
        ({'texts': '好'}, 'texts: found a str, expected a list'),
        ({'texts': [3]}, 'texts[0]: found 3'),
        ({'text': '好', 'modell': 'x'}, 'modell: no such field. Did you mean model?'),
        ({'text': '好', 'top_k': 0}, 'top_k: found 0, expected a whole number from 1'),
        ({'question': '好'}, 'found question, expected one of'),
    ):
        one.send(json.dumps(request).encode())
        assert one.poll(5000)
        error = json.loads(one.recv())['error']
        assert error['code'] == 'invalid' and message in error['message']
    context.destroy(linger=0)


def test_the_program_writes_the_vectors_of_a_file(ports, vocabulary, expected, tmp_path, capsys):
    (tmp_path / 'texts.txt').write_text('\ufeff' + '\n'.join(TEXTS), encoding='utf-8')
    flags = [
        '-p',
        str(ports['']),
        '--model',
        'encoder',
        '--vocab',
        vocabulary,
        '--batch_size',
        '2',
        '--max_seqlen',
        '17',
    ]
    client_program.main(['-i', str(tmp_path / 'texts.txt'), '-o', str(tmp_path / 'vectors'), *flags])
    assert capsys.readouterr().out.startswith('query num: 6 average latency 0.')
    np.testing.assert_allclose(np.load(tmp_path / 'vectors.npy'), expected[0], atol=1e-5)
    (tmp_path / 'pairs.txt').write_text(''.join(f'{a}\t{b}\n' for a, b in zip(TEXTS, PAIRS, strict=True)))
    client_program.main(['-i', str(tmp_path / 'pairs.txt'), '-o', str(tmp_path / 'pairs.npy'), *flags])
    np.testing.assert_allclose(np.load(tmp_path / 'pairs.npy'), expected[1], atol=1e-5)
    for content, message in ((b'', 'an empty file'), (b'a\tb\tc\n', ':1: found 3 texts'), (b'a\n\xff\n', ':2: found')):
        (tmp_path / 'bad.txt').write_bytes(content)
        with pytest.raises(UserError, match=message):
            client_program.main(['-i', str(tmp_path / 'bad.txt'), '-o', str(tmp_path / 'bad'), *flags])
    assert not (tmp_path / 'bad.npy').exists()
