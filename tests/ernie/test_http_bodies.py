"""JSON of requests and answers: large bodies are read as small ones, within bounds, and others have their turn."""

import asyncio
import json
import sys
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from ernie.service.http import bodies
from ernie.service.http.app import create_app
from ernie.service.http.bodies import SMALL, Bounds, parse
from ernie.service.http.routes.oip import RequestInput
from ernie.service.http.routes.tei import RerankRequest, SimilarityInputs
from ernie.service.http.routes.v1 import AnswerRequest
from ernie.service.http.schemas import Body
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from tests.ernie.fake_text_service import Service

NUMBERS = [0, -1, 2.5, 1e-9, 12345678901234567890]
VALUES = [
    {'texts': ['好', 'a"\\\n', '\U0001f600', ''] * 5000, 'more': [None, True, {}, [], {'ids': NUMBERS}]},
    {'data': NUMBERS * 7000, 'rows': [NUMBERS, [], [NUMBERS]] * 900, 'n': 1},
    [NUMBERS * 3000, 'a' * SMALL, [*NUMBERS * 3000, 'a']],
]


@pytest.mark.parametrize('value', VALUES)
@pytest.mark.parametrize('spaces', [None, 1])
@pytest.mark.parametrize('ascii_', [True, False])
def test_a_large_body_is_read_as_a_small_one(value, spaces, ascii_):
    body = json.dumps(value, indent=spaces, ensure_ascii=ascii_).encode()
    assert len(body) > SMALL
    found = parse(body)
    assert found == json.loads(body) and repr(found) == repr(value)


@pytest.mark.parametrize(
    'fault',
    ['[1,2,]', '[1,,2]', '[1 2]', '[,]', '[1,2', '[01]', '[1,-]', '[1, ]', '[NaN]', '[1] 2', '{"a":1,}', '["\n"]',
     '[1.]', '[' * 5000, '[' * 33 + ']' * 33, '[' + '1' * 5000 + ']', '["a" 1]', ''],
)  # fmt: skip
@pytest.mark.parametrize('before', ['', '[' + '1, ' * 22_000, '["好", '])
def test_faults_of_a_large_body_are_told_as_those_of_a_small_one(fault, before, monkeypatch):
    body = (before + fault).ljust(2).encode()
    monkeypatch.setattr(bodies, 'SMALL', 1 if len(before) < 10 else SMALL)
    with pytest.raises(ServiceError) as large:
        parse(body)
    monkeypatch.setattr(bodies, 'SMALL', len(body))
    with pytest.raises(ServiceError) as small:
        parse(body)
    assert str(large.value) == str(small.value) and large.value.code == 'malformed'


def test_bytes_of_a_large_body_that_are_no_text_have_their_place():
    for place in (0, SMALL - 1, SMALL, 2 * SMALL + 7):
        body = bytearray(('好' * SMALL).encode())
        body[place] = 0xFF
        start = place - place % 3 if place % 3 else place
        with pytest.raises(ServiceError, match=f'byte {start + 1} of the body is not UTF-8'):
            parse(bytes(body))
    with pytest.raises(ServiceError, match=f'byte {3 * SMALL + 1} of the body is not UTF-8'):
        parse(('好' * SMALL).encode() + '好'.encode()[:2])


@pytest.mark.parametrize('value', ['"a"', '{}', '[]', '[1]', '{"a": 1}', '0,""'])
def test_values_of_a_large_body_at_the_limit_and_one_beyond(value):
    body = lambda count: f'[{", ".join([value] * count)}]'.encode()  # noqa: E731
    found = len(json.loads(body(1))) * 50_000
    if 'a": ' in value:
        found *= 2
    bounds = Bounds(values=found, numbers=50_001)
    assert parse(body(50_000), bounds) == json.loads(body(50_000))
    with pytest.raises(ServiceError, match=f'more than {found:,} JSON values') as error:
        parse(body(50_001), bounds)
    assert error.value.code == 'too_large' and error.value.limit == {'name': 'json_values', 'value': found}


@pytest.mark.parametrize('lists', [1, 7])
def test_numbers_of_a_large_body_at_the_limit_and_one_beyond(lists):
    body = lambda more: json.dumps({'text': 'a', 'rows': [[7] * (70_000 // lists)] * lists + [[7] * more]}).encode()  # noqa: E731
    bounds = Bounds(values=100, numbers=70_003)
    assert parse(body(3), bounds) == json.loads(body(3))
    with pytest.raises(ServiceError, match='more than 70,003 numbers') as error:
        parse(body(4), bounds)
    assert error.value.code == 'too_large' and error.value.limit == {'name': 'json_numbers', 'value': 70_003}


@pytest.mark.parametrize('padding', [0, SMALL])
def test_names_of_an_object_at_the_limit_and_one_beyond(padding):
    body = lambda count: json.dumps({'a': {str(i): i for i in range(count)}}).encode() + b' ' * padding  # noqa: E731
    assert len(parse(body(1024))['a']) == 1024
    with pytest.raises(ServiceError, match='more than 1,024 names') as error:
        parse(body(1025))
    assert error.value.code == 'too_large' and error.value.limit == {'name': 'json_names', 'value': 1024}


def test_a_body_has_as_many_values_as_requests_at_the_limit_need():
    pairs = {'texts': [{'text_a': '好' * 20, 'text_b': 'b'}] * 1024}
    ids = {'input_ids': [[5] * 512] * 1024, 'token_type_ids': [0] * 1024 * 512, 'attention_mask': [1] * 1024 * 512}
    for value in (pairs, {'inputs': [{'shape': [1024, 512], 'data': data} for data in ids.values()]}):
        body = json.dumps(value).encode()
        assert len(body) > SMALL and parse(body, Bounds.of(1024, 512)) == value


@pytest.mark.parametrize(
    'kind, lists',
    [
        (RerankRequest, {'texts': [7]}),
        (SimilarityInputs, {'sentences': [7]}),
        (AnswerRequest, {'items': [7]}),
        (RequestInput, {'shape': ['a']}),
    ],
)
def test_errors_of_a_list_end_with_the_first(kind, lists):
    """Of a million wrong values all errors would take seconds, in which nobody else is answered."""
    name, values = lists.popitem()
    with pytest.raises(ValidationError) as error:
        kind.model_validate({name: values * 5})
    assert [e['loc'] for e in error.value.errors() if e['loc'][0] == name] == [(name, 0)]


def test_lists_of_requests_have_an_end():
    """What is neither here nor has a limit of its own would have all errors of a long list."""
    few = {'TextsRequest', 'InferRequest'}  # Any, that routes look at themselves; 8 at most
    known = {'RerankRequest', 'SimilarityInputs', 'AnswerRequest', 'RequestInput'}
    kinds = [Body]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = {kind.__name__ for kind in kinds if any('list[' in str(f.annotation) for f in kind.model_fields.values())}
    assert known <= found <= known | few


def test_a_large_body_leaves_other_requests_their_turn():
    """Others are answered all the time, not before it and after it alone."""
    app = create_app(Service(limits=Limits(max_texts=10_000)))  # by which so many numbers are read
    body = json.dumps({'texts': [7], 'ids': [[12345678] * 100] * 3_000}).encode()

    async def scene():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url='http://x') as client:
            large, answers = asyncio.create_task(client.post('/v1/classify', content=body)), 0
            while not large.done():
                await asyncio.sleep(0)
                assert (await client.get('/livez')).status_code == 200
                answers += 1
            assert large.result().status_code == 422
            return answers

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        assert asyncio.run(scene()) > 12
    finally:
        sys.setswitchinterval(interval)


def test_no_call_of_c_reads_much_of_a_large_body(monkeypatch):
    sizes = []
    read = lambda text: (sizes.append(len(text)), json.loads(text))[1]  # noqa: E731
    monkeypatch.setattr(bodies, '_DECODER', SimpleNamespace(decode=read))
    value = [NUMBERS * 30_000, {'rows': [NUMBERS] * 10}]
    assert parse(json.dumps(value).encode()) == value
    assert len(sizes) > 20 and max(sizes) <= SMALL + 2


def test_many_vectors_leave_the_event_loop_its_turns():
    vectors = list(np.random.default_rng(3).standard_normal((300, 384)).astype(np.float32))

    async def scene():
        work, turns = asyncio.create_task(bodies.vector_texts(vectors)), 0
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        return await work, turns

    texts, turns = asyncio.run(scene())
    assert b'[' + b','.join(texts) + b']' == bodies.dump_vectors(vectors)
    assert (np.array([json.loads(text) for text in texts], np.float32) == vectors).all()
    assert turns >= 300 * 384 // 10_000
    with pytest.raises(ServiceError, match='not finite'):
        asyncio.run(bodies.vector_texts([vectors[0], np.float32([np.nan])]))


def test_the_openapi_file_says_how_many_texts_a_list_may_have():
    schemas = create_app(Service(limits=Limits(max_texts=77))).openapi()['components']['schemas']
    found = [
        schemas['RerankRequest']['properties']['texts'],
        schemas['SimilarityInputs']['properties']['sentences'],
        schemas['AnswerRequest']['properties']['items'],
        schemas['EmbedRequest']['properties']['texts'],
        schemas['EmbeddingsRequest']['properties']['input']['anyOf'][1],
        schemas['EmbedTextsRequest']['properties']['inputs']['anyOf'][1],
        schemas['PredictRequest']['properties']['inputs']['anyOf'][2],
    ]
    assert [part['maxItems'] for part in found] == [77] * 7
    assert schemas['RequestInput']['properties']['shape']['maxItems'] == 8
