"""JSON of requests and answers: large ones leave others their turn, and what a list may have is said."""

import asyncio
import json
import sys

import httpx
import numpy as np
import pytest
from pydantic import ValidationError

from ernie.service.http import bodies
from ernie.service.http.app import create_app
from ernie.service.http.routes.oip import RequestInput
from ernie.service.http.routes.tei import RerankRequest, SimilarityInputs
from ernie.service.http.routes.v1 import AnswerRequest
from ernie.service.http.schemas import Body
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from tests.ernie.fake_text_service import Service


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
