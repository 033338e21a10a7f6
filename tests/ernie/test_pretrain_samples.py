import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.pretrain.samples import Sample, format_line, parse_line, parse_lines
from propeller.errors import UserError

OLD = '1 1490 17 2 66 2;0 0 0 0 1 1;0 1 2 3 4 5;-1 0 1 -1 0 -1;1'
NEW = '1 9 2;0 0 0;0 1 2;-1 0 -1;3;token_document=-1 1 -1;sentence_reordering=8;knowledge_masking='


def same(left, right):
    assert all(np.array_equal(a, b) for a, b in zip(left[:4], right[:4], strict=True))
    assert left.task_id == right.task_id
    assert left.labels.keys() == right.labels.keys()
    for name, label in left.labels.items():
        assert (label is None) == (right.labels[name] is None)
        assert label is None or np.array_equal(label, right.labels[name])


def sample_of(columns, row):
    """Sample number `row` of `parse_lines`."""
    end = np.cumsum(columns.lengths)[row]
    tokens = slice(end - columns.lengths[row], end)
    labels = {name: label for i, name, label in columns.labels if i == row}
    return Sample(*(values[tokens] for values in columns[:4]), columns.task_ids[row], labels)


def test_the_line_of_2019():
    sample = parse_line(OLD + '\n')
    assert sample.token_ids.tolist() == [1, 1490, 17, 2, 66, 2]
    assert sample.sentence_types.tolist() == [0, 0, 0, 0, 1, 1]
    assert sample.positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert sample.segments.tolist() == [-1, 0, 1, -1, 0, -1]
    assert sample.task_id == 0
    assert sample.labels == {'knowledge_masking': None, 'next_sentence': 1}
    assert format_line(sample) == OLD


def test_the_line_with_labels_of_several_tasks():
    sample = parse_line(NEW.encode() + b'\r\n')
    assert sample.task_id == 3
    assert sample.labels['token_document'].tolist() == [-1, 1, -1]
    assert sample.labels['sentence_reordering'] == 8
    assert sample.labels['knowledge_masking'] is None
    assert format_line(sample) == NEW


def test_both_forms_say_the_same():
    lists = OLD.rsplit(';', 1)[0]
    same(parse_line(OLD), parse_line(f'{lists};0;next_sentence=1;knowledge_masking='))
    assert format_line(parse_line(f'{lists};0;next_sentence=1;knowledge_masking=')) == OLD
    other = f'{lists};2;knowledge_masking=;next_sentence=1'  # the form of 2019 has task id 0
    assert format_line(parse_line(other)) == other


@st.composite
def samples(draw):
    length = draw(st.integers(1, 12))

    def numbers(first, last):
        return np.array(draw(st.lists(st.integers(first, last), min_size=length, max_size=length)))

    labels = {}
    for name in draw(st.permutations(['knowledge_masking', 'next_sentence', 'capitalization', 'ir_relevance'])):
        if draw(st.booleans()):
            labels[name] = numbers(-1, 2) if name == 'capitalization' else draw(st.integers(0, 70))
    if 'knowledge_masking' in labels:
        labels['knowledge_masking'] = None
    task_id = draw(st.integers(0, 20))
    if not labels:
        labels['sentence_distance'] = 2
    lists = numbers(0, 2**31 - 1), numbers(0, 127), numbers(0, 32767), numbers(-1, 1)
    return Sample(*lists, task_id, labels)


@settings(max_examples=200)
@given(st.lists(samples(), min_size=1, max_size=6))
def test_what_is_written_is_read_again(given_samples):
    lines = [format_line(sample) for sample in given_samples]
    columns = parse_lines([line.encode() for line in lines])
    for row, (sample, line) in enumerate(zip(given_samples, lines, strict=True)):
        same(parse_line(line), sample)
        same(sample_of(columns, row), sample)


PIECES = st.sampled_from(
    ['0', '1', '-1', '12', ' ', '  ', ';', '-', '=', 'x', '٣', '²', '1_0', '+1', '\t', '1-2', '9' * 19]
)


@pytest.mark.filterwarnings('error')
@settings(max_examples=500)
@given(
    st.lists(PIECES, max_size=12).map(''.join)
    | st.tuples(st.sampled_from([OLD, NEW]), st.integers(0, 60), st.integers(0, 3), PIECES).map(
        lambda t: t[0][: t[1]] + t[3] + t[0][t[1] + t[2] :]
    )
)
def test_many_lines_are_read_as_one_is(line):
    """The fast reading takes and refuses the same lines, with the same error, whatever stands before and behind."""
    block = [OLD.encode(), line.encode(), NEW.encode()]
    try:
        expected = parse_line(line, 'f', 8)
    except UserError as e:
        with pytest.raises(UserError) as found:
            parse_lines(block, 'f', 7)
        assert str(found.value) == str(e)
        assert str(e).startswith('f:8: found ')
    else:
        columns = parse_lines(block, 'f', 7)
        same(sample_of(columns, 0), parse_line(OLD))
        same(sample_of(columns, 1), expected)
        same(sample_of(columns, 2), parse_line(NEW))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    ('line', 'text'),
    [
        ('', 'an empty line, expected token_ids;'),
        ('1 2 3', "1 field ('1 2 3'), expected token_ids;"),
        ('1 2;0 0;0 1;0 0', "4 fields ('1 2;0 0;0 1;0 0'), expected"),
        ('1 x;0 0;0 1;0 0;1', "'x' in token_ids, expected whole numbers from 0 to 2147483647"),
        ('1 -2;0 0;0 1;0 0;1', "'-2' in token_ids"),
        ('1 2147483648;0 0;0 1;0 0;1', "'2147483648' in token_ids"),
        (f'1 {"7" * 5000};0 0;0 1;0 0;1', 'in token_ids'),
        ('1 2;0;0 1;0 0;1', '1 numbers in sentence_type_ids, expected 2 as in token_ids'),
        ('1 2;0 0;0 1 2;0 0;1', '3 numbers in position_ids, expected 2'),
        ('1 2;0 0;0 1;0;1', '1 numbers in seg_labels, expected 2'),
        ('1 2;0 0;0 1;0 2;1', "'2' in seg_labels, expected whole numbers from -1 to 1"),
        ('1 2;0 0;0 40000;0 0;1', "'40000' in position_ids"),
        (';;;;1', 'nothing in token_ids'),
        ('1 2;0 0;0 1;0 0;', "'' in next_sentence_label"),
        ('1 2;0 0;0 1;0 0;-1', "'-1' in next_sentence_label"),
        ('1 2;0 0;0 1;0 0;1.0', "'1.0' in next_sentence_label"),
        ('1 2;0 0;0 1;0 0;x;ir_relevance=1', "'x' in task_id"),
        ('1 2;0 0;0 1;0 0;0;relevance=1', "the field 'relevance=1', expected name=values with a name of knowledge_m"),
        ('1 2;0 0;0 1;0 0;0;ir_relevance', "the field 'ir_relevance'"),
        ('1 2;0 0;0 1;0 0;0;ir_relevance=1;ir_relevance=1', 'the field ir_relevance twice'),
        ('1 2;0 0;0 1;0 0;0;knowledge_masking=1', 'values in knowledge_masking'),
        ('1 2;0 0;0 1;0 0;0;capitalization=1', '1 numbers in capitalization, expected 2 as in token_ids'),
        ('1 2;0 0;0 1;0 0;0;capitalization=1 -2', "'-2' in capitalization"),
        ('1 2;0 0;0 1;0 0;0;capitalization=1x1', "'1x1' in capitalization"),
        ('1 2;0 0;0 1;0 0;0;capitalization=1 -', "'-' in capitalization"),
        ('1 2;0 0;0 1;0 0;0;capitalization=- 1 1', "'-' in capitalization"),
        ('1 2;0 0;0 1;0 -;1', "'-' in seg_labels"),
        ('1 2;0 0;0 1;0 0;0;ir_relevance=1 2', "'1 2' in ir_relevance"),
    ],
)
def test_a_bad_line_is_told(line, text):
    for read in (lambda: parse_line(line, 'data/a.gz', 7), lambda: parse_lines([line.encode()], 'data/a.gz', 7)):
        with pytest.raises(UserError) as e:
            read()
        assert str(e.value).startswith('data/a.gz:7: found ')
        assert text in str(e.value)
        assert len(str(e.value)) < 400


def test_bytes_that_are_no_text():
    with pytest.raises(UserError, match='f:2: found'):
        parse_lines([OLD.encode(), b'\xff\xfe;1;2;3;4'], 'f')


def test_blanks_more_or_less():
    same(parse_line(' 1  9 2 ;0 0 0;0 1 2;-1 0 -1; 1 '), parse_line('1 9 2;0 0 0;0 1 2;-1 0 -1;1'))
