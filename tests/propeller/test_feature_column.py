"""Columns: raw text to protobuf and to arrays, vocabularies, and columns of a user."""

import numpy as np
import pytest

import propeller.data
import propeller.paddle as propeller_paddle
from propeller.data.example import BytesList, Feature, FloatList
from propeller.data.feature_column import (
    Column,
    FeatureColumns,
    IdsColumn,
    LabelColumn,
    TextColumn,
    TextIDColumn,
    basic_tokenizer,
)
from tests.propeller.feature_columns import WORDS, plain, refused


def test_the_names_of_2019():
    for name in ('Column', 'FeatureColumns', 'LabelColumn', 'TextColumn', 'TextIDColumn', 'Dataset', 'basic_tokenizer'):
        assert getattr(propeller.data, name) is getattr(propeller_paddle.data, name)
    with pytest.raises(AttributeError):
        propeller.data.no_such_name  # noqa: B018


def test_basic_tokenizer():
    assert list(basic_tokenizer('今天  天气 '.encode())) == ['今天'.encode(), '天气'.encode()]


@pytest.mark.parametrize('given', ['bytes', 'str', 'file'])
@pytest.mark.parametrize('tokenizer', [basic_tokenizer, lambda raw: iter(raw.decode('utf-8', 'replace').split())])
def test_text_columns(tmp_path, given, tokenizer):
    words = ['[PAD]', '[UNK]', '今天', 'é', '오늘']
    (tmp_path / 'vocab.txt').write_text('\n'.join(words) + '\n', encoding='utf-8')
    if given == 'file':
        column = TextColumn('t', 1, vocab_file=tmp_path / 'vocab.txt', tokenizer=tokenizer)
    else:
        entries = {word if given == 'str' else word.encode(): i for i, word in enumerate(words)}
        column = TextColumn('t', 1, vocab_dict=entries, tokenizer=tokenizer)
    assert column.vocab == {word.encode(): i for i, word in enumerate(words)}
    for text, ids in (('今天 é 오늘 x', [2, 3, 4, 1]), ('', []), ('오늘', [4])):
        made = column.raw_to_instance(text.encode())
        assert made.tolist() == ids and made.dtype == np.int64
        assert column.proto_to_instance(column.raw_to_proto(text.encode())).tolist() == ids
    assert (column.output_shapes, column.output_types) == ([-1], 'int64')


def test_label_and_id_columns(tmp_path):
    (tmp_path / 'labels').write_bytes('体育\r\nfinance\n\nother\n'.encode())
    label = LabelColumn('l', vocab_file=tmp_path / 'labels')
    assert [int(label.raw_to_instance(raw)) for raw in ('体育'.encode(), b' finance ', b'other')] == [0, 1, 3]
    assert int(LabelColumn('l', vocab_dict={'体育': 7}).raw_to_instance('体育'.encode())) == 7
    made = LabelColumn('l').proto_to_instance(LabelColumn('l').raw_to_proto(b'-3'))
    assert made.shape == () and made.dtype == np.int64 and made == -3
    ids = TextIDColumn('i')
    for raw, expected in ((b'3 0  18000 ', [3, 0, 18000]), (b'', []), (b'-1 9223372036854775807', [-1, 2**63 - 1])):
        assert ids.raw_to_instance(raw).tolist() == expected == ids.proto_to_instance(ids.raw_to_proto(raw)).tolist()


def test_values_that_a_column_refuses():
    refused(lambda: LabelColumn('l').raw_to_instance(b'1_0'), "column l: found '1_0', expected a whole number")
    refused(lambda: LabelColumn('l').raw_to_instance(b''), "column l: found '', expected a whole number")
    refused(lambda: LabelColumn('l').raw_to_instance('１'.encode()), 'expected a whole number')
    refused(lambda: LabelColumn('l', {'a': 0, '好': 1}).raw_to_proto(b'c'), "the label 'c'", 'one of a, 好 (column l')
    refused(lambda: TextIDColumn('i').raw_to_instance(b'1 x 2'), "column i: found 'x', expected a whole number")
    refused(lambda: TextIDColumn('i').raw_to_proto(b'9223372036854775808'), 'the number 9223372036854775808')
    refused(lambda: TextIDColumn('i').raw_to_proto(b'9' * 5000), 'expected a whole number')
    refused(lambda: TextColumn('t', 1, vocab_dict=WORDS, tokenizer=lambda raw: raw).raw_to_proto(b'ab'), 'bytes or str')
    refused(lambda: LabelColumn('l').proto_to_instance(Feature(float_list=FloatList([1.0]))), 'found a float_list')
    refused(lambda: LabelColumn('l').proto_to_instance(TextIDColumn('l').raw_to_proto(b'1 2')), 'found 2 values')


def test_vocabularies_that_cannot_be(tmp_path):
    path = tmp_path / 'vocab.txt'

    def text(**given):
        return TextColumn('t', **{'unk_id': 1, **given})

    refused(text, 'column t: found no vocabulary, expected vocab_file or vocab_dict')
    refused(lambda: text(vocab_dict=WORDS, vocab_file=path), 'found vocab_dict and vocab_file, expected one')
    refused(lambda: text(vocab_dict={}), 'found an empty dict')
    refused(lambda: text(vocab_dict=['a']), 'found a list')
    refused(lambda: text(vocab_dict={'a': 0, b'a': 1}), "found 'a' twice, as bytes and as str, with the ids 0 and 1")
    refused(lambda: text(vocab_dict={'a': '0'}), "found the id '0' of 'a', expected an int")
    refused(lambda: text(vocab_dict={'a': 2**63}), 'expected one of 64 bits')
    refused(lambda: text(vocab_dict={3: 0}), 'found the key 3')
    refused(lambda: text(vocab_dict=WORDS, unk_id=7), 'found unk_id 7, expected an id of column t: vocab_dict: 0 to 6')
    refused(lambda: text(vocab_dict=WORDS, unk_id=None), 'found unk_id None, expected the id of the word')
    refused(lambda: text(vocab_dict=WORDS, tokenizer='x'), "found the tokenizer 'x', expected a function")
    refused(lambda: text(vocab_file=path), 'vocab.txt: found no such file')
    path.write_bytes(b'\n\n')
    refused(lambda: text(vocab_file=path), 'vocab.txt: found an empty file')
    path.write_bytes(b'a\nb\n')
    refused(lambda: text(vocab_file=path, unk_id=2), f'expected an id of {path}: 0 to 1')
    path.write_bytes(b'a\t0\nb\t1\n')
    assert text(vocab_file=path).vocab == {b'a': 0, b'b': 1}
    path.write_bytes(b'a\t0\nb\t2\n')
    refused(lambda: text(vocab_file=path), f'{path}:2: found', 'or entry<TAB>1')


def test_a_word_that_comes_twice_has_its_later_id(tmp_path, caplog):
    (tmp_path / 'v').write_bytes(b'a\nb\na\n')
    assert LabelColumn('l', vocab_file=tmp_path / 'v').vocab == {b'a': 2, b'b': 1}
    assert "'a' on line 1 and again on line 3: id 2 holds" in caplog.text


class Weights(Column):
    """Floats between commas, and the text itself as bytes: a column of a user."""

    output_shapes, output_types = [2], 'float32'

    def raw_to_proto(self, raw):
        return Feature(float_list=FloatList(value=[float(part) for part in raw.split(b',')]))

    def proto_to_instance(self, feature):
        return np.array(feature.float_list.value, np.float32)


class Raw(Column):
    output_shapes, output_types = [-1], 'uint8'

    def __init__(self, name):
        self.name = name

    def raw_to_proto(self, raw):
        return Feature(bytes_list=BytesList(value=[raw]))

    def proto_to_instance(self, feature):
        return np.frombuffer(feature.bytes_list.value[0], np.uint8)

    def raw_to_instance(self, raw):
        return np.frombuffer(raw, np.uint8)


@pytest.mark.parametrize('use_gz', [False, True])
def test_columns_of_a_user(tmp_path, use_gz):
    (tmp_path / 'd').mkdir()
    (tmp_path / 'd' / 'x').write_bytes('0.5,-2\t好\n1,3e5\t\n'.encode())
    made = FeatureColumns([Weights('w'), Raw('r')]).build_dataset('t', use_gz, data_dir=tmp_path / 'd', repeat=False)
    assert plain(made) == [[[0.5, -2.0], list('好'.encode())], [[1.0, 3e5], []]]
    assert (made.data_shapes, made.data_types) == ([[2], [-1]], ['float32', 'uint8'])
    (tmp_path / 'd' / 'x').write_bytes(b'1,x\t\n')
    with pytest.raises(ValueError) as caught:
        list(FeatureColumns([Weights('w'), Raw('r')]).build_dataset('t', use_gz, data_dir=tmp_path / 'd'))
    assert caught.value.__notes__ == [f'{tmp_path / "d" / "x"}:1: in column w']


class Codes(IdsColumn):
    def ids(self, raw):
        return [ord(c) if c != '!' else 0.5 for c in raw.decode()]


def test_a_user_writes_the_ids_of_a_column():
    column = Codes('codes')
    assert (column.output_shapes, column.output_types) == ([-1], 'int64')
    for text in ('好a', ''):
        raw = text.encode()
        for made in (column.raw_to_instance(raw), column.proto_to_instance(column.raw_to_proto(raw))):
            assert made.tolist() == [ord(c) for c in text] and made.dtype == np.int64
    for way in (column.raw_to_instance, column.raw_to_proto):
        with pytest.raises(TypeError):  # a fraction is not cut off
            way(b'a!')
    with pytest.raises(NotImplementedError, match=r'IdsColumn\.ids'):
        IdsColumn('x').raw_to_instance(b'')


def test_columns_that_cannot_be():
    refused(lambda: FeatureColumns([]), 'found no column')
    refused(lambda: FeatureColumns(['x']), 'found a str, expected columns')
    refused(lambda: FeatureColumns([LabelColumn('a'), TextIDColumn('a')]), 'found the names a, a')
    with pytest.raises(NotImplementedError, match='Column.raw_to_proto'):
        Column('x').raw_to_instance(b'')
