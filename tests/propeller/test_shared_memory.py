"""Memory of several processes. The second process is played by this one: it opens the file of the first one again."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from propeller import shared_memory
from propeller.errors import UserError
from propeller.shared_memory import SharedArrays, anonymous_file

VALUES = {'a': np.arange(15, dtype=np.float32).reshape(3, 5), 'b': np.float32([7]), 'c': np.ones((0, 4), np.float32)}


def world(rank, place=None, others_fail=False):
    """Process `rank` of two; place: what the first one has said. `said` is what this one says."""
    made = SimpleNamespace(rank=rank, is_main_process=rank == 0, said=None, barrier=lambda: None)

    def broadcast(value):
        made.said = place if rank else value
        return made.said

    made.broadcast_object, made.any_process = broadcast, lambda fault: fault or others_fail
    return made


def test_what_one_writes_the_other_reads(monkeypatch):
    monkeypatch.setattr(shared_memory.os, 'close', lambda file: None)  # the second one comes later than it should
    first = world(0)
    ours = SharedArrays(first, VALUES).arrays
    theirs = SharedArrays(world(1, first.said), {name: value + 9 for name, value in VALUES.items()}).arrays
    monkeypatch.undo()
    os.close(int(first.said[0].rsplit('/', 1)[1]))
    for name, value in VALUES.items():  # the first values are those of the first process
        assert ours[name].shape == value.shape and np.array_equal(theirs[name], value)
    theirs['a'][2, 4], ours['b'][0] = 50, 60
    assert ours['a'][2, 4] == 50 and theirs['b'][0] == 60 and ours['a'][2, 3] == 13
    assert all(array.ctypes.data % 64 == 0 for array in (ours['a'], ours['b']))


def test_a_file_that_another_process_cannot_open():
    before = len(os.listdir('/proc/self/fd'))
    assert anonymous_file(world(0, others_fail=True), 100) == (None, None)
    file, why = anonymous_file(world(1, ['/proc/self/fd/9999', 1, 2]), 100)
    assert file is None and why == 'process 1: /proc/self/fd/9999: No such file or directory'
    assert anonymous_file(world(1), 100) == (None, None)  # the first one has none
    assert len(os.listdir('/proc/self/fd')) == before


@pytest.mark.parametrize('make', [lambda: os.open('/dev/null', os.O_RDWR), lambda: os.memfd_create('propeller')])
def test_the_file_of_another_process_is_not_taken(make):
    """In another container the first process's number may be that of another one, with files of its own."""
    file = make()
    try:
        found, why = anonymous_file(world(1, [f'/proc/self/fd/{file}', 1, 2]), 100)
        assert found is None and why == f'process 1: /proc/self/fd/{file}: another file'
    finally:
        os.close(file)


def test_memory_that_has_run_out(monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shared_memory.os, 'posix_fallocate', full)
    with pytest.raises(UserError, match='cannot be shared by the processes: 192 bytes of memory: No space left'):
        SharedArrays(world(0), VALUES | {'d': np.ones(1, np.float32)})
