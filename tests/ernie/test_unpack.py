"""ernie.utils.unpack: good archives come out to the byte, hostile and damaged ones leave nothing behind."""

import collections
import contextlib
import gzip
import io
import os
import random
import shutil
import stat
import tarfile
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.utils import tar
from ernie.utils.unpack import DamagedArchive, unpack
from propeller.errors import UserError
from tests.leftovers import dead_workplace

LIMIT = 10**7


def member(name, data=b'', **fields):
    """(TarInfo, data): a file unless `type` says otherwise."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def folder(name, **fields):
    return member(name, type=tarfile.DIRTYPE, **fields)


def archive_of(path, *members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, 'w:gz', format=form) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def archive(tmp_path):
    return tmp_path / 'in' / 'a.tgz'


@pytest.fixture
def out(tmp_path, archive):
    archive.parent.mkdir()
    (tmp_path / 'out').mkdir()
    return tmp_path / 'out'


def unpacked(target):
    """Relative path -> bytes, None for a folder."""
    return {str(p.relative_to(target)): None if p.is_dir() else p.read_bytes() for p in target.rglob('*')}


LONG = 'params/' + 'x' * 120 + '/词表.txt'


@pytest.mark.parametrize('form', [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_good_archive(archive, out, form):
    weights = random.Random(1).randbytes(3 * (1 << 20) + 5)
    archive_of(
        archive,
        folder('.'),
        folder('./params', mode=0o2775),
        member('./params/word_embedding', weights, mode=0o600, uid=12345),
        member('vocab.txt', b'[PAD]\n'),
        member('deep/er/empty'),
        member(LONG, '字'.encode()),
        form=form,
    )
    unpack(archive, out / 'model', LIMIT)
    files = unpacked(out / 'model')
    assert {name: data for name, data in files.items() if data is not None} == {
        'params/word_embedding': weights,
        'vocab.txt': b'[PAD]\n',
        'deep/er/empty': b'',
        LONG: '字'.encode(),
    }
    assert os.listdir(out) == ['model']
    mode = (out / 'model' / 'params').stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID)


def refused(archive, out, match, **limits):
    """`unpack` raises a one-line error and leaves nothing, inside and outside of `out`."""
    with pytest.raises(UserError, match=match) as error:
        unpack(archive, out / 'model', **({'max_bytes': LIMIT} | limits))
    assert '\n' not in str(error.value)
    assert str(archive) in str(error.value)
    assert os.listdir(out) == []
    assert sorted(os.listdir(out.parent)) == ['in', 'out']
    return error.value


HOSTILE = {
    'parent': (member('../evil', b'x'), "'../evil' leads out"),
    'parent in the middle': (member('a/../../evil', b'x'), 'leads out'),
    'parent folder': (folder('a/../../evil'), 'leads out'),
    'absolute': (member('/tmp/ernie-evil', b'x'), 'leads out'),
    'symbolic link': (member('link', type=tarfile.SYMTYPE, linkname='/etc'), 'a symbolic link'),
    'symbolic link inside': (member('link', type=tarfile.SYMTYPE, linkname='vocab.txt'), 'a symbolic link'),
    'hard link': (member('link', type=tarfile.LNKTYPE, linkname='../../in/a.tgz'), 'a hard link'),
    'pipe': (member('pipe', type=tarfile.FIFOTYPE), 'a pipe'),
    'character device': (member('null', type=tarfile.CHRTYPE, devmajor=1, devminor=3), 'a device'),
    'block device': (member('disk', type=tarfile.BLKTYPE, devmajor=8), 'a device'),
    'setuid': (member('sh', b'x', mode=0o4755), 'setuid'),
    'setgid': (member('sh', b'x', mode=0o2755), 'setuid or setgid'),
    'the same file twice': (member('good', b'y'), 'is there twice'),
    'a file under a file': (member('good/inner', b'y'), 'is there twice'),
    'a folder over a file': (folder('good'), 'is there twice'),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_hostile_members(archive, out, case):
    bad, match = HOSTILE[case]
    refused(archive_of(archive, member('good', b'good'), bad), out, match)


def test_a_link_cannot_be_written_through(archive, out):
    link = member('door', type=tarfile.SYMTYPE, linkname=str(out.parent / 'in'))
    refused(archive_of(archive, link, member('door/evil', b'x')), out, 'a symbolic link')


def test_a_path_with_a_zero_byte(archive, out):
    info, data = member('plain', b'x')
    info.pax_headers = {'path': 'a\0b'}
    refused(archive_of(archive, (info, data)), out, 'leads out')


def test_a_sparse_file(archive, out):
    """One kilobyte in the archive that would unpack to a terabyte."""
    header = bytearray(tarfile.TarInfo('huge').tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b'\x80' + (1 << 40).to_bytes(11, 'big')
    write_raw(archive, checked(header))
    refused(archive, out, 'a sparse file')


def checked(header):
    """The header with its checksum made right."""
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    return bytes(header)


def write_raw(archive, *blocks):
    with gzip.open(archive, 'wb') as f:
        f.writelines([*blocks, bytes(1024)])


def test_a_bomb_of_one_file(archive, out):
    """100 MB of zeros; the size in the header is enough to refuse it."""
    refused(archive_of(archive, member('zeros', bytes(10**8))), out, 'unpacks to more than 10,000,000 bytes')


def test_a_bomb_of_many_files(archive, out):
    members = [member(f'zeros{i}', bytes(10**6)) for i in range(11)]
    refused(archive_of(archive, *members), out, 'unpacks to more than')


def test_a_bomb_after_the_end(archive, out):
    with gzip.open(archive, 'wb') as f:
        f.write(tarfile.TarInfo('empty').tobuf() + bytes(2 * LIMIT))
    refused(archive, out, 'unpacks to more than')


def test_a_bomb_in_an_extended_header_does_not_fill_the_memory(archive, out):
    size = 300 * (1 << 20)
    header = tarfile.TarInfo('pax')
    header.type, header.size = tarfile.XHDTYPE, size
    with gzip.open(archive, 'wb', compresslevel=1) as f:
        f.write(header.tobuf())
        f.writelines(bytes(1 << 20) for _ in range(30))
    tracemalloc.start()
    try:
        refused(archive, out, 'has a header of 314,572,800 bytes', max_bytes=10**10)
        assert tracemalloc.get_traced_memory()[1] < 30 * (1 << 20)
    finally:
        tracemalloc.stop()


def test_too_many_members(archive, out):
    archive_of(archive, *(folder(f'f{i}') for i in range(13)))
    refused(archive, out, 'more than 12 files and folders', max_members=12)
    unpack(archive, out / 'model', LIMIT, max_members=13)
    assert len(unpacked(out / 'model')) == 13


def damaged(archive, out):
    assert isinstance(refused(archive, out, 'damaged|cut off|has the size'), DamagedArchive)


@pytest.mark.parametrize('keep', [0.0, 0.3, 0.9, 0.99999])
def test_an_archive_that_is_cut_off(archive, out, keep):
    archive_of(archive, member('a', random.Random(2).randbytes(300_001)), member('b', b'b'))
    whole = archive.read_bytes()
    archive.write_bytes(whole[: min(int(len(whole) * keep), len(whole) - 1)])
    damaged(archive, out)


@pytest.mark.parametrize('place', [0.4, 0.99999])
def test_a_flipped_byte(archive, out, place):
    archive_of(archive, member('a', random.Random(2).randbytes(300_001)))
    data = bytearray(archive.read_bytes())
    data[int((len(data) - 1) * place)] ^= 0x10
    archive.write_bytes(data)
    damaged(archive, out)


def test_not_an_archive(archive, out):
    archive.write_text('<html>moved</html>')
    damaged(archive, out)
    archive.write_bytes(gzip.compress(b'no tar ' * 200))
    damaged(archive, out)


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end(archive, out):
    first, second = (tarfile.TarInfo(n).tobuf() for n in 'ab')
    write_raw(archive, first, second.replace(b'b', b'c', 1))
    damaged(archive, out)


def test_a_size_that_leads_back_to_the_same_header(archive, out):
    header = bytearray(tarfile.TarInfo('back').tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b'\xff' * 10 + (2**16 - 512).to_bytes(2, 'big')
    write_raw(archive, tarfile.TarInfo('first').tobuf(), checked(header))
    damaged(archive, out)


def test_endless_extended_headers(archive, out):
    extended = tarfile.TarInfo('pax')
    extended.type = tarfile.XHDTYPE
    write_raw(archive, extended.tobuf() * 5000)
    damaged(archive, out)


def pax(*records, name='pax'):
    """The blocks of an extended header with this content."""
    data = b''.join(records)
    header = tarfile.TarInfo(name)
    header.type, header.size = tarfile.XHDTYPE, len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize('count', [60_000, 200_000])
def test_digits_without_end_in_an_extended_header(archive, out, count):
    """Python's own reader looks for `LENGTH hdrcharset=` with a pattern that takes the square of this time."""
    write_raw(archive, pax(b'1' * count))
    started = time.process_time()
    refused(archive, out, 'has a header of 200,000 bytes' if count > tar.MAX_EXTENDED else 'is damaged')
    assert time.process_time() - started < 5


PLAIN = tarfile.TarInfo('plain').tobuf()
LONG_NAMED = tarfile.TarInfo('n' * 150).tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    'records',
    [
        [b'10 path=ab\n'],
        [b'12 path=ab\n'],
        [b'0 path=ab\n'],
        [b'-1 path=ab\n'],
        [b'\xc2\xb2 path=ab\n'],
        [b'11 pathxab\n'],
        [b'5 =a\n'],
        [b'11 path=ab ', b'11 path=ab\n'],
        [b'99999999999999999999 path=ab\n'],
        [b'9 size=x\n'],
        [b'11 size=-1\n'],
        [b'25 hdrcharset=EBCDIC-037\n'],
    ],
)
def test_a_pax_record_that_is_none(archive, out, records):
    write_raw(archive, pax(*records), PLAIN)
    damaged(archive, out)


def test_two_extended_headers_for_one_member(archive, out):
    write_raw(archive, pax(b'11 path=ab\n'), pax(b'11 path=cd\n'), PLAIN)
    damaged(archive, out)


def test_an_extended_header_at_the_end(archive, out):
    write_raw(archive, PLAIN, pax(b'11 path=ab\n'))
    damaged(archive, out)


def test_a_path_for_all_members(archive, out):
    block = bytearray(pax(b'11 path=ab\n'))
    block[156:157] = tarfile.XGLTYPE
    write_raw(archive, checked(block[:512]) + block[512:], PLAIN, tarfile.TarInfo('other').tobuf())
    damaged(archive, out)


def test_a_comment_for_all_members(archive, out):
    """As `git archive` writes it."""
    with tarfile.open(archive, 'w:gz', format=tarfile.PAX_FORMAT, pax_headers={'comment': 'a' * 40}) as tar_file:
        tar_file.addfile(tarfile.TarInfo('a'))
    unpack(archive, out / 'model', LIMIT)
    assert unpacked(out / 'model') == {'a': b''}


def test_a_bomb_that_is_under_the_limit(archive, out, monkeypatch):
    monkeypatch.setattr('ernie.utils.unpack._ANY_RATIO', 10**6)
    archive_of(archive, member('zeros', bytes(5 * 10**6)))
    refused(archive, out, 'unpacks to more than 200 times its size')


def test_a_file_that_the_disk_has_no_room_for(archive, out, monkeypatch):
    usage = collections.namedtuple('usage', 'total used free')(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    refused_room = archive_of(archive, member('large', random.Random(3).randbytes(2 << 20)))
    with pytest.raises(UserError, match='large: needs 2,097,152 bytes, the disk has 1,000'):
        unpack(refused_room, out / 'model', LIMIT)
    assert os.listdir(out) == []


def test_a_path_too_deep(archive, out):
    refused(archive_of(archive, member('a/' * 70 + 'b', b'x')), out, 'is 71 folders deep')


def test_very_many_files_are_flushed_at_once(archive, out, monkeypatch):
    synced = []
    for place in ('ernie.utils.unpack', 'propeller.storage.folders'):
        monkeypatch.setattr(f'{place}.sync', lambda path: synced.append(os.fspath(path)))
    monkeypatch.setattr('ernie.utils.unpack._sync_disk', lambda path: synced.append('disk'))
    archive_of(archive, *(member(f'f{i}', b'x') for i in range(1005)))
    unpack(archive, out / 'model', LIMIT)
    assert synced == ['disk', str(out)] and len(os.listdir(out / 'model')) == 1005
    synced.clear()
    archive_of(archive, *(member(f'f{i}', b'x') for i in range(7)))
    unpack(archive, out / 'few', LIMIT)
    assert len(synced) == 7 + 1 + 1


NAMES = st.text(st.sampled_from('ab文é '), min_size=1, max_size=90).map(str.strip).filter(bool)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map('/'.join), st.binary(max_size=1500), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_what_comes_out_is_what_python_reads(content, form):
    blocks = io.BytesIO()
    with tarfile.open(fileobj=blocks, mode='w', format=form) as tar_file:
        for name, data in content.items():
            tar_file.addfile(member(name, data)[0], io.BytesIO(data))
    data = io.BytesIO(blocks.getvalue())
    found = {m.name: data.read(m.size) for m in tar.members(data.read)}
    assert found == content


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_of_ours(data):
    blocks = bytearray(pax(b'14 path=ab/cd\n', b'13 mtime=5.5\n') + PLAIN + b'x' * 512 + LONG_NAMED + bytes(1024))
    for _ in range(data.draw(st.integers(1, 4))):
        blocks[data.draw(st.integers(0, len(blocks) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # behind a checksum that is right
        at = 512 * data.draw(st.integers(0, len(blocks) // 512 - 1))
        blocks[at : at + 512] = checked(blocks[at : at + 512])
    stream = io.BytesIO(bytes(blocks))
    with contextlib.suppress(tar.Damaged, tar.TooLarge):
        for entry in tar.members(stream.read):
            assert entry.size >= 0 and isinstance(entry.name, str)
            stream.read(min(entry.size, 1 << 20))


def test_what_a_killed_program_left_is_cleared_and_nothing_else(archive, out):
    dead_workplace(out, 'model')
    (out / '.model.unpacking' / 'notes').mkdir(parents=True)
    unpack(archive_of(archive, member('a', b'a')), out / 'model', LIMIT)
    assert unpacked(out / 'model') == {'a': b'a'}
    assert sorted(os.listdir(out)) == ['.model.unpacking', 'model']


def test_a_folder_that_cannot_be_written(archive, out):
    archive_of(archive, member('a', b'a'))
    (out / 'file').write_text('in the way')
    with pytest.raises(UserError, match='file'):
        unpack(archive, out / 'file' / 'model', LIMIT)
