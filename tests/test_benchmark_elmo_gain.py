"""benchmark/elmo_gain.py on few rows: what it cuts, runs once, and says."""

import json

from benchmark import elmo_gain
from tests.example.test_elmo import place  # noqa: F401 (a fixture)


def test_it_runs_each_net_once_and_says_the_gain(place, tmp_path, capfd, monkeypatch):  # noqa: F811
    monkeypatch.chdir(elmo_gain.__file__.rpartition('/benchmark/')[0])
    words = [str(place / 'data'), '--module', str(place / 'module'), '--folder', str(tmp_path), '--seeds', '7']
    words += ['--epoch', '1', '--learning_rate', '0.001']
    monkeypatch.setattr('sys.argv', ['elmo_gain', *words])
    code = elmo_gain.main(words)
    assert (tmp_path / 'words' / 'dev.tsv').read_text().startswith('label\ttext_a\n')
    scores = {kind: json.loads((tmp_path / f'{kind}_7.json').read_text()) for kind in elmo_gain.KINDS}
    table = capfd.readouterr().out.splitlines()
    gain = 100 * (scores['elmo']['last'] - scores['plain']['last'])
    assert table[-1].startswith(f'gain of ELMo in points: {gain:.2f} at the end') and code == int(gain < 2)
    assert all(0 <= one['last'] <= one['best'] <= 1 for one in scores.values())

    monkeypatch.setattr(elmo_gain.subprocess, 'run', None)  # nothing is run again
    scores['elmo'] = {'last': scores['plain']['last'] + 0.021, 'best': 1.0, 'seconds': 1}
    (tmp_path / 'elmo_7.json').write_text(json.dumps(scores['elmo']))
    assert elmo_gain.main(words) == 0
    assert '2.10 at the end' in capfd.readouterr().out
