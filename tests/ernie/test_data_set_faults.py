"""ernie.zoo.data_sets: servers that break off, lie or change, archives that would do harm, a cache that is damaged."""

import functools
import hashlib
import io
import json
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from ernie.finetune.own_data import with_split
from ernie.inference.given import read_given
from ernie.inference.stream import read_rows
from ernie.reader.dataset_folder import data_digest, data_files, is_regular, is_there, named_split, splits_of
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from ernie.settings.predict import PredictVerbSettings
from ernie.tasks import table
from ernie.zoo import cli, data_sets
from ernie.zoo.data_sets import fetching
from propeller.errors import UsageError, UserError
from tests.ernie.data_set_fixtures import fetch, publishers, shrink
from tests.ernie.official_layouts import SERVED, tar_gz, zipped


@pytest.fixture
def home(tmp_path):
    return tmp_path / 'home'


@pytest.fixture(autouse=True)
def server(monkeypatch, home):
    with publishers(monkeypatch, home) as running:
        yield running


@pytest.fixture
def tiny(monkeypatch):
    return functools.partial(shrink, monkeypatch)


CHN = 'chnsenticorp.tar.gz'


def archives(home):
    return home / 'archives' / 'data_sets'


def names_in(folder):
    return sorted(path.name for path in folder.rglob('*') if path.is_file() and not path.name.startswith('.'))


def test_a_download_is_recorded_and_asked_for_once(server, tiny, home):
    tiny('chnsenticorp')
    path = fetch(server, 'ChnSentiCorp', 'train')
    assert path == home / 'data_sets' / 'chnsenticorp' / 'train.tsv'
    assert names_in(path.parent) == ['dev.tsv', 'label_map.json', 'record.json', 'test.tsv', 'train.tsv']
    record = json.loads((archives(home) / 'chnsenticorp' / f'{CHN}.json').read_text())
    content = SERVED['chnsenticorp'][CHN]
    assert (record['size'], record['sha256']) == (len(content), hashlib.sha256(content).hexdigest())
    made = json.loads((path.parent / 'record.json').read_text())['train']
    assert made['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert made['rows'] == 2
    fetch(server, 'chnsenticorp', 'test')
    assert server.requests == [(f'/{CHN}', None)]


def test_a_broken_download_is_continued(server, tiny):
    tiny('imdb')
    server.breaks = [500]
    fetch(server, 'imdb', 'test')
    assert server.requests[1] == ('/aclImdb_v1.tar.gz', 'bytes=500-')


def test_a_server_that_says_too_large_a_size(server, tiny, home):
    tiny('nsmc')
    content = SERVED['nsmc']['ratings_test.txt']
    server.headers, server.breaks = {'Content-Length': str(len(content) + 5)}, [len(content)] * 9
    with pytest.raises(UserError, match=r'ratings_test.txt: (the connection ended after|the file on the server)'):
        fetch(server, 'nsmc', 'test')
    assert not (home / 'data_sets' / 'nsmc' / 'test.tsv').exists()


def test_a_server_that_says_too_small_a_size(server, tiny, home):
    """The file ends at the end of a line: only the number of its rows tells."""
    tiny('thucnews-titles', splits={'train': 2, 'dev': 2, 'test': 2})
    first = SERVED['thucnews-titles']['dev.txt'].index(b'\n') + 1
    server.headers = {'Content-Length': str(first)}
    said = r'found 1 rows of the split dev, expected 2\. It is now dev.txt.damaged; run again to fetch it anew\. If'
    with pytest.raises(UserError, match=said):
        fetch(server, 'thucnews-titles', 'dev')
    assert names_in(home) == ['dev.txt.damaged']
    server.headers = {}
    assert len(fetch(server, 'thucnews-titles', 'dev').read_text().splitlines()) == 3


@pytest.mark.parametrize('kind', ['sha256', 'md5'])
def test_a_published_checksum(server, tiny, home, kind):
    content = SERVED['chnsenticorp'][CHN]
    right = hashlib.new(kind, content).hexdigest()
    tiny('chnsenticorp', f'{kind}:{right}')
    server.content = {CHN: tar_gz({'chnsenticorp/train.tsv': 'label\ttext_a\n0\tother\n'})}
    found = hashlib.new(kind, server.content[CHN]).hexdigest()
    with pytest.raises(UserError, match=f'found {kind.upper()} {found}, expected {right} as published. It is now'):
        fetch(server, 'chnsenticorp', 'train')
    assert names_in(home) == [f'{CHN}.damaged']
    server.content = {CHN: content}
    assert fetch(server, 'chnsenticorp', 'train').is_file()


def forget(home, archive=True):
    (home / 'data_sets' / 'chnsenticorp').rename(home / 'away')
    if archive:
        (archives(home) / 'chnsenticorp' / CHN).unlink()


def test_a_file_that_has_changed_since_its_first_use_is_refused(server, tiny, home):
    tiny('chnsenticorp')
    fetch(server, 'chnsenticorp', 'dev')
    forget(home)
    server.content = {CHN: tar_gz({f'{split}.tsv': 'label\ttext_a\n0\tother\n' for split in ('train', 'dev', 'test')})}
    old, new = (hashlib.sha256(c).hexdigest() for c in (SERVED['chnsenticorp'][CHN], server.content[CHN]))
    with pytest.raises(UserError, match=f'found SHA-256 {new}, expected {old}.*{re.escape(CHN)}.json recorded; delete'):
        fetch(server, 'chnsenticorp', 'dev')
    assert not (home / 'data_sets' / 'chnsenticorp').exists()
    (archives(home) / 'chnsenticorp' / f'{CHN}.json').unlink()
    assert 'other' in fetch(server, 'chnsenticorp', 'dev').read_text()


def test_an_archive_that_changed_on_the_disk_is_refused(server, tiny, home):
    tiny('chnsenticorp')
    fetch(server, 'chnsenticorp', 'dev')
    forget(home, archive=False)
    (archives(home) / 'chnsenticorp' / CHN).write_bytes(tar_gz({'dev.tsv': ''}))
    with pytest.raises(UserError, match=f'{re.escape(CHN)}: found SHA-256 .* as recorded. Delete it and run again'):
        fetch(server, 'chnsenticorp', 'dev')


def test_a_file_in_the_cache_that_is_not_what_was_made(server, tiny, home):
    tiny('chnsenticorp')
    path = fetch(server, 'chnsenticorp', 'dev')
    content = path.read_bytes()
    path.write_bytes(content.replace('不好'.encode(), '很好'.encode()))
    with pytest.raises(
        UserError, match=r'dev.tsv: found SHA-256 .*, expected .* as recorded. Delete .*chnsenticorp and'
    ):
        data_files('chnsenticorp:dev')
    path.write_bytes(content)
    assert data_files('chnsenticorp:dev') == [str(path)]
    for text in ('', '[]', '{"dev": 3}', '{"dev": {"file": "../x", "sha256": "y"}}', '{}'):
        (path.parent / 'record.json').write_text(text)
        fetching._check.cache_clear()
        with pytest.raises(UserError, match=r'Delete .*chnsenticorp and run again'):
            fetch(server, 'chnsenticorp', 'dev')


def tar_with(change, files=None):
    """A tar.gz whose first entry is changed by a function of its `TarInfo`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
        info = tarfile.TarInfo('chnsenticorp/extra')
        change(info)
        archive.addfile(info)
        for name, text in (files or {'chnsenticorp/train.tsv': 'label\ttext_a\n0\tx\n'}).items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def zip_with(change):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('chnsenticorp/train.tsv', 'label\ttext_a\n0\tx\n')
        info = zipfile.ZipInfo('chnsenticorp/extra')
        change(info)
        archive.writestr(info, 'chnsenticorp/train.tsv')
    return buffer.getvalue()


def renamed(name):
    return lambda info: setattr(info, 'name' if isinstance(info, tarfile.TarInfo) else 'filename', name)


def of_type(kind):
    def change(info):
        info.type, info.linkname = kind, '/etc/passwd'

    return change


def of_mode(mode):
    return lambda info: setattr(info, 'external_attr', (mode | 0o777) << 16)


HOSTILE = {
    'tar: a path out of the folder': (tar_with(renamed('../../evil')), 'leads out of the folder; refused'),
    'tar: an absolute path': (tar_with(renamed('/tmp/evil')), 'leads out of the folder; refused'),
    'tar: a symbolic link': (tar_with(of_type(tarfile.SYMTYPE)), 'is a symbolic link, not a file'),
    'tar: a hard link': (tar_with(of_type(tarfile.LNKTYPE)), 'is a hard link, not a file'),
    'tar: a device': (tar_with(of_type(tarfile.CHRTYPE)), 'is a device, not a file'),
    'tar: the same file twice': (
        tar_with(renamed('chnsenticorp/train.tsv')),
        "'chnsenticorp/train.tsv' is there twice; refused",
    ),
    'tar: cut off': (SERVED['chnsenticorp'][CHN][:-60], 'is damaged'),
    'zip: a path out of the folder': (zip_with(renamed('../../evil')), 'leads out of the folder; refused'),
    'zip: a link': (zip_with(of_mode(stat.S_IFLNK)), 'is a symbolic link, not a file'),
    'zip: a device': (zip_with(of_mode(stat.S_IFIFO)), 'is a device, not a file'),
    'zip: the same file twice': (
        zip_with(renamed('chnsenticorp/other.tsv')).replace(b'other.tsv', b'train.tsv'),
        "'chnsenticorp/train.tsv' is there twice; refused",
    ),
    'zip: a bomb': (zipped({'chnsenticorp/train.tsv': bytes(8 << 20)}), 'more than 200 times its size; refused'),
    'zip: cut off': (zipped({'chnsenticorp/train.tsv': 'label\ttext_a\n0\tx\n'})[:-30], 'is damaged'),
    'zip: a wrong byte': (
        zip_with(lambda info: None).replace(b'label\ttext_a\n0\tx', b'label\ttext_a\n1\tx'),
        r'is damaged in .*CRC',
    ),
    'zip: encrypted': (zip_with(lambda info: None).replace(b'\x14\0\0\0\0\0', b'\x14\0\1\0\0\0'), 'encrypted; refused'),
    'no archive': (b'<!DOCTYPE html>', 'found 0 rows of the split train, expected some'),
    'empty': (tar_gz({'readme': 'nothing'}), 'found 0 rows of the split train, expected some'),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_an_archive_that_is_hostile_or_damaged_leaves_nothing(server, tiny, home, tmp_path, case):
    tiny('chnsenticorp')
    server.content, said = {CHN: HOSTILE[case][0]}, HOSTILE[case][1]
    with pytest.raises(UserError, match=said):
        fetch(server, 'chnsenticorp', 'train')
    assert names_in(tmp_path) == [f'{CHN}.damaged']


def test_the_limit_for_what_an_archive_unpacks_to(server, tiny):
    tiny('xnli')
    with pytest.raises(UserError, match=r'unpacks to more than 100 bytes \(--max_unpacked_gb\)|expected at most 100'):
        fetch(server, 'xnli', 'dev', max_bytes=100)


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        ('chnsenticorp', 'label\ttext_a\n0\tx\n好\ty\n', r"train.tsv:3: found the label '好', expected one of 0, 1"),
        ('chnsenticorp', b'label\ttext_a\n0\tx\n1\t\xb2\xbb\n', r'train.tsv:3: found byte 0xb2 that is not UTF-8'),
        ('msra-ner', 'text_a\tlabel\n王\x02明\tB-PER\n', r'train.tsv:2: found 2 tokens and 1 labels, expected a label'),
        (
            'sts-b',
            'sentence1\tsentence2\tscore\na\tb\tmuch\n',
            r"train.tsv:2: found the label 'much', expected a number",
        ),
        ('rte', 'a\tb\tc\n0\tx\tentailment\n', r"train.tsv:1: found the first line 'a b c', expected a header with"),
        ('xnli', 'premise\thypo\n1\t2\n', r'multinli.train.zh.tsv:1: found the first line .*expected a header with'),
    ],
)
def test_rows_that_cannot_be(tmp_path, name, text, said):
    path = tmp_path / ('multinli.train.zh.tsv' if name == 'xnli' else 'train.tsv')
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=said):
        data_sets.convert_own(name, path)


@pytest.mark.parametrize('text', ['{"data": [', '[]', '{"data": [{"title": "x"}]}', '{"data": 3}'])
def test_questions_that_are_none(tmp_path, text):
    (tmp_path / 'cmrc2018_dev.json').write_text(text)
    with pytest.raises(UserError, match=r'cmrc2018_dev.json.* expected JSON of SQuAD'):
        data_sets.convert_own('cmrc2018', tmp_path)


def test_files_of_ones_own(server, tmp_path, capsys, home):
    for name in ('XNLI-1.0.zip', 'XNLI-MT-1.0.zip'):
        (tmp_path / name).write_bytes(SERVED['xnli'][name])
    folder = data_sets.convert_own('xnli', tmp_path)
    assert names_in(home / 'data_sets' / 'xnli') == [
        'dev.tsv',
        'label_map.json',
        'record.json',
        'test.tsv',
        'train.tsv',
    ]
    assert f'xnli:dev: 2 rows in {tmp_path}, expected 2490: it is not the published one' in capsys.readouterr().err
    assert data_files('xnli:dev') == [f'{folder}/dev.tsv']
    (tmp_path / 'ratings_test.txt').write_bytes(SERVED['nsmc']['ratings_test.txt'])
    cli.main(['download', 'nsmc', '--from', str(tmp_path / 'ratings_test.txt')])
    assert capsys.readouterr().out == f'{home / "data_sets" / "nsmc"}\n'
    with pytest.raises(
        UserError, match=r'found nothing that can be read, expected aclImdb_v1.tar.gz, or what is in it'
    ):
        data_sets.convert_own('imdb', tmp_path)
    with pytest.raises(UserError, match='nowhere: found no such file or folder'):
        data_sets.convert_own('imdb', tmp_path / 'nowhere')
    assert server.requests == []


def test_a_split_that_is_here_stays_when_others_are_fetched(server, tiny, tmp_path):
    tiny('chnsenticorp')
    (tmp_path / 'train.tsv').write_text('label\ttext_a\n1\tours\n')
    folder = Path(data_sets.convert_own('chnsenticorp', tmp_path / 'train.tsv'))
    assert fetch(server, 'chnsenticorp', 'dev').parent == folder
    assert data_sets.examples('chnsenticorp', 'train') == [{'label': '1', 'text_a': 'ours'}]
    made_of = {split: facts['made_of'] for split, facts in json.loads((folder / 'record.json').read_text()).items()}
    assert made_of['train'] == [str(tmp_path / 'train.tsv')]
    assert made_of['dev'][0]['url'] == f'{server.url}/{CHN}'


def test_the_command_prints_the_folder_or_the_file(server, tiny, home, capsys):
    tiny('chnsenticorp')
    cli.main(['download', 'chnsenticorp', '--url-base', server.url])
    cli.main(['download', 'chnsenticorp:validation', '--url-base', server.url])
    folder = home / 'data_sets' / 'chnsenticorp'
    assert capsys.readouterr().out == f'{folder}\n{folder / "dev.tsv"}\n'
    cli.main(['list'])
    listed = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (listed['chnsenticorp'], listed['imdb']) == ('here', '-')


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['imbd'], r"no bundle 'imbd' and no data set of that name; there are .*chnsenticorp.* Did you mean imdb\?"),
        (['imbd:train'], r'Did you mean imdb\?'),
        (['imdb:tset'], r"imdb: has no split 'tset'; there are train, test\. Did you mean test\?"),
        (['ernie-tiny-zh', '--from', 'x'], r"--from: found 'ernie-tiny-zh', expected the name of a data set"),
        (['imdb', '--from', 'x', '--url-base', 'http://x'], 'and no --url-base'),
        (['imdb', '--url-base', 'file:///etc'], '--url-base'),
        (['imdb', '--max_unpacked_gb', '0'], '--max_unpacked_gb'),
    ],
)
def test_usage_errors_of_the_command(words, said):
    with pytest.raises(UsageError, match=said):
        cli.main(['download', *words])


def test_a_name_stands_wherever_a_file_does(server, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny('chnsenticorp')
    tiny('mnli')
    path = str(fetch(server, 'chnsenticorp', 'dev'))
    assert is_there('chnsenticorp:dev')
    assert is_regular('ChnSentiCorp:validation')
    assert data_files('chnsenticorp:valid') == [path]
    assert data_digest('chnsenticorp:dev') != data_digest('chnsenticorp:train') or server.content
    assert splits_of('chnsenticorp') == {
        'train': 'chnsenticorp:train',
        'validation': 'chnsenticorp:dev',
        'test': 'chnsenticorp:test',
    }
    assert splits_of('chnsenticorp:dev') == {}
    assert splits_of('mnli')['validation'] == 'mnli:dev_matched'
    assert named_split('glue/mnli', 'test') == 'glue/mnli:test_matched'
    with pytest.raises(
        UserError, match='chnsenticorp: found a data set with the splits train, dev, test, expected one'
    ):
        data_files('chnsenticorp')
    with pytest.raises(UsageError, match=r"chnsenticorp: has no split 'tran'.* Did you mean train"):
        is_there('chnsenticorp:tran')
    for other in (
        'imdb.csv',
        'im/db:train',
        '/imdb:train',
        'imdb:',
        ':train',
        'imdb:train:x',
        'data/imdb',
        '好:train',
        '',
    ):
        assert not is_there(other)
    # What is on the disk comes first.
    (tmp_path / 'chnsenticorp:dev').write_text('label\ttext_a\n1\tours\n')
    assert data_files('chnsenticorp:dev') == ['chnsenticorp:dev']
    (tmp_path / 'mnli').mkdir()
    (tmp_path / 'mnli' / 'train.tsv').write_text('label\ttext_a\n1\tours\n')
    (tmp_path / 'mnli' / 'dev.tsv').write_text('label\ttext_a\n1\tours\n')
    assert data_files('mnli:validation') == ['mnli/dev.tsv']
    assert splits_of('mnli') == {'train': 'mnli:train', 'validation': 'mnli:validation'}


def test_questions_to_predict_are_found_by_name(server, tiny):
    tiny('cmrc2018')
    fetch(server, 'cmrc2018', 'dev')
    rows = read_rows('cmrc2018:dev', ('question', 'context'), forms=table.find('mrc').forms)
    assert [row.record['id'] for row in rows] == ['q1', 'q2']


def test_settings_name_the_splits_and_fetch_them(server, tiny, monkeypatch):
    tiny('chnsenticorp')
    tiny('imdb')
    fetch(server, 'chnsenticorp', 'dev')
    fetch(server, 'imdb', 'train')
    asked = dict.fromkeys(('train_set', 'dev_set'), 'chnsenticorp') | {'test_set': 'imdb:test', 'do_test': True}
    settings = FinetuneSettings(**asked, ernie_config_path=__file__).checked()
    assert (settings.train_set, settings.dev_set, settings.test_set) == (
        'chnsenticorp:train',
        'chnsenticorp:dev',
        'imdb:test',
    )
    own = with_split(OwnDataSettings(train_set='chnsenticorp')).checked()
    assert (own.train_set, own.dev_set, own.dev_share) == ('chnsenticorp:train', 'chnsenticorp:dev', 0.0)
    # Without a dev set of its own, a share of the training set is held out.
    own = with_split(OwnDataSettings(train_set='imdb')).checked()
    assert (own.train_set, own.dev_set, own.dev_share) == ('imdb:train', None, 0.1)
    with pytest.raises(UserError, match=r'imdb: found the splits train, test, expected a split validation. imdb:train'):
        FinetuneSettings(train_set='imdb', dev_set='imdb').checked()
    with pytest.raises(UserError, match=r'--dev_set: imbd:test: no such file\. Did you mean imdb:test\?'):
        FinetuneSettings(train_set='imdb', dev_set='imbd:test').checked()
    with pytest.raises(UserError, match=r'imbd:train: no such file\. Did you mean imdb:train\?'):
        OwnDataSettings(train_set='imbd:train').checked()


def test_a_word_to_predict_is_a_text_and_a_split_is_a_file():
    given = lambda *inputs: read_given(PredictVerbSettings(model='m', inputs=inputs))  # noqa: E731
    assert given('imdb').texts == ('imdb',)
    assert given('imdb:test').files == ('imdb:test',)
    assert given('note:this').texts == ('note:this',)
    with pytest.raises(
        UserError, match=r'imbd:test: found no such file.* Did you mean imdb:test\? If it is a text, put'
    ):
        given('imbd:test')
