"""The restricted unpickler: plain data come through as Python's own unpickler gives them, and nothing else does."""

import os
import pickle
import struct
import sys
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from propeller.errors import UserError
from propeller.storage.restricted_pickle import load

PROTOCOLS = [2, 3, 4, 5]
KEYS = st.one_of(st.text(max_size=9), st.integers(), st.binary(max_size=5), st.booleans(), st.none())
ARRAYS = hnp.arrays(
    st.sampled_from(['<f4', '>f8', 'f2', 'i1', '>i8', 'u2', '?']), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)
)
PLAIN = st.recursive(
    st.one_of(KEYS, st.floats(allow_nan=False), ARRAYS),
    lambda x: st.one_of(
        st.lists(x, max_size=4),
        st.dictionaries(KEYS, x, max_size=4),
        st.dictionaries(KEYS, x, max_size=3).map(OrderedDict),
        st.tuples(x, x, x, x),
        st.tuples(x),
        st.frozensets(KEYS, max_size=3),
        st.sets(KEYS, max_size=3),
    ),
    max_leaves=12,
)


def dump(tmp_path, value, protocol):
    path = tmp_path / 'x.pkl'
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@settings(max_examples=150)
@given(PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_data_come_back(tmp_path_factory, value, protocol):
    assert_same(load(dump(tmp_path_factory.mktemp('plain'), value, protocol)), value)


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_special_cases_come_back(tmp_path, protocol):
    table = np.arange(12.0).reshape(3, 4)
    shared = [1, 2]
    value = {
        'fortran': np.asfortranarray(table),
        'view': table[::2, 1:],
        'scalar': np.float32(0.1),
        'bool': np.array([True, False]),
        'empty': np.zeros((0, 3), np.int32),
        'shared': (shared, shared),
        'bytearray': bytearray(b'\xff\x00'),
        'no bytes': b'',
        'big': -(10**400),
        'text': '漢字 \U0001f600',
        'words': {'一', '丁'},
        'same array twice': [table, table],
    }
    back = load(dump(tmp_path, value, protocol))
    assert_same({**back, 'shared': 0}, {**value, 'shared': 0})
    assert back['shared'][0] is back['shared'][1]
    assert back['same array twice'][0] is back['same array twice'][1]


def test_old_numpy_and_python_2_names_are_known(tmp_path):
    value = {'w': np.arange(5, dtype=np.float32)}
    old = pickle.dumps(value, protocol=2).replace(b'numpy._core.multiarray', b'numpy.core.multiarray')
    assert b'numpy.core.multiarray' in old
    (tmp_path / 'x').write_bytes(old)
    np.testing.assert_array_equal(load(tmp_path / 'x')['w'], value['w'])
    # Python 2 wrote the content as text: SHORT_BINSTRING in the array's state.
    state = (
        b'(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'
    )
    array = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R' + state
    (tmp_path / 'y').write_bytes(b'\x80\x02' + array + b'\x89U\x08' + struct.pack('<2f', 1.5, -2) + b'tb.')
    np.testing.assert_array_equal(load(tmp_path / 'y'), np.array([1.5, -2], np.float32))


class Call:
    """Pickles to a call of any function."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def hostile_values(sentinel):
    touch = f'open({sentinel!r}, "w").close()'
    return {
        'os.system': Call(os.system, f'touch {sentinel}'),
        'exec': Call(exec, touch),
        'eval': Call(eval, touch),
        'eval with globals': Call(eval, touch, {}),
        'paddle form of eval, other text': Call(eval, touch, {'data': 1}),
        'eval data, other names': Call(eval, 'data', {'data': 1, 'x': 2}),
        'open': Call(open, sentinel, 'w'),
        'getattr': Call(getattr, 'x', 'upper'),
        'import': Call(__import__, 'os'),
        'numpy.load': Call(np.load, sentinel),
        'numpy.fromfile': Call(np.fromfile, sentinel),
        'numpy.memmap': Call(np.memmap, sentinel, 'u1', 'w+', 0, (4,)),
        'numpy.save': Call(np.save, sentinel, 1),
        'numpy.frompyfunc': Call(np.frompyfunc, 'x', 1, 1),
        'ndarray called': Call(np.ndarray, (2,)),
        'function as value': [os.system],
        'allowed function as value': {'x': np.dtype},
        'numpy type as value': np.dtype('f4'),
        'objects in an array': np.array([Call(os.system, f'touch {sentinel}'), None], object),
        'structured array': np.zeros(2, [('a', 'f4')]),
        'dates': np.zeros(2, 'M8[s]'),
        'text array': np.array(['a']),
        'class instance': Exception('x'),
        'complex': 1j,
        'range': range(3),
        'set of lists by state': Call(set, (Call(os.system, f'touch {sentinel}'),)),
    }


HOSTILE = sorted(hostile_values('x'))


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('case', HOSTILE)
def test_anything_else_is_refused_and_nothing_runs(tmp_path, case, protocol):
    sentinel = tmp_path / 'sentinel'
    path = dump(tmp_path, hostile_values(str(sentinel))[case], protocol)
    with pytest.raises(UserError, match='x.pkl: found .*Nothing in it was executed'):
        load(path)
    assert os.listdir(tmp_path) == ['x.pkl']


def op(text):
    """GLOBAL of a dotted name."""
    module, _, name = text.rpartition('.')
    return b'c' + module.encode() + b'\n' + name.encode() + b'\n'


RECONSTRUCT = op('numpy.core.multiarray._reconstruct') + op('numpy.ndarray') + b'K\x00\x85C\x01b\x87R'
DTYPE = op('numpy.dtype') + b'U\x02f4K\x00K\x01\x87R'
RAW = {
    'posix.system': op('posix.system') + b'U\x07echo hi\x85R.',
    'copyreg': op('copyreg._reconstructor') + op('builtins.object') + op('builtins.object') + b'N\x87R.',
    'numpy loads': op('numpy.core.multiarray.fromfile') + b'U\x01x\x85R.',
    'nested name': b'\x8c\x05numpy\x8c\x10ndarray.__class__\x93.',
    'name through module': b'\x8c\x02os\x8c\x06system\x93.',
    'name of numbers': b'K\x01K\x02\x93.',
    'inst': b'(U\x02idios\nsystem\n.',
    'obj': b'(' + op('numpy.ndarray') + b'o.',
    'newobj': op('numpy.ndarray') + b')\x81.',
    'newobj_ex': op('numpy.ndarray') + b')}\x92.',
    'extension': b'\x82\x01.',
    'persistent id': b'Pabc\n.',
    'binary persistent id': b'K\x01Q.',
    'out-of-band buffer': b'\x97.',
    'build on a dict': b'}}U\x01xK\x01sb.',
    'build on a function': op('numpy.dtype') + b'}U\x08__code__K\x01sb.',
    'build on nothing': b'}b.',
    'array of another class': op('numpy.core.multiarray._reconstruct') + op('numpy.dtype') + b'K\x00\x85C\x01b\x87R.',
    'array without state': RECONSTRUCT + b'.',
    'array, state with attributes': RECONSTRUCT + b'}U\x05shapeK\x01sb.',
    'array, content is a list': RECONSTRUCT + b'(K\x01K\x01\x85' + DTYPE + b'\x89]tb.',
    'array, huge shape': RECONSTRUCT + b'(K\x01J\xff\xff\xff\x7f\x85' + DTYPE + b'\x89C\x04abcdtb.',
    'array, negative shape': RECONSTRUCT + b'(K\x01J\xff\xff\xff\xff\x85' + DTYPE + b'\x89C\x04abcdtb.',
    'empty array, impossible shape': RECONSTRUCT
    + b'(K\x01K\x00\x8a\x08'
    + b'\xff' * 7
    + b'\x7f\x86'
    + DTYPE
    + b'\x89C\x00tb.',
    'array, no type': RECONSTRUCT + b'(K\x01K\x01\x85N\x89C\x04abcdtb.',
    'object type': op('numpy.dtype') + b'U\x01OK\x00K\x01\x87R.',
    'memo bomb': b'Nr\xff\xff\xff\x7f.',
    'unknown memo': b'h\x05.',
    'huge bytes': b'\x8e' + struct.pack('<Q', 1 << 62) + b'abc.',
    'huge text': b'\x8d' + struct.pack('<Q', 1 << 62) + b'abc.',
    'huge bytearray': b'\x96' + struct.pack('<Q', 1 << 40) + b'abc.',
    'huge number': b'\x8b' + struct.pack('<i', (1 << 31) - 1) + b'abc.',
    'no end': b'K\x01',
    'nothing to return': b'.',
    'mark returned': b'(.',
    'two values': b'K\x01K\x02.',
    'group without start': b'K\x01t.',
    'unhashable key': b'}]K\x01s.',
    'array as key': b'}' + RECONSTRUCT + b'K\x01s.',
    'deep key': b'}N' + b'\x85' * 100_000 + b'K\x01s.',
    'key without value': b'}(K\x01u.',
    'append to a dict': b'}K\x01a.',
    'utf-16 encoding': op('_codecs.encode') + b'X\x01\x00\x00\x00aU\x06utf_16\x86R.',
    'too many arguments': op('_codecs.encode') + b'(K\x01K\x01K\x01K\x01tR.',
    'call of text': b'U\x01x)R.',
    'not utf-8': b'X\x01\x00\x00\x00\xff.',
    'bad float': b'Fabc\n.',
    'bad instruction': b'\xff.',
    'big decimal': b'I' + b'9' * 10_000 + b'\n.',
    'nonlatin content': op('_codecs.encode') + 'X\x03\x00\x00\x00漢'.encode() + b'U\x06latin1\x86R.',
}


@pytest.mark.parametrize('case', [c for c in RAW if c != 'memo bomb'])
def test_hand_made_streams_are_refused(tmp_path, case):
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x04' + RAW[case])
    with pytest.raises(UserError, match='x.pkl: found '):
        load(tmp_path / 'x.pkl')


def test_memory_stays_bounded(tmp_path, monkeypatch):
    resource = pytest.importorskip('resource')
    path = tmp_path / 'x.pkl'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # A large memo index costs an entry, not a table of that size.
    path.write_bytes(b'\x80\x04' + RAW['memo bomb'])
    assert load(path) is None
    # One text of 4 MB turned into bytes again and again.
    text = b'\x8d' + struct.pack('<Q', 4_000_000) + b'a' * 4_000_000
    bomb = b'\x80\x04]' + text + b'q\x010(' + (op('_codecs.encode') + b'h\x01\x8c\x06latin1\x86R') * 500 + b'e.'
    path.write_bytes(bomb)
    with pytest.raises(UserError, match='more data than the file holds'):
        load(path)
    if sys.platform == 'linux':
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    path.write_bytes(b'\x80\x04(' + b']' * 1000 + b'l.')
    assert len(load(path)) == 1000
    with pytest.raises(UserError, match='too many containers'):
        load(path, max_containers=1000)
    with pytest.raises(UserError, match='more than 900 steps'):
        load(path, max_opcodes=900)


def test_refusals_say_why(tmp_path):
    fields = DTYPE + b'(K\x03U\x01<N(U\x01at}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb.'
    key = b'}N' + b'\x85' * 5 + b'K\x01s.'
    for stream, text in [(fields, 'found a structured numpy type'), (key, 'found a key that is a tuple')]:
        (tmp_path / 'x').write_bytes(b'\x80\x04' + stream)
        with pytest.raises(UserError, match=text):
            load(tmp_path / 'x')


@pytest.mark.parametrize('protocol', [0, 1, 6])
def test_other_protocols_are_refused(tmp_path, protocol):
    data = pickle.dumps({'a': np.ones(2)}, protocol=protocol) if protocol < 2 else b'\x80\x06N.'
    (tmp_path / 'x.pkl').write_bytes(data)
    if protocol < 2:
        # Without the PROTO instruction a stream is read by the same rules.
        np.testing.assert_array_equal(load(tmp_path / 'x.pkl')['a'], np.ones(2))
    else:
        with pytest.raises(UserError, match='protocol 6; 2 to 5'):
            load(tmp_path / 'x.pkl')


@settings(max_examples=200)
@given(st.data())
def test_damaged_files_are_refused_or_plain(tmp_path_factory, data):
    whole = pickle.dumps(
        {'w': np.arange(6.0), 'x': ['a', (1, 2)], 'y': {1}}, protocol=data.draw(st.sampled_from(PROTOCOLS))
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=3))
    path = tmp_path_factory.mktemp('damaged') / 'x'
    path.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
    try:
        value = load(path)
    except UserError as e:
        assert str(path) in str(e)
    else:
        pickle.dumps(value)


def test_missing_empty_and_foreign_files_are_named(tmp_path):
    (tmp_path / 'empty').write_bytes(b'')
    (tmp_path / 'text').write_text('hello')
    for name, text in [('none', 'no such file'), ('empty', 'found nothing'), ('text', 'found ')]:
        with pytest.raises(UserError, match=text) as e:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(e.value)


LONG_NAME = b'X\x10\x27\x00\x00' + b's' * 10_000


@pytest.mark.parametrize('start', [b'K\x01', LONG_NAME])
@pytest.mark.parametrize('form', [b'}%sK\x01s.', b'\x8f(%s\x90.', b'(%s\x91.', b'cbuiltins\nset\n(%sl\x85R.'])
def test_what_references_could_make_large_is_no_key(tmp_path, start, form):
    stream = start + b'q\x000'
    for level in range(3):
        stream += b'(' + b'h%c' % level * 200 + b'tq%c0' % (level + 1)
    (tmp_path / 'x').write_bytes(b'\x80\x04' + stream + form.replace(b'%s', b'h\x03'))
    with pytest.raises(UserError, match='found a key that is a tuple'):
        load(tmp_path / 'x')


@pytest.mark.parametrize(
    'key, found',
    [
        (10**5000, 'a key that is a number of 16610 bits'),
        ('s' * 5000, 'a name of 5000 characters'),
        ('\ud800', 'half of a surrogate pair'),
        ((1, 2), 'a key that is a tuple'),
    ],
    ids=['number', 'long', 'surrogate', 'tuple'],
)
def test_keys_are_names_and_numbers_of_a_sensible_length(tmp_path, key, found):
    text = pickle.dumps({key: 1}, protocol=4)
    (tmp_path / 'x').write_bytes(text)
    with pytest.raises(UserError, match=found):
        load(tmp_path / 'x')


def test_shapes_of_huge_numbers_are_not_multiplied(tmp_path):
    state = pickle.dumps(np.zeros(2, np.float32), protocol=2)
    at = state.index(b'K\x02\x85')
    huge = pickle.dumps(1 << 8000, protocol=2)[2:-1]
    (tmp_path / 'x').write_bytes(state[:at] + b'(' + huge * 20 + b't' + state[at + 3 :])
    with pytest.raises(UserError, match='a numpy array with an impossible shape'):
        load(tmp_path / 'x')


def test_calls_on_one_remembered_list_are_counted(tmp_path):
    items = b'(' + b'K\x01' * 4000 + b'lq\x000'
    (tmp_path / 'x').write_bytes(b'\x80\x04' + items + b'(' + b'cbuiltins\nset\nh\x00\x85R' * 2000 + b't.')
    with pytest.raises(UserError, match='calls that make more data than the file holds'):
        load(tmp_path / 'x')


def test_a_key_twice_is_refused(tmp_path):
    """Python takes the later value without a word."""
    twice = b'\x80\x02}(X\x01\x00\x00\x00wK\x01X\x01\x00\x00\x00wK\x02u.'
    assert pickle.loads(twice) == {'w': 2}
    pairs = b'\x80\x02ccollections\nOrderedDict\n](](X\x01\x00\x00\x00wK\x01e](X\x01\x00\x00\x00wK\x02ee\x85R.'
    assert pickle.loads(pairs) == {'w': 2}
    for content, text in ((twice, "the key 'w' twice"), (pairs, 'a key twice')):
        (tmp_path / 'x.pkl').write_bytes(content)
        with pytest.raises(UserError, match=text):
            load(tmp_path / 'x.pkl')
