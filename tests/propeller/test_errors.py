import logging
import sys

import pytest

from propeller.errors import UserError, bad_input, one_line_errors, quoted
from propeller.log import get_logger


def test_a_message_is_one_short_line_whatever_it_quotes():
    error = bad_input('a\x1b[2Jb', 'x\r\n' * 1000, 'y\u2028z', advice='Do\x07 it.')
    assert str(error).isprintable()
    assert str(error).startswith(r'a\x1b[2Jb: found x\r\nx\r\n') and len(str(error)) < 600
    assert len(str(UserError('q' * 10**6))) == 20_000
    assert str(bad_input('深.tsv', "'好\u3000'", 'é', 3)) == r"深.tsv:3: found '好\u3000', expected é."


def test_the_printed_error_has_one_line(capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise UserError('two\nlines \ud800')
    assert ended.value.code == 1
    assert capsys.readouterr().err == 'error: two\\nlines \\ud800\n'


def test_values_that_python_cannot_write_are_quoted_all_the_same():
    assert quoted(10**5000) == 'a number of 16610 bits'
    assert quoted({'a': [10**5000]}) == "{'a': [a number of 16610 bits]}"
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert len(quoted(nested)) < 20
    assert len(quoted([{'k' * 500: 'v' * 500}] * 1000)) <= 200


def test_the_log_keeps_control_characters_out(capsys):
    get_logger('propeller.test')
    logging.getLogger('propeller.test').warning('a\x1b[31m\r%s\tz', 'b\u202e')
    assert capsys.readouterr().err.endswith('a\\x1b[31m\\rb\\u202e\tz\n'), sys.stderr
