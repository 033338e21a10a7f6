import enum
import functools
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from propeller.data import conversion
from propeller.data.conversion import LOCK, convert
from propeller.data.example import Example
from propeller.data.feature_column import Column, FeatureColumns, LabelColumn, TextColumn, basic_tokenizer
from propeller.data.fingerprint import Indescribable, fingerprint
from propeller.data.parallel import chunked
from propeller.data.record_file import read_note, read_records, write_records
from propeller.errors import UserError
from propeller.storage.locks import FileLock

VOCAB = {'[UNK]': 0, '好': 1, 'b': 2}


def columns(**more):
    return [TextColumn('text', 0, vocab_dict=more.pop('vocab', VOCAB), **more), LabelColumn('label')]


@pytest.fixture
def pairs(tmp_path):
    """Two text files, and where their record files belong."""
    (tmp_path / 'text').mkdir()
    for name, rows in (('a', ['好 b\t1', 'x\t0']), ('b', ['b\t2'])):
        (tmp_path / 'text' / name).write_text('\n'.join(rows) + '\n', encoding='utf-8')
    return [(str(tmp_path / 'text' / name), str(tmp_path / 'gz' / name)) for name in 'ab']


def content(path):
    """[(ids, label)] of a record file."""
    made = [Example.FromString(record).features.feature for record in read_records(path)]
    return [(list(f['text'].int64_list.value), list(f['label'].int64_list.value)) for f in made]


def write(path, mode, text):
    with open(path, mode) as f:
        f.write(text)


def remade(pairs, change=None, **more):
    """Names of the record files that are written again after a change."""
    before = {target: os.stat(target).st_ino for _, target in pairs}
    if change:
        change()
    convert(pairs, **{'columns': columns(), **more})
    return [os.path.basename(target) for _, target in pairs if os.stat(target).st_ino != before[target]]


def test_what_is_whole_and_made_from_the_same_is_left(pairs):
    convert(pairs, columns())
    assert [content(target) for _, target in pairs] == [[([1, 2], [1]), ([0], [0])], [([2], [2])]]
    text, target = pairs[0]
    assert remade(pairs) == []
    assert remade(pairs, lambda: os.utime(text, (1, 1))) == []  # the same text of another time
    assert remade(pairs, lambda: write(text, 'a', 'x\t3\n')) == ['a']
    assert content(target)[2] == ([0], [3])
    assert remade(pairs, lambda: write(text, 'r+', 'x')) == ['a']  # as many bytes
    assert remade(pairs, lambda: os.truncate(target, 1040)) == ['a']
    assert remade(pairs, columns=columns(vocab={**VOCAB, 'x': 3})) == ['a', 'b']
    assert remade(pairs, columns=columns(vocab=dict(reversed(VOCAB.items())))) == ['a', 'b']
    assert remade(pairs, columns=columns(tokenizer=bytes.split)) == ['a', 'b']
    assert remade(pairs, columns=columns(tokenizer=lambda raw: raw.split(b' '))) == ['a', 'b']
    assert remade(pairs, columns=columns(tokenizer=lambda raw: raw.split(b'_'))) == ['a', 'b']
    assert remade(pairs, skip_bad_rows=True) == ['a', 'b']
    assert sorted(os.listdir(os.path.dirname(target))) == ['a', 'b']


def test_the_words_count_not_where_they_are_from(pairs, tmp_path):
    (tmp_path / 'v').write_text('\n'.join(VOCAB), encoding='utf-8')
    convert(pairs, columns())
    from_file = [TextColumn('text', 0, vocab_file=tmp_path / 'v'), LabelColumn('label')]
    assert remade(pairs, columns=from_file) == []
    from_file[0].raw_to_instance(b'x')  # what it keeps for speed does not count
    assert remade(pairs, columns=from_file) == []


def test_files_of_2019_are_taken_as_they_are(pairs, caplog):
    caplog.set_level(logging.INFO)
    convert(pairs, columns())
    for _, target in pairs:
        records = list(read_records(target))
        write_records(target, records)
        with open(target, 'rb') as f:
            whole = f.read()
        end = whole.index(b'\x1f\x8b', 5)
        with open(target, 'wb') as f:
            f.write(whole[end:])
        assert read_note(target) is None
    caplog.clear()
    assert remade(pairs, lambda: write(pairs[0][0], 'a', 'x\t3\n')) == []
    assert [record.getMessage() for record in caplog.records] == [
        f'2 record files without a note of propeller are taken as they are, the first is {pairs[0][1]}'
    ]


def test_several_processes_write_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, 'chunked', functools.partial(chunked, most_rows=20))
    rng = np.random.default_rng(1)
    path = tmp_path / 'text'
    words = ['好', 'b', 'x']
    path.write_text(
        ''.join(f'{" ".join(words[i] for i in rng.integers(0, 3, 5))}\t{n}\n' for n in range(500)), encoding='utf-8'
    )
    written = []
    for processes in (1, 2):
        target = tmp_path / f'gz{processes}' / 'text'
        convert([(str(path), str(target))], columns(), processes=processes)
        written.append(target.read_bytes())
    assert written[0] == written[1]
    assert [label for _, (label,) in content(target)] == list(range(500))


def test_a_bad_row_leaves_nothing_of_its_file(pairs, caplog):
    with open(pairs[1][0], 'a') as f:
        f.write('b\n\nb\tx\nb\t3\n')
    with pytest.raises(UserError, match=r'b:2: found 1 columns, expected 2 .* skip_bad_rows=True'):
        convert(pairs, columns())
    assert os.listdir(os.path.dirname(pairs[0][1])) == ['a']
    convert(pairs, columns(), skip_bad_rows=True)
    assert content(pairs[1][1]) == [([2], [2]), ([2], [3])]
    assert 'b: 2 rows left out' in caplog.text and "b:4: found 'x' in column label" in caplog.text


def test_files_without_a_row(pairs):
    for text, found in (('', 'an empty file'), ('\n\r\n', 'no row')):
        with open(pairs[0][0], 'w') as f:
            f.write(text)
        with pytest.raises(UserError, match=f'a: found {found}, expected at least one row'):
            convert(pairs, columns())
    with open(pairs[0][0], 'w') as f:
        f.write('x\n')
    with pytest.raises(UserError, match=r'a: found no usable row among 1, expected at least one row\. .*a:1: found 1'):
        convert(pairs, columns(), skip_bad_rows=True)
    assert os.listdir(os.path.dirname(pairs[0][1])) == []


def test_a_file_that_changes_meanwhile_is_no_source(pairs):
    class Changes(LabelColumn):
        def raw_to_proto(self, raw):
            with open(pairs[0][0], 'a') as f:
                f.write('x')
            return super().raw_to_proto(raw)

    with pytest.raises(UserError, match='a: found a file that changed while it was read'):
        convert(pairs, [columns()[0], Changes('label')])
    assert os.listdir(os.path.dirname(pairs[0][1])) == []


def test_a_second_process_waits_and_finds_it_done(pairs, monkeypatch):
    folder = os.path.dirname(pairs[0][1])
    os.mkdir(folder)
    other = FileLock(os.path.join(folder, LOCK), wait=True)
    taken, made = [], []

    def wait(path, wait):
        if not taken:  # the other one ends while this one waits
            write_done()
            os.unlink(other.path)
            other.close()
        taken.append(FileLock(path, wait))
        return taken[-1]

    def write_done():
        monkeypatch.setattr(conversion, 'FileLock', FileLock)
        monkeypatch.setattr(conversion, 'LOCK', '.another')
        convert(pairs, columns())
        made.extend(os.stat(target).st_ino for _, target in pairs)
        monkeypatch.setattr(conversion, 'LOCK', LOCK)
        monkeypatch.setattr(conversion, 'FileLock', wait)

    monkeypatch.setattr(conversion, 'FileLock', wait)
    convert(pairs, columns())
    assert len(taken) == 1 and sorted(os.listdir(folder)) == ['a', 'b']
    assert [os.stat(target).st_ino for _, target in pairs] == made  # nothing was written again


def test_a_folder_that_cannot_be_made(pairs):
    with pytest.raises(UserError, match=r'/proc/no: cannot be written .* Choose another gz_dir'):
        convert([(pairs[0][0], '/proc/no/a')], columns())


SCRIPT = """
    import sys, time
    from propeller.data.conversion import convert
    from propeller.data.feature_column import LabelColumn

    class Slow(LabelColumn):
        def raw_to_proto(self, raw):
            if raw == b'2100':
                print('there', flush=True)
                time.sleep(60)
            return super().raw_to_proto(raw)

    convert([(sys.argv[1], sys.argv[2])], [Slow('label')])
"""


def test_a_kill_leaves_no_record_file_and_the_next_run_makes_it(tmp_path):
    (tmp_path / 'text').write_text(''.join(f'{n}\n' for n in range(2200)))
    (tmp_path / 'script.py').write_text(textwrap.dedent(SCRIPT))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    target = tmp_path / 'gz' / 'text'
    command = [sys.executable, tmp_path / 'script.py', tmp_path / 'text', target]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': root})
    assert process.stdout.readline() == 'there\n'
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists()
    convert([(str(tmp_path / 'text'), str(target))], [LabelColumn('label')])
    assert read_note(target).records == 2200
    # What the kill left is no data.
    made = FeatureColumns([LabelColumn('label')]).build_dataset('t', gz_dir=tmp_path / 'gz', repeat=False)
    assert made.count() in (None, 2200) and len(list(made)) == 2200


def test_a_column_that_cannot_be_told_is_made_anew(pairs, caplog):
    class Opaque(LabelColumn):
        def __init__(self, name, holds):
            super().__init__(name)
            self.holds = holds

    convert(pairs, [columns()[0], Opaque('label', memoryview(b''))])
    assert remade(pairs, columns=[columns()[0], Opaque('label', memoryview(b''))]) == ['a', 'b']
    assert re.search(r'column label: it cannot be told whether its builtins\.memoryview is the same', caplog.text)

    class Told(Opaque):
        def fingerprint(self):
            return 'version 1'

    convert(pairs, [columns()[0], Told('label', memoryview(b''))])
    assert remade(pairs, columns=[columns()[0], Told('label', memoryview(b''))]) == []


# ---------------------------------------------------------------------------------------------------------- fingerprint


def outer(word):
    def inner(raw, *, limit=3):
        return raw.split(word)[:limit]

    return inner


class Holder:
    def __init__(self, value):
        self.value = value

    def method(self, raw):
        return raw


def test_fingerprints_tell_what_differs():
    different = [
        *(
            None,
            True,
            1,
            1.0,
            '1',
            b'1',
            (1,),
            [1],
            [[1]],
            {1},
            {1: 1},
            {1: 2},
            {'1': 1},
            np.array([1]),
            np.array([1.0]),
        ),
        *(np.array([[1]]), re.compile('1'), re.compile('1', re.I), outer(b'a'), outer(b'b'), lambda raw: raw),
        *(lambda raw: raw + b'1', len, str, str.split, 'a'.split, Holder(1), Holder(2), Holder(1).method, Holder([1])),
        *(functools.partial(len), functools.partial(str), Holder(2).method, os, sys, Column('a'), Column('b')),
        *(LabelColumn('a'), LabelColumn('a', {'x': 1}), LabelColumn('a', {'x': 2}), basic_tokenizer, Holder, 2, ''),
    ]
    seen = [fingerprint(value) for value in different]
    assert len(set(seen)) == len(seen)
    assert fingerprint({1: 2, 3: 4}) == fingerprint({3: 4, 1: 2}) and fingerprint({'a', 'b'}) == fingerprint({'b', 'a'})
    assert fingerprint(outer(b'a')) == fingerprint(outer(b'a')) and fingerprint(Holder({1})) == fingerprint(Holder({1}))


def tuned(size=1, kind=int, code=1, parent=Holder):
    """A class in which one of several places says something else."""

    class Base(parent):
        sizes = [size]

        def decode(self, raw):
            return kind(raw)

    class Tuned(Base):
        NOT_FINGERPRINTED = ('seen',)
        seen = code

        @staticmethod
        def cut(raw):
            return raw[:code]

        @property
        def width(self):
            return (lambda: 1) if parent is Holder else (lambda: 2)

    return Tuned(1)


def test_fingerprints_tell_classes_and_what_they_derive_from():
    different = [tuned(), tuned(size=2), tuned(kind=float), tuned(code=2), tuned(parent=Column)]
    assert len({fingerprint(value) for value in different}) == len(different)
    same, other = tuned(), tuned()
    type(same).seen = 7
    assert fingerprint(same) == fingerprint(other)
    assert fingerprint(enum.Enum('Colour', 'RED GREEN').RED) != fingerprint(enum.Enum('Colour', 'RED GREEN').GREEN)


class Remembers(dict):
    """Keeps what it was asked for, and sends to other processes what it is made of."""

    def __init__(self, ids):
        self.ids = ids

    def __missing__(self, word):
        self[word] = self.ids.get(word, 0)
        return self[word]

    def __reduce__(self):
        return Remembers, (self.ids,)


class Compiled:
    """An object of a compiled library that pickle can send."""

    def __init__(self, state):
        self.hidden, self.state = memoryview(b''), state

    def __getstate__(self):
        return self.state


def test_what_an_object_keeps_for_speed_makes_no_difference():
    used, other = Remembers({'a': 1}), Remembers({'a': 2})
    before = fingerprint(used)
    assert used['a'] == 1 and fingerprint(used) == before == fingerprint(Remembers({'a': 1})) != fingerprint(other)
    assert fingerprint(Compiled(b'1')) == fingerprint(Compiled(b'1')) != fingerprint(Compiled(b'2'))


def test_fingerprints_of_what_holds_itself_and_of_what_cannot_be_told():
    ring = Holder(None)
    ring.value = [ring]
    assert fingerprint(ring) == fingerprint(ring)
    with pytest.raises(Indescribable, match='generator'):
        fingerprint(Holder(x for x in ()))


def test_fingerprints_are_the_same_in_other_processes():
    program = (
        'from propeller.data.feature_column import *; print(TextColumn("t", 0, vocab_dict={"a": 0}).fingerprint())'
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environ = {**os.environ, 'PYTHONPATH': root}
    found = {
        subprocess.run([sys.executable, '-c', program], env={**environ, 'PYTHONHASHSEED': seed}, stdout=-1).stdout
        for seed in ('1', '2')
    }
    assert found == {f'{TextColumn("t", 0, vocab_dict={b"a": 0}).fingerprint()}\n'.encode()}


def test_a_fingerprint_of_a_large_vocabulary_takes_little_time():
    column = TextColumn('t', 0, vocab_dict={f'字{i}': i for i in range(20_000)})
    started = time.process_time()
    column.fingerprint()
    assert time.process_time() - started < 3
