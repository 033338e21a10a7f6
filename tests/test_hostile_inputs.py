"""A few changed inputs for every parser of outside data; `hostile_inputs` tries thousands of them."""

import logging
import random
import time

import pytest

from benchmark.acceptance.hostile_inputs import judge
from benchmark.acceptance.mutations import mutate_bytes, mutate_json
from benchmark.acceptance.outside import PADDLE_MODEL, PARSERS, write

INPUTS = 30


@pytest.mark.parametrize('name', [name for name in PARSERS if name != PADDLE_MODEL])
def test_only_own_errors_come_and_soon(name, tmp_path):
    parser = PARSERS[name]
    logging.disable(logging.CRITICAL)
    try:
        if parser.files:
            assert judge(parser.read, write(parser.files, tmp_path / 'input')) == ('accepted', '')
        for number in range(INPUTS):
            folder = write(parser.mutate(random.Random(f'{name} {number}')), tmp_path / 'input')
            started = time.process_time()
            kind, why = judge(parser.read, folder)
            assert kind != 'other', why
            assert time.process_time() - started < 10
    finally:
        logging.disable(logging.NOTSET)


def test_what_is_no_own_error_is_told(tmp_path):
    def read(folder):
        raise KeyError('x')

    kind, why = judge(read, tmp_path)
    assert kind == 'other' and "KeyError: 'x'" in why


def test_the_changes_are_changes_and_follow_from_the_seed():
    content = b'{"a": [1, 2, {"b": "c"}], "d": null}'
    for mutate in (mutate_bytes, mutate_json):
        made = [mutate(content, random.Random(seed)) for seed in range(100)]
        assert made == [mutate(content, random.Random(seed)) for seed in range(100)]
        assert len(set(made)) > 60
