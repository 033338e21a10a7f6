"""Texts through the core of a server, its workers and engines: results equal those of `ernie.load`."""

import asyncio
import json

import numpy as np
import pytest

import ernie
from ernie.inference.folder import ModelFolder
from ernie.inference.predict import tokenized_rows
from ernie.inference.vectors import VectorFolder
from ernie.reader.tokenized_set import encoder_arrays
from ernie.service.open import name_of, named_models
from ernie.service.requests import answer
from ernie.service.text import TextService
from ernie.tasks.codec import Selection
from propeller.errors import UsageError, UserError
from propeller.service.core import ServiceCore
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings
from tests.ernie.fake_text_service import Service
from tests.ernie.tiny_inference import records
from tests.ernie.tiny_service import KINDS, served, with_service, write_models


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp('models'), *KINDS, 'encoder', 'mean')


@pytest.fixture(scope='module')
def models(folder):
    return {model.name: model for model in served(folder, *KINDS, 'encoder', 'mean', normalize=True)}


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

    answers, single, ranked, plain = with_service(list(models.values()), work)
    for kind, task in KINDS.items():
        assert models[kind].task == task
        with ernie.load(folder / kind, engine='executor') as model:
            same(model(given[kind]), answers[kind].results)
            if kind == 'classify':
                same(model(given[kind], top_k=2, min_confidence=0.5), ranked.results)
        assert json.loads(json.dumps(answers[kind].results, ensure_ascii=False)) == answers[kind].results
    same(answers['classify'].results, [answer.results[0] for answer in single])
    with ernie.load(folder / 'encoder', task='embedding') as model:
        expected = model(given['encoder'])
        mean = VectorFolder(str(folder / 'mean-exported'))
        assert (mean.pooling, mean.layer, mean.settings['task_id']) == ('mean', 2, 1)
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
    (
        'reading',
        {'text_a': '谁?'},
        'invalid',
        "found 'text_a', which reading .answer. does not read, expected question",
    ),
    (
        'crf',
        {'text_a': '王', 'text_b': '李'},
        'invalid',
        "found 'text_b', which crf .tag. does not read, expected text_a",
    ),
    ('crf', {'question': '谁?', 'context': '王'}, 'invalid', "found 'context', which"),
    ('encoder', {'text_a': '王', 'txt_b': '李'}, 'invalid', "found 'txt_b', which encoder .embed. does not read"),
    ('classify', {'text_a': '好' * 1001}, 'too_large', r'1,001 characters, where at most 1,000 .*--max_chars'),
    ('nothing', {'text_a': '好'}, 'not_found', 'there are classify'),
    (None, {'text_a': '好'}, 'not_found', 'no model is named'),
]


class _NeverReached(ServiceCore):
    """Without workers: nothing that is refused costs one."""

    def check_open(self):
        pass


def test_characters_at_the_limit_and_one_beyond(models):
    async def work(service):
        found = []
        for text, waiting in (('好' * 300, 99), ('好' * 301, 0), ('好' * 299, 101)):
            service._waiting = waiting
            with pytest.raises(ServiceError) as caught:
                await service.run('classify', [{'text_a': text}], timeout=60.0 if text == '好' * 301 else 0.2)
            found.append(caught.value)
        return found

    limits = Limits(request_tokens=100, queue_tokens=100)
    core = _NeverReached(list(models.values()), limits, PoolSettings())
    at_both, too_long, too_many = asyncio.run(work(TextService(core, max_chars=300)))
    assert at_both.code == 'expired'  # it was admitted
    assert too_long.limit == {'name': 'max_chars', 'value': 300, 'found': 301}
    assert too_many.status == 429 and too_many.limit['found'] == 401 and '4 times --queue_tokens' in str(too_many)


def test_what_a_model_cannot_use_is_refused_by_its_number(models):
    async def work(service):
        found = []
        for name, record, _, _ in BAD:
            good = {'question': '好', 'context': '好'} if name == 'reading' else {'text_a': '好'}
            for given in ([record], [good, record]):
                with pytest.raises(ServiceError) as caught:
                    await service.run(name, given)
                found.append(caught.value)
        with pytest.raises(ServiceError, match='top_k') as caught:
            await service.run('crf', [{'text_a': '好'}], Selection(top_k=1))
        assert caught.value.code == 'invalid'
        with pytest.raises(ServiceError, match='normalize: crf .tag. gives no vectors') as caught:
            await answer(service, {'model': 'crf', 'text': '好', 'normalize': False})
        assert caught.value.code == 'invalid'
        with pytest.raises(ServiceError, match='5 texts .*--max_texts') as caught:
            await service.run('classify', [{'text_a': '好'}] * 5)
        assert caught.value.limit == {'name': 'max_texts', 'value': 4, 'found': 5}
        for count, code in ((5, 'expired'), (6, 'too_large')):  # with one that does not count
            with pytest.raises(ServiceError) as caught:
                await service.run('classify', [{'text_a': '好'}] * count, timeout=0.2, beside=1)
            assert caught.value.code == code
        return found

    core = _NeverReached(list(models.values()), Limits(max_texts=4), PoolSettings())
    found = asyncio.run(work(TextService(core, max_chars=1000)))
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
    (tmp_path / '点评').mkdir()
    given = ['reviews/best', 'multilingual-e5-small', 'nearest=reviews', 'a=b', 'hfl/rbt3', '点评', '人名=reviews']
    assert named_models(given) == [
        ('reviews', 'reviews/best'),
        ('multilingual-e5-small', 'multilingual-e5-small'),
        ('nearest', 'reviews'),
        ('a-b', 'a=b'),
        ('rbt3', 'hfl/rbt3'),
        ('点评', '点评'),
        ('人名', 'reviews'),
    ]
    assert name_of('reviews/best/') == 'reviews'
    with pytest.raises(UsageError, match='reviews and reviews/best: both are called reviews. Give NAME=PATH'):
        named_models(['reviews', 'reviews/best'])


def test_exports_for_vectors_and_for_tasks_are_told_apart(folder):
    vectors, task = str(folder / 'mean-exported'), str(folder / 'classify-exported')
    with pytest.raises(UserError, match='mean-exported: found an exported model that gives vectors'):
        ModelFolder(vectors)
    with pytest.raises(UserError, match='classify-exported: found an exported model of a task'):
        VectorFolder(task)
    with pytest.raises(UsageError, match='--pooling cls: .*mean-exported was exported with mean'):
        VectorFolder(vectors, 'cls')
    with pytest.raises(UsageError, match='--layer 1: .* was exported with 2'):
        VectorFolder(vectors, layer=1)
    assert VectorFolder(vectors, 'mean', -1).layer == 2
    with pytest.raises(UsageError, match='--layer 1: --pooling pooled is made of the last layer'):
        VectorFolder(str(folder / 'encoder'), 'pooled', 1)
    with pytest.raises(UserError, match='exported for vectors, expected one for classification'):
        served(folder, 'mean', task='classification')


def test_a_damaged_export_for_vectors_is_one_line(folder, tmp_path):
    for file in (folder / 'mean-exported').iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    inference = json.loads((tmp_path / 'inference.json').read_text())
    for wrong in ([], {'pooling': 'sum'}, {'pooling': 'mean', 'layer': 2, 'reading': {'task_id': -1}}):
        (tmp_path / 'inference.json').write_text(json.dumps(inference | {'vectors': wrong}))
        with pytest.raises(UserError, match='inference.json: found '):
            VectorFolder(str(tmp_path))


def test_long_texts_leave_the_event_loop_its_turns(models):
    """While 50,000 characters are tokenized, which takes tenths of a second, the loop goes on turning."""

    async def work():
        core = _NeverReached([models['reading']], Limits(), PoolSettings())
        service, turns = TextService(core), 0
        text = '的一是不了人' * 4_000 + ' finely' * 4_000
        task = asyncio.create_task(service.run('reading', [{'question': '谁', 'context': text}]))
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        with pytest.raises(ServiceError, match='request_tokens'):
            await task
        return turns

    assert asyncio.run(work()) > 20


def test_a_client_that_has_gone_stops_the_tokenizing(models, monkeypatch):
    seen = []
    encode = models['classify'].encode
    monkeypatch.setattr(models['classify'], 'encode', lambda record: (seen.append(1), encode(record))[1])

    async def work():
        service = TextService(_NeverReached(list(models.values()), Limits(), PoolSettings()))
        task = asyncio.create_task(service.run('classify', [{'text_a': '好美赞' * 2000} for _ in range(60)]))
        while not seen:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert service._waiting == 0
        count = len(seen)
        await asyncio.to_thread(service._threads.shutdown)
        return count

    count = asyncio.run(work())
    assert len(seen) <= count + 4 < 60


@pytest.mark.parametrize('kind', ['classify', 'encoder', 'mean'])
def test_batches_are_those_of_the_readers(models, kind):
    """`mean` has a task id. Their length is a multiple of 4."""
    model, rng = models[kind], np.random.default_rng(5)
    lengths = [7, 1, 15, 2, 7]
    rows = [(rng.integers(0, 40, length).tolist(), int(rng.integers(1, length + 1))) for length in lengths]
    for batch in (rows, rows[:1], rows[1:2]):
        tokenized = tokenized_rows([ids for ids, _ in batch], [split for _, split in batch])
        expected = encoder_arrays(tokenized, np.arange(len(batch)), model.task_id)
        found = model.pack(batch)
        assert len(found) == len(expected) == 4 + (model.task_id is not None)
        length = expected[0].shape[1]
        for place, (have, want) in enumerate(zip(found, expected, strict=True)):
            assert have.dtype == want.dtype and have.shape == (len(batch), model.padded(length))
            np.testing.assert_array_equal(have[:, :length], want)
            assert (have[:, length:] == (model.task_id if place == 4 else 0)).all()
        assert 0 <= model.padded(length) - length < 4 and model.padded(length) % 4 == 0


def test_too_many_texts_are_refused_before_a_record_is_made_of_each():
    for name in ('texts', 'items'):
        with pytest.raises(ServiceError) as error:
            asyncio.run(answer(Service(), {name: [[]] * 1025}))  # each of which would be refused
        assert error.value.limit == {'name': 'max_texts', 'value': 1024, 'found': 1025}
