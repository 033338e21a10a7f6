"""`propeller.service.json_text`: large texts are read as small ones, in pieces and within bounds."""

import codecs
import json
from types import SimpleNamespace

import pytest

from propeller.service import json_text
from propeller.service.errors import ServiceError
from propeller.service.json_text import SMALL, Bounds, is_object, parse

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
    monkeypatch.setattr(json_text, 'SMALL', 1 if len(before) < 10 else SMALL)
    with pytest.raises(ServiceError) as large:
        parse(body)
    monkeypatch.setattr(json_text, 'SMALL', len(body))
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


def test_no_call_of_c_reads_much_of_a_large_body(monkeypatch):
    sizes = []
    read = lambda text: (sizes.append(len(text)), json.loads(text))[1]  # noqa: E731
    monkeypatch.setattr(json_text, '_DECODER', SimpleNamespace(decode=read))
    value = [NUMBERS * 30_000, {'rows': [NUMBERS] * 10}]
    assert parse(json.dumps(value).encode()) == value
    assert len(sizes) > 20 and max(sizes) <= SMALL + 2


@pytest.mark.parametrize('size', [1, SMALL])
def test_a_byte_order_mark_is_passed_over(size):
    text = b'{"text": "' + b'a' * size + b'"}'
    assert parse(codecs.BOM_UTF8 + text) == parse(text)
    with pytest.raises(ServiceError, match=f'byte {14 + size} of the body is not UTF-8'):
        parse(codecs.BOM_UTF8 + text.replace(b'"}', b'\xff"}'))
    assert is_object(text) and is_object(memoryview(codecs.BOM_UTF8 + text)) and not is_object(codecs.BOM_UTF8)
