"""The library of `inference/` for tests, built once; skipped with the reason where it cannot be."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from benchmark.acceptance.cpp_executor import compared
from benchmark.cpp import Unavailable, build
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import CONFIG, VOCABULARY

MOST = 2e-6  # Python lets short texts share rows in attention, C++ does not: other sums in float32
_DECIMAL = re.compile(r'(?<![\w".])-?\d+(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+)')


def built(*options, target='all'):
    """The folder of a build, see `benchmark.cpp.build`."""
    try:
        return build(*options, target=target)
    except Unavailable as e:
        return pytest.skip(str(e))


def assert_lines(found, expected):
    """Lines of C++ are those of Python: the same characters, but for the last digits of what a model computed."""
    assert [_DECIMAL.sub('#', line) for line in found] == [_DECIMAL.sub('#', line) for line in expected]
    assert compared(expected, found)[1] < MOST
    numbers, given = (_DECIMAL.findall('\n'.join(lines)) for lines in (found, expected))
    assert numbers == [json.dumps(float(number)) for number in numbers]
    assert _most_digits(numbers) <= max(_most_digits(given), 9)  # 9 are those of a float32


def _most_digits(numbers):
    return max((len(number.split('e')[0].strip('-0.').replace('.', '')) for number in numbers), default=0)


def resident_share(programs, folder, name, tmp_path):
    """Share of a file of weights that is in memory when `ernie_predict` has answered one text, and waits.

    Args:
        programs: folder of a build.
        folder: function of a checkpoint's folder, which it exports; returns the folder of the export.
        name: of the file, of at least 18 MB.
        tmp_path: where the model, of 50,000 words, is made.
    """
    words = [*VOCABULARY, *map(chr, range(0xAC00, 0xAC00 + 11000))]
    checkpoint = write_checkpoint(tmp_path / 'checkpoint', config=CONFIG | {'vocab_size': 50000, 'hidden_size': 96})
    (checkpoint / 'vocab.txt').write_text('\n'.join(words) + '\n', encoding='utf-8')
    model, rows = folder(checkpoint), tmp_path / 'rows.jsonl'
    size = (model / name).stat().st_size
    assert size > 18e6
    rows.write_text(json.dumps({'text_a': '好'}) + '\n', encoding='utf-8')
    command = [programs / 'ernie_predict', model, rows, '-', '--threads', '1']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())['label']
        entries = Path(f'/proc/{process.pid}/smaps').read_text().split('VmFlags:')
        resident = [int(e.split('Rss:')[1].split()[0]) for e in entries if name in e]
        process.communicate(json.dumps({'text_a': '坏'}).encode())
    assert process.returncode == 0 and resident
    return 1024 * sum(resident) / size
