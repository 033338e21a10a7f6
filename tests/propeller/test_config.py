import ast
import contextlib
import json
import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from propeller.config import ArgumentParser, parse_file, parse_hparam, parse_runconfig, parse_text
from propeller.errors import UsageError, UserError
from propeller.types import HParams, RunConfig

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_settings = st.dictionaries(st.text(), _values, max_size=4)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in ('PROPELLER_RUNCONFIG', 'PROPELLER_HPARAMS'):
        monkeypatch.delenv(name, raising=False)


@settings(max_examples=60)
@given(_settings)
def test_python_and_json_spellings_mean_the_same(value):
    assert parse_text(json.dumps(value)) == value
    assert parse_text(json.dumps(value, ensure_ascii=False, indent=2)) == value
    assert parse_text(repr(value)) == value


@settings(max_examples=150)
@given(st.text(alphabet='{}[]():,\'"\\ \n\t#ab1e9.-+*/%_é中\0', max_size=40))
def test_any_text_is_a_dictionary_or_a_user_error(text):
    with contextlib.suppress(UserError):
        assert isinstance(parse_text(text), dict)


def test_comments_trailing_commas_arithmetic_and_both_nulls():
    text = """
    # sizes
    {
        'hidden': 64 * 12,  # 768
        "rate": 2.5e-5 / 5, 'steps': 10 ** 4 // 3, 'rest': 17 % 5, 'low': -(1 + 2), 'x': 5 - 7,
        'a': None, 'b': null, 'c': [True, true], 'd': (False, false), 'e': {1, 2},
    }"""
    assert parse_text(text) == {
        'hidden': 768,
        'rate': 5e-6,
        'steps': 3333,
        'rest': 2,
        'low': -3,
        'x': -2,
        'a': None,
        'b': None,
        'c': [True, True],
        'd': (False, False),
        'e': {1, 2},
    }


def test_json_escapes_keep_their_meaning():
    assert parse_text(r'{"path": "a\/b", "face": "\ud83d\ude00", "none": null}') == {
        'path': 'a/b',
        'face': '😀',
        'none': None,
    }


@pytest.mark.parametrize(
    'text',
    [
        "{'a': __import__('os').system('touch {flag}')}",
        "{'a': open('{flag}', 'w')}",
        "{'a': [open('{flag}', 'w') for _ in (1,)]}",
        "{'a': (lambda: open('{flag}', 'w'))()}",
        '{\'a\': f\'{open("{flag}", "w")}\'}',
        "{open('{flag}', 'w'): 1}",
        "dict(a=open('{flag}', 'w'))",
        '{**{}}',
        "{'a': 1j}",
        "{'a': ...}",
        "{'a': os.environ}",
        "{'a': 1 if 1 else 2}",
        "{'a': x}",
        "{'a': (y := 1)}",
    ],
)
def test_nothing_is_executed(tmp_path, text):
    flag = tmp_path / 'ran'
    with pytest.raises(UserError, match='neither a literal nor arithmetic'):
        parse_text(text.replace('{flag}', flag.as_posix()))
    assert not flag.exists()


@pytest.mark.parametrize(
    ('text', 'place', 'what'),
    [
        ("{'a': 1 'b': 2}", '--hparam:1:7', 'comma'),
        ("{'a': 1,\n 'b': 1/0}", '--hparam:2:7', 'division by zero'),
        ("# 词\n{'词汇': f(3)}", '--hparam:2:8', "'f(3)' is neither"),
        ("{'a': 1", '--hparam:1:1', 'never closed'),
        ("{'a': -True}", '--hparam:1:8', 'arithmetic with bool'),
        ("{'a': 'x' * 3}", '--hparam:1:7', 'arithmetic with str'),
        ("{'a': 9 ** 9 ** 9}", '--hparam:1:7', 'too large'),
        ("{'a': (-1) ** 0.5}", '--hparam:1:7', 'complex'),
        ("{'a': 1e300 * 1e300 ** 2}", '--hparam:1:15', ''),
        ('{[1]: 2}', '--hparam:1:1', 'unhashable'),
        ("{'a\0': 2}", '--hparam:1:1', 'null byte'),
    ],
)
def test_errors_give_place_and_text(text, place, what):
    args = ArgumentParser('x').parse_args(['--hparam', text])
    with pytest.raises(UserError) as caught:
        parse_hparam(args)
    message = str(caught.value)
    assert message.startswith(place + ': ') and what in message and repr(text) in message and '\n' not in message


def test_error_of_a_long_text_quotes_its_line_only():
    text = '{\n' + ''.join(f"'key{i}': {i},\n" for i in range(99)) + "'bad': oops,\n}"
    with pytest.raises(UserError, match=r"^here:101:8: 'oops' is neither .* in \"'bad': oops,\"$"):
        parse_text(text, origin='here')


def test_deep_nesting_is_an_error_not_a_crash():
    for text in ('[' * 100_000, '{"a":' * 5_000 + '1' + '}' * 5_000, '{"a": ' + '-' * 50_000 + '1}'):
        with pytest.raises(UserError):
            parse_text(text)


def test_the_value_must_be_a_dictionary():
    with pytest.raises(UserError, match='found list, expected a dictionary'):
        parse_text('[1, 2]')
    with pytest.raises(UserError, match='expected an existing file or a dictionary'):
        parse_hparam(ArgumentParser('x').parse_args(['--hparam', 'missing/file.json']))
    with pytest.raises(UserError, match='found nothing'):
        parse_hparam(ArgumentParser('x').parse_args(['--hparam', ' ']))


def test_hparam_merges_files_and_texts_from_left_to_right(tmp_path):
    path = tmp_path / 'base.py'
    path.write_bytes(b"\xef\xbb\xbf{'a': 1, 'b': 1, 'c': 1}\r\n")
    args = ArgumentParser('x').parse_args(['--hparam', str(path), "{'b': 2}", '--hparam', '{"c": 3}'])
    assert parse_hparam(args) == HParams(a=1, b=2, c=3)
    assert parse_hparam(ArgumentParser('x').parse_args(['--hparam'])) == HParams()


def test_runconfig_from_flag(tmp_path):
    path = tmp_path / 'run.json'
    path.write_text('{"model_dir": "输出", "max_steps": 1e4}', encoding='utf-8')
    args = ArgumentParser('x').parse_args(['--run_config', str(path)])
    assert parse_runconfig(args) == RunConfig(model_dir='输出', max_steps=10000)
    with pytest.raises(TypeError, match="unknown setting 'max_step'"):
        parse_runconfig(ArgumentParser('x').parse_args(['--run_config', '{"max_step": 1}']))
    with pytest.raises(UsageError, match='PROPELLER_RUNCONFIG'):
        parse_runconfig(ArgumentParser('x').parse_args([]))
    with pytest.raises(UsageError, match='PROPELLER_HPARAMS'):
        parse_hparam(ArgumentParser('x').parse_args([]))


def test_environment_stands_in_for_missing_flags(monkeypatch, tmp_path):
    path = tmp_path / 'h.json'
    path.write_text('{"a": null}', encoding='utf-8')
    monkeypatch.setenv('PROPELLER_HPARAMS', str(path))
    monkeypatch.setenv('PROPELLER_RUNCONFIG', '{"max_steps": 5}')
    given_flags = ArgumentParser('x').parse_args(['--run_config', '{"max_steps": 6}', '--hparam', '{"a": 1}'])
    assert parse_hparam(None) == HParams(a=None)
    assert parse_runconfig(None).max_steps == 5
    assert parse_hparam(given_flags) == HParams(a=1)
    assert parse_runconfig(given_flags).max_steps == 6


def test_parser_takes_a_programs_own_flags(capsys):
    parser = ArgumentParser('prog.py')
    parser.add_argument('--data_dir')
    assert parser.parse_args(['--data_dir', 'd']).data_dir == 'd'
    with pytest.raises(SystemExit):
        parser.parse_args(['--help'])
    assert 'usage: prog.py' in (text := capsys.readouterr().out) and '--hparam' in text and '--run_config' in text


def test_parse_file_names_the_file(tmp_path):
    path = tmp_path / 'x.json'
    with pytest.raises(UserError, match=f'{path.name}: found no such file'):
        parse_file(path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=f'{path.name}:1: found byte 0xff that is not UTF-8'):
        parse_file(path)
    path.write_text('{\n"a": 1\n"b": 2}')
    with pytest.raises(UserError, match=f'{path.name}:2:6: '):
        parse_file(path)


@settings(max_examples=80)
@example('(0 % (0 / 1))')
@given(
    st.recursive(
        st.integers(-99, 99).map(str),
        lambda inner: st.builds('({} {} {})'.format, inner, st.sampled_from('+-*/%'), inner),
        max_leaves=6,
    )
)
def test_arithmetic_agrees_with_python(expression):
    code = compile(ast.parse(expression, mode='eval'), os.devnull, 'eval')
    try:
        expected = eval(code, {'__builtins__': {}})
    except ZeroDivisionError:
        with pytest.raises(UserError, match='by zero'):
            parse_text(f"{{'a': {expression}}}")
        return
    assert parse_text(f"{{'a': {expression}}}") == {'a': expected}
