"""The HTTP routes over real models: tiny ones, a worker process, an engine."""

import asyncio
import json

import httpx
import numpy as np
import pytest

from ernie.service.http.app import create_app
from tests.ernie.tiny_inference import records
from tests.ernie.tiny_service import served, with_service, write_models

NAMES = ('classify', 'mean')


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = write_models(tmp_path_factory.mktemp('models'), *NAMES)
    return served(folder, *NAMES, normalize=True)


def usable(kind):
    return [r for r in records(kind, 5) if all(v.strip() for n, v in r.items() if n != 'text_b')]


def batches(metrics):
    """Batches of the model `mean` so far."""
    return float(metrics.partition('ernie_batch_texts_count{model="mean"} ')[2].partition('\n')[0])


def test_answers_of_all_routes_are_those_of_the_service(models):
    async def work(service):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(service)), base_url='http://x')

        async def call(path, **content):
            response = await client.post(path, json=content)
            assert response.status_code == 200, response.text
            return response.json()

        async with client:
            given = [dict(record) for record in usable('classify')]
            expected = await service.run('classify', usable('classify'))
            found = await call('/v1/classify', texts=given)
            assert found['results'] == expected.results and found['tokens'] == expected.tokens
            texts = ['hello world', '今天很热']
            plain = (await call('/v1/embed', texts=texts, normalize=False))['results']
            unit = (await call('/v1/embeddings', input=texts))['data']
            for vector, entry in zip(plain, unit, strict=True):
                np.testing.assert_allclose(np.array(vector) / np.linalg.norm(vector), entry['embedding'], atol=1e-6)

            tokens = await call('/tokenize', model='mean', inputs=texts)
            assert [t['text'] for t in tokens[0]] == ['[CLS]', 'hello', 'world', '[SEP]']
            longest = max(map(len, tokens))
            ids = [[t['id'] for t in row] + [0] * (longest - len(row)) for row in tokens]
            mask = [[1] * len(row) + [0] * (longest - len(row)) for row in tokens]
            shape = {'shape': [2, longest], 'datatype': 'INT64'}
            inputs = [{'name': 'input_ids', 'data': ids} | shape, {'name': 'attention_mask', 'data': mask} | shape]
            for name in ('mean', 'classify'):
                by_text = [{'name': 'text_a', 'shape': [2], 'datatype': 'BYTES', 'data': texts}]
                of_ids, of_texts = [await call(f'/v2/models/{name}/infer', inputs=given) for given in (inputs, by_text)]
                for left, right in zip(of_ids['outputs'], of_texts['outputs'], strict=True):
                    if left['datatype'] == 'FP32':
                        np.testing.assert_allclose(left['data'], right['data'], atol=1e-5)
                        assert left['shape'] == right['shape']
            predicted = await call('/predict', model='classify', inputs=[[text] for text in texts])
            best = [
                json.loads(text)['label']
                for text in (await call('/v2/models/classify/infer', inputs=by_text, outputs=[{'name': 'result'}]))[
                    'outputs'
                ][0]['data']
            ]
            assert [row[0]['label'] for row in predicted] == best
            long = {'model': 'mean', 'inputs': ['今天', '今' * 40]}
            before = batches((await client.get('/metrics')).text)
            response = await client.post('/embed', json=long | {'truncate': False})
            assert response.status_code == 413
            assert response.json() == {
                'error': 'text 2: found more than 17 tokens, and truncate is false.',
                'error_type': 'Validation',
                'limit': {'name': 'max_seq_len', 'value': 17},
            }
            after = (await client.get('/metrics')).text
            assert batches(after) == before and 'ernie_rejected_requests_total{reason="too_large"} 1.0' in after
            assert len(await call('/embed', **long)) == 2
            await asyncio.sleep(0)  # a batch is counted when its requests have gone on
            assert batches((await client.get('/metrics')).text) > before > 0
            assert (await client.get('/info?model=mean')).json()['model_type'] == {'embedding': {'pooling': 'mean'}}
            metrics = (await client.get('/metrics')).text
            assert 'ernie_texts_total{model="mean"}' in metrics and 'ernie_workers_up 1.0' in metrics

    with_service(models, work)
