import os
import shutil
import threading

import pytest

from propeller.errors import UserError, quoted
from propeller.inputs import (
    MAX_DEPTH,
    folder_digest,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_json_object,
    read_text,
    read_yaml,
)


@pytest.mark.parametrize(
    'text, found',
    [
        ('{"a": 1, "b": 2, "a": 3}', "'a' twice"),
        ('{"a": ' + '9' * 5000 + '}', 'the number'),
        ('{"a": 1e999}', 'the number'),
        ('[NaN]', 'the number NaN'),
        ('["\\ud800"]', 'surrogate'),
        ('[' * 100_000, 'JSON'),
        ('[' * (MAX_DEPTH + 1) + ']' * (MAX_DEPTH + 1), 'levels'),
        ('{"a": }', 'column 7'),
    ],
)
def test_json_that_cannot_be_kept_is_refused_with_its_place(text, found):
    with pytest.raises(UserError, match='x.json:?') as raised:
        parse_json(text, 'x.json')
    assert found in str(raised.value)
    assert len(str(raised.value)) < 400


def test_json_is_what_python_reads():
    text = '{"深": [1, -2.5, 18446744073709551615, "\\ud83d\\ude00", null, true], "b": "[[[\\"{"}'
    assert parse_json(text, 'x') == {'深': [1, -2.5, 2**64 - 1, '😀', None, True], 'b': '[[["{'}
    brackets_in_text = '["' + '[' * 500 + '"]'
    assert parse_json(brackets_in_text, 'x') == ['[' * 500]


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    os.symlink('loop', tmp_path / 'loop')
    for name, found in (
        ('fifo', 'a FIFO'),
        ('', 'a folder'),
        ('loop', 'levels of symbolic links'),
        ('no', 'no such file'),
    ):
        with pytest.raises(UserError, match=found):
            open_regular(tmp_path / name)
    with pytest.raises(UserError, match='a device'):
        open_regular('/dev/null')


def test_bounds_encoding_and_kind_name_the_file(tmp_path):
    path = tmp_path / 'v.json'
    path.write_bytes(b'\xef\xbb\xbf[1]')
    assert read_json(path) == [1]
    with pytest.raises(UserError, match='v.json: found a JSON list'):
        read_json_object(path)
    with pytest.raises(UserError, match='more than 5 bytes'):
        read_bytes(path, 5)
    path.write_bytes(b'{\n"\xff"}')
    with pytest.raises(UserError, match='v.json:2: found byte 0xff'):
        read_json(path)


def test_a_file_of_very_many_values_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / 'v.json'
    path.write_text('[' + '[],' * 2_000_000 + '0]')
    with pytest.raises(UserError, match='v.json: found more than 2,097,152 values'):
        read_json(path)


def test_quoted_values_are_short_and_printable():
    assert quoted('a\x1b[31m\n') == r"'a\x1b[31m\n'"
    assert len(quoted('\x00' * 10**6)) == 200
    assert quoted({'a': 1}) == "{'a': 1}"


@pytest.mark.parametrize(
    'text, found',
    [
        ('a: 1\nb: 2\na: 3', ":3: found 'a' twice"),
        ('a: ' + '9' * 5000, ':1: found the number'),
        ('a: 1' + ':59' * 5000, ':1: found the number'),
        ('a: .inf', ':1: found the number'),
        ('[' * 30_000, ':1: found YAML of more than 100 levels'),
        ('- ' * 15_000, ':1: found YAML of more than 100 levels'),
        ('- &a0 [1]\n' + ''.join(f'- &a{i + 1} [{f"*a{i}," * 9}]\n' for i in range(9)), 'more than 100,000 values'),
        ('- &a0 {x: 1}\n' + ''.join(f'- &a{i + 1} {{<<: [{f"*a{i}," * 9}]}}\n' for i in range(9)), 'more than'),
        ('&a [*a]', 'a value that contains itself'),
        ('a: !!timestamp x', 'no YAML'),
        ('a: !!float ""', 'no YAML'),
        ('a: !!python/object/apply:os.getcwd []', ':1: found no YAML'),
        (' ' * 40_000, 'more than 32,768 bytes'),
        ('\n', 'an empty file'),
    ],
)
def test_yaml_that_expands_or_cannot_be_kept_is_refused(tmp_path, text, found):
    path = tmp_path / 'v.yaml'
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_yaml(path)
    assert str(raised.value).startswith(f'{path}:') and found in str(raised.value)


def test_yaml_marks_may_be_used_again(tmp_path):
    path = tmp_path / 'v.yaml'
    path.write_text('a: &a {rate: 5e-5, 深: yes}\nb: {<<: *a, rate: 1}\nc: [*a, 0x10, null]\n')
    a = {'rate': 5e-5, '深': True}
    assert read_yaml(path) == {'a': a, 'b': {'rate': 1, '深': True}, 'c': [a, 16, None]}


def test_a_fifo_will_do_for_data_only(tmp_path):
    path = tmp_path / 'fifo'
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(b'1 2',)).start()
    assert read_text(path, 10, data=True) == '1 2'


def test_the_digest_of_a_folder_is_that_of_names_and_contents(tmp_path):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'b' / 'c').write_text('x')
    before = folder_digest(tmp_path / 'a')
    shutil.copytree(tmp_path / 'a', tmp_path / 'copy')
    assert folder_digest(tmp_path / 'copy') == before
    (tmp_path / 'a' / 'b' / 'c').write_text('y')
    (tmp_path / 'copy' / 'b').rename(tmp_path / 'copy' / 'd')
    assert before not in (folder_digest(tmp_path / 'a'), folder_digest(tmp_path / 'copy'))
