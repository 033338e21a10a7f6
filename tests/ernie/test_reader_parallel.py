import os
import subprocess
import sys

import numpy as np
import pytest

from ernie.reader.classify import ClassifyReader
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError


@pytest.fixture
def big_file(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *'今天好0123456789']))
    rng = np.random.default_rng(4)
    lines = [f'{i % 2}\t{"今天好"[i % 3] * rng.integers(0, 30)} {i}' for i in range(20001)]
    path = tmp_path / 'big.tsv'
    path.write_text('label\ttext_a\n' + '\n'.join(lines) + '\n', encoding='utf-8')
    return path, FullTokenizer(str(tmp_path / 'vocab.txt'))


def test_a_file_is_the_same_by_one_process_and_by_several(big_file):
    path, tokenizer = big_file
    one, three = (ClassifyReader(tokenizer, cache=False, processes=n).read(path) for n in (1, 3))
    assert len(one) == 20001
    for name in ('ids', 'offsets', 'split', 'labels', 'lines'):
        left, right = getattr(one, name), getattr(three, name)
        assert left.dtype == right.dtype and np.array_equal(left, right)


def test_bad_rows_keep_their_line_number_in_any_chunk(big_file):
    path, tokenizer = big_file
    lines = path.read_text(encoding='utf-8').split('\n')
    bad = [2, 1024, 1025, 1026, 4097, 5000, 8193, 12289, 17001, 20002]
    for number in bad:
        lines[number - 1] = '7\t今' if number % 2 else '1'
    path.write_text('\n'.join(lines), encoding='utf-8')
    made = ClassifyReader(tokenizer, cache=False, processes=2, skip_bad_rows=True).read(path)
    assert [line for line, _ in made.bad_rows.rows] == bad and len(made.bad_rows) == len(bad)
    assert made.lines.tolist() == [i for i in range(2, 20003) if i not in bad]
    lines[1:16385] = ['1\t今'] * 16384
    path.write_text('\n'.join(lines), encoding='utf-8')
    with pytest.raises(UserError, match=r'big\.tsv:17001: found the label 7'):
        ClassifyReader(tokenizer, cache=False, processes=2).read(path)


def test_a_script_without_a_main_guard_may_read(big_file, tmp_path):
    path, _ = big_file
    script = tmp_path / 'script.py'
    script.write_text(
        'print("once")\n'
        'from ernie.reader.classify import ClassifyReader\n'
        'from ernie.tokenization import FullTokenizer\n'
        f'tokenizer = FullTokenizer({str(tmp_path / "vocab.txt")!r})\n'
        f'print(len(ClassifyReader(tokenizer, cache=False, processes=2).read({str(path)!r})))\n'
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environ = {**os.environ, 'PYTHONPATH': root}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environ, timeout=60)
    assert done.stdout.split() == ['once', '20001'], done.stderr
