"""`propeller.tools.ckpt_inspector`."""

import importlib.util
import io
import os
import pickle
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.storage import open_tensors, write_safetensors
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


def test_a_model_of_a_real_fluid(tmp_path):
    spec = importlib.util.find_spec('jieba')
    if spec is None:
        pytest.skip('jieba is not installed')
    folder = os.path.join(os.path.dirname(spec.origin), 'lac_small', 'model_baseline')
    ckpt_inspector.main(['dump', folder, '--to', str(tmp_path / 'out')])
    tensors = open_tensors(folder)
    assert sorted(os.listdir(tmp_path / 'out')) == sorted(f'{name}.npy' for name in tensors)
    for name in tensors:
        np.testing.assert_array_equal(np.load(tmp_path / 'out' / f'{name}.npy'), tensors[name], err_msg=name)


def with_levels(path):
    data = path.read_bytes()
    path.write_bytes(data[:4] + struct.pack('<QQ', 1, 8) + bytes(8) + data[12:])


def test_show_prints_arrays(folder, capsys):
    ckpt_inspector.main(['show', str(folder)])
    out, err = capsys.readouterr()
    assert out.splitlines() == ['fc.b_0', '[ 1.5 -2. ]', 'half', '[1. 1.]', 'inner/ids', '[[0 1 2]', ' [3 4 5]]']
    assert [line.split('\t')[1] for line in err.splitlines() if 'type:' in line] == [
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


def test_dump_replaces_nothing_and_writes_nothing_before_it_knows(folder, tmp_path):
    out = tmp_path / 'out'
    (out / 'inner').mkdir(parents=True)
    (out / 'inner' / 'ids.npy').write_bytes(b'mine')
    with pytest.raises(UserError, match=r'inner/ids\.npy exists already\. Choose another --to'):
        ckpt_inspector.main(['dump', str(folder), '--to', str(out)])
    assert [p.name for p in out.iterdir()] == ['inner'] and (out / 'inner' / 'ids.npy').read_bytes() == b'mine'
    (folder / 'zz').write_bytes(b'abcdefgh')
    with pytest.raises(UserError, match='zz: found version'):
        ckpt_inspector.main(['dump', str(folder), '--to', str(tmp_path / 'new')])
    assert not (tmp_path / 'new').exists()


def test_dump_as_in_2019(folder, tmp_path):
    """The array pickled, protocol 4, under the variable's own name."""
    ckpt_inspector.main(['dump', str(folder), '--to', str(tmp_path / 'out'), '--format', 'pickle'])
    data = (tmp_path / 'out' / 'inner' / 'ids').read_bytes()
    assert data[:2] == b'\x80\x04'
    np.testing.assert_array_equal(pickle.loads(data), np.arange(6).reshape(2, 3))
    found = [str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*') if p.is_file()]
    assert sorted(found) == ['fc.b_0', 'half', 'inner/ids']


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a run: two checkpoints of this project, and what stands beside them."""
    run = tmp_path / 'run'
    for step in (3, 12):
        (run / f'model_{step}').mkdir(parents=True)
        tensors = {'w': np.full((2, 3), step, np.float32), 'tête/ids': np.arange(3, dtype=np.int8)}
        write_safetensors(run / f'model_{step}' / 'model.safetensors', tensors)
        (run / f'model_{step}' / 'training_state.json').write_text('{}')
    (run / 'ckpt_info').write_text('model_3\nmodel_12\n')
    (run / '.propeller-run.json').write_text('{}')
    (run / '.hidden').mkdir()
    (run / '.hidden' / 'x').write_text('x')
    (run / 'train_history').mkdir()
    (run / 'train_history' / 'events.out.tfevents.1.host').write_bytes(b'x')
    return run


def test_show_a_checkpoint_and_a_whole_run(run_folder, capsys):
    ckpt_inspector.main(['show', str(run_folder / 'model_12')])
    out, err = capsys.readouterr()
    shown = ['model.safetensors/tête/ids', '[0 1 2]', 'model.safetensors/w', '[[12. 12. 12.]', ' [12. 12. 12.]]']
    assert sorted(out.splitlines()) == sorted(shown)
    assert sorted(line.split('\t')[1] for line in err.splitlines() if 'type:' in line) == [
        'type: [FP32] dim [2, 3]',
        'type: [INT8] dim [3]',
    ]
    ckpt_inspector.main(['show', str(run_folder)])
    names = [line for line in capsys.readouterr().out.splitlines() if line.startswith('model_')]
    assert [name for name in names if name.endswith('w')] == [f'model_{n}/model.safetensors/w' for n in (12, 3)]
    assert len(names) == 4


def test_dump_a_checkpoint(run_folder, tmp_path, capsys):
    ckpt_inspector.main(['dump', str(run_folder / 'model_3'), '-t', str(tmp_path / 'out')])
    assert np.load(tmp_path / 'out/model.safetensors/w.npy').tolist() == [[3] * 3] * 2
    assert np.load(tmp_path / 'out/model.safetensors/tête/ids.npy').dtype == np.int8


def test_a_tensor_cannot_be_written_outside_of_the_folder(tmp_path):
    for name in ('../x', 'a/../../x', '/x', 'a//x'):
        write_safetensors(tmp_path / 'model.safetensors', {name: np.zeros(1)})
        with pytest.raises(UserError, match='model.safetensors: found a tensor named .*expected names that can be'):
            ckpt_inspector.main(['dump', str(tmp_path / 'model.safetensors'), '-t', str(tmp_path / 'out')])
    assert not (tmp_path / 'x.npy').exists()


def test_bfloat16_is_named_and_read(tmp_path, capsys):
    bits = (np.array([1.5, -2], np.float32).view(np.uint32) >> 16).astype('<u2').tobytes()
    head = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / 'm.safetensors').write_bytes(struct.pack('<Q', len(head)) + head + bits)
    (tmp_path / 'v').write_bytes(struct.pack('<IQIi', 0, 0, 0, 4) + bytes([8, 22, 16, 2]) + bits)
    ckpt_inspector.main(['show', str(tmp_path)])
    out, err = capsys.readouterr()
    assert out.splitlines() == ['m.safetensors/w', '[ 1.5 -2. ]', 'v', '[ 1.5 -2. ]']
    assert err.count('type: [BF16] dim [2]') == 2


@pytest.mark.parametrize(
    ('kind', 'name'), [('f4', 'FP32'), ('i8', 'INT64'), ('i4', 'INT32'), ('i1', 'INT8'), ('f2', 'FP16'), ('?', 'BOOL')]
)
def test_types(kind, name, tmp_path, capsys):
    write_variable(tmp_path / 'v', np.ones(3, kind))
    write_safetensors(tmp_path / 'm.safetensors', {'v': np.ones(3, kind)})
    ckpt_inspector.main(['show', str(tmp_path)])
    assert capsys.readouterr().err.count(f'type: [{name}] dim [3]') == 2


def test_the_program(run_folder, tmp_path):
    """What its user sees: arrays on standard output, one line for a mistake, and more lines with -v."""

    def run(*arguments):
        environment = {k: v for k, v in os.environ.items() if k != 'ERNIE_LOG_LEVEL'}
        command = [sys.executable, '-m', 'propeller.tools.ckpt_inspector', *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stdout, done.stderr

    code, out, err = run('show', run_folder / 'model_3', '--verbose')
    assert code == 0 and out.count('model.safetensors/') == 2 and 'training_state.json is no tensor file' in err
    code, out, err = run('dump', run_folder)
    assert (code, out, err) == (2, '', 'error: dump needs --to, the folder for its files.\n')


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
    with pytest.raises(UserError, match='file: found a file, expected a new folder. Choose another --to'):
        ckpt_inspector.main(['dump', str(folder / 'half'), '-t', str(tmp_path / 'file')])
    with pytest.raises(UserError, match='file/x/half.npy: cannot be written'):
        ckpt_inspector.main(['dump', str(folder / 'half'), '-t', str(tmp_path / 'file' / 'x')])
