"""Batches of like length, results in the order of the records, memory of two windows: with an engine of numpy."""

import io
import itertools
import json

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.inference.predict import Prediction
from ernie.inference.results import Layout, open_writer
from ernie.inference.stream import Row
from ernie.reader.rows import BadRow
from ernie.tasks.classification.codec import ClassificationCodec
from ernie.tasks.codec import BadRecord, Codec, Windows
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from tests.ernie.tiny_inference import describe, texts
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG, VOCABULARY


class Pieces(Codec):
    """A record is a list of rows of ids; its result gives back what the engine saw of them."""

    def encode(self, record):
        if record.get('bad'):
            raise BadRecord('a bad record', 'a good one')
        return Windows(record['ids'], [(len(row) + 1) // 2 for row in record['ids']], record['name'])

    def decode(self, record, windows, outputs):
        assert windows.context == record['name']
        return {
            'name': record['name'],
            'sums': [float(s[0]) for s, _ in outputs],
            'ids': [t.tolist() for _, t in outputs],
        }

    def header(self):
        return ['name', 'sum']

    def cells(self, result):
        return [result['name'], *map(str, result['sums'])]


class Sums:
    """[B, 1] sum of ids + 1000 * types over the tokens, [B, T] the ids."""

    def __init__(self):
        self.shapes = []

    def run(self, arrays):
        ids, types, positions, mask = arrays[:4]
        self.shapes.append(ids.shape)
        assert (positions.max(1) + 1 == mask.sum(1)).all()
        return [((ids + 1000 * types) * mask).sum(1, keepdims=True), ids]


def records(count, seed, windows=1, longest=40):
    rng = np.random.default_rng(seed)
    make = lambda: rng.integers(1, 900, rng.integers(2, longest)).tolist()  # noqa: E731
    return [{'name': f'r{i}', 'ids': [make() for _ in range(rng.integers(0, windows + 1))]} for i in range(count)]


def expected(record):
    sums = [float(sum(row) + 1000 * (len(row) // 2)) for row in record['ids']]
    return {'name': record['name'], 'sums': sums, 'ids': record['ids']}


def one_codec(config=CONFIG):
    return Pieces(ErnieConfig(config), None, {'task_id': 2})


def line_of(form, codec, row, result):
    """What a form of output writes for a row."""
    file = io.StringIO()
    writer = open_writer(form, file, Layout(codec))
    writer.write(row, result)
    writer.finish()
    return file.getvalue()


def prediction(engine, batch_size, window, config=CONFIG):
    return Prediction(one_codec(config), engine, [(-1, 1), (-1, -1)], batch_size, window)


@pytest.mark.parametrize('count', range(1, 14))
def test_every_number_of_rows_comes_back_in_order(count):
    rows = records(count, count, windows=1 + count % 3)
    engine = Sums()
    found = list(prediction(engine, 4, 2).stream(Row(i, r) for i, r in enumerate(rows)))
    assert [row.line for row, _ in found] == list(range(count))
    assert [result for _, result in found] == [expected(r) for r in rows]
    assert prediction(Sums(), 4, 1).predict(rows) == [expected(r) for r in rows]


def test_rows_of_like_length_share_a_batch():
    rows = [r for r in records(400, 1) if r['ids']]
    engine = Sums()
    list(prediction(engine, 8, 50).stream(Row(1, r) for r in rows))
    lengths = sorted(len(r['ids'][0]) for r in rows)
    assert all(batch <= 8 for batch, _ in engine.shapes)
    assert [width for _, width in engine.shapes] == [max(lengths[i : i + 8]) for i in range(0, len(lengths), 8)]


def test_a_task_embedding_gets_its_ids():
    class Fifth(Sums):
        def run(self, arrays):
            assert (arrays[4] == 2).all()
            assert arrays[4].shape == arrays[0].shape
            return super().run(arrays)

    assert prediction(Fifth(), 3, 1, TASK_CONFIG).predict(records(5, 2))[4] == expected(records(5, 2)[4])


def test_two_windows_are_in_memory_and_no_more():
    taken = []
    endless = (taken.append(i) or Row(i, r) for i, r in enumerate(itertools.cycle(records(5, 3))))
    results = prediction(Sums(), 2, 3).stream(endless)
    for i in range(100):
        next(results)
        # The window at work, the one that waits, and the one that is being made.
        assert len(taken) <= (i // 3 + 1) * 6 * 3 + 40
    results.close()
    assert len(taken) < 400


def test_a_document_of_many_windows_fills_a_window_alone():
    rows = [{'name': 'long', 'ids': [[1, 2]] * 50}, {'name': 'short', 'ids': [[3]]}]
    taken = []
    stream = prediction(Sums(), 5, 2).stream(taken.append(r) or Row(1, r) for r in itertools.cycle(rows))
    assert len(next(stream)[1]['ids']) == 50
    assert len(taken) < 8
    stream.close()


def test_bad_rows_keep_their_place():
    rows = [Row(i, {**r, 'bad': i % 3 == 1}) for i, r in enumerate(records(10, 4))]
    rows[2] = Row(2, None, BadRow(2, 'nonsense', 'sense'))
    found = list(prediction(Sums(), 2, 2).stream(rows))
    assert [row.line for row, _ in found] == list(range(10))
    assert [i for i, (_, result) in enumerate(found) if result is None] == [1, 2, 4, 7]
    assert found[1][0].bad.as_error('f.tsv').args == ('f.tsv:1: found a bad record, expected a good one.',)
    assert line_of('jsonl', None, *found[1]) == '{"error": "found a bad record, expected a good one"}\n'
    assert line_of('tsv', one_codec(), *found[2]).splitlines()[1] == ''
    with pytest.raises(BadRecord):
        prediction(Sums(), 2, 2).predict([{'bad': True}])


def test_what_the_rows_raise_comes_out():
    def rows():
        yield Row(1, records(1, 5)[0])
        raise OSError('the disk is gone')

    with pytest.raises(OSError, match='the disk is gone'):
        list(prediction(Sums(), 1, 1).stream(rows()))


def test_rows_before_what_ends_the_file_have_their_results():
    given = records(3, 5)

    def rows():
        yield from (Row(i, record) for i, record in enumerate(given))
        raise UserError('a.csv:5: found a quote that nothing closes')

    found = []
    with pytest.raises(UserError, match='a.csv:5'):
        found.extend(result for _, result in prediction(Sums(), 2, 2).stream(rows()))
    assert found == [expected(record) for record in given]


# ----------------------------------------------------------------------------------------------------- classification


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCABULARY), encoding='utf-8')
    return FullTokenizer(tmp_path / 'vocab.txt')


def task(kind, tokenizer):
    return ClassificationCodec(ErnieConfig(CONFIG), tokenizer, describe(kind))


def test_records_that_were_cut_are_counted(tokenizer):
    one = ClassificationCodec(ErnieConfig(CONFIG), tokenizer, {**describe('classify'), 'max_seq_len': 6})
    for text, cut in (('好' * 4, 0), ('好' * 5, 1), ('坏', 1), ('好' * 9, 2)):
        assert len(one.encode({'text_a': text}).ids[0]) <= 6 and one.cut == cut
    assert Codec.cut == 0


def test_results_of_classes(tokenizer):
    values = np.array([0.1, 0.7, 0.2], np.float32)
    one = task('classify', tokenizer)
    result = one.decode({}, None, [[values]])
    assert result == {'label': 'so so', 'probabilities': {'坏': 0.1, 'so so': 0.7, '好': 0.2}}
    assert one.cells(result) == ['0.1', '0.7', '0.2']
    assert json.loads(line_of('jsonl', one, Row(1, {}), result)) == result


def test_results_of_several_classes_and_of_a_value(tokenizer):
    several = task('multilabel', tokenizer)
    values = np.array([0.5, 0.49999, 0.0, 1.0], np.float32)
    result = several.decode({}, None, [[values]])
    assert result['labels'] == ['a', 'd']
    assert np.array_equal(np.float32(list(result['probabilities'].values())), values)
    assert several.decode({}, None, [[values * 0]])['labels'] == []
    number = task('regression', tokenizer)
    assert number.decode({}, None, [[np.array([-2.25], np.float32)]]) == {'value': -2.25}
    assert number.cells({'value': -2.25}) == ['-2.25']


def test_cells_give_a_float32_back(tokenizer):
    values = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    one = task('classify', tokenizer)
    cells = np.array([one.cells(one.decode({}, None, [[row]])) for row in values], np.float32)
    assert np.array_equal(cells, values)


def test_rows_of_tokens_are_those_of_training(tokenizer):
    one = task('classify', tokenizer)
    vocab = tokenizer.vocab
    windows = one.encode({'text_a': '好 美', 'text_b': '坏坏'})
    cls, sep, bad = vocab['[CLS]'], vocab['[SEP]'], vocab['坏']
    assert windows.ids == [[cls, vocab['好'], vocab['美'], sep, bad, bad, sep]]
    assert windows.split == [4]
    assert max(len(one.encode({'text_a': text}).ids[0]) for text in texts(50)) == 15
    for record, found in (({}, 'nothing as text_a'), ({'text_a': 3}, 'a int as text_a')):
        with pytest.raises(BadRecord) as e:
            one.encode(record)
        assert e.value.found == found
    with pytest.raises(BadRecord):
        one.encode({'text_a': '好', 'text_b': ['x']})
