"""Requests that cannot be computed now: refused before they are read, in the form of each protocol."""

import asyncio
import json

import pytest

from ernie.service.http.app import create_app
from propeller.service.errors import ServiceError
from tests.ernie.calling_http import caller
from tests.ernie.fake_text_service import Service

TIMED = ('/v1/classify', '/v1/tag', '/v1/answer', '/v1/embed')
UNTIMED = ('/v1/embeddings', '/embed', '/similarity', '/predict', '/rerank', '/v2/models/mood/infer')


def full(wait):
    """A service in which so many seconds of work wait. None: there is no room for anything."""
    service = Service()
    service.core.wait = wait
    return service


def test_all_routes_that_compute_refuse_at_once_in_the_form_of_their_protocol():
    service = full(None)
    call = caller(service)
    for path in (*TIMED, *UNTIMED):
        response = call('POST', path, content=b'no JSON {')
        content = response.json()
        assert response.status_code == 429 and response.headers['retry-after'] == '2', path
        message = content['error'] if path in UNTIMED[1:] else content['error']['message']
        assert message.endswith('s of work wait.') and ('300 s' in message) == (path in TIMED)
        if path.startswith('/v1'):
            assert content['error'].get('type') == ('rate_limit_error' if path == '/v1/embeddings' else None)
        else:
            assert content.get('error_type') == (None if path.startswith('/v2') else 'Overloaded')
    count = len(TIMED) + len(UNTIMED)
    assert f'ernie_rejected_requests_total{{reason="overloaded"}} {count}.0' in service.core.observer.text().decode()


def test_what_needs_no_worker_is_answered():
    call = caller(full(None))
    assert call('POST', '/tokenize', json={'inputs': 'a', 'model': 'mood'}).status_code == 200
    assert call('GET', '/v1/models').status_code == call('GET', '/readyz').status_code == 200
    assert call('POST', '/nothing', json={}).status_code == 404
    assert call('GET', '/v1/classify').status_code == 405


def test_the_body_of_a_request_without_room_is_not_waited_for():
    app, sent = create_app(full(None)), []

    async def receive():
        raise AssertionError('the body was read')

    async def send(message):
        sent.append(message)

    scope = {'type': 'http', 'method': 'POST', 'path': '/v1/classify', 'headers': [], 'query_string': b''}
    asyncio.run(app(scope, receive, send))
    assert [message.get('status') for message in sent] == [429, None]


def test_a_request_that_says_its_time_is_judged_by_it():
    """20 s of work wait: too many for 30 s, which is what a request has that says nothing."""
    call = caller(full(20))
    for path in UNTIMED:
        assert call('POST', path, content=b'no JSON {').status_code == 429
    for body in ('{"text": "a"}', 'no JSON {', '{"text": "a", "top_k": 1}'):
        response = call('POST', '/v1/classify', content=body.encode())
        assert response.status_code == 429 and '15 s of work' in response.json()['error']['message']
    for name in ('timeout', 't\\u0069meout'):
        body = f'{{"text": "a", "{name}": 100}}'
        assert json.loads(body)['timeout'] == 100
        assert call('POST', '/v1/classify', content=body.encode()).status_code == 200
    assert call('POST', '/v1/classify', json={'text': 'a', 'timeot': 1}).status_code == 429


def test_a_server_that_goes_down_refuses_what_it_is_asked():
    service = Service()
    service.core.ready = False
    response = caller(service)('POST', '/v1/tag', content=b'')
    assert response.status_code == 503 and response.headers['retry-after'] == '1'


def test_the_token_is_asked_for_first():
    class Token:
        token = 's3cret'

        def is_token(self, token):
            return token == self.token

    call = caller(full(None), security=Token())
    assert call('POST', '/v1/tag', content=b'').status_code == 401
    assert call('POST', '/v1/tag', content=b'', headers={'Authorization': 'Bearer s3cret'}).status_code == 429


def test_a_refusal_is_told_again_while_no_less_waits(monkeypatch):
    from propeller.service import core as module
    from propeller.service.core import Observer, ServiceCore
    from propeller.service.limits import Limits
    from propeller.service.pool import PoolSettings

    class Counting(Observer):
        count = 0

        def rejected(self, code):
            self.count += code == 'overloaded'

    def refusal(core, timeout=None, tokens=1):
        with pytest.raises(ServiceError) as caught:
            core.check_room(tokens, timeout)
        return caught.value

    async def scene():
        core = ServiceCore([], Limits(request_tokens=10, queue_tokens=50), PoolSettings(), Counting())
        core._queue.tokens = 50
        first = refusal(core)
        core._queue.tokens = 51
        assert refusal(core) is first and first.limit['found'] == 51 and not first.__context__
        assert refusal(core, float('inf')) is not first and refusal(core, 7) is not first
        assert refusal(core, tokens=2).limit['found'] == 53
        core._queue.tokens = 49
        core.check_room(1)  # less waits: looked at anew
        core._queue.tokens = 50
        monkeypatch.setattr(module, '_KEPT', 0.0)
        await asyncio.sleep(0.11)
        second = refusal(core)
        assert second is not first and refusal(core) is not second  # and after its time
        assert core.observer.count == 7

    asyncio.run(scene())


def test_the_core_judges_as_it_does_later():
    from propeller.service.core import ServiceCore
    from propeller.service.limits import Limits
    from propeller.service.pool import PoolSettings

    async def scene():
        core = ServiceCore([], Limits(timeout=3, max_timeout=5), PoolSettings())
        core._queue.tokens = 100
        core._pace.note(100, 2.0)  # 2 s of work, of which half of the time may wait: taken from 4 s on
        for timeout, taken in ((None, False), (3.9, False), (4.1, True), (float('inf'), True)):
            try:
                core.check_room(1, timeout)
                assert taken
            except ServiceError as e:
                assert not taken and e.code == 'overloaded'
        core._queue.tokens = core.limits.queue_tokens
        with pytest.raises(ServiceError, match='--queue_tokens'):
            core.check_room(1, float('inf'))

    asyncio.run(scene())
