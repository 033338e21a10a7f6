import gzip
import os

import numpy as np
import pytest

from ernie.pretrain import sample_set
from ernie.pretrain.file_list import ListedFile, read_file_list
from ernie.pretrain.sample_set import COLUMN, check_limits, concatenated, make_set, read_sets
from ernie.pretrain.samples import format_line, parse_lines
from ernie.pretrain.tasks import make_tasks
from propeller.errors import UserError
from tests.ernie.pretrain_files import LIMITS, random_sample, write_lines, write_samples


def many_samples(count, seed=1):
    """Samples of several kinds."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        sample = random_sample(rng)
        length = len(sample.token_ids)
        if i % 3 == 1:
            labels = {'capitalization': rng.integers(-1, 2, length), 'sentence_distance': int(rng.integers(3))}
            sample = sample._replace(labels=labels, task_id=4)
        elif i % 3 == 2:
            labels = {'token_document': rng.integers(-1, 2, length), 'capitalization': rng.integers(-1, 2, length)}
            sample = sample._replace(labels={**labels, 'knowledge_masking': None}, task_id=2)
        samples.append(sample)
    return samples


def holds(samples, row, expected):
    """Whether a row of a `SampleSet` is a `Sample`."""
    tokens = slice(samples.offsets[row], samples.offsets[row + 1])
    lists = samples.token_ids, samples.sentence_types, samples.positions, samples.segments
    assert all(np.array_equal(a[tokens], b) for a, b in zip(lists, expected[:4], strict=True))
    assert samples.task_ids[row] == expected.task_id
    for name, column in COLUMN.items():
        value = samples.labels[row, column]
        if name not in expected.labels:
            assert value == -1
        elif expected.labels[name] is None:
            assert value == 0
        elif name in ('capitalization', 'token_document'):
            labels = samples.token_labels[value : value + len(expected.token_ids)]
            assert np.array_equal(labels, expected.labels[name])
        else:
            assert value == expected.labels[name]


@pytest.mark.parametrize('block_bytes', [7, 1000, 1 << 20])
@pytest.mark.parametrize('skip', [0, 1, 13, 39, 40])
def test_a_file_is_read_in_blocks_from_any_line_on(tmp_path, monkeypatch, block_bytes, skip):
    monkeypatch.setattr(sample_set, 'BLOCK_BYTES', block_bytes)
    expected = many_samples(40)
    sets = list(read_sets(write_samples(tmp_path / 'a.gz', expected), file=5, skip=skip))
    assert len(sets) > 10 or block_bytes > 7 or skip > 30
    if skip == 40:
        assert not sets
        return
    joined = concatenated(sets)
    assert joined.count == 40 - skip
    assert joined.lines.tolist() == list(range(skip + 1, 41))
    assert set(joined.files.tolist()) == {5}
    for row in range(joined.count):
        holds(joined, row, expected[skip + row])


def test_parts_and_rows_of_a_set():
    expected = many_samples(20)
    lines = [format_line(sample).encode() for sample in expected]
    whole = make_set(parse_lines(lines), np.arange(20), 0)
    pieces = [whole.part(0, 6), whole.part(6, 6), whole.part(6, 99)]
    assert [piece.count for piece in pieces] == [6, 0, 14]
    again = concatenated([pieces[2], pieces[0], pieces[1]])
    for row in range(20):
        holds(again, row, expected[(row + 6) % 20])
    rows = np.array([7, 3, 3, 19])
    for row, origin in enumerate(rows):
        holds(whole.take(rows), row, expected[origin])


def test_marks_and_line_ends_of_windows_and_a_last_line_without_end(tmp_path):
    expected = many_samples(3)
    path = tmp_path / 'plain.txt'
    for mark in (b'', b'\xef\xbb\xbf'):
        path.write_bytes(mark + '\r\n'.join(format_line(sample) for sample in expected).encode())
        samples = concatenated(list(read_sets(path)))
        for row in range(3):
            holds(samples, row, expected[row])


def test_a_bad_line_is_told_with_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_set, 'BLOCK_BYTES', 300)
    lines = [format_line(sample) for sample in many_samples(30)]
    lines[17] = lines[17].replace(';', ';x', 1)
    path = write_lines(tmp_path / 'a.gz', lines)
    for skip in (0, 16, 17):
        with pytest.raises(UserError, match=r"a\.gz:18: found 'x0' in sentence_type_ids"):
            list(read_sets(path, skip=skip))
    lines[17] = ''
    with pytest.raises(UserError, match=r'a\.gz:18: found an empty line'):
        list(read_sets(write_lines(tmp_path / 'a.gz', lines)))


def test_files_that_cannot_be_read(tmp_path):
    whole = gzip.compress('\n'.join(format_line(sample) for sample in many_samples(400)).encode())
    path = tmp_path / 'a.gz'
    cases = {
        'a damaged gzip file': whole[: len(whole) // 2],
        'a damaged gzip file (Not a gzipped': b'1;2;3;4;5\n',
        'a damaged gzip file (CRC': whole[:-8] + bytes(4) + whole[-4:],
        'a damaged gzip file (Error -3': whole[:200] + bytes(50) + whole[250:],
        'an empty file': gzip.compress(b''),
    }
    for text, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(UserError) as e:
            list(read_sets(path))
        assert f'found {text}' in str(e.value)
        assert str(e.value).startswith(f'{path}:') and '\n' not in str(e.value)
    with pytest.raises(UserError, match='no such file'):
        list(read_sets(tmp_path / 'none.gz'))
    with pytest.raises(UserError, match='found a folder'):
        list(read_sets(tmp_path))


def test_a_file_without_lines_is_not_taken_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_set, 'LONGEST_LINE', 5000)
    monkeypatch.setattr(sample_set, 'BLOCK_BYTES', 1000)
    (tmp_path / 'a.gz').write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(UserError, match='a line of more than 5000 bytes'):
        list(read_sets(tmp_path / 'a.gz'))


def test_ids_beyond_the_tables_are_told():
    tasks = make_tasks(['knowledge_masking', 'capitalization', 'sentence_distance', 'next_sentence'])
    good = many_samples(30)

    def check(row, limits=LIMITS, **change):
        samples = list(good)
        samples[row] = samples[row]._replace(**change)
        lines = [format_line(sample).encode() for sample in samples]
        check_limits(make_set(parse_lines(lines), np.arange(1, 31), 0), limits, tasks, 'f.gz')

    check(0)
    ids = good[8].token_ids.copy()
    ids[-1] = 97
    types, positions = good[9].sentence_types.copy(), good[10].positions.copy()
    types[0], positions[1] = 4, 60
    capital = good[11].labels['capitalization'].copy()
    capital[2] = 2
    wrong = [
        (8, {'token_ids': ids}, 'f.gz:9: found the token id 97, expected one below 97'),
        (9, {'sentence_types': types}, 'f.gz:10: found the sentence type 4, expected one below 4'),
        (10, {'positions': positions}, 'f.gz:11: found the position 60, expected one below 60'),
        (12, {'task_id': 9}, 'f.gz:13: found the task id 9, expected one below 9'),
        (
            11,
            {'labels': {'capitalization': capital}},
            'f.gz:12: found the capitalization label 2, expected one below 2',
        ),
        (13, {'labels': {'sentence_distance': 3}}, 'f.gz:14: found the sentence_distance label 3'),
        (0, {'labels': {'knowledge_masking': None, 'next_sentence': 2}}, 'f.gz:1: found the next_sentence label 2'),
    ]
    for row, change, text in wrong:
        with pytest.raises(UserError, match=text):
            check(row, **change)
    check(12, LIMITS._replace(tasks=None), task_id=9)
    check(11, labels={'ir_relevance': 50})  # not one of the chosen tasks


# ------------------------------------------------------------------------------------------------------- file lists


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    for name in ('a.gz', 'data/b.gz', 'data/a.gz'):
        (tmp_path / name).write_bytes(b'')
    return tmp_path


def test_names_belong_to_the_working_directory_or_to_the_list(folder):
    absolute = folder / 'data' / 'b.gz'
    (folder / 'data' / 'list').write_text(f'\ufeff./a.gz\t1.1\n\nb.gz\t0.5\r\n{absolute}\t0\n', encoding='utf-8')
    assert read_file_list('data/list') == [
        ListedFile('./a.gz', 1.1),
        ListedFile(os.path.join('data', 'b.gz'), 0.5),
        ListedFile(str(absolute), 0.0),
    ]


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('', 'list: found an empty list'),
        ('\n \n', 'list: found an empty list'),
        ('a.gz\t1.1\na.gz 1.1\n', "list:2: found 'a.gz 1.1', expected a path, a TAB and a probability"),
        ('a.gz\tyes', "list:1: found 'yes', expected a probability"),
        ('a.gz\t-0.5', "list:1: found '-0.5'"),
        ('a.gz\tnan', "list:1: found 'nan'"),
        ('a.gz\tinf', "list:1: found 'inf'"),
        ('a.gz\t1\nc.gz\t1', "list:2: found 'c.gz', which is no file"),
        ('data\t1', "list:1: found 'data', which is no file"),
    ],
)
def test_bad_lists(folder, text, error):
    (folder / 'list').write_text(text)
    with pytest.raises(UserError) as e:
        read_file_list('list')
    assert str(e.value).startswith(error)
    assert ('no file' in error) == (f'Names belong to the working directory, {folder},' in str(e.value))


def test_lists_that_cannot_be_read(folder):
    (folder / 'list').write_bytes(b'\xff\xfe\x00')
    for path, text in (('none', 'no such file'), ('data', 'found a folder'), ('list', 'not UTF-8')):
        with pytest.raises(UserError, match=text):
            read_file_list(path)
