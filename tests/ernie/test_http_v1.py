"""The routes of the server itself, and what every request passes before them."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from ernie.service.http.app import create_app
from propeller.service.limits import Limits
from tests.ernie.calling_http import caller
from tests.ernie.fake_text_service import BROKEN, ENDED, FULL, LATE, SLOW, Model, Service


def post(path, content, service=None, **options):
    return caller(service, **options)('POST', path, json=content)


def refused(response, status, code):
    error = response.json()['error']
    assert (response.status_code, error['code']) == (status, code), response.text
    assert response.headers['content-type'] == 'application/json'
    return error


def test_texts_are_classified_in_order_with_their_times():
    response = post('/v1/classify', {'model': 'mood', 'texts': ['快递', ['a', 'b'], {'text_a': '好' * 20}]})
    assert response.status_code == 200
    content = response.json()
    assert (
        content['model'] == 'mood' and content['tokens'] == [4, 4, 16] and content['truncated'] == [False] * 2 + [True]
    )
    assert [result['label'] for result in content['results']] == ['pos', 'pos', 'pos']
    assert content['results'][2]['probabilities'] == {'neg': 0.0588, 'pos': 0.9412}
    for name, value in (('queue', 0.002), ('tokenize', 0.001), ('inference', 0.003)):
        assert float(response.headers[f'x-{name}-seconds']) == value


def test_the_only_model_for_a_route_needs_no_name():
    call = caller()
    assert call('POST', '/v1/tag', json={'text': 'Ada Li'}).json()['results'][0]['entities'][0]['text'] == 'Ad'
    assert call('POST', '/v1/answer', json={'question': 'q', 'context': 'Rom.'}).json()['results'][0]['answer'] == 'Ro'
    two = {'items': [{'question': 'q', 'context': 'Rom.'}] * 2}
    assert len(call('POST', '/v1/answer', json=two).json()['results']) == 2
    several = Service([Model('a', 'classify'), Model('b', 'regression'), Model('c', 'tag')])
    error = refused(post('/v1/classify', {'text': 'x'}, several), 404, 'not_found')
    assert error['message'].endswith('a, b.')
    error = refused(post('/v1/embed', {'text': 'x'}, several), 422, 'invalid')
    assert error['message'] == 'no model here is for embed; there is a (classify), b (regression), c (tag).'


def test_vectors():
    model = Model('vectors', 'embed')
    response = post('/v1/embed', {'texts': ['a', 'bc']})
    expected = np.stack([model.vector_of(3), model.vector_of(4)])
    assert (np.array(response.json()['results'], np.float32) == expected).all()
    unit = post('/v1/embed', {'texts': ['a', 'bc'], 'normalize': True}).json()['results']
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    assert post('/v1/embed', {'texts': []}).json() == {'model': 'vectors', 'tokens': [], 'truncated': [], 'results': []}


def test_models_are_listed():
    content = caller()('GET', '/v1/models').json()
    assert [entry['id'] for entry in content['data']] == ['mood', 'names', 'reader', 'vectors']
    assert content['data'][0]['task'] == 'classify' and content['data'][0]['info']['labels'] == ['neg', 'pos']
    assert caller()('GET', '/v1/models/names').json() == content['data'][1]
    error = refused(caller()('GET', '/v1/models/name'), 404, 'not_found')
    assert error['type'] == 'invalid_request_error' and 'Did you mean names?' in error['message']


@pytest.mark.parametrize(
    ('path', 'content', 'message'),
    [
        ('classify', {'texts': ['a', 7]}, 'texts[1]: found 7, expected a text, a pair [text, text] or an object'),
        ('classify', {'texts': [['a', 'b', 'c']]}, "texts[0]: found ['a', 'b', 'c'], expected a text, a pair"),
        ('classify', {'texts': [{'text_a': 'a', 'text_c': 'b'}]}, 'texts[0]: found {'),
        ('classify', {'texts': [{'text_a': 'a', 'text_b': 1}]}, 'texts[0].text_b: found 1, expected a text.'),
        ('classify', {'texts': 'a'}, 'texts: expected a list. One text alone is given as `text`.'),
        ('classify', {}, 'the request: found neither of text and texts, expected one of them.'),
        ('classify', {'text': 'a', 'texts': ['a']}, 'the request: found both of text and texts'),
        ('classify', {'text': 'a', 'topk': 1}, 'topk: no such field here; there are '),
        ('classify', {'text': 'a', 'top_k': 0}, 'top_k: input should be greater than or equal to 1, found 0.'),
        ('classify', {'text': 'a', 'top_k': True}, 'top_k: input should be a valid integer, found True.'),
        ('classify', {'text': 'a', 'min_confidence': 2}, 'min_confidence: input should be less than or equal to 1'),
        ('classify', {'text': 'a', 'timeout': -1}, 'timeout: input should be greater than or equal to 0.001'),
        ('classify', {'text': ''}, 'found an empty text as text_a, expected some text.'),
        ('classify', {'text': 'a\ud800'}, 'text: character 2 is half of a surrogate pair, which is no text.'),
        ('classify', {'text': 'a', 'model': 'names'}, 'model names is for tag; this route is for classify or '),
        ('classify', ['a'], "the request: found ['a'], expected a JSON object."),
        ('tag', {'text': 'a', 'top_k': 1}, 'top_k: no such field here; there are model, text, texts, timeout, min_'),
        ('answer', {'question': 'a'}, 'the request: expected either question and context, or items.'),
        ('answer', {'items': [{'question': 'a'}]}, 'items[0].context: missing, but required.'),
        ('answer', {'question': 'a', 'context': 3}, 'context: input should be a valid string, found 3.'),
    ],
)
def test_what_a_model_cannot_use_is_refused_with_its_place(path, content, message):
    body = json.dumps(content).encode()
    headers = {'Content-Type': 'application/json'}
    response = caller()('POST', f'/v1/{path}', content=body, headers=headers)
    assert refused(response, 422, 'invalid')['message'].startswith(message), response.text


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'', 'the body is not JSON (line 1, column 1: Expecting value).'),
        (b'{"text": "a"', "the body is not JSON (line 1, column 13: Expecting ',' delimiter)."),
        (b'\xef\xbb\xbf{"text": "a"', "the body is not JSON (line 1, column 13: Expecting ',' delimiter)."),
        (b'{"text": "\xff"}', 'byte 11 of the body is not UTF-8.'),
        (b'{"text": "a", "min_confidence": NaN}', 'the body is not JSON (NaN is no JSON).'),
        (b'{"text": "a", "text": "b"}', "the body is not JSON ('text' stands twice in one object)."),
        (b'{"texts": ["' + b'a' * 70_000 + b'"], "texts": []}', "the body is not JSON ('texts' stands twice"),
        (b'{"text": "a", "timeout": -Infinity}', 'the body is not JSON (-Infinity is no JSON).'),
        (b'[' * 100_000, 'JSON nested more than 32 deep.'),
        (b'{"a":' * 40 + b'1' + b'}' * 40, 'JSON nested more than 32 deep.'),
        (b'{"top_k": ' + b'1' * 5000 + b'}', 'the body is not JSON (Exceeds the limit'),
    ],
)
def test_what_is_no_json_is_malformed(body, message):
    response = caller()('POST', '/v1/classify', content=body, headers={'Content-Type': 'application/json'})
    assert refused(response, 400, 'malformed')['message'].startswith(message)


def test_forms_and_compressed_bodies_are_refused():
    call = caller()
    error = refused(call('POST', '/v1/classify', data={'text': 'a'}), 415, 'malformed')
    assert 'application/x-www-form-urlencoded' in error['message'] and '--json' in error['message']
    headers = {'Content-Type': 'application/json', 'Content-Encoding': 'gzip'}
    refused(call('POST', '/v1/classify', content=b'{}', headers=headers), 415, 'malformed')
    headers = {'Content-Type': 'application/json; charset=utf-8'}
    for content in ('{"text": "a"}', '\ufeff{"text": "a"}'):  # as some editors write it
        assert call('POST', '/v1/classify', content=content.encode(), headers=headers).status_code == 200


def test_routes_that_are_none():
    call = caller()
    assert '/v1/nothing' in refused(call('GET', '/v1/nothing'), 404, 'not_found')['message']
    refused(call('POST', '/v1/classify/', json={}), 404, 'not_found')
    response = call('GET', '/v1/classify')
    assert refused(response, 405, 'malformed') and response.headers['allow'] == 'POST'
    refused(call('POST', '/v1/classify', json={'text': 'a', 'model': 'mod'}), 404, 'not_found')
    assert refused(call('POST', '/v1/classify', json={'text': 'a', 'model': 'moos'}), 404, 'not_found')[
        'message'
    ].endswith('Did you mean mood?')


def test_bodies_at_the_limit_and_one_beyond():
    call = caller(limits=Limits(message_bytes=200))
    body = json.dumps({'text': 'a' * 150}).encode()
    headers = {'Content-Type': 'application/json'}
    assert call('POST', '/v1/classify', content=body.ljust(200), headers=headers).status_code == 200
    error = refused(call('POST', '/v1/classify', content=body.ljust(201), headers=headers), 413, 'too_large')
    assert error['limit'] == {'name': 'message_bytes', 'value': 200, 'found': 201}
    taken = []

    async def pieces():
        for _ in range(1000):
            taken.append(1)
            yield b' ' * 50

    error = refused(call('POST', '/v1/classify', content=pieces(), headers=headers), 413, 'too_large')
    assert len(taken) == 5 and error['limit']['found'] == 250


def test_bodies_of_all_requests_at_the_limit_and_one_beyond():
    service = Service(limits=Limits(message_bytes=100))
    service.pause = 0.2
    body = b'{"text": "slow"}'.ljust(100)

    async def scene():
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url='http://server') as client:
            send = lambda: client.post('/v1/classify', content=body)  # noqa: E731
            first = await asyncio.gather(*(send() for _ in range(17)))
            return first, await send()

    first, after = asyncio.run(scene())
    assert [response.status_code for response in first] == [200] * 16 + [429] and after.status_code == 200
    error = refused(first[-1], 429, 'overloaded')
    assert error['limit'] == {'name': 'bodies_bytes', 'value': 1600, 'found': 1700}
    assert first[-1].headers['retry-after'] == '1'


def test_too_many_texts_are_refused_before_anything_is_made_of_them():
    service = Service(limits=Limits(max_texts=3))
    assert post('/v1/classify', {'texts': ['a'] * 3}, service).status_code == 200
    error = refused(post('/v1/classify', {'texts': [7] * 4}, service), 413, 'too_large')
    assert error['limit'] == {'name': 'max_texts', 'value': 3, 'found': 4} and service.begun == 1


def test_overload_lateness_and_faults_have_their_status():
    response = post('/v1/classify', {'text': FULL})
    assert refused(response, 429, 'overloaded')['limit']['value'] == 10 and response.headers['retry-after'] == '3'
    refused(post('/v1/classify', {'text': LATE, 'timeout': 1}), 504, 'expired')
    refused(post('/v1/classify', {'text': ENDED}), 503, 'unavailable')
    response = post('/v1/classify', {'text': BROKEN})
    assert 'secret' not in response.text and refused(response, 500, 'internal')


class Token:
    token = 's3cret'

    def is_token(self, token):
        return token == self.token


def test_all_but_probes_and_metrics_is_behind_the_token():
    call = caller(security=Token())
    for headers in (
        {},
        {'Authorization': 'Bearer wrong'},
        {'Authorization': 's3cret'},
        {'Authorization': 'Basic s3cret'},
    ):
        response = call('POST', '/v1/classify', json={'text': 'a'}, headers=headers)
        assert refused(response, 401, 'unauthorized') and response.headers['www-authenticate'] == 'Bearer'
    assert call('GET', '/v1/models').status_code == call('GET', '/nothing').status_code == 401
    good = call('POST', '/v1/classify', json={'text': 'a'}, headers={'Authorization': 'Bearer s3cret'})
    assert good.status_code == 200
    for path in ('/livez', '/readyz', '/health', '/metrics', '/openapi.json'):
        assert call('GET', path).status_code == 200
    assert call('HEAD', '/livez').status_code == 200


def test_readiness():
    service = Service()
    service.core.ready = False
    call = caller(service)
    response = call('GET', '/readyz')
    assert response.status_code == 503 and response.headers['retry-after'] and response.json()['status'] == 'not ready'
    assert call('GET', '/livez').json() == {'status': 'alive'}


def test_ids_are_echoed_where_they_are_proper():
    call, trace = caller(), '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    response = call('GET', '/nothing', headers={'X-Request-ID': 'abc-1', 'traceparent': trace})
    assert response.headers['x-request-id'] == 'abc-1' and response.headers['traceparent'] == trace
    for bad in ('a b', 'a' * 129, 'é', ''):
        response = call('GET', '/livez', headers=[(b'X-Request-ID', bad.encode()), (b'traceparent', b'00-0-0-0')])
        assert len(response.headers['x-request-id']) == 32 and 'traceparent' not in response.headers
    assert call('GET', '/livez').headers['x-request-id'] != call('GET', '/livez').headers['x-request-id']


def test_a_request_whose_client_goes_is_cancelled():
    service = Service()
    app = create_app(service)

    async def scene():
        left, sent = asyncio.Event(), []

        parts = [{'type': 'http.request', 'body': json.dumps({'text': SLOW}).encode()}]

        async def receive():
            if parts:
                return parts.pop()
            await left.wait()
            return {'type': 'http.disconnect'}

        async def send(message):
            sent.append(message)

        scope = {'type': 'http', 'method': 'POST', 'path': '/v1/classify', 'headers': [], 'query_string': b''}
        work = asyncio.create_task(app(scope, receive, send))
        while not service.begun:
            await asyncio.sleep(0.01)
        left.set()
        async with asyncio.timeout(1):
            await work
        assert sent == [] and service.computed == []

    asyncio.run(scene())
    assert b'ernie_http_requests_total{code="499",route="/v1/classify"} 1.0' in service.core.observer.text()


def test_metrics_count_by_route_and_code_and_nothing_that_clients_make_up():
    service = Service(limits=Limits(message_bytes=400, max_texts=3))
    call = caller(service)
    call('POST', '/v1/classify', json={'text': 'a'})
    call('POST', '/v1/classify', json={})
    for i in range(5):
        call('GET', f'/nothing/{i}')
    call('POST', '/v1/classify', json={'text': 'a' * 500})
    call('POST', '/v1/classify', json={'text': BROKEN})
    call('POST', '/v1/classify', json={'texts': ['a'] * 4})
    service.core.observer.batch('mood', 4, 30, 40, 0.01)
    service.core.observer.worker_replaced('it hung')
    text = call('GET', '/metrics').text
    for line in (
        'ernie_http_requests_total{code="200",route="/v1/classify"} 1.0',
        'ernie_http_requests_total{code="422",route="/v1/classify"} 1.0',
        'ernie_http_requests_total{code="404",route="other"} 5.0',
        'ernie_http_requests_total{code="413",route="/v1/classify"} 2.0',
        'ernie_http_requests_total{code="500",route="/v1/classify"} 1.0',
        'ernie_http_request_duration_seconds_count{route="/v1/classify"} 5.0',
        'ernie_batch_padding_ratio_sum{model="mood"} 0.25',
        'ernie_rejected_requests_total{reason="invalid"} 1.0',
        'ernie_rejected_requests_total{reason="not_found"} 5.0',
        'ernie_rejected_requests_total{reason="too_large"} 2.0',
        'ernie_rejected_requests_total{reason="internal"} 1.0',
        'ernie_worker_restarts_total 1.0',
        'ernie_workers_up 2.0',
        'ernie_queue_tokens 0.0',
    ):
        assert line in text.splitlines(), line
