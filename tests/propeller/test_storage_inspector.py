"""`propeller.tools.ckpt_inspector`."""

import io
import os
import struct
import threading

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.storage.fluid import write_variable
from propeller.tools import ckpt_inspector


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'params' / 'inner').mkdir(parents=True)
    write_variable(tmp_path / 'params' / 'fc.b_0', np.array([1.5, -2], np.float32))
    write_variable(tmp_path / 'params' / 'inner' / 'ids', np.arange(6).reshape(2, 3))
    write_variable(tmp_path / 'params' / 'half', np.ones(2, np.float16))
    (tmp_path / 'params' / 'meta').write_text('{}')
    return tmp_path / 'params'


def with_levels(path):
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack('<QQ', 1, 8) + bytes(8) + data[12:])


def test_show_prints_arrays(folder, capsys):
    ckpt_inspector.main(['show', str(folder)])
    out, err = capsys.readouterr()
    assert out.splitlines() == ['fc.b_0', '[ 1.5 -2. ]', 'half', '[1. 1.]', 'inner/ids', '[[0 1 2]', ' [3 4 5]]']
    assert [line.split('\t')[1] for line in err.splitlines()] == [
        'type: [FP32] dim [2]',
        'type: [FP16] dim [2]',
        'type: [INT64] dim [2, 3]',
    ]


def test_dump_writes_over_nothing_that_it_reads(folder, tmp_path):
    (folder / 'fc.b_0.npy').symlink_to('fc.b_0')
    before = (folder / 'fc.b_0').read_bytes()
    with pytest.raises(UserError, match='fc.b_0.npy: the same file as .*fc.b_0, which is read. Choose another --to'):
        ckpt_inspector.main(['dump', str(folder), '--to', str(folder)])
    assert (folder / 'fc.b_0').read_bytes() == before


def test_dump_into_a_pipe(folder, tmp_path):
    os.mkfifo(tmp_path / 'ids.npy')
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / 'ids.npy').read_bytes()), daemon=True)
    reader.start()
    ckpt_inspector.main(['dump', str(folder / 'inner' / 'ids'), '--to', str(tmp_path)])
    reader.join(10)
    assert np.load(io.BytesIO(got[0])).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_show_takes_one_file(folder, capsys):
    ckpt_inspector.main(['show', str(folder / 'fc.b_0'), '-v'])
    out, err = capsys.readouterr()
    assert out == 'fc.b_0\n[ 1.5 -2. ]\n'
    assert 'fc.b_0: values from byte 24' in err


def test_dump_writes_npy_under_the_relative_path(folder, tmp_path, capsys):
    with_levels(folder / 'half')
    ckpt_inspector.main(['dump', str(folder), '--to', str(tmp_path / 'out')])
    files = [file for file in (tmp_path / 'out').rglob('*') if file.is_file()]
    assert sorted(str(file.relative_to(tmp_path / 'out')) for file in files) == ['fc.b_0.npy', 'inner/ids.npy']
    np.testing.assert_array_equal(np.load(tmp_path / 'out' / 'inner' / 'ids.npy'), np.arange(6).reshape(2, 3))
    err = capsys.readouterr().err
    assert 'half has 1 sequence levels: skipped' in err
    assert f'dump to {tmp_path / "out" / "fc.b_0.npy"}' in err


def test_wrong_use_is_explained(folder, tmp_path):
    with pytest.raises(ValueError, match='dump needs --to'):
        ckpt_inspector.main(['dump', str(folder)])
    with pytest.raises(UserError, match='there is no such file'):
        ckpt_inspector.main(['show', str(tmp_path / 'none')])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no variable file'):
        ckpt_inspector.main(['show', str(tmp_path / 'empty')])
    (folder / 'broken').write_bytes(b'abcdefgh')
    with pytest.raises(UserError, match='broken: found version'):
        ckpt_inspector.main(['show', str(folder)])
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='cannot be written'):
        ckpt_inspector.main(['dump', str(folder / 'half'), '-t', str(tmp_path / 'file')])
