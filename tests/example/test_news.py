"""Raw news to tables, and the training from example/news/config.yaml."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from ernie.command import main as ernie
from ernie.settings.fields import described
from ernie.settings.finetune import OwnDataSettings
from example.news import raw_text, transform
from example.news.transform import TransformSettings
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import sentences, write_model

CONFIG = Path(__file__).parents[2] / 'example' / 'news' / 'config.yaml'
NEWS = {'体育': '第{}轮主场获胜', '财经': '第{}日股市收盘', '房产': '第{}号楼盘开售'}
ROWS = [(label, text.format(i)) for i in range(20) for label, text in NEWS.items()]
LINES = ''.join(f'{label}\t{text}\r\n' for label, text in ROWS)


def table(path):
    with open(path, encoding='utf-8', newline='') as f:
        return [(row['label'], row['text_a']) for row in csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE)]


def run(tmp_path, raw, *flags):
    """Both tables that become of a raw file or folder."""
    transform.main(['--raw', str(raw), '--output', str(tmp_path / 'news'), *flags])
    return table(tmp_path / 'news/train.tsv'), table(tmp_path / 'news/valid.tsv')


def folders(root, encoding='utf-8', rows=ROWS):
    for number, (label, text) in enumerate(rows):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f'{number}.txt').write_bytes(f'{text}\n\n　正文\t一'.encode(encoding))
    return root


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'gbk'])
def test_lines_in_both_encodings(tmp_path, encoding, capsys):
    raw = tmp_path / 'cnews.train.txt'
    raw.write_bytes(LINES.encode(encoding))
    train, valid = run(tmp_path, raw, '--valid_share', '0.3')
    assert sorted(train + valid) == sorted(ROWS)
    assert {label: sum(row[0] == label for row in valid) for label in NEWS} == dict.fromkeys(NEWS, 6)
    assert train == [row for row in ROWS if row in train]  # the order of the file
    lines = capsys.readouterr().out.split('\n')
    assert [line.split() for line in lines[:5]] == [
        *(['train', 'valid'], ['体育', '14', '6'], ['房产', '14', '6'], ['财经', '14', '6'], ['rows', '42', '18'])
    ]


@pytest.mark.parametrize('encoding', ['utf-8', 'gb18030'])
def test_a_folder_for_each_class(tmp_path, encoding):
    raw = folders(tmp_path / 'THUCNews', encoding)
    (raw / '.DS_Store').write_bytes(b'\0')
    (raw / '体育' / '.DS_Store').write_bytes(b'\0')
    train, valid = run(tmp_path, raw, '--classes', '体育,财经')
    expected = sorted((label, f'{text} 正文 一') for label, text in ROWS if label != '房产')
    assert sorted(train + valid) == expected and len(valid) == 4
    assert [text for label, text in train if label == '体育'][:2] == [expected[0][1], '第1轮主场获胜 正文 一']


def test_a_validation_file_of_its_own_and_few_rows(tmp_path):
    raw, other = tmp_path / 'train.txt', tmp_path / 'val.txt'
    raw.write_text(LINES, encoding='utf-8')
    other.write_text('体育\t另一场\n\n财经\t另一天\n', encoding='utf-8')
    train, valid = run(tmp_path, raw, '--valid_raw', str(other), '--rows_per_class', '5')
    assert valid == [('体育', '另一场'), ('财经', '另一天')]
    assert sorted(label for label, _ in train) == sorted([*NEWS] * 5)
    assert train == run(tmp_path, raw, '--valid_raw', str(other), '--rows_per_class', '5')[0]


def test_what_a_user_changes(tmp_path, monkeypatch):
    """Titles with the number of their class behind them."""
    raw = tmp_path / 'titles.txt'
    raw.write_text('title\tlabel\n' + ''.join(f'标题 {i}\t{i % 2}\n' for i in range(8)), encoding='utf-8')
    monkeypatch.setattr(transform, 'NAMES', {'0': '财经', '1': '体育'})
    swapped = lambda line: None if line == 'title\tlabel' else tuple(reversed(line.split('\t')))  # noqa: E731
    monkeypatch.setattr(transform, 'parse_line', swapped)
    monkeypatch.setattr(transform, 'clean', lambda text: text.removeprefix('标题 '))
    train, valid = run(tmp_path, raw)
    assert sorted(train + valid) == sorted(({0: '财经', 1: '体育'}[i % 2], str(i)) for i in range(8))


def test_rows_of_one_text_are_on_one_side(tmp_path):
    raw = tmp_path / 'raw.txt'
    raw.write_text(''.join(f'{label}\t第{i // 4}条\n' for i in range(80) for label in NEWS), encoding='utf-8')
    train, valid = run(tmp_path, raw)
    assert valid and not {text for _, text in train} & {text for _, text in valid}


BAD = '体育\t好\n没有制表符\n财经\t\n\t文\n财经\t也好\n'


def test_rows_that_cannot_be_read(tmp_path, caplog):
    raw = tmp_path / 'raw.txt'
    raw.write_text(BAD, encoding='utf-8')
    with pytest.raises(UserError) as e:
        run(tmp_path, raw)
    assert str(e.value) == (
        f"{raw}:2: found '没有制表符', not label<TAB>text, expected a label and a text. "
        'Or leave such rows out: --skip_bad_rows true.'
    )
    assert not (tmp_path / 'news').exists()
    form = raw_text.Form(transform.parse_line, transform.clean, {}, [], skip_bad_rows=True)
    assert raw_text.read_rows(str(raw), form) == [('体育', '好'), ('财经', '也好')]
    assert f'3 rows that cannot be read are left out, the first at {raw}:2' in caplog.text


@pytest.mark.parametrize(
    'flags, found',
    [
        (['--classes', '体育,财径'], r'--classes 财径: no row of .* has it. Did you mean 财经\?'),
        (['--encoding', 'utf-8'], r'raw.txt:1: found byte 0xcc that is none of it, expected text in utf-8'),
        (['--valid_raw', 'x', '--valid_share', '0.2'], '--valid_raw and --valid_share: give one'),
        (['--valid_raw', 'none.txt'], 'none.txt: found no such file'),
        (['--valid_shar', '1.5'], 'a share between 0 and 1'),
    ],
)
def test_errors_of_users(tmp_path, flags, found):
    raw = tmp_path / 'raw.txt'
    raw.write_bytes(LINES.encode('gbk'))
    with pytest.raises((UserError, UsageError), match=found):
        run(tmp_path, raw, *flags)
    assert not (tmp_path / 'news').exists()


def test_text_in_neither_encoding_and_files_beside_folders(tmp_path, monkeypatch):
    raw = tmp_path / 'raw.txt'
    raw.write_bytes('体育\t好\n'.encode() + b'\xff\xff\n')
    with pytest.raises(UserError, match=r'raw.txt:2: found byte 0xff that is none of it, expected text in UTF-8 or GB'):
        run(tmp_path, raw)
    (folders(tmp_path / 'F') / 'README').write_text('x')
    with pytest.raises(UserError, match='README: found a file beside the folders of classes'):
        run(tmp_path, tmp_path / 'F')
    raw.write_text('体育\t好\n', encoding='utf-8')
    monkeypatch.setattr(transform, 'clean', lambda text: f'{text}\n')
    with pytest.raises(UserError, match='raw.txt:1: found a text on several lines, or with a TAB'):
        run(tmp_path, raw)


def test_the_configuration_has_known_settings():
    given = yaml.safe_load(CONFIG.read_text(encoding='utf-8'))
    assert set(given) <= set(described(OwnDataSettings)) and set(described(TransformSettings)) >= {'raw', 'output'}


def test_the_commands_of_the_readme(tmp_path, monkeypatch, capsys):
    """From raw text to the two reports, with a tiny model."""
    write_model(tmp_path / 'm')
    raw = ''.join(f'{"差好"[label]}\t{text}\n' for text, label in sentences(90, 1))
    (tmp_path / 'raw.txt').write_bytes(raw.encode('gbk'))
    monkeypatch.chdir(tmp_path)
    transform.main(['--raw', 'raw.txt', '--valid_share', '0.3'])
    ernie(['finetune', '--config', str(CONFIG), '--model', 'm', '--max_seq_len', '16', '--learning_rate', '1e-2'])
    lines = [line for line in capsys.readouterr().err.splitlines() if 'Epoch: ' in line]
    number = r'\d+\.\d{4}'
    form = rf'Epoch: \d - loss: {number} - acc: {number} - f1: {number}'
    form += rf' - val_loss: {number} - val_acc: {number} - val_f1: {number}'
    assert len(lines) == 3 and all(re.search(form, line) for line in lines)
    output = tmp_path / 'output/news'
    supports = [
        [row['support'] for row in json.loads((output / f'reports/{name}.json').read_text())['classes']]
        for name in ('training', 'valid')
    ]
    assert [sum(counts) for counts in supports] == [63, 27]
    assert (
        (output / 'curves.png').is_file() and (output / 'report.html').is_file() and any((output / 'events').iterdir())
    )
