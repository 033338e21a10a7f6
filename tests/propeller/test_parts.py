"""Rows that are made part by part: what is there is not made again, what is not as it was written is."""

import json

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.storage.parts import Layout, PartMaker


class Maker(PartMaker):
    noun = 'numbers'

    def __init__(self, folder, identity, width=3, **further):
        super().__init__(folder, identity, {'width': width}, 4 * width, 4, **further)

    def encode(self, result, count):
        assert len(result) == count
        return np.asarray(result, '<f4').tobytes()


def squares(items):
    return [[i, i * i, -i] for i in items]


def read(maker, rows):
    layout = maker.layout
    counts = [layout.rows_in(number, rows) for number in range(-(-rows // 4))]
    parts = [np.frombuffer(layout.read(n, count), '<f4').reshape(count, 3) for n, count in enumerate(counts)]
    return np.concatenate(parts)


@pytest.mark.parametrize('rows', [1, 4, 11])
def test_rows_come_back_and_are_made_once(tmp_path, rows):
    for made in (rows, 0):
        with Maker(tmp_path / 'o', {'of': 'x'}) as maker:
            assert maker.make(iter(range(rows)), squares) == (rows, made)
            np.testing.assert_array_equal(read(maker, rows), squares(range(rows)))
    assert json.loads((tmp_path / 'o/parts.json').read_text())['rows'] == rows


def test_parts_that_are_not_as_they_were_written_are_made_again(tmp_path):
    with Maker(tmp_path / 'o', {'of': 'x'}) as maker, Maker(tmp_path / 'p', {'of': 'y'}) as other:
        maker.make(iter(range(11)), squares)
        other.make(iter(range(11)), squares)
        part, last = tmp_path / 'o/part-000001', tmp_path / 'o/part-000002'
        good = part.read_bytes()
        for content in (
            *(bytes([*good[:i], good[i] ^ 1, *good[i + 1 :]]) for i in (0, 47, 48, 63)),  # of rows, and of the sum
            good[:-1],
            good + b'\0',
            b'',
            (tmp_path / 'o/part-000000').read_bytes(),
            (tmp_path / 'p/part-000001').read_bytes(),
        ):
            part.write_bytes(content)
            with pytest.raises(UserError, match=r'part-000001: found .* expected .*. Make it again.'):
                maker.layout.read(1, 4, 'Make it again.')
            assert maker.make(iter(range(11)), squares) == (11, 4)
            assert part.read_bytes() == good
        last.unlink()
        assert maker.make(iter(range(11)), squares) == (11, 3)


def test_folders_without_sums_stay_so(tmp_path):
    with Maker(tmp_path / 'o', {'of': 'x'}) as maker:
        maker.make(iter(range(6)), squares)
    path = tmp_path / 'o/parts.json'
    facts = json.loads(path.read_text())
    del facts['sums']  # as an older version wrote them
    path.write_text(json.dumps(facts))
    for part in (tmp_path / 'o').glob('part-*'):
        part.write_bytes(part.read_bytes()[:-16])
    with Maker(tmp_path / 'o', {'of': 'x'}) as maker:
        assert maker.make(iter(range(9)), squares) == (9, 5)
        np.testing.assert_array_equal(read(maker, 9), squares(range(9)))
        assert not maker.layout.sums and (tmp_path / 'o/part-000002').stat().st_size == 12


def test_another_identity_and_another_process_are_refused(tmp_path):
    held = pytest.raises(UserError, match='another process is making these numbers')
    with Maker(tmp_path / 'o', {'of': 'x'}), held:
        Maker(tmp_path / 'o', {'of': 'x'})
    with pytest.raises(UserError, match="parts.json: found numbers with another of \\('x'\\), expected 'y'. Delete"):
        Maker(tmp_path / 'o', {'of': 'y'})
    with pytest.raises(UserError, match=r'found numbers with another width \(3\), expected 2'):
        Maker(tmp_path / 'o', {'of': 'x'}, 2)


def test_a_part_knows_its_number():
    layout = Layout('o', {'of': 'x'}, {'width': 3}, 12, 4)
    assert layout.sum_of(0, [b'a', b'b']) == layout.sum_of(0, [b'ab']) != layout.sum_of(1, [b'ab'])
    assert [layout.rows_in(number, 9) for number in range(4)] == [4, 4, 1, 0]
