"""`json_items` beside the standard library's parser, however the text is cut into chunks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propeller.errors import UserError
from propeller.json_stream import json_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def cut(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


@given(st.lists(VALUES, max_size=7), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_the_items_are_those_of_the_whole(items, indent, ascii_only, size):
    data = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode('utf-8', 'surrogatepass')
    assert [value for _, value in json_items(cut(data, size), 'x')] == items
    whole = {'version': [1, {'data': 2}], 'data': items, 'more': 'x'}
    data = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode()
    assert [value for _, value in json_items(cut(data, size), 'x', 'data')] == items


def test_lines_are_those_where_items_begin():
    data = b'\xef\xbb\xbf\n[\n {"a":\n 1},\n\n 2, 3\n,[\n]]\n'
    for size in (1, 2, 100):
        assert list(json_items(cut(data, size), 'x')) == [(3, {'a': 1}), (6, 2), (6, 3), (7, [])]


def test_a_bad_item_is_an_error_at_its_place():
    big = '9' * 5000
    items = list(json_items([f'[1,\n{{"a": 1, "a": 2}}, {big},\n"\\ud800", 2]'.encode()], 'x'))
    assert [line for line, _ in items] == [1, 2, 2, 3, 3] and [items[0][1], items[-1][1]] == [1, 2]
    for (_, error), text in zip(
        items[1:-1], ("x:2: found 'a' twice", 'x:2: found the number', 'x:3: found half'), strict=True
    ):
        assert str(error).startswith(text)


@pytest.mark.parametrize(
    ('text', 'key', 'given', 'message'),
    [
        ('[1, 2', None, 2, 'x:1: found bad JSON'),
        ('[1\n 2]', None, 1, "x:2: found bad JSON .'2' where ',' should be"),
        ('[1,\n]', None, 1, 'x:2: found bad JSON .nothing between'),
        ('[{"a":\n}]', None, 0, 'x:2: found bad JSON .Expecting value'),
        ('[1]\n[2]', None, 1, 'x:2: found more behind its end'),
        ('{"a": [1]}', None, 0, "'{' where '\\['"),
        ('{"a": [1]}', 'data', 0, 'without a list "data"'),
        ('{"data": 1}', 'data', 0, 'without a list "data"'),
        ('{"data": [1], }', 'data', 1, 'nothing between'),
        ('{data: [1]}', 'data', 0, 'bad JSON'),
        ('', None, 0, 'the end'),
        ('[' * 200_000, None, 0, 'nested too deeply'),
        ('["\udcff"]', None, 0, 'x:1: found byte 0xff'),
    ],
)
def test_texts_that_are_none(text, key, given, message):
    for size in (3, 1 << 20):
        items, found = json_items(cut(text.encode(errors='surrogateescape'), size), 'x', key), []
        with pytest.raises(UserError, match=message):
            for item in items:
                found.append(item)  # noqa: PERF402 (what comes before the error counts)
        assert len(found) == given


def test_items_come_before_the_end_is_read():
    def endless():
        yield b'['
        while True:
            yield b'{"text_a": "x"},' * 5000

    items = json_items(endless(), 'x')
    assert [next(items)[1]['text_a'] for _ in range(20_000)] == ['x'] * 20_000
