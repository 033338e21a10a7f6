"""Cores and memory that a process may use, in a container too."""

import os

import pytest

from propeller.environment import available_memory, usable_cores


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        (['150000 100000\n'], 2),
        (['50000 100000\n'], 1),
        (['300000\n', '100000\n'], 3),
        (['max 100000\n'], 4),
        (['-1\n', '100000\n'], 4),
        (['6400000 100000\n'], 4),
        ([], 4),
        (['nothing\n'], 4),
    ],
)
def test_usable_cores(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 5, 7})
    for number, content in enumerate(files):
        (tmp_path / str(number)).write_text(content)
    assert usable_cores([tuple(str(tmp_path / str(number)) for number in range(len(files) or 1))]) == expected


@pytest.mark.parametrize(
    ('limit', 'usage', 'expected'),
    [
        ('max\n', '5000\n', 3000 * 1024),
        ('900000\n', '300000\n', 600000),
        ('900000\n', '950000\n', 0),
        ('9223372036854771712\n', '300000\n', 3000 * 1024),
        ('900000\n', None, 3000 * 1024),
    ],
)
def test_available_memory(tmp_path, limit, usage, expected):
    (tmp_path / 'meminfo').write_text('MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    3000 kB\n')
    for name, text in (('limit', limit), ('usage', usage)):
        if text is not None:
            (tmp_path / name).write_text(text)
    files = {str(tmp_path / 'limit'): str(tmp_path / 'usage'), str(tmp_path / 'none'): str(tmp_path / 'none')}
    assert available_memory(str(tmp_path / 'meminfo'), files) == expected


def test_available_memory_is_unknown_without_the_files(tmp_path):
    assert available_memory(str(tmp_path / 'meminfo'), {}) is None


def test_available_memory_of_this_machine():
    total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    assert 0 < available_memory() <= total
