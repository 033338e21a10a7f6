"""What cannot be used is refused in one line, with what was found and expected; and what elements must agree in."""

import functools
import gzip
import re

import numpy as np
import pytest

from propeller.data.dataset import Dataset
from propeller.errors import UserError


def numbers(n):
    return Dataset.from_list(list(range(n)))


def a_function():
    return [1, 2]


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda: Dataset.from_generator_func(a_function), 'found <function a_function.*expected a generator function'),
        (lambda: Dataset.from_generator_func(iter([1])), 'found <list_iterator.*expected a generator function'),
        (lambda: Dataset.from_list((1, 2)), 'from_list: found tuple, expected a list'),
        (lambda: Dataset.from_file('x', 'ZIP'), "from_file: found format 'ZIP', expected None or 'GZIP'"),
        (lambda: numbers(3).shuffle(0), 'shuffle: found buffer_size 0, expected a whole number from 1 on'),
        (lambda: numbers(3).shuffle(2.5), 'shuffle: found buffer_size 2.5, expected a whole'),
        (lambda: numbers(3).interleave(str, 0), 'interleave: found cycle_length 0, expected'),
        (lambda: numbers(3).interleave(str, 2, 0), 'interleave: found block_length 0, expected'),
        (lambda: list(numbers(3).interleave(abs, 2)), 'interleave: found 0 as what map_fn gives, expected a data set'),
        (lambda: numbers(3).shuffle(2, seed=[1]), r'shuffle: found seed \[1\], expected a number or a text'),
        (lambda: numbers(3).repeat('2'), "repeat: found n '2', expected a whole number\\."),
        (lambda: numbers(3).map(3), 'map: found 3, expected a function'),
        (lambda: numbers(3).filter(None), 'filter: found None, expected a function'),
        (lambda: numbers(3).iterate_from(-1), 'iterate_from: found start -1, expected a whole number from 0 on'),
        (lambda: numbers(3).shard(0, 0), 'shard: found num_shards 0, expected'),
        (lambda: numbers(3).shard(3, 3), r'shard: found index 3, expected one of 0 \.\. 2'),
        (lambda: numbers(3).shard(3, -1), 'shard: found index -1, expected a whole number from 0 on'),
        (lambda: numbers(3).take(-1), 'take: found count -1, expected'),
        (lambda: numbers(3).buffered(0), 'buffered: found size 0, expected'),
        (lambda: numbers(3).padded_batch(0), 'padded_batch: found batch_size 0, expected a whole number from 1 on'),
        (lambda: numbers(3).padded_batch('8'), "padded_batch: found batch_size '8', expected"),
        (lambda: numbers(3).padded_batch(2, max_seqlen=0), 'padded_batch: found max_seqlen 0, expected'),
        (lambda: setattr(numbers(3), 'data_shapes', [-1, 3]), r'data_shapes: found \[-1, 3\], expected a list of sh'),
        (lambda: setattr(numbers(3), 'data_types', 'int64'), "data_types: found 'int64', expected a list of types"),
        (lambda: setattr(numbers(3), 'data_types', ['int65']), r"data_types: found \['int65'\], expected"),
    ],
)
def test_arguments_that_cannot_be(make, text):
    with pytest.raises(UserError, match=text) as raised:
        make()
    assert '\n' not in str(raised.value)


def test_generator_functions_of_all_kinds():
    def count(n):
        yield from range(n)

    class Rows:
        def __call__(self):
            yield 7

    assert list(Dataset.from_generator_func(functools.partial(count, 3))) == [0, 1, 2]
    assert list(Dataset.from_generator_func(Rows())) == [7]


@pytest.mark.parametrize('start', [0, 3])
def test_a_file_that_is_cut_says_so_from_the_middle_too(tmp_path, start):
    (tmp_path / 'cut.gz').write_bytes(gzip.compress(b'abc\n' * 99999)[:-9])
    dataset = Dataset.from_file(tmp_path / 'cut.gz', 'GZIP')
    for use in (lambda: list(dataset.iterate_from(start)), dataset.count):
        with pytest.raises(UserError, match=r'cut\.gz: found a file that cannot be read .*, expected GZIP lines'):
            use()


def rows(*values):
    return Dataset.from_list(list(values))


A, B = np.arange(3), np.zeros((2, 2), np.float32)


@pytest.mark.parametrize(
    ('dataset', 'text'),
    [
        (rows((A, 1), (A, 2), (B, 3)), r'element 2, value 0: found float32 of shape \[2, 2\], expected int64 of 1 dim'),
        (
            rows((1, A), (2, A * 0.5)),
            r'element 1, value 1: found float64 of shape \[3\], expected int64 of 1 dimensions',
        ),
        (rows((A, 1), (A, 2), (A,)), 'element 2: found 1 value, expected 2'),
        (
            rows(B, B, B[:1]),
            r'element 2, value 0: found float32 of shape \[1, 2\], expected shape \[2, 2\], that of el',
        ),
        (
            rows((A, 1), (A, 2), (A, [[1, 2], [3]])),
            r'element 2, value 1: found \[\[1, 2\], \[3\]\], expected a number, a text',
        ),
        (rows((A, 1), (A, {'a': 1})), "element 1, value 1: found {'a': 1}, expected a number, a text or an array"),
        (rows(1, 2, 3, 4.5), r'element 3, value 0: found float64 of shape \[\], expected int64 of 0 dimensions'),
    ],
)
def test_elements_of_batches_that_differ(dataset, text):
    for size in (2, 9):
        if 'that of el' in text and size == 2:
            continue
        with pytest.raises(UserError, match=f'^padded_batch, {text}'):
            list(dataset.padded_batch(size))
    moved = Dataset.from_list([*(dataset.take() if 'value' in text else [(A, 1)]), *dataset])
    number = int(re.search(r'element (\d)', text).group(1))
    if 'that of el' not in text:
        with pytest.raises(UserError, match=f'element {number + 1}'):
            list(moved.padded_batch(1).iterate_from(1))


def test_empty_lists_have_the_type_of_the_others():
    (ids, label), (more, _) = rows(([1, 2], 0), ([], 1), ([], 0)).padded_batch(2)
    assert ids.tolist() == [[1, 2], [0, 0]] and ids.dtype == more.dtype == np.int64 and more.shape == (1, 0)
    (text,) = rows('a', 'four', b'x'.decode()).padded_batch(3)
    assert text[0].tolist() == ['a', 'four', 'x']


def test_texts_are_not_cut_to_the_length_of_the_first():
    texts = rows((np.array(['a']),), (np.array(['x', 'four']),))
    (batch,) = next(iter(texts.padded_batch(2, '[PAD]')))
    assert batch.tolist() == [['a', '[PAD]'], ['x', 'four']]
    with pytest.raises(UserError, match='value 0: found pad_value 0, expected a text'):
        list(texts.padded_batch(2))


@pytest.mark.parametrize(
    ('pads', 'text'),
    [
        ([0, 0, 0], 'found 3 values in pad_value, expected 2'),
        (0.5, 'value 0: found pad_value 0.5, expected a'),
        ([[1], 0], 'pad'),
    ],
)
def test_pad_values_that_do_not_fit(pads, text):
    with pytest.raises(UserError, match=text):
        list(rows((A, 1)).padded_batch(2, pads))


def test_elements_are_checked_against_the_inputs(logged):
    dataset = rows(*[(np.zeros((2, 3 + i)), np.ones(2, np.int64)) for i in range(3)])
    dataset.name = 'train'
    assert dataset.input_shapes() == [[-1, 3], [-1]]
    assert [x.shape for x, _ in dataset.checked_from(1)] == [(2, 4), (2, 5)]
    told = [line for line in logged if 'element' in line]
    assert len(told) == 1  # of sizes that vary, once
    assert (
        'data set train, element 1, value 0: found float64 of shape [2, 4], expected float64 of shape [-1, 3]'
        in told[0]
    )
    dataset.data_types = ['float32', 'int64']
    with pytest.raises(UserError, match=r'data set train, element 2, value 0: found float64 .*, expected float32 of'):
        list(dataset.checked_from(2))
    dataset.data_shapes, dataset.data_types = [[-1, None, 1], [-1]], (np.float64, 'int64')
    assert dataset.data_shapes == [[-1, -1, 1], [-1]] and dataset.data_types == ['float64', 'int64']
    with pytest.raises(
        UserError, match=r'element 0, value 0: found float64 of shape \[2, 3\], expected .* \[-1, -1, 1\]'
    ):
        list(dataset.checked_from())
    dataset.data_shapes = [[-1]]
    with pytest.raises(UserError, match='found 1 shapes and 2 types, expected as many'):
        _ = dataset.data_types


def test_shapes_of_batches_and_of_what_is_made_of_them():
    batches = rows((A, 1, B), (A[:1], 2, B)).map(lambda *row: tuple(map(np.asarray, row))).padded_batch(2)
    assert batches.data_shapes == [[-1, -1], [-1], [-1, 2, 2]] and batches.data_types == ['int64', 'int64', 'float32']
    for same in (
        batches.shuffle(2),
        batches.repeat(),
        batches.take(),
        batches.filter(len),
        batches.shard(1, 0),
        batches.buffered(),
    ):
        assert same == batches and same.input_shapes() == batches.data_shapes
    assert rows((A, A)).padded_batch(2, max_seqlen=5).data_shapes == [[-1, 5], [-1, 5]]
    batches.data_shapes = [[-1, 7], [-1], [-1, 2, 2]]
    assert batches.repeat().input_shapes() == batches.data_shapes
    assert batches.map(lambda a, b, c: a).data_shapes == [[2, 3]]
    assert list(rows((A, 1)).padded_batch(1).repeat(2))[1][0].tolist() == [[0, 1, 2]]
