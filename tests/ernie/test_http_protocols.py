"""Protocols of others: text-embeddings-inference, the Open Inference Protocol, and OpenAI's with its own client."""

import asyncio
import base64
import json

import numpy as np
import openai
import pytest

from ernie.inference.pooling import unit_length
from ernie.service.http.app import create_app
from ernie.service.http.listener import HttpListener
from propeller.service.limits import Limits
from tests.ernie.calling_http import caller
from tests.ernie.fake_text_service import BROKEN, FULL, HIDDEN, Model, Service

EMBED = Model('vectors', 'embed')


def unit(*lengths):
    return unit_length(np.stack([EMBED.vector_of(n) for n in lengths]))


@pytest.fixture(scope='module')
def call():
    return caller()


# ---------------------------------------------------------------- OpenAI


def test_the_client_of_openai():
    async def scene():
        service = Service([EMBED, Model('mood', 'classify')], Limits(max_texts=3))
        listener = HttpListener(create_app(service), port=0)
        await listener.start()
        client = openai.AsyncOpenAI(api_key='any', base_url=f'{listener.address}/v1', max_retries=0)
        try:
            created = await client.embeddings.create(model='vectors', input=['a', '好的'])  # asks for base64
            assert np.array_equal(np.float32([entry.embedding for entry in created.data]), unit(3, 4))
            assert [entry.index for entry in created.data] == [0, 1] and created.model == 'vectors'
            assert (created.usage.prompt_tokens, created.usage.total_tokens) == (7, 7)
            created = await client.embeddings.create(model='vectors', input='a', encoding_format='float')
            assert np.array_equal(np.float32(created.data[0].embedding), unit(3)[0])
            assert (await client.embeddings.create(model='vectors', input='a', dimensions=HIDDEN)).data
            assert [model.id async for model in client.models.list()] == ['vectors', 'mood']
            for refused, error, text in (
                ({'input': [1, 2]}, openai.UnprocessableEntityError, 'check_embedding_ctx_length=False'),
                ({'input': [[1, 2]]}, openai.UnprocessableEntityError, 'found token ids, expected texts'),
                ({'input': 'a', 'dimensions': 7}, openai.UnprocessableEntityError, 'found 7, expected 12'),
                ({'input': 'a', 'model': 'gpt'}, openai.NotFoundError, "'gpt': expected one of vectors, mood"),
                ({'input': 'a', 'model': 'mood'}, openai.UnprocessableEntityError, 'mood is for classify'),
                ({'input': FULL}, openai.RateLimitError, '--queue_tokens'),
                ({'input': BROKEN}, openai.InternalServerError, 'a fault of this server'),
                ({'input': ['a'] * 4}, openai.APIStatusError, '4 texts in one request'),
            ):
                with pytest.raises(error) as caught:
                    await client.embeddings.create(**{'model': 'vectors'} | refused)
                assert text in caught.value.message and caught.value.type and caught.value.request_id
        finally:
            await client.close()
            await listener.stop()

    asyncio.run(scene())


@pytest.mark.parametrize('value', [None, [], 3, {}, ['a', 3], ['a', None]])
def test_input_that_is_no_text_is_refused(call, value):
    response = call('POST', '/v1/embeddings', json={'input': value})
    assert response.status_code == 422 and response.json()['error']['type'] == 'invalid_request_error', response.text


def test_base64_is_float32_of_little_endian(call):
    response = call('POST', '/v1/embeddings', json={'input': 'a', 'encoding_format': 'base64'})
    found = base64.b64decode(response.json()['data'][0]['embedding'])
    assert np.array_equal(np.frombuffer(found, '<f4'), unit(3)[0])
    assert response.headers['x-inference-seconds'] == '0.003000'


# ---------------------------------------------------------------- text-embeddings-inference


def test_embed_and_similarity(call):
    found = np.float32(call('POST', '/embed', json={'inputs': ['a', 'bb']}).json())
    assert np.array_equal(found, unit(3, 4))
    found = np.float32(call('POST', '/embed', json={'inputs': 'a', 'normalize': False, 'truncate': True}).json())
    assert np.array_equal(found[0], EMBED.vector_of(3))
    inputs = {'source_sentence': 'a', 'sentences': ['b', 'ccc']}
    found = call('POST', '/similarity', json={'inputs': inputs, 'parameters': {}}).json()
    np.testing.assert_allclose(found, [1, unit(3)[0] @ unit(5)[0]], atol=1e-6)


def test_a_source_is_compared_with_as_many_sentences_as_there_may_be_texts():
    call = caller(Service([EMBED], Limits(max_texts=3)))
    for count, status in ((3, 200), (4, 413)):
        inputs = {'source_sentence': 'a', 'sentences': ['b'] * count}
        response = call('POST', '/similarity', json={'inputs': inputs})
        assert response.status_code == status and (status == 413 or len(response.json()) == count), response.text
    assert response.json()['limit'] == {'name': 'max_texts', 'value': 3, 'found': 4}


def test_predict_takes_a_text_a_pair_and_lists_of_them(call):
    found = call('POST', '/predict', json={'inputs': 'a', 'model': 'mood'}).json()
    assert found == [{'score': 0.75, 'label': 'pos'}, {'score': 0.25, 'label': 'neg'}]
    pair = call('POST', '/predict', json={'inputs': ['a', 'b']}).json()
    assert pair == [{'score': 0.8, 'label': 'pos'}, {'score': 0.2, 'label': 'neg'}]
    assert call('POST', '/predict', json={'inputs': [['a'], ['a', 'b']]}).json() == [found, pair]
    assert call('POST', '/predict', json={'inputs': ['a', 'b', 'c']}).status_code == 422


def test_rerank_by_classifiers_of_two_classes_and_by_regressions():
    request = {'query': 'q', 'texts': ['a', 'cccc', 'bb'], 'return_text': True}
    found = caller(Service([Model('fit', 'regression')]))('POST', '/rerank', json=request).json()
    assert found == [
        {'index': 1, 'score': 7.0, 'text': 'cccc'},
        {'index': 2, 'score': 5.0, 'text': 'bb'},
        {'index': 0, 'score': 4.0, 'text': 'a'},
    ]
    found = caller()('POST', '/rerank', json=request | {'return_text': False}).json()
    assert [rank['index'] for rank in found] == [1, 2, 0] and 'text' not in found[0]
    several = Service([Model('three', 'classify', ('a', 'b', 'c'))])
    response = caller(several)('POST', '/rerank', json=request)
    assert response.status_code == 424 and response.json()['error_type'] == 'Backend'
    assert response.json()['error'].startswith('three has 3 classes (classify); a model that ranks')


def test_tokens_have_their_places(call):
    found = call('POST', '/tokenize', json={'inputs': 'a好', 'model': 'vectors'}).json()
    assert found == [
        [
            {'id': 0, 'text': '[CLS]', 'special': True, 'start': None, 'stop': None},
            {'id': 97, 'text': 'a', 'special': False, 'start': 0, 'stop': 1},
            {'id': 2, 'text': '好', 'special': False, 'start': 1, 'stop': 2},
            {'id': 1, 'text': '[SEP]', 'special': True, 'start': None, 'stop': None},
        ]
    ]
    request = {'inputs': ['a', 'b'], 'model': 'vectors', 'add_special_tokens': False}
    assert [len(tokens) for tokens in call('POST', '/tokenize', json=request).json()] == [1, 1]


def test_characters_to_tokenize_at_the_limits_and_one_beyond():
    call = caller(Service([EMBED], Limits(request_tokens=60, queue_tokens=60)))
    for texts, limit in (
        (['a' * 30, 'b' * 30], None),
        (['a' * 30, 'b' * 31], {'name': 'request_tokens', 'value': 60, 'found': 61}),
        (['a', 'b' * 40], None),
        (['a', 'b' * 41], {'name': 'max_chars', 'value': 40, 'found': 41}),
    ):
        response = call('POST', '/tokenize', json={'inputs': texts})
        assert response.status_code == (413 if limit else 200), response.text
        assert limit is None or response.json()['limit'] == limit
    assert response.json()['error'] == 'text 2: 41 characters, where at most 40 are taken (--max_chars).'


def test_info(call):
    info = call('GET', '/info?model=mood').json()
    assert info['model_id'] == 'mood' and info['max_input_length'] == 16 and info['model_dtype'] == 'float32'
    assert info['model_type']['classifier']['id2label'] == {'0': 'neg', '1': 'pos'}
    assert call('GET', '/info?model=vectors').json()['model_type'] == {'embedding': {'pooling': 'mean'}}
    response = call('GET', '/info')
    assert response.status_code == 404 and response.json()['error'].startswith('`model` is missing')


@pytest.mark.parametrize(
    ('path', 'request_', 'place'),
    [
        ('/v1/embeddings', {'input': ' '}, 'input'),
        ('/v1/embeddings', {'input': ['a', '']}, 'input[1]'),
        ('/embed', {'inputs': ['', 'a']}, 'inputs[0]'),
        ('/similarity', {'inputs': {'source_sentence': '', 'sentences': ['a']}}, 'inputs.source_sentence'),
        ('/similarity', {'inputs': {'source_sentence': 'a', 'sentences': ['a', '\n']}}, 'inputs.sentences[1]'),
        ('/rerank', {'query': '', 'texts': ['a']}, 'query'),
    ],
)
def test_an_empty_text_has_the_name_that_the_request_has_for_it(call, path, request_, place):
    response = call('POST', path, json=request_)
    assert response.status_code == 422
    found = response.json()['error']
    found = found if isinstance(found, str) else found['message']
    assert found == f'{place}: found an empty text, expected some text.'
    assert call('POST', '/tokenize', json={'inputs': '', 'model': 'mood'}).status_code == 200


@pytest.mark.parametrize(
    ('path', 'request_', 'status', 'kind', 'text'),
    [
        ('/embed', {'inputs': []}, 422, 'Validation', 'inputs: found [], expected a text or a list of texts.'),
        ('/embed', {'inputs': [1, 2]}, 422, 'Validation', 'inputs: found token ids'),
        ('/embed', {'inputs': 'a', 'truncation_direction': 'Left'}, 422, 'Validation', 'truncation_direction: input'),
        ('/embed', {'inputs': 'a', 'prompt_name': 'query'}, 422, 'Validation', 'prompt_name: input should be None'),
        ('/embed', {'inputs': 'a', 'model': 'names'}, 424, 'Backend', 'model names is for tag; this route is for'),
        ('/embed', {'inputs': FULL}, 429, 'Overloaded', '10 tokens wait already'),
        ('/predict', {'inputs': 'a', 'raw_scores': True}, 422, 'Validation', 'raw_scores: input should be False'),
        ('/rerank', {'query': 'a', 'texts': []}, 422, 'Validation', 'texts: found an empty list'),
        ('/similarity', {'inputs': {'sentences': ['a']}}, 422, 'Validation', 'inputs.source_sentence: missing'),
    ],
)
def test_refusals_have_the_form_of_that_server(call, path, request_, status, kind, text):
    response = call('POST', path, json=request_)
    assert (response.status_code, response.json()['error_type']) == (status, kind), response.text
    assert response.json()['error'].startswith(text)


LONG = 'a' * 15  # with [CLS] and [SEP] one token more than the model reads


@pytest.mark.parametrize(
    ('path', 'request_'),
    [
        ('/embed', {'inputs': ['a', LONG]}),
        ('/predict', {'inputs': [['a'], [LONG[:7], LONG[7:]]]}),
        ('/rerank', {'query': 'q', 'texts': ['a', LONG[1:]]}),
        ('/similarity', {'inputs': {'source_sentence': 'a', 'sentences': [LONG]}}),
    ],
)
def test_texts_that_may_not_be_cut_are_refused_before_they_are_computed(path, request_):
    service = Service()
    call = caller(service)
    cutting = lambda value: {'parameters': {'truncate': value}} if path == '/similarity' else {'truncate': value}  # noqa: E731
    response = call('POST', path, json=request_ | cutting(False))
    assert (response.status_code, response.json()['error_type']) == (413, 'Validation'), response.text
    assert service.begun == 1 and service.computed == []
    assert call('POST', path, json=request_ | cutting(True)).status_code == 200
    assert len(service.computed) == 2


# ---------------------------------------------------------------- Open Inference Protocol


def tensor(name, data, shape=None, datatype='BYTES'):
    return {'name': name, 'datatype': datatype, 'shape': shape or [len(data)], 'data': data}


def infer(call, model, *inputs, **fields):
    return call('POST', f'/v2/models/{model}/infer', json={'inputs': list(inputs)} | fields)


def test_probes_and_what_models_are(call):
    assert call('GET', '/v2/health/live').json() == {'live': True}
    assert call('GET', '/v2/health/ready').json() == {'ready': True}
    assert call('GET', '/v2').json()['name'] == 'ernie'
    assert call('GET', '/v2/models/mood/ready').json() == {'name': 'mood', 'ready': True}
    described = call('GET', '/v2/models/mood').json()
    assert {'name': 'probabilities', 'datatype': 'FP32', 'shape': [-1, 2]} in described['outputs']
    assert {'name': 'input_ids', 'datatype': 'INT64', 'shape': [-1, -1]} in described['inputs']
    assert call('GET', '/v2/models/moot').json()['error'].endswith('Did you mean mood?')


def test_texts_as_bytes(call):
    response = infer(call, 'mood', tensor('text_a', ['a', 'bb']), id='7', parameters={'a': 1})
    content = response.json()
    assert content['model_name'] == 'mood' and content['id'] == '7' and response.headers['x-queue-seconds']
    outputs = {output['name']: output for output in content['outputs']}
    assert outputs['probabilities'] == {
        'name': 'probabilities',
        'datatype': 'FP32',
        'shape': [2, 2],
        'data': [0.25, 0.75, 0.2, 0.8],
    }
    assert outputs['label']['data'] == ['pos', 'pos'] and outputs['classes']['data'] == ['neg', 'pos']
    assert json.loads(outputs['result']['data'][1])['label'] == 'pos'
    nested = tensor('text_a', [['a'], ['bb']], [2, 1])
    content = infer(call, 'mood', nested, tensor('text_b', ['c', 'd'], [2, 1]), outputs=[{'name': 'label'}]).json()
    assert [output['name'] for output in content['outputs']] == ['label'] and 'id' not in content
    content = infer(call, 'reader', tensor('question', ['q']), tensor('context', ['Rom.'])).json()
    assert json.loads(content['outputs'][0]['data'][0])['answer'] == 'Ro'
    content = infer(call, 'vectors', tensor('text_a', ['a', 'bb'])).json()
    assert content['outputs'][0]['shape'] == [2, HIDDEN]
    found = np.float32(content['outputs'][0]['data']).reshape(2, HIDDEN)
    assert np.array_equal(found, np.stack([EMBED.vector_of(3), EMBED.vector_of(4)]))


def test_token_ids(call):
    ids = tensor('input_ids', [0, 97, 98, 1, 0, 97, 1, 0], [2, 4], 'INT64')
    mask = tensor('attention_mask', [[1, 1, 1, 1], [1, 1, 1, 0]], [2, 4], 'INT64')
    content = infer(call, 'mood', ids, mask, outputs=[{'name': 'probabilities'}]).json()
    assert content['outputs'][0]['data'] == [0.2, 0.8, 0.25, 0.75]
    content = infer(call, 'vectors', ids).json()
    assert np.float32(content['outputs'][0]['data'][:HIDDEN]).tolist() == EMBED.vector_of(4).tolist()


@pytest.mark.parametrize(
    ('model', 'inputs', 'text'),
    [
        ('mood', [tensor('text', ['a'])], "input 'text': expected one of text_a, text_b, input_ids"),
        ('mood', [tensor('text_a', ['a'], [2])], 'input text_a: found 1 values, where shape [2] has 2.'),
        ('mood', [tensor('text_a', ['a'], [-1])], 'input text_a: found shape [-1], expected [N, ...].'),
        ('mood', [tensor('text_a', ['a'], datatype='FP32')], "input text_a: found datatype 'FP32', expected BYTES."),
        ('mood', [tensor('text_a', [3])], 'input text_a[0]: found 3, expected a text.'),
        ('mood', [tensor('text_a', ['a']), tensor('text_a', ['a'])], 'inputs: two of them have one name.'),
        ('mood', [tensor('text_a', ['a']), tensor('text_b', ['a', 'b'])], 'inputs: found {'),
        (
            'mood',
            [tensor('input_ids', [[0, 97, 98, 1], [97, 1]], [2, 3], 'INT64')],
            'input input_ids: data[0]: found 4 values, expected a list of 3, as shape [2, 3] says, or all values in',
        ),
        (
            'mood',
            [tensor('input_ids', [0, 97], [1, 2], 'INT64'), tensor('attention_mask', [[1], [1]], [1, 2], 'INT64')],
            'input attention_mask: data: found 2 values, expected a list of 1',
        ),
        ('mood', [tensor('text_a', [['a', 'b'], []], [2, 1])], 'input text_a: data[0]: found 2 values, expected a'),
        ('mood', [tensor('text_a', [['a'], 'b'], [2, 1])], "input text_a: data[1]: found 'b', expected a list of 1"),
        ('mood', [tensor('text_a', [[['a'], []]], [1, 2, 1])], 'input text_a: data[0][1]: found 0 values, expected'),
        ('mood', [tensor('text_a', [['a']], [1])], "input text_a[0]: found ['a'], expected a text."),
        ('mood', [tensor('input_ids', [1.5], [1, 1], 'INT64')], 'input input_ids: expected whole numbers of 64 bits'),
        ('mood', [tensor('input_ids', [1 << 64], [1, 1], 'INT64')], 'input input_ids: expected whole numbers of 64'),
        ('mood', [tensor('input_ids', [True], [1, 1], 'INT64')], 'input input_ids: expected whole numbers of 64 bits'),
        ('mood', [tensor('input_ids', [128], [1, 1], 'INT64')], 'input_ids: found 128, expected 0 to 127.'),
        ('mood', [tensor('input_ids', [-1], [1, 1], 'INT64')], 'input_ids: found -1, expected 0 to 127.'),
        ('mood', [tensor('input_ids', [1], [1], 'INT64')], 'input input_ids: found shape [1], expected [N, T].'),
        ('mood', [tensor('input_ids', [1] * 17, [1, 17], 'INT64')], 'input input_ids: 17 tokens, where 16 are taken.'),
        (
            'names',
            [tensor('input_ids', [1], [1, 1], 'INT64')],
            'names (tag) needs the text itself, as BYTES text_a',
        ),
        ('mood', [], 'inputs: list should have at least 1 item'),
    ],
)
def test_tensors_that_cannot_be_used(call, model, inputs, text):
    response = infer(call, model, *inputs)
    assert response.json()['error'].startswith(text), response.text
    assert response.status_code == (413 if 'limit' in response.json() else 422)


@pytest.mark.parametrize('mask', [[0, 1], [0, 0], [1, 2]])
def test_masks_that_cannot_be(call, mask):
    ids = tensor('input_ids', [1, 2], [1, 2], 'INT64')
    response = infer(call, 'mood', ids, tensor('attention_mask', mask, [1, 2], 'INT64'))
    assert response.status_code == 422
    assert response.json()['error'].startswith('attention_mask: expected 1 for one token at least')
