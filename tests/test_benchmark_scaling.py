"""benchmark.scaling: slopes, the law they are held against, and the sizes that change."""

import numpy as np
import pytest

from benchmark import scaling
from benchmark.scaling import Point
from propeller.errors import UsageError, UserError


def test_a_slope_is_the_exponent_over_the_larger_half():
    values = (32, 64, 128, 256)
    assert scaling.slope(values, [7.0, 1.0, 3 * 128**1.5, 3 * 256**1.5]) == pytest.approx(1.5)
    assert scaling.slope((1, 2), [6.0, 3.0]) == pytest.approx(-1)


def test_what_grows_faster_than_its_law_is_told():
    sizes = np.array([4, 8, 16, 32, 64])
    points = [Point(int(n), 0.1 * n**1.3, 0.5) for n in sizes]
    wide = [Point(int(n), 1e-4 * n**2.1, 0.1 * n) for n in sizes]
    lines, faults = scaling.report({'rows': points, 'width': wide})
    assert faults == ['time against rows of a batch: 1.30, where the law is 1']
    assert lines[2].startswith('| rows of a batch | 1.30 | 0.00 | linear | 4: ')
    assert lines[3].startswith('| width | 2.10 | 1.00 | quadratic |')


def test_memory_has_a_law_of_its_own():
    _, faults = scaling.report({'threads': [Point(1, 4.0, 0.5), Point(2, 2.6, 0.6)]})
    assert faults == [
        'time against threads: -0.62, where the law is -1',
        'memory against threads: 0.26, where the law is 0',
    ]


def test_threads_may_share_as_products_do():
    points = [Point(1, 4.0, 0.5, 2.0), Point(2, 2.6, 0.5, 1.25)]
    lines, faults = scaling.report({'threads': points})
    assert lines[2].startswith('| threads | -0.62 | 0.00 | products alone: -0.68 | 1: 4.000, 0.50; 2: 2.600')
    assert not faults
    _, faults = scaling.report({'processes': [points[0], points[1]._replace(products=1.0)]})
    assert faults == ['time against processes of one thread: -0.62, where the law is -1']


def test_each_axis_changes_one_size_alone(monkeypatch, tmp_path):
    made = []
    record = lambda work, place, threads, processes=1: made.append((work, threads, processes))  # noqa: E731
    monkeypatch.setattr(scaling, 'of_updates', record)
    for name, axis in scaling.AXES.items():
        if name == 'file':
            continue
        made.clear()
        for value in axis.values:
            axis.run(value, str(tmp_path), 2)
        works, threads, processes = zip(*made, strict=True)
        changed = {field for field in works[0]._fields if len({getattr(work, field) for work in works}) > 1}
        assert len(changed) == (name not in ('threads', 'processes')), name
        assert threads == (axis.values if name == 'threads' else (1 if name == 'processes' else 2,) * len(made))
        assert processes == (axis.values if name == 'processes' else (1,) * len(made))
        assert all(work.width % (64 if work.width > 384 else 32) == 0 for work in works)


def test_a_file_of_rows_is_read_and_updates_are_timed(tmp_path):
    seconds, gigabytes = scaling.of_file(50, str(tmp_path / 'file'), 1)
    assert seconds > 0.5 and 0.1 < gigabytes < 4
    work = scaling.BASE._replace(layers=1, width=32, words=90, rows=2, lengths=(8, 0, 8, 8), warm=1, counted=2)
    seconds, one = scaling.of_updates(work, str(tmp_path / 'updates'), 1)
    assert 0 < seconds < 30
    seconds, two = scaling.of_updates(work, str(tmp_path / 'updates'), 1, processes=2)
    assert 0 < seconds < 30 and two > 1.5 * one  # of both processes


def test_the_picture_and_the_table_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaling, 'measure', lambda name, args: [Point(n, 0.1 * n, 0.2) for n in (20, 400, 8000)])
    monkeypatch.setattr(scaling.common, 'limit_cores', lambda threads: None)
    names = list(scaling.AXES)[: scaling.IN_A_LINE + 1]  # the last line of the picture is not full
    assert scaling.main(['--axes', ','.join(names), '--out', str(tmp_path)]) == 0
    assert (tmp_path / 'scaling.md').read_text() == capsys.readouterr().out
    assert (tmp_path / 'scaling.png').read_bytes()[:4] == b'\x89PNG'


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, 'measure', lambda *_: pytest.fail('measured'))
    monkeypatch.setattr(scaling.common, 'limit_cores', lambda threads: None)
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file: cannot write there .* Choose another --out'):
        scaling.main(['--out', str(tmp_path / 'file')])


def test_sizes_in_a_picture_are_short():
    sizes = (2, 512, 1000, 1024, 1500, 20000, 320000, 1000000, 10000000)
    assert [scaling._short(size) for size in sizes] == ['2', '512', '1k', '1024', '1.5k', '20k', '320k', '1M', '10M']


def test_flags_that_cannot_be():
    with pytest.raises(UsageError, match='--axes layer: expected one of .* Did you mean layers'):
        scaling.parse_flags(['--axes', 'layer'])
    with pytest.raises(UsageError, match='--most at least 3'):
        scaling.parse_flags(['--most', '2'])
    with pytest.raises(UsageError, match='--threads 1: expected at least 2'):
        scaling.parse_flags(['--threads', '1'])
