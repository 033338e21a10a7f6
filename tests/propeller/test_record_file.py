import gzip
import random
import struct
import time
import tracemalloc
import zlib

import pytest

from benchmark.acceptance.mutations import mutate_bytes
from propeller.data import record_file
from propeller.data.example import Example
from propeller.data.record_file import count_records, read_note, read_records, write_records
from propeller.errors import UserError
from tests.propeller.protobuf_messages import GOLDEN, ROWS

RECORDS = [b'abc', b'', '好的'.encode(), bytes(70000), b'\x1f\x8b']


def framed(records):
    return b''.join(struct.pack('<i', len(record)) + record for record in records)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'records.gz'


def test_what_is_written_is_read_from_any_record_on(path):
    assert write_records(path, iter(RECORDS)) == 5
    for start in range(8):
        assert list(read_records(path, start)) == RECORDS[start:]
    assert count_records(path) == 5
    assert gzip.decompress(path.read_bytes()) == framed(RECORDS)


def test_other_programs_and_several_members_are_read(path):
    content = framed(RECORDS * 2)
    members = [gzip.compress(content[:5]), gzip.compress(b''), gzip.compress(content[5:])]
    path.write_bytes(b''.join(members))
    assert list(read_records(path)) == RECORDS * 2
    assert count_records(path) == 10 and read_note(path) is None
    path.write_bytes(members[0] + bytes(600) + members[2] + bytes(3))  # filled up with zeros
    assert list(read_records(path, 2)) == (RECORDS * 2)[2:]


def test_a_file_of_2019_is_read_and_its_bytes_are_written(path):
    golden = gzip.decompress(GOLDEN.read_bytes())
    read = [Example.FromString(record) for record in read_records(GOLDEN)]
    found = [
        (list(made.features.feature['text'].int64_list.value), made.features.feature['label'].int64_list.value[0])
        for made in read
    ]
    assert found == ROWS
    write_records(path, (made.SerializeToString() for made in read))
    assert gzip.decompress(path.read_bytes()) == golden


def test_the_golden_file_is_what_its_program_writes(path, monkeypatch):
    pytest.importorskip('google.protobuf')
    from tests.propeller import protobuf_messages

    monkeypatch.setattr(protobuf_messages, 'GOLDEN', path)
    protobuf_messages.main()
    assert gzip.decompress(path.read_bytes()) == gzip.decompress(GOLDEN.read_bytes())


def test_a_file_says_how_many_records_it_has_and_what_it_was_made_from(path):
    write_records(path, RECORDS, source=lambda: {'text': '文'})
    note = read_note(path)
    assert (note.records, note.source) == (5, {'text': '文'}) and note.bytes == len(path.read_bytes())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf'records.gz: found {len(whole) - 1:,} bytes, expected {len(whole):,}, with'):
        list(read_records(path))
    path.write_bytes(whole * 2)  # gzip files that are put together are one
    assert list(read_records(path)) == RECORDS * 2 and count_records(path) == 10
    path.write_bytes(whole.replace(b'"records": 5', b'"records": 6'))
    with pytest.raises(UserError, match='found 5 records, expected the 6 that the file tells of'):
        list(read_records(path))
    with pytest.raises(ValueError, match='a note of 3'):
        write_records(path, [], source='x' * 3000)


def test_what_fails_on_the_way_leaves_the_old_file(path):
    def records():
        yield b'new'
        raise KeyError

    write_records(path, RECORDS)
    with pytest.raises(KeyError):
        write_records(path, records())
    assert list(read_records(path)) == RECORDS
    assert [p.name for p in path.parent.iterdir()] == ['records.gz']


def test_a_record_that_is_too_long_is_not_written(path, monkeypatch):
    monkeypatch.setattr(record_file, 'MOST_BYTES', 10)
    with pytest.raises(UserError, match=r'records.gz: record 1: found 11 bytes, expected 10 at most'):
        write_records(path, [b'', bytes(11)])
    assert not path.exists()


ONE = framed([b'abc'])


DAMAGED = {
    'negative length': (gzip.compress(ONE + struct.pack('<i', -1)), 'in record 1: the length -1, expected 0 to 67,108'),
    'long': (gzip.compress(ONE + struct.pack('<i', 2**31 - 1)), 'in record 1: the length 2,147,483,647, expected 0 to'),
    'cut': (
        gzip.compress(ONE + b'\x09\0\0\0ab'),
        'in record 1: the end of the file after 2 bytes, expected 9, the l',
    ),
    'length': (
        gzip.compress(ONE + b'abc'),
        'in record 1: the end of the file after 3 bytes, expected a length of 4 b',
    ),
    'no end': (gzip.compress(ONE)[:-1], 'in record 1: the end of the file, expected the end of a gzip member'),
    'garbage': (gzip.compress(ONE) + b'garbage', 'in record 1 or behind it: bytes that are no gzip (Error -3 while'),
    'checksum': (
        gzip.compress(ONE)[:-8] + bytes(8),
        'in record 0 or behind it: bytes that are no gzip (Error -3 while',
    ),
    'empty': (b'', 'found an empty file, expected a record file'),
    'text': (b'a 1\n', r"found a file that begins with b'a 1\n', expected a record file"),
    'begin': (b'\x1f\x8b', 'in record 0: the end of the file, expected the end of a gzip member'),
}


@pytest.mark.parametrize('name', DAMAGED)
def test_damage_is_told_with_file_and_record(path, name):
    content, message = DAMAGED[name]
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_records(path))
    assert str(caught.value).startswith(f'{path}: found ') and message in str(caught.value)


def test_a_small_file_that_unpacks_to_much_takes_little_memory(path):
    squeeze = zlib.compressobj(9, wbits=31)
    parts = [squeeze.compress(struct.pack('<i', 2**26 - 1))]
    parts += [squeeze.compress(bytes(1 << 20)) for _ in range(20)]
    path.write_bytes(b''.join([*parts, squeeze.flush()]))
    assert path.stat().st_size < 40_000
    tracemalloc.start()
    with pytest.raises(UserError, match='the end of the file after 20,971,520 bytes, expected 67,108,863'):
        list(read_records(path))
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()


def test_changed_files_end_soon_and_well(path):
    write_records(path, RECORDS[:3] * 3)
    contents = [path.read_bytes(), GOLDEN.read_bytes()]
    refused, started = 0, time.process_time()
    for seed in range(300):
        rng = random.Random(seed)
        content, inner = contents[seed % 2], rng.random() < 0.5
        if inner:
            content = gzip.compress(mutate_bytes(gzip.decompress(content), rng), 1)
        else:
            content = mutate_bytes(content, rng)
        path.write_bytes(content)
        try:
            for record in read_records(path):
                Example.FromString(record)
        except UserError as e:
            refused += 1
            assert str(e).isprintable()
    assert refused > 200 and time.process_time() - started < 60
