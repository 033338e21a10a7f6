"""Texts through the core of a server, its workers and engines: results equal those of `ernie.load`."""

import asyncio
import json

import numpy as np
import pytest

import ernie
from ernie.service.open import name_of, named_models, open_models
from ernie.service.text import TextService
from ernie.tasks.codec import Selection
from propeller.errors import UsageError
from propeller.service.core import ServiceCore
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings
from tests.ernie.tiny_inference import records, write_checkpoint
from tests.ernie.tiny_model import TASK_CONFIG, write_model

KINDS = {'classify': 'classify', 'crf': 'tag', 'reading': 'answer', 'regression': 'regression'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Checkpoints of several kinds, and an encoder."""
    folder = tmp_path_factory.mktemp('models')
    for kind in KINDS:
        write_checkpoint(folder / kind, kind)
    write_model(folder / 'encoder', config=TASK_CONFIG)
    return folder


@pytest.fixture(scope='module')
def models(folder):
    """All of them, exported for Paddle's predictor by one process."""
    named = [(name, str(folder / name)) for name in (*KINDS, 'encoder')]
    models = open_models(named, threads=1, normalize=True)
    return {model.name: model for model in models}


async def _with_service(models, work, limits=None, **options):
    core = ServiceCore(list(models.values()), limits or Limits(batch_tokens=200), PoolSettings(workers=1))
    service = TextService(core, **options)
    await core.start()
    try:
        return await work(service)
    finally:
        service.close()
        await core.drain(timeout=0)


def usable(kind):
    """Records that a server takes: it refuses empty texts."""
    return [r for r in records(kind, 23) if all(v.strip() for n, v in r.items() if n != 'text_b')]


def test_results_of_all_tasks_equal_the_offline_ones(folder, models):
    given = {kind: usable(kind) for kind in (*KINDS, 'encoder')}

    async def work(service):
        answers = await asyncio.gather(*(service.run(name, given[name]) for name in given))
        single = await asyncio.gather(*(service.run('classify', [r]) for r in given['classify']))
        ranked = await service.run('classify', given['classify'], Selection(top_k=2, min_confidence=0.5))
        plain = await service.run('encoder', given['encoder'], normalize=False)
        return dict(zip(given, answers, strict=True)), single, ranked, plain

    answers, single, ranked, plain = asyncio.run(_with_service(models, work))
    for kind, task in KINDS.items():
        assert models[kind].task == task
        with ernie.load(folder / kind, engine='executor') as model:
            same(model(given[kind]), answers[kind].results)
            if kind == 'classify':
                same(model(given[kind], top_k=2, min_confidence=0.5), ranked.results)
        assert json.loads(json.dumps(answers[kind].results, ensure_ascii=False)) == answers[kind].results
    same(answers['classify'].results, [answer.results[0] for answer in single])
    with ernie.load(folder / 'encoder', task='embedding', max_seq_len=17) as model:
        expected = model(given['encoder'])
    np.testing.assert_allclose(plain.results, expected, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(answers['encoder'].results, unit, atol=1e-5)
    lengths = [len(r['text_a']) for r in given['classify']]
    cut = answers['classify'].truncated
    assert any(cut) and not all(cut)
    assert all(cut[i] for i, n in enumerate(lengths) if n > 13)
    assert max(answers['classify'].tokens) == 15
    assert len(answers['reading'].tokens) == len(given['reading'])


def same(expected, got):
    """Results that differ in the last digits of their numbers alone."""
    assert len(expected) == len(got)
    for want, have in zip(expected, got, strict=True):
        assert type(want) is type(have)
        if isinstance(want, dict):
            assert list(want) == list(have)
            same(list(want.values()), list(have.values()))
        elif isinstance(want, list):
            same(want, have)
        elif isinstance(want, float):
            assert have == pytest.approx(want, abs=1e-5)
        else:
            assert want == have


BAD = [
    ('classify', {'text_a': ' \n'}, 'invalid', 'found an empty text as text_a'),
    ('classify', {'text_a': 7}, 'invalid', r'found 7 \(int\) as text_a, expected a text'),
    ('classify', {'text_a': b'x'}, 'invalid', 'found b.* as text_a, expected a text'),
    ('classify', {'text_a': '好\ud800'}, 'invalid', 'half of a surrogate pair in text_a, character 2'),
    ('classify', {}, 'invalid', 'nothing as text_a'),
    ('classify', '好', 'invalid', 'found a str, expected a text'),
    ('reading', {'question': '谁?', 'context': ''}, 'invalid', 'empty context'),
    ('reading', {'text_a': '谁?'}, 'invalid', 'no text in question'),
    ('classify', {'text_a': '好' * 1001}, 'too_large', r'1,001 characters, where at most 1,000 .*--max_chars'),
    ('nothing', {'text_a': '好'}, 'not_found', 'there is classify'),
    (None, {'text_a': '好'}, 'not_found', 'no model is named'),
]


def test_what_a_model_cannot_use_is_refused_by_its_number(models):
    async def work(service):
        found = []
        for name, record, _, _ in BAD:
            for given in ([record], [{'text_a': '好', 'question': '好', 'context': '好'}, record]):
                with pytest.raises(ServiceError) as caught:
                    await service.run(name, given)
                found.append(caught.value)
        with pytest.raises(ServiceError, match='top_k') as caught:
            await service.run('crf', [{'text_a': '好'}], Selection(top_k=1))
        assert caught.value.code == 'invalid'
        with pytest.raises(ServiceError, match='5 texts .*--max_texts') as caught:
            await service.run('classify', [{'text_a': '好'}] * 5)
        assert caught.value.limit == {'name': 'max_texts', 'value': 4, 'found': 5}
        return found

    found = asyncio.run(_with_service(models, work, Limits(max_texts=4), max_chars=1000))
    for (name, _, code, message), alone, second in zip(BAD, found[::2], found[1::2], strict=True):
        assert (alone.code, second.code) == (code, code)
        with pytest.raises(ServiceError, match=message):
            raise alone
        if name in models:
            assert str(second) == f'text 2: {alone}'


def test_names(tmp_path, monkeypatch):
    (tmp_path / 'reviews' / 'best').mkdir(parents=True)
    (tmp_path / 'a=b').mkdir()
    monkeypatch.chdir(tmp_path)
    given = ['reviews/best', 'multilingual-e5-small', 'nearest=reviews', 'a=b', 'hfl/rbt3']
    assert named_models(given) == [
        ('reviews', 'reviews/best'),
        ('multilingual-e5-small', 'multilingual-e5-small'),
        ('nearest', 'reviews'),
        ('a-b', 'a=b'),
        ('rbt3', 'hfl/rbt3'),
    ]
    assert name_of('reviews/best/') == 'reviews'
    with pytest.raises(UsageError, match='reviews and reviews/best: both are called reviews. Give NAME=PATH'):
        named_models(['reviews', 'reviews/best'])
