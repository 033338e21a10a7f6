"""ernie.zoo.data_sets: each official layout from a local server, read by readers that are not ours."""

import csv
import functools
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sklearn.datasets import load_files

from ernie.reader.records import read_records
from ernie.zoo import data_sets
from ernie.zoo.data_sets import DATA_SETS
from propeller.errors import UserError
from tests.ernie.data_set_fixtures import fetch, publishers, shrink
from tests.ernie.official_layouts import NEWS, SERVED, reviews, zipped


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


def rows_of(path):
    """The rows as csv reads them."""
    with open(path, encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE))


def official(name, file, member=None, header=None):
    """The rows of a file as it was published, as csv reads them."""
    content = SERVED[name][file]
    if member and file.endswith('.zip'):
        content = zipfile.ZipFile(io.BytesIO(content)).read(member)
    elif member:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            content = archive.extractfile(member).read()
    lines = io.StringIO(content.decode('utf-8-sig'), newline='')
    rows = list(csv.DictReader(lines, header, delimiter='\t', quoting=csv.QUOTE_NONE))
    return [row for row in rows if None not in row.values()]


def renamed(rows, **columns):
    return [{ours: row[theirs] for ours, theirs in columns.items()} for row in rows]


_BOTH = {'text_a': 'sentence1', 'text_b': 'sentence2'}
_COLA = ('source', 'label', 'star', 'sentence')
TABLES = [
    ('chnsenticorp', 'dev', 'chnsenticorp.tar.gz', 'chnsenticorp/dev.tsv', None,
     {'label': 'label', 'text_a': 'text_a'}),
    ('lcqmc', 'train', 'lcqmc.tar.gz', 'lcqmc/train.tsv', None, {n: n for n in ('text_a', 'text_b', 'label')}),
    # Without a header line.
    ('lcqmc', 'dev', 'lcqmc.tar.gz', 'lcqmc/dev.tsv', ('a', 'b', 'c'), {'text_a': 'a', 'text_b': 'b', 'label': 'c'}),
    ('msra-ner', 'test', 'msra_ner.tar.gz', 'msra_ner/test.tsv', None, {'text_a': 'text_a', 'label': 'label'}),
    ('nsmc', 'train', 'ratings_train.txt', None, None, {'label': 'label', 'text_a': 'document'}),
    ('cola', 'train', 'CoLA.zip', 'CoLA/train.tsv', _COLA, {'label': 'label', 'text_a': 'sentence'}),
    ('cola', 'test', 'CoLA.zip', 'CoLA/test.tsv', None, {'text_a': 'sentence'}),
    ('sst-2', 'dev', 'SST-2.zip', 'SST-2/dev.tsv', None, {'label': 'label', 'text_a': 'sentence'}),
    ('sts-b', 'dev', 'STS-B.zip', 'STS-B/dev.tsv', None, {**_BOTH, 'label': 'score'}),
    ('mnli', 'dev_mismatched', 'MNLI.zip', 'MNLI/dev_mismatched.tsv', None, {**_BOTH, 'label': 'gold_label'}),
    ('mnli', 'test_matched', 'MNLI.zip', 'MNLI/test_matched.tsv', None, _BOTH),
    ('qnli', 'dev', 'QNLIv2.zip', 'QNLI/dev.tsv', None, {'text_a': 'question', 'text_b': 'sentence', 'label': 'label'}),
    ('rte', 'train', 'RTE.zip', 'RTE/train.tsv', None, {**_BOTH, 'label': 'label'}),
    ('wnli', 'dev', 'WNLI.zip', 'WNLI/dev.tsv', None, {**_BOTH, 'label': 'label'}),
    ('ax', 'test', 'AX.tsv', None, None, _BOTH),
    ('mrpc', 'test', 'msr_paraphrase_test.txt', None, None,
     {'text_a': '#1 String', 'text_b': '#2 String', 'label': 'Quality'}),
    ('qqp', 'train', 'QQP-clean.zip', 'QQP/train.tsv', None,
     {'text_a': 'question1', 'text_b': 'question2', 'label': 'is_duplicate'}),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'split', 'file', 'member', 'header', 'columns'), TABLES)
def test_a_table_has_the_rows_of_the_official_file(server, tiny, name, split, file, member, header, columns):
    tiny(name)
    path = fetch(server, name, split)
    expected = renamed(official(name, file, member, header), **columns)
    assert expected
    assert rows_of(path) == expected
    assert list(rows_of(path)[0]) == list(columns)
    # And our own reader, which is what trains, sees them all.
    required = [column for column in ('text_a', 'text_b', 'label') if column in columns]
    assert [record.cells for record in read_records(path, required)] == expected
    assert data_sets.examples(name, split) == expected


def test_rows_that_are_cut_off_are_left_out_and_told(server, tiny, capsys):
    tiny('qqp')
    assert len(rows_of(fetch(server, 'qqp', 'train'))) == 1
    said = 'QQP/train.tsv:3: 1 rows with too few cells or without a label, of which this is the first, are left out'
    assert said in capsys.readouterr().err


def test_reviews_of_films(server, tiny, tmp_path):
    tiny('imdb')
    rows = rows_of(fetch(server, 'imdb', 'train'))
    for name, text in reviews().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = load_files(tmp_path / 'aclImdb' / 'train', categories=['neg', 'pos'], encoding='utf-8')
    texts = [' '.join(text.replace('<br />', ' ').split()) for text in found.data]
    expected = sorted((found.target_names[label], text) for label, text in zip(found.target, texts, strict=True))
    assert sorted((row['label'], row['text_a']) for row in rows) == expected
    # By their numbers, so that the first rows of the file are of both classes.
    assert [row['label'] for row in rows] == ['neg', 'pos'] * 12
    assert [row['text_a'].split()[3].strip('.') for row in rows[:6:2]] == ['0', '1', '2']
    assert 'It is <b>not</b> good. "Slow", and long . The end' in rows[0]['text_a']


def test_entailment_in_one_language(server, tiny):
    tiny('xnli')
    assert rows_of(fetch(server, 'xnli', 'validation')) == [
        {'text_a': '他说：“你好”', 'text_b': '他说话', 'label': 'entailment'},
        {'text_a': '下雨', 'text_b': '晴天', 'label': 'contradiction'},
    ]
    # The training set, 446 MB, was not asked for.
    assert [path for path, _ in server.requests] == ['/XNLI-1.0.zip']
    assert [row['label'] for row in rows_of(fetch(server, 'xnli', 'train'))] == ['contradiction', 'neutral']
    tiny('xnli-fr')
    assert rows_of(fetch(server, 'xnli-fr', 'dev')) == [{'text_a': 'Bonjour', 'text_b': 'Salut', 'label': 'neutral'}]
    assert rows_of(fetch(server, 'XNLI/fr', 'train'))[0]['text_b'] == 'eux'
    assert len(server.requests) == 2


def test_paraphrases_are_divided_by_the_list_of_the_dev_set(server, tiny):
    tiny('mrpc')
    assert [row['text_a'] for row in rows_of(fetch(server, 'mrpc', 'train'))] == ['He said "yes']
    assert [row['text_a'] for row in rows_of(fetch(server, 'mrpc', 'dev'))] == ['It rains .']


@pytest.mark.parametrize(('name', 'split'), [('cmrc2018', 'dev'), ('cmrc2018', 'trial'), ('drcd', 'train')])
def test_questions_are_taken_as_they_are(server, tiny, name, split, home):
    tiny(name)
    path = fetch(server, name, split)
    assert path.suffix == '.json'
    assert path.read_bytes() == SERVED['cmrc2018']['cmrc2018_dev.json']
    assert json.loads((path.parent / 'record.json').read_text())[split]['rows'] == 2


def test_headlines_have_the_names_of_their_classes(server, tiny):
    tiny('thucnews-titles')
    assert [row['label'] for row in rows_of(fetch(server, 'thucnews-titles', 'dev'))] == ['education', 'entertainment']


class Unmarked(zipfile.ZipInfo):
    """A file in a zip whose name is in GBK, which nothing says: as Chinese Windows packs it."""

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode('cp437'), self.flag_bits


def zipped_on_windows(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, text in files.items():
            archive.writestr(Unmarked(name.encode('gbk').decode('cp437')), text)
    return buffer.getvalue()


def test_news_of_a_folder_for_each_class(tmp_path):
    for name, text in NEWS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding='utf-8')
    archive = tmp_path / 'THUCNews.zip'
    archive.write_bytes(zipped(NEWS | {'__MACOSX/THUCNews/体育/._1.txt': b'\0\5\x16\7'}))
    of_windows = tmp_path / 'windows.zip'
    of_windows.write_bytes(zipped_on_windows(NEWS))
    found = []
    for place in (tmp_path / 'THUCNews', archive, of_windows):
        folder = Path(data_sets.convert_own('thucnews', place))
        found.append([rows_of(folder / f'{split}.tsv') for split in ('train', 'dev', 'test')])
    assert found[0] == found[1] == found[2]
    train, dev, test = found[0]
    assert (len(train), len(dev), len(test)) == (16, 2, 2)
    assert [row['text_a'] for row in dev] == ['财经新闻8 第一段8。 第二段', '财经新闻18 第一段18。 第二段']
    assert {row['label'] for row in train} == {'体育', '财经'}
    assert json.loads((folder / 'label_map.json').read_text())['财经'] == 13


def test_what_is_given_out_by_agreement_only_is_said(server):
    with pytest.raises(UserError, match=r'thucnews: is not downloaded\. Tsinghua .* ernie download thucnews --from'):
        fetch(server, 'thucnews', 'train')
    assert server.requests == []


def table_lines():
    """The table of docs/data.md, as the code has it."""
    tasks = {'classify': 'classes', 'pair': 'classes of pairs', 'regression': 'numbers for pairs'}
    tasks |= {'tag': 'tags', 'read': 'questions'}
    for entry in DATA_SETS.values():
        if entry.variant_of:
            continue
        rows = [f'{split} {count:,}' if count else split for split, count in entry.splits.items()]
        hosts = {urlsplit(file.url).hostname: None for part in entry.parts for file in part.files}
        place = f'[{", ".join(hosts) or "by agreement"}]({entry.home})'
        about = entry.about.replace('xnli-en, xnli-fr', '`xnli-en`, `xnli-fr`')
        yield f'| `{entry.name}` | {about} | {tasks[entry.task]} | {", ".join(rows)} | {entry.licence} | {place} |'


def test_the_table_of_the_documentation():
    text = (Path(__file__).parents[2] / 'docs' / 'data.md').read_text(encoding='utf-8')
    for line in table_lines():
        assert line in text, f'docs/data.md should have: {line}'
    named = {line.split('`')[1] for line in text.splitlines() if line.count('|') == 7 and line.startswith('| `')}
    assert named == {name for name, entry in DATA_SETS.items() if not entry.variant_of}
    assert text.count('by agreement](') == sum(not entry.is_downloaded for entry in DATA_SETS.values())


def test_what_is_known_of_each_data_set():
    for entry in DATA_SETS.values():
        assert set(entry.splits) == {split for part in entry.parts for split in part.layout.splits}
        assert entry.licence and entry.home.startswith('http')
        assert bool(entry.labels) == (entry.task not in ('regression', 'read'))
        assert entry.is_downloaded or entry.terms
        for file in (file for part in entry.parts for file in part.files):
            assert file.url.startswith('https://')
            kind, _, digits = file.checksum.partition(':')
            assert len(digits) == {'': 0, 'md5': 32, 'sha256': 64}[kind]
    # No two sets keep different files in one place.
    kept = {(f.folder, f.name): f.url for e in DATA_SETS.values() for part in e.parts for f in part.files}
    assert len(kept) == len({f.url for e in DATA_SETS.values() for part in e.parts for f in part.files})


def test_official_counts_where_the_official_files_are(tmp_path):
    """The reviews of the shared data are the official ones."""
    place = Path(os.environ.get('ERNIE_TEST_DATA', '')) / 'chnsenticorp'
    if not os.environ.get('ERNIE_TEST_DATA') or not place.is_dir():
        pytest.skip('needs ERNIE_TEST_DATA')
    folder = Path(data_sets.convert_own('chnsenticorp', place))
    for split in ('train', 'dev'):
        rows = rows_of(folder / f'{split}.tsv')
        assert len(rows) == DATA_SETS['chnsenticorp'].splits[split]
        assert {row['label'] for row in rows} == set(DATA_SETS['chnsenticorp'].labels)
