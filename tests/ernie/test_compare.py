import csv
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from ernie.command import main
from ernie.metrics.significance import bootstrap, compare_rows, mcnemar, micro_f1, pearson
from ernie.report.comparison import compare
from ernie.report.run_files import read_run
from propeller.errors import UsageError, UserError
from tests.ernie.run_folder import write_dev, write_run


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Two runs on the same dev set, one much better, and one on another."""
    root = tmp_path_factory.mktemp('runs')
    dev, other = write_dev(root / 'dev.tsv'), write_dev(root / 'other.tsv', 40)
    write_run(root / 'weak', dev, 0, 0.1, learning_rate=1e-4)
    write_run(root / 'strong', dev, 1, 2.0, learning_rate=2e-5, checkpoints='elsewhere')
    write_run(root / 'apart', other, 2, 1.0)
    return root


def test_mcnemar_is_the_exact_test():
    rng = np.random.default_rng(0)
    first, second = rng.random(60) < 0.7, rng.random(60) < 0.8
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar(first, second) == (b, c, pytest.approx(min(2 * tail, 1.0)))
    assert mcnemar(first, first).p == 1.0


def test_bootstrap_of_scores():
    rng = np.random.default_rng(0)
    true, found = rng.random((80, 4)) < 0.4, rng.random((80, 4)) < 0.4
    counts = (true & found).sum(1), found.sum(1), true.sum(1)
    assert micro_f1(*counts) == pytest.approx(f1_score(true, found, average='micro'))
    x, y = rng.normal(size=80), rng.normal(size=80)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y)[0]) and pearson(x, np.ones(80)) == 0.0
    values = rng.normal(size=200)
    result = bootstrap((np.zeros(200),), (values,), lambda a: float(a.mean()))
    error = values.std() / math.sqrt(200)
    assert result.difference == pytest.approx(values.mean())
    assert result.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert result.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    by_row = dict(zip(('hits', 'predicted', 'labelled'), counts, strict=True))
    assert compare_rows('tagging', by_row, by_row)[1] == (0.0, 0.0, 0.0)
    assert compare_rows('other', {}, {}) is None


def test_the_tables(runs):
    overview, settings, classes, significance = compare([read_run(str(runs / name)) for name in ('weak', 'strong')])
    assert overview.head == ['', 'weak', 'strong'] and overview.rows[0][0] == 'best acc'
    assert settings.rows == [['learning_rate', '0.0001', '2e-05']]
    assert [row[1] for row in classes.rows] and '(+' in ''.join(row[3] for row in classes.rows)
    (note,) = significance.notes
    assert note.startswith('weak and strong: of the same 90 rows weak alone has') and note.endswith('more than chance.')


def test_what_cannot_be_said_is_not_said(runs, tmp_path):
    weak, apart = (read_run(str(runs / name)) for name in ('weak', 'apart'))
    tables = compare([weak, apart])
    assert tables[-1].notes == (
        'weak and apart: no dev set of the same content: their scores are not of the same rows.',
    )
    # The same file, but other rows of it.
    part = write_run(tmp_path / 'part', runs / 'dev.tsv', 3)
    moved = read_run(str(part))
    from propeller.storage import write_safetensors

    kept = {'line': np.arange(5, 95), 'true': np.zeros(90, np.int32), 'right': np.ones(90, bool)}
    write_safetensors(part / 'reports/dev.rows.safetensors', kept)
    assert 'scored on other rows' in compare([weak, moved])[-1].notes[0]
    (part / 'reports/dev.rows.safetensors').unlink()
    assert 'is not kept in both' in compare([weak, moved])[-1].notes[0]


def test_the_command(runs, tmp_path, capsys):
    page, folder = tmp_path / 'c.html', tmp_path / 'out'
    names = [str(runs / name) for name in ('weak', 'strong', 'apart')]
    main(['compare', *names, '--html', str(page), '--output', str(folder)])
    shown = capsys.readouterr().out
    assert 'settings that differ' in shown and 'best acc' in shown and 'F1 by class, dev set dev' in shown
    assert sorted(path.name for path in folder.iterdir()) == ['compare.html', 'compare.png', 'compare.tsv']
    assert page.read_bytes() == (folder / 'compare.html').read_bytes() and b'src="data:image/png' in page.read_bytes()
    with open(folder / 'compare.tsv', encoding='utf-8', newline='') as f:
        cells = list(csv.reader(f, 'excel-tab'))
    assert ['settings that differ', 'learning_rate', '0.0001', '2e-05', '5e-05'] in cells


def test_wrong_command_lines(runs, tmp_path):
    for flags, error, text in (
        ([str(runs / 'weak')], UsageError, 'found one run'),
        ([str(runs / 'weak'), str(runs / '.' / 'weak')], UsageError, 'the same run twice'),
        ([str(runs / 'weak'), str(tmp_path)], UserError, 'neither run.yaml nor metrics.jsonl'),
        ([str(runs / 'weak'), str(runs / 'strong'), '--html', str(tmp_path)], UserError, 'found a folder'),
        ([], UsageError, 'RUN'),
    ):
        with pytest.raises(error, match=text):
            main(['compare', *flags])
