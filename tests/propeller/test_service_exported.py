"""Exported models as a server knows them: what goes in, and whether rows may share a batch."""

import asyncio
import json
import time

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.service.description import Array, Description, Table, read_description
from propeller.service.errors import ServiceError
from propeller.service.exported import ExportedServed, open_exported
from propeller.service.limits import Limits
from tests.propeller.exported_models import bag_of_words, centred, chosen, export, looked_up, mean, request, shifted


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Function of a build function that gives the folder of its export."""
    made = {}

    def folder(build):
        if build not in made:
            made[build] = str(tmp_path_factory.mktemp(build.__name__))
            export(build, made[build])
        return made[build]

    return folder


class Direct:
    """A core without a queue: what is asked while others ask is one batch."""

    def __init__(self, served):
        self.limits, self.model, self.batches = Limits(max_texts=9, result_bytes=2000), None, []
        self._function, self._rows, self._served = open_exported(**served.arguments), [], served

    def check_open(self):
        pass

    def check_texts(self, count):
        if count > self.limits.max_texts:
            raise ServiceError('too_large', 'too many')

    async def submit(self, model, rows, timeout=None, texts=None):
        kind = model.kind(rows[0])
        future = asyncio.get_running_loop().create_future()
        self._rows.append((kind, rows, future))
        await asyncio.sleep(0.01)
        if not future.done():
            alike = [entry for entry in self._rows if entry[0] == kind]
            self._rows = [entry for entry in self._rows if entry[0] != kind]
            together = [row for _, rows, _ in alike for row in rows]
            self.batches.append(len(together))
            try:
                results = model.unpack(self._function(model.pack(together)), together)
            except Exception as e:
                for _, _, waiting in alike:
                    waiting.set_exception(e)
                alike = []
            for _, some, waiting in alike:
                waiting.set_result(results[: len(some)])
                results = results[len(some) :]
        return type('Answer', (), {'results': future.result(), 'seconds': None})


async def first(core, served, arrays):
    """The first request of a server, and what it learns by it."""
    await served.run(core, list(arrays), {})
    while served.proving is not None:
        await asyncio.sleep(0.01)


def _asked(served, *requests):
    """(answers to requests that come at once, rows of the batches)."""
    core = Direct(served)

    async def scene():
        await first(core, served, requests[0])
        core.batches.clear()
        return await asyncio.gather(*(served.run(core, list(request), {'timeout': 3.0}) for request in requests))

    return asyncio.run(scene()), core.batches


def test_rows_of_several_requests_share_a_batch_where_shapes_are_equal(folders):
    served = ExportedServed(folders(bag_of_words))
    requests = [request(3, 5), request(1, 5, 1), request(2, 4, 2), request(2, 5, 3)]
    answers, batches = _asked(served, *requests)
    assert served.by_rows and sorted(batches) == [2, 6]
    model = open_exported(folders(bag_of_words))
    for answer, arrays in zip(answers, requests, strict=True):
        for found, expected in zip(answer, model(list(arrays)), strict=True):
            assert found.dtype == np.float32 and found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('build', [centred, mean, chosen])
def test_models_whose_rows_are_not_independent_get_each_request_as_it_came(folders, build):
    served = ExportedServed(folders(build))
    requests = [request(3, 5), request(3, 5, 1), request(1, 5, 2)]
    answers, batches = _asked(served, *requests)
    assert served.by_rows is False and batches == [1, 1, 1]
    model = open_exported(folders(build))
    for answer, arrays in zip(answers, requests, strict=True):
        for found, expected in zip(answer, model(list(arrays)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_output_that_fits_once_by_chance_is_seen_later(folders):
    served = ExportedServed(folders(chosen))
    ids, weights = np.array([[0, 3], [2, 0]]), np.ones((2, 3), np.float32)
    core = Direct(served)

    async def scene():
        await first(core, served, (ids, weights))
        assert served.by_rows  # two ids for two rows
        both = ((ids, weights), (ids[:1] + 1, weights[:1]))
        return await asyncio.gather(*(served.run(core, list(arrays), {}) for arrays in both))

    answers = asyncio.run(scene())
    assert served.by_rows is False and [answer[0].tolist() for answer in answers] == [[3, 2], [1, 4]]


def test_a_model_is_described_by_its_file(folders):
    assert read_description(folders(bag_of_words)) == Description(
        [Array('ids', (-1, -1), 'int64', Table('table', 7)), Array('weights', (-1, 3), 'float32')],
        [Array('fetch_name_0', (-1, 3), 'float32'), Array('fetch_name_1', (-1,), 'float32')],
    )
    assert not read_description(folders(mean)).may_batch
    assert read_description(folders(mean)).inputs[0].table is None


def test_requests_that_do_not_fit_are_refused(folders):
    served = ExportedServed(folders(bag_of_words))
    ids, weights = request(2, 5)
    nan = weights.copy()
    nan[1, 2] = np.nan
    beyond = ids.copy()
    beyond[1, 4] = 7
    for found, arrays in (
        (r'found 1 arrays, expected 2: int64 \[rows, \*\]; float32 \[rows, 3\]', [ids]),
        ('array 0: found int32, expected int64', [ids.astype(np.int32), weights]),
        (r'array 1: found shape \[2, 2\], expected float32 \[rows, 3\]', [ids, weights[:, :2]]),
        (r'array 0: found shape \[2\]', [ids[:, 0], weights]),
        (r'array 0: found shape \[2, 0\]', [ids[:, :0], weights]),
        (r'array 0: found shape \[0, 5\]', [ids[:0], weights[:0]]),
        ('array 1: found 1 rows, expected 2', [ids, weights[:1]]),
        ('array 1: found NaN', [ids, nan]),
        ("array 0: found the id 7 in row 2, expected 0 to 6: 'table' has 7 rows", [beyond, weights]),
        ('array 0: found the id -1 in row 1', [ids[:, :, None] - 1 - ids[0, 0], weights]),
    ):
        with pytest.raises(ServiceError, match=found) as caught:
            _asked(served, arrays)
        assert caught.value.code == 'invalid'
    of_2019 = [ids[:, :, None], weights]  # [rows, length, 1]
    (answer,), _ = _asked(served, of_2019)
    np.testing.assert_allclose(answer[0], open_exported(folders(bag_of_words))([ids, weights])[0], rtol=1e-5)


def test_ids_are_followed_to_their_table_as_long_as_they_are_what_was_sent(folders):
    ids = read_description(folders(looked_up)).inputs[0]
    assert ids.table == Table('short', 5)  # reshaped and cast on the way, and looked up in a longer one too
    assert read_description(folders(shifted)).inputs[0].table is None
    served, (_, weights) = ExportedServed(folders(shifted)), request(2, 3)
    assert len(_asked(served, [np.full((2, 3), -1), weights])[0][0][0]) == 2  # -1 is 0 to its table


def test_the_look_at_ids_costs_microseconds(folders):
    description, arrays = read_description(folders(bag_of_words)), request(64, 128)
    times = []
    for _ in range(20):
        began = time.thread_time()
        description.check(arrays)
        times.append(time.thread_time() - began)
    assert min(times) < 1e-3


def test_limits_of_rows_and_results(folders):
    served = ExportedServed(folders(bag_of_words))
    assert len(_asked(served, request(9, 2))[0][0][0]) == 9
    for found, count in (('too many', 10),):
        with pytest.raises(ServiceError, match=found):
            _asked(served, request(count, 2))
    served.description.outputs.append(Array('states', (-1, -1, 4), 'float32'))
    with pytest.raises(ServiceError, match='2,320 bytes of results') as caught:
        _asked(served, request(1, 144))
    assert caught.value.limit['name'] == 'result_bytes'


def test_folders_that_are_no_model(tmp_path, folders):
    with pytest.raises(UserError, match='found no folder'):
        ExportedServed(str(tmp_path / 'none'))
    with pytest.raises(UserError, match=r'no model\.json'):
        ExportedServed(str(tmp_path))
    for content in ('{}', '[]', '{"program": {"regions": 7}}'):
        (tmp_path / 'model.json').write_text(content)
        with pytest.raises(UserError, match=r'model\.json'):
            read_description(str(tmp_path))
    with open(f'{folders(bag_of_words)}/model.json') as f:
        fields = json.load(f)
    ops = fields['program']['regions'][0]['blocks'][0]['ops']
    fields['program']['regions'][0]['blocks'][0]['ops'] = [op for op in ops if not op['#'].endswith('.data')]
    (tmp_path / 'model.json').write_text(json.dumps(fields))
    with pytest.raises(UserError, match='no inputs'):
        read_description(str(tmp_path))
