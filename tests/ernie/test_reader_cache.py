import errno
import importlib
import json
import os
import pathlib
import time
import zlib

import numpy as np
import pytest

from ernie.reader import classify, set_reader, tokenized_set
from ernie.reader.classify import ClassifyReader
from ernie.reader.set_checks import about_fault, arrays_fault
from ernie.reader.tokenized_set import SetCache, TokenizedSet, cache_folder, collect
from ernie.tokenization import CharTokenizer, FullTokenizer
from ernie.tokenizers.vocabulary import load_vocab
from propeller.errors import UserError
from propeller.storage.npy import ArrayWriter
from tests.leftovers import dead_workplace

ROWS = 'text_a\tlabel\tqid\n今天 好\t1\t5\n\t0\t6\nBad 天\t1\t7\n'
ARRAYS = [name for name in TokenizedSet.ARRAYS if name not in ('token_labels', 'cut_labels')]  # classification has none


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(SetCache, '_warned', set())
    return tmp_path / 'cache' / 'tokenized'


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *'今天好', 'bad', 'Bad']))
    return path


@pytest.fixture
def data(tmp_path):
    path = tmp_path / 'data.tsv'
    path.write_text(ROWS, encoding='utf-8')
    return path


@pytest.fixture
def tokenizings(monkeypatch):
    """Counts how often rows are encoded."""
    calls = []
    encode = classify.RowEncoder.__call__
    monkeypatch.setattr(classify.RowEncoder, '__call__', lambda self, rows: calls.append(1) or encode(self, rows))
    return calls


def same(left, right):
    return all(
        np.array_equal(getattr(left, name), getattr(right, name))
        and getattr(left, name).dtype == getattr(right, name).dtype
        for name in ARRAYS
    )


def test_the_second_reading_takes_the_cache(vocab, data, folder, tokenizings, capsys):
    tokenizer = FullTokenizer(str(vocab))
    fresh = ClassifyReader(tokenizer, cache=False).read(data)
    first = ClassifyReader(tokenizer).read(data)
    second = ClassifyReader(FullTokenizer(str(vocab))).read(data)
    assert len(tokenizings) == 2
    assert same(first, fresh) and same(second, fresh)
    assert type(second.ids) is np.ndarray and not second.ids.flags.writeable
    entries = os.listdir(folder)
    assert len(entries) == 1 and len(entries[0]) == 64
    assert '3 rows, 11 tokens, from the cache' in capsys.readouterr().err


def test_another_name_for_the_same_content_is_found(vocab, data, tokenizings, tmp_path):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    reader.read(data)
    moved = tmp_path / 'moved.tsv'
    os.rename(data, moved)
    assert reader.read(moved).path == str(moved)
    assert len(tokenizings) == 1


def test_whatever_changes_the_ids_changes_the_key(vocab, data, tmp_path, tokenizings):
    def keys():
        full = FullTokenizer(str(vocab))
        yield ClassifyReader(full)
        yield ClassifyReader(full, max_seq_len=9)
        yield ClassifyReader(full, num_labels=3)
        yield ClassifyReader(full, label_map={'0': 1, '1': 0})
        yield ClassifyReader(full, label_map={'0': 0, '1': 1})
        yield ClassifyReader(full, task_kind='regression')
        yield ClassifyReader(full, task_kind='predict')
        yield ClassifyReader(full, for_cn=False)
        yield ClassifyReader(full, skip_bad_rows=True)
        yield ClassifyReader(FullTokenizer(str(vocab), do_lower_case=False))
        yield ClassifyReader(CharTokenizer(str(vocab)))
        vocab.write_text(vocab.read_text() + '\nmore')
        yield ClassifyReader(FullTokenizer(str(vocab)))

    readers = list(keys())
    for reader in readers:
        reader.read(data)
    data.write_text(ROWS.replace('好', '今'), encoding='utf-8')
    readers[0].read(data)
    assert len(tokenizings) == len(readers) + 1


def test_a_tokenizer_of_another_file_is_cached_by_its_source(vocab, data, folder, tokenizings, tmp_path, monkeypatch):
    source = tmp_path / 'own_tokenizer.py'
    source.write_text('from ernie.tokenization import FullTokenizer\n\n\nclass Own(FullTokenizer):\n    pass\n')
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module('own_tokenizer').Own
    for _ in range(2):
        assert len(ClassifyReader(own(str(vocab))).read(data)) == 3
    assert len(tokenizings) == 1 and len(os.listdir(folder)) == 1
    source.write_text(source.read_text() + '\n# another rule\n')
    ClassifyReader(own(str(vocab))).read(data)
    ClassifyReader(FullTokenizer(str(vocab))).read(data)
    assert len(tokenizings) == 3 and len(os.listdir(folder)) == 3


def test_a_tokenizer_without_a_fingerprint_is_not_cached(vocab, data, folder):
    class Plain:
        cuts_ideographs = True

        def __init__(self):
            self.vocab = load_vocab(str(vocab))

        def encode(self, text):
            return [self.vocab['[UNK]']] * len(text.split())

    assert len(ClassifyReader(Plain()).read(data)) == 3
    assert not folder.exists()


@pytest.mark.parametrize('array', [*ARRAYS, None])
@pytest.mark.parametrize('damage', ['flip', 'cut', 'remove', 'empty'])
def test_a_damaged_entry_is_made_anew(vocab, data, folder, tokenizings, damage, array, capsys):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    expected = collect(reader._chunks(str(data), None, set_reader._file_state(data)))
    reader.read(data)
    entry = folder / os.listdir(folder)[0]
    file = entry / (f'{array}.npy' if array else tokenized_set.META)
    content = file.read_bytes()
    if damage == 'remove':
        file.unlink()
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        file.write_bytes({'flip': flipped, 'cut': content[:-1], 'empty': b''}[damage])
    count = len(tokenizings)
    assert same(reader.read(data), expected)
    assert len(tokenizings) == count + 1
    assert 'damaged' in capsys.readouterr().err
    assert same(reader.read(data), expected)
    assert len(tokenizings) == count + 1
    assert os.listdir(folder) == [entry.name]


def test_an_entry_with_a_pickle_in_it_is_not_run(vocab, data, folder, tmp_path):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    reader.read(data)
    entry = folder / os.listdir(folder)[0]

    class Run:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / 'was_run',)

    np.save(entry / 'labels.npy', np.array([Run()], object), allow_pickle=True)
    made = json.loads((entry / tokenized_set.META).read_text())
    made['crc32']['labels'] = tokenized_set._crc32(entry / 'labels.npy')
    (entry / tokenized_set.META).write_text(json.dumps(made))
    assert reader.read(data).labels.tolist() == [1, 0, 1]
    assert not (tmp_path / 'was_run').exists()


def test_errors_leave_nothing_behind(vocab, data, folder):
    data.write_text(ROWS + 'x\t9\t1\n', encoding='utf-8')
    with pytest.raises(UserError, match=r'data\.tsv:5'):
        ClassifyReader(FullTokenizer(str(vocab))).read(data)
    assert os.listdir(folder) == []


def test_skipped_rows_are_listed_again_from_the_cache(vocab, data, tokenizings):
    data.write_text(ROWS + 'x\t9\t1\nx\n', encoding='utf-8')
    first, second = (ClassifyReader(FullTokenizer(str(vocab)), skip_bad_rows=True).read(data) for _ in range(2))
    assert len(tokenizings) == 1
    assert first.bad_rows.messages() == second.bad_rows.messages()
    assert len(second.bad_rows) == 2 and second.bad_rows.rows[1] == (
        6,
        'found 1 cells, expected 3 as in the header (text_a, label, qid)',
    )


def test_a_concurrent_writer_is_harmless(vocab, data, folder, monkeypatch):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    chunks = reader._chunks

    def chunks_while_another_writes(*args):
        yield from chunks(*args)
        monkeypatch.setattr(reader, '_chunks', chunks)
        ClassifyReader(FullTokenizer(str(vocab))).read(data)

    monkeypatch.setattr(reader, '_chunks', chunks_while_another_writes)
    made = reader.read(data)
    assert same(made, ClassifyReader(FullTokenizer(str(vocab)), cache=False).read(data))
    assert len(os.listdir(folder)) == 1


def test_a_folder_that_cannot_be_written_is_done_without(vocab, data, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'file'))
    for _ in range(2):
        assert len(ClassifyReader(FullTokenizer(str(vocab))).read(data)) == 3
    assert capsys.readouterr().err.count('cannot be written') == 1


def test_a_full_disk_is_done_without(vocab, data, folder, monkeypatch, capsys):
    append = ArrayWriter.append

    def full(self, chunk):
        if 'lines' in self._file.name:
            raise OSError(errno.ENOSPC, 'No space left on device')
        append(self, chunk)

    monkeypatch.setattr(ArrayWriter, 'append', full)
    made = ClassifyReader(FullTokenizer(str(vocab)), skip_bad_rows=True).read(data)
    assert len(made) == 3 and made.bad_rows.count == 0
    assert os.listdir(folder) == []
    assert 'No space left' in capsys.readouterr().err


def test_a_file_that_changes_meanwhile_is_not_kept(vocab, data, folder, monkeypatch):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    chunks = set_reader.map_ordered

    def changing(*args):
        yield from chunks(*args)
        data.write_text(ROWS + 'x\t1\t1\n', encoding='utf-8')

    monkeypatch.setattr(set_reader, 'map_ordered', changing)
    with pytest.raises(UserError, match='changed while it was read'):
        reader.read(data)
    assert os.listdir(folder) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(vocab, data, folder):
    theirs = folder / ('0' * 64 + '.tmp-notes')
    theirs.mkdir(parents=True)
    day_before = time.time() - 2 * 24 * 3600
    os.utime(theirs, (day_before, day_before))
    left = dead_workplace(folder, '0' * 64)
    ClassifyReader(FullTokenizer(str(vocab))).read(data)
    assert theirs.exists() and not left.exists()


def test_an_entry_that_is_a_link_is_made_anew_where_it_points(vocab, data, folder, tmp_path):
    reader = ClassifyReader(FullTokenizer(str(vocab)))
    reader.read(data)
    (entry,) = folder.iterdir()
    entry.rename(tmp_path / 'elsewhere')
    entry.symlink_to(tmp_path / 'elsewhere')
    for file in entry.iterdir():
        file.write_bytes(b'broken')
    made = reader.read(data)
    assert entry.is_symlink() and same(made, TokenizedSet.load(tmp_path / 'elsewhere'))
    assert os.listdir(folder) == [entry.name]


def test_cache_folder():
    home = os.path.expanduser('~')
    assert cache_folder({'ERNIE_CACHE': '/a', 'XDG_CACHE_HOME': '/b'}) == '/a/tokenized'
    assert cache_folder({'XDG_CACHE_HOME': '/b'}) == '/b/ernie/tokenized'
    assert cache_folder({}) == f'{home}/.cache/ernie/tokenized'


def test_an_entry_that_others_could_have_written_is_not_read(tmp_path, capsys):
    cache = SetCache(str(tmp_path / 'cache'))
    chunk = {'ids': np.arange(3, dtype=np.int32), 'lengths': np.array([3]), 'split': np.array([1], np.int32)}
    chunk['lines'] = np.array([2])
    cache.store('ab', lambda: [chunk])
    assert cache.load('ab') is not None and os.stat(cache.folder).st_mode & 0o777 == 0o700
    os.chmod(tmp_path / 'cache/ab', 0o777)
    assert cache.load('ab') is None
    assert 'cache/ab can be written by others (mode 777): it is not read' in capsys.readouterr().err
    assert list(cache.store('ab', lambda: [chunk]).ids) == [0, 1, 2]


def poisoned(entry, name, change):
    """An array of an entry changed by somebody who knows the check sums."""
    path = entry / f'{name}.npy'
    np.save(path, change(np.load(path)))
    meta = json.loads((entry / 'set.json').read_text())
    meta['crc32'][name] = zlib.crc32(path.read_bytes())
    (entry / 'set.json').write_text(json.dumps(meta))


@pytest.mark.parametrize(
    'name, change',
    [
        ('ids', lambda ids: ids - 5),
        ('ids', lambda ids: ids + 100),
        ('ids', lambda ids: ids.astype(np.int64)),
        ('ids', lambda ids: ids[:-1]),
        ('ids', lambda ids: ids.reshape(-1, 1)),
        ('offsets', lambda offsets: offsets[[0, 2, 1, 3]]),
        ('offsets', lambda offsets: offsets * 0),
        ('offsets', lambda offsets: np.concatenate([offsets[:1], offsets[1:2] - 2**62, offsets[2:]])),
        ('split', lambda split: split + 9),
        ('split', lambda split: split * 0 - 1),
        ('labels', lambda labels: labels + 2),
        ('labels', lambda labels: labels.astype(np.float32) * np.nan),
        ('lines', lambda lines: lines[:2]),
        ('qids', lambda qids: qids.astype(np.float64)),
    ],
)
def test_an_entry_that_was_poisoned_is_made_anew(vocab, data, folder, tokenizings, capsys, name, change):
    read = lambda: ClassifyReader(FullTokenizer(vocab), 8).read(data)  # noqa: E731
    made = ClassifyReader(FullTokenizer(vocab), 8, cache=False).read(data)
    read()
    (entry,) = [path for path in folder.iterdir() if not path.name.startswith('.')]
    poisoned(entry, name, change)
    capsys.readouterr()
    assert same(read(), made) and len(tokenizings) == 3
    assert 'damaged: ' in capsys.readouterr().err
    assert same(read(), made) and len(tokenizings) == 3


@pytest.mark.parametrize('text', ['[', '{}', '[1]', '{"crc32": 3}', '{"crc32": {"ids": "x"}}', '[' * 100_000])
def test_a_description_that_is_none_is_made_anew(vocab, data, folder, tokenizings, text):
    made = ClassifyReader(FullTokenizer(vocab), 8).read(data)
    (entry,) = [path for path in folder.iterdir() if not path.name.startswith('.')]
    (entry / 'set.json').write_text(text)
    assert same(ClassifyReader(FullTokenizer(vocab), 8).read(data), made) and len(tokenizings) == 2


@pytest.mark.parametrize(
    ('about', 'arrays', 'why'),
    [
        ({'columns': 'text_a'}, {}, 'columns are no names'),
        ({'token_cut': {'rule': 'x'}}, {}, 'not a rule'),
        ([], {}, 'about is no object'),
        ({}, {'cut': [0, -1], 'cut_labels': []}, 'cut is below 0'),
        ({}, {'cut': [0, 2], 'cut_labels': [1]}, 'cut_labels has 1 entries'),
        ({}, {'cut': [1, 0], 'cut_labels': [7]}, 'cut_labels from 7 to 7'),
        ({'columns': ['text_a']}, {'cut': [1, 0], 'cut_labels': [1]}, None),
    ],
)
def test_what_is_noted_of_a_file_is_checked(about, arrays, why):
    right = {'ids': np.arange(3, dtype=np.int32), 'offsets': np.array([0, 1, 3]), 'split': np.ones(2, np.int32)}
    right |= {'lines': np.array([2, 3])} | {name: np.array(value, np.int32) for name, value in arrays.items()}
    fault = arrays_fault(right, {'cut_labels': (0, 5)}) or about_fault(about)
    assert fault == why or why in fault
