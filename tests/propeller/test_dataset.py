import gzip
import itertools

import numpy as np
import pytest

from propeller.data.dataset import Dataset
from propeller.errors import UserError


def numbers(n):
    return Dataset.from_list(list(range(n)))


def test_sources_are_re_iterable():
    def gen():
        yield from 'abc'

    made = Dataset.from_generator_func(gen)
    assert list(made) == list(made) == ['a', 'b', 'c']
    with pytest.raises(ValueError, match='generator function'):
        Dataset.from_generator_func(lambda: [1])
    with pytest.raises(ValueError, match='found tuple'):
        Dataset.from_list((1, 2))


def test_iterators_of_one_data_set_do_not_disturb_each_other():
    dataset = numbers(9).shuffle(4, seed=1).interleave(lambda i: numbers(i), 2).repeat(2).padded_batch(2)
    whole, one = [batch[0].tolist() for batch in dataset], []
    for i, batch in enumerate(dataset):
        one.append(batch[0].tolist())
        assert [batch[0].tolist() for batch in dataset.take(i)] == whole[:i]
    assert one == whole


def test_from_file(tmp_path):
    content = b'one\ntwo\r\n\x85 \xff\nlast'
    (tmp_path / 'a.txt').write_bytes(content)
    (tmp_path / 'a.gz').write_bytes(gzip.compress(content, mtime=0))
    expected = [b'one\n', b'two\r\n', b'\x85 \xff\n', b'last']
    assert list(Dataset.from_file(tmp_path / 'a.txt')) == expected
    assert list(Dataset.from_file(tmp_path / 'a.gz', format='GZIP')) == expected
    with pytest.raises(ValueError, match='ZIP'):
        Dataset.from_file(tmp_path / 'a.txt', format='ZIP')


@pytest.mark.parametrize(
    ('name', 'content', 'format', 'message'),
    [
        ('empty.txt', b'', None, 'an empty file'),
        ('empty.gz', gzip.compress(b'', mtime=0), 'GZIP', 'an empty file'),
        ('plain.gz', b'text', 'GZIP', 'Not a gzipped file'),
        ('cut.gz', gzip.compress(b'text' * 99, mtime=0)[:-9], 'GZIP', 'cannot be read'),
        ('missing', None, None, 'no such file'),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, format, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(Dataset.from_file(tmp_path / name, format))


def test_map_spreads_tuples_and_lists():
    assert list(Dataset.from_list([(1, 2), [3, 4]]).map(lambda a, b: a * b)) == [2, 12]
    assert list(numbers(3).map(lambda x: x + 1)) == [1, 2, 3]


def test_filter_takes_truth_not_the_literal_true():
    assert list(numbers(6).filter(lambda x: x % 2)) == [1, 3, 5]
    assert list(numbers(4).filter(lambda x: np.bool_(x > 1))) == [2, 3]


@pytest.mark.parametrize('buffer_size', [1, 4, 100])
def test_shuffle_keeps_all_and_stays_within_the_reservoir(buffer_size):
    out = list(numbers(30).shuffle(buffer_size, seed=1))
    assert sorted(out) == list(range(30))
    # An element cannot leave before it has come in, and `buffer_size` are in when the first leaves.
    assert all(value <= place + buffer_size - 1 for place, value in enumerate(out))
    assert (out == list(range(30))) == (buffer_size == 1)
    assert out == list(numbers(30).shuffle(buffer_size, seed=1))


def test_shuffle_is_uniform_when_the_buffer_holds_all():
    made = numbers(3).shuffle(3)
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for _ in range(3000):
        counts[tuple(made)] += 1
    assert min(counts.values()) > 380  # 500 expected, standard deviation 20


def test_repeat_reads_the_source_again_and_keeps_nothing():
    passes = []

    def gen():
        passes.append(1)
        yield from (1, 2)

    made = Dataset.from_generator_func(gen)
    assert list(made.repeat(3)) == [1, 2] * 3
    assert len(passes) == 3
    assert list(itertools.islice(made.repeat(), 7)) == [1, 2, 1, 2, 1, 2, 1]
    assert list(made.repeat(0)) == []
    assert list(Dataset.from_list([]).repeat()) == []


def test_interleave():
    made = Dataset.from_list(['ABCDE', 'FG', 'HIJ', 'K'])
    assert ''.join(made.interleave(str, cycle_length=2, block_length=1)) == 'AFBGCDHEIJK'
    assert ''.join(made.interleave(str, cycle_length=2, block_length=2)) == 'ABFGCDEHIKJ'
    assert ''.join(made.interleave(str, cycle_length=9, block_length=9)) == 'ABCDEFGHIJK'
    assert list(numbers(2).interleave(lambda x: [None, x], cycle_length=2)) == [None, None, 0, 1]


def test_shard_and_take():
    assert [list(numbers(7).shard(3, i)) for i in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match='index 3'):
        numbers(7).shard(3, 3)
    assert list(numbers(7).take(2)) == [0, 1]
    assert list(numbers(7).take()) == [0]
    assert list(numbers(1).take(5)) == [0]


def test_buffered_passes_on_items_and_errors():
    assert list(numbers(25).buffered(3)) == list(range(25))
    made = numbers(5).map(lambda x: 1 // (3 - x)).buffered(2)
    items = iter(made)
    assert [next(items) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_stop_iteration_in_a_function_is_an_error_not_an_end():
    with pytest.raises(RuntimeError):
        list(numbers(3).map(lambda x: next(iter([]))))


def test_padded_batch():
    rows = [(np.array([1, 2, 3]), 0.5), (np.array([4]), 1.5), (np.array([5, 6]), 2.5)]
    first, last = Dataset.from_list(rows).padded_batch(2, pad_value=[-1, 0])
    assert first[0].tolist() == [[1, 2, 3], [4, -1, -1]] and first[0].dtype == np.int64
    assert first[1].tolist() == [0.5, 1.5] and first[1].dtype == np.float64
    assert last[0].tolist() == [[5, 6]] and last[1].tolist() == [2.5]
    cut = next(iter(Dataset.from_list(rows).padded_batch(3, max_seqlen=2)))
    assert cut[0].tolist() == [[1, 2], [4, 0], [5, 6]]
    wide = next(iter(Dataset.from_list(rows).padded_batch(1, max_seqlen=4)))
    assert wide[0].tolist() == [[1, 2, 3, 0]]
    single = list(Dataset.from_list([np.ones((2, 2), np.float32)] * 3).padded_batch(2))
    assert [batch[0].shape for batch in single] == [(2, 2, 2), (1, 2, 2)] and single[0][0].dtype == np.float32
    with pytest.raises(ValueError, match='batch_size 0'):
        numbers(3).padded_batch(0)


def test_apply_and_name():
    made = numbers(5)
    made.name = 'five'
    assert list(made.apply(lambda items: itertools.pairwise(items))) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert made.map(str).take(2).name == 'five'


def test_apply_takes_what_was_written_in_2019():
    def every_second(dataset):
        def gen():
            yield from itertools.islice(dataset(), 0, None, 2)

        return gen

    made = numbers(5).apply(every_second)
    assert list(made) == list(made) == list(made.generator()) == [0, 2, 4] and list(made.iterate_from(1)) == [2, 4]
    assert list(numbers(3).apply(lambda items: items)) == list(numbers(3).apply(lambda items: items())) == [0, 1, 2]
    with pytest.raises(UserError, match='apply: found 3 as what transform gives, expected an iterator'):
        list(numbers(5).apply(lambda items: 3))


def test_shapes_and_types_come_from_the_first_element():
    made = Dataset.from_list([(np.zeros((3, 2), np.float32), np.int64(4))])
    assert made.data_shapes == [[3, 2], []] and made.data_types == ['float32', 'int64']
    made.data_shapes = [[-1, 2], []]
    assert made.data_shapes == [[-1, 2], []] and made.data_types == ['float32', 'int64']
    with pytest.raises(ValueError, match='found str in the first element, expected numpy arrays'):
        _ = Dataset.from_list(['a']).data_shapes
    with pytest.raises(UserError, match='found no element'):
        _ = Dataset.from_list([]).data_types


def test_equality():
    one, two = Dataset.from_list([np.zeros(3)]), Dataset.from_list([np.ones(3)])
    assert one == two
    two.name = 'other'
    assert one != two
    assert one != Dataset.from_list([np.zeros(3, np.int64)])
    assert one != 5


# ---------------------------------------------------------------- going on from the middle


def lines_of(folder, count):
    (folder / 'lines.txt').write_text(''.join(f'{i}\n' for i in range(count)))
    return Dataset.from_file(folder / 'lines.txt').map(int)


def unseekable(n):
    return Dataset(lambda: iter(range(n)))


OPERATIONS = {
    'map': lambda d: d.map(lambda *x: (x, x)),
    'filter': lambda d: d.filter(lambda *x: len(str(x)) % 3),
    'shuffle': lambda d: d.shuffle(5, seed=3),
    'shuffle all': lambda d: d.shuffle(100, seed=4),
    'repeat': lambda d: d.repeat(3),
    'for ever': lambda d: d.repeat(),
    'never': lambda d: d.repeat(0),
    'shard': lambda d: d.shard(3, 1),
    'take': lambda d: d.take(17),
    'interleave': lambda d: d.interleave(lambda *x: [x, x], cycle_length=2),
    'apply': lambda d: d.apply(lambda elements: elements),
}


@pytest.mark.parametrize('source', ['list', 'file', 'unseekable', 'empty'])
def test_an_iteration_from_the_middle_gives_what_one_from_the_beginning_gives(tmp_path, source):
    made = {'list': numbers(23), 'file': lines_of(tmp_path, 23), 'unseekable': unseekable(23), 'empty': numbers(0)}
    for names in itertools.product(OPERATIONS, repeat=2):
        dataset = OPERATIONS[names[1]](OPERATIONS[names[0]](made[source]))
        whole = list(itertools.islice(dataset, 60))
        assert dataset.count() in (None, len(whole)) or len(whole) == 60 <= dataset.count(), names
        for start in (0, 1, 5, 18, 23, 24, 50):
            assert list(itertools.islice(dataset.iterate_from(start), max(60 - start, 0))) == whole[start:], names


def test_batches_go_on_from_the_middle():
    dataset = (
        Dataset.from_list([(np.arange(n), n) for n in range(1, 12)]).shuffle(3, seed=1).padded_batch(3).buffered(2)
    )
    whole, rest = list(dataset), list(dataset.iterate_from(2))
    assert dataset.count() == len(whole) == 4
    for batch, expected in zip(rest, whole[2:], strict=True):
        for array, other in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize('source', ['list', 'file', 'generator'])
def test_elements_before_the_middle_are_not_made(tmp_path, source):
    made = []
    rows = {
        'list': numbers(1000),
        'file': lines_of(tmp_path, 1000),
        'generator': Dataset.from_generator_func(
            lambda start=0: (yield from range(start, 1000)),
            start_at=lambda start: iter(range(start, 1000)),
            count=lambda: 1000,
        ),
    }[source]
    dataset = rows.map(lambda x: (made.append(x), x)[1]).shuffle(20, seed=1).repeat()
    whole = list(itertools.islice(dataset, 2600))
    made.clear()
    assert list(itertools.islice(dataset.iterate_from(2500), 100)) == whole[2500:]
    assert len(made) < 100 + 20 + 20 * 8 and min(made) > 300  # the buffer, and how far back its oldest element came in


def test_without_a_seed_the_count_of_the_elements_stays():
    dataset = numbers(30).shuffle(4)
    assert dataset.count() == 30 and len(list(dataset.iterate_from(11))) == 19
