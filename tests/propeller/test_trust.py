"""Who could have written a file."""

import os
import stat

import pytest

from propeller import trust


def status(uid, mode):
    return os.stat_result((mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ('uid', 'mode', 'why'),
    [
        (7, stat.S_IFREG | 0o644, None),
        (0, stat.S_IFDIR | 0o755, None),
        (8, stat.S_IFREG | 0o600, 'belongs to another user (uid 8)'),
        (7, stat.S_IFDIR | 0o1777, 'can be written by others (mode 1777)'),
        (7, stat.S_IFREG | 0o664, 'can be written by others (mode 664)'),
        (7, stat.S_IFLNK | 0o777, 'is a link'),
    ],
)
def test_only_what_this_user_or_root_alone_may_write(monkeypatch, uid, mode, why):
    monkeypatch.setattr(os, 'geteuid', lambda: 7)
    assert trust.fault(status(uid, mode)) == why


def test_folders(tmp_path):
    (tmp_path / 'a').mkdir(0o700)
    (tmp_path / 'link').symlink_to('a')
    (tmp_path / 'file').write_text('')
    (tmp_path / 'file').chmod(0o600)
    assert trust.folder_fault(tmp_path / 'a') is None and trust.folder_fault(tmp_path / 'link', follow=True) is None
    assert trust.folder_fault(tmp_path / 'link') == 'is a link'
    assert trust.folder_fault(tmp_path / 'file') == 'is no folder'
    assert 'No such file' in trust.folder_fault(tmp_path / 'none')


def test_a_fifo_is_no_file(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / 'x').write_text('a')
    trust.seal(tmp_path / 'x')
    trust.check_sealed(tmp_path, 'x')
    (tmp_path / 'x').unlink()
    os.mkfifo(tmp_path / 'x', 0o600)
    with pytest.raises(trust.Distrust, match='x is no file'):
        trust.check_sealed(tmp_path, 'x')
