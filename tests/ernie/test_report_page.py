import base64
import hashlib
import html.parser
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from ernie.report.card import model_card
from ernie.report.facts import languages_of
from ernie.report.markup import SCRIPT, table
from ernie.report.run_files import main_score, read_run, seconds_of
from ernie.report.writing import end_pairs, write_evaluation_report, write_training_report
from propeller.errors import UserError
from propeller.train.record import MetricsFile
from tests.ernie.run_folder import EVIL, FACTS, NAMES, write_dev, write_run

VOID = {'meta', 'img', 'br'}


def read(path):
    return Path(path).read_text(encoding='utf-8')


class Page(html.parser.HTMLParser):
    """A page taken apart: texts, attributes, and whether every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.texts, self.scripts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ['script']:
            self.scripts.append(data)
        elif self.open[-1:] != ['style']:
            self.texts.append(data)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('runs')
    return write_run(root / 'first', write_dev(root / 'dev.tsv'))


@pytest.fixture(scope='module')
def page(folder):
    return read(write_training_report(str(folder), FACTS))


def test_the_page_asks_for_nothing_outside(page):
    found = Page(page)
    addresses = [
        (tag, key, value) for tag, attrs in found.found for key, value in attrs.items() if key in ('src', 'href')
    ]
    assert addresses and all(tag == 'img' and value.startswith('data:image/png;base64,') for tag, _, value in addresses)
    assert not {'link', 'iframe', 'object', 'embed', 'base', 'form', 'a'} & {tag for tag, _ in found.found}
    style = page[page.index('<style>') : page.index('</style>')]
    assert 'url(' not in style and '@import' not in style
    # What a browser is told: nothing but pictures inside, this style, this one script.
    (policy,) = [a['content'] for tag, a in found.found if a.get('http-equiv') == 'Content-Security-Policy']
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;") and f"script-src 'sha256-{digest}'" in policy
    assert found.scripts == [SCRIPT]


def test_texts_of_users_stay_texts(page, folder):
    found = Page(page)
    entries = [json.loads(line) for line in (folder / 'reports/dev.errors.jsonl').read_text('utf-8').splitlines()]
    shown = ''.join(found.texts)
    assert all(entry['text_a'] in shown for entry in entries) and all(name in shown for name in NAMES)
    assert not [attrs for _, attrs in found.found if any(key.startswith('on') for key in attrs)]
    assert table([[EVIL]]).text.count('<') == table([['x']]).text.count('<')


def test_the_page_tells_what_the_files_say(page, folder):
    shown = ' '.join(Page(page).texts)
    summary = json.loads((folder / 'reports/dev.summary.json').read_text('utf-8'))
    acc, wrong = summary['values']['acc'], summary['wrong']
    for text in (f'{acc:.4f}', '20 of 30', '1 h 2 min', '1,234', '21.0 million parameters', 'multilingual-e5-small'):
        assert text in shown
    assert f'{wrong} of 90 rows are wrong' in shown and 'ernie convert' in shown and 'learning_rate' in shown
    first = summary['report']['classes'][0]
    assert f'{first["f1"]:.4f}' in shown
    names = {path.name for path in (folder / 'reports').iterdir()}
    assert {'dev.confusion.png', 'dev.precision_recall.png', 'dev.calibration.png'} <= names
    assert page.count('<img') == 4 and (folder / 'curves.png').is_file()


def test_the_page_of_a_tagger_counts_entities_and_tokens(folder, tmp_path):
    shutil.copytree(folder / 'reports', tmp_path / 'reports')
    path = tmp_path / 'reports/dev.summary.json'
    path.write_text(json.dumps({**json.loads(path.read_text('utf-8')), 'kind': 'tagging', 'unit': 'sentences'}))
    text = read(write_training_report(str(tmp_path), {**FACTS, 'task': 'sequence_labeling'}))
    shown = [part.strip() for part in Page(text).texts if part.strip()]
    assert shown.count('entities') == 2 and 'Confusion matrix of tokens' in shown
    assert 'training sentences' in shown and any(re.fullmatch(r'Right: [0-9.]+% of the tokens\.', s) for s in shown)


def test_only_the_first_wrong_rows_are_in_the_page(tmp_path):
    run = write_run(tmp_path / 'r', write_dev(tmp_path / 'dev.tsv', 700), skill=0.0)
    text = read(write_training_report(str(run), FACTS))
    assert 'The first 200 of' in text and len(re.findall('<tr>', text)) < 300
    assert read(run / 'reports/dev.errors.jsonl').count('\n') > 300


def test_end_of_a_run(folder):
    summary = json.loads((folder / 'reports/dev.summary.json').read_text('utf-8'))
    assert end_pairs(str(folder), 'x/report.html') == [
        ('report', 'x/report.html'),
        ('wrong rows', f'{folder}/reports/dev.errors.tsv ({summary["wrong"]} of 90)'),
    ]


def test_an_evaluation_leaves_the_page_of_a_training(folder, tmp_path):
    before = (folder / 'report.html').read_bytes() if (folder / 'report.html').exists() else None
    path = write_evaluation_report(str(folder), FACTS, {'dev_set': 'x'}, 'some/best', ['dev'])
    assert path == str(folder / 'evaluation.html') and 'evaluation' in read(path)
    if before:
        assert (folder / 'report.html').read_bytes() == before
    (tmp_path / 'e').mkdir()
    (folder / 'reports').rename(tmp_path / 'e/reports')
    try:
        assert write_evaluation_report(str(tmp_path / 'e'), {}, {}, 'm', ['dev']).endswith('report.html')
        assert write_evaluation_report(str(tmp_path / 'e'), {}, {}, 'm', []) is None
    finally:
        (tmp_path / 'e/reports').rename(folder / 'reports')


def test_a_pretraining_has_a_page_too(tmp_path):
    with MetricsFile(tmp_path / 'metrics.jsonl') as f:
        for step in (5, 10):
            f.append('train', step, 0, {'loss': 9.0, 'ppl': 88.0, 'next_sentence_acc': 0.5, 'learning_rate': 1e-4})
            f.append('valid', step, 0, {'loss': 8.5, 'ppl': 70.0 + step, 'next_sentence_acc': 0.625, 'file': 'v'})
    text = read(write_training_report(str(tmp_path), {'version': '1'}))
    assert text.count('<img') == 1 and 'Dev set' not in text and '<b>10</b>' in text and 'Dotted' not in text
    shown = [part.strip() for part in Page(text).texts if part.strip()]
    place = shown.index('Last evaluation: valid')
    found = ['at step 10', 'loss', 'perplexity', 'next sentence accuracy', '8.5000', '80.0000', '0.6250']
    assert shown[place + 1 : place + 8] == found


def test_columns_of_a_table_are_broken_where_they_may_be():
    """Numbers, ids and short names stay on one line; long names and paths are broken; texts have room."""
    rows = [['a_rather_long_setting', 'q1440', '/a/path/with/many/parts', 0.5, '很长的文本'], ['b', 'q2', 'c', 1, '短']]
    found = [
        attrs.get('class') for tag, attrs in Page(table(rows, tuple('abcde'), texts=[4]).text).found if tag == 'td'
    ]
    assert found == ['s', 's', None, 'n', 't'] * 2


def test_folders_that_are_no_run(tmp_path, folder):
    with pytest.raises(UserError, match='found no such folder, expected the folder of a training'):
        read_run(str(tmp_path / 'none'))
    with pytest.raises(UserError, match='neither run.yaml nor metrics.jsonl'):
        read_run(str(tmp_path))
    with pytest.raises(UserError, match=f'Did you mean {folder}'):
        read_run(str(folder / 'best'))
    (tmp_path / 'f').write_text('')
    with pytest.raises(UserError, match='found a file'):
        read_run(str(tmp_path / 'f'))


def test_small_facts():
    assert main_score({'acc': 0.5, 'macro_f1': 0.4, 'main_value': 0.4}) == ('macro_f1', 0.4)
    assert main_score({'acc': 0.5, 'f1': 0.7, 'main_value': 0.6}) == ('score', 0.6) and main_score({}) is None


def test_breaks_between_two_parts_of_a_training_do_not_count(folder):
    run = read_run(str(folder))
    run.facts = {}
    run.records = [{'time': 100.0 + t} for t in (0, 2, 4, 6, 90_000, 90_002)]
    assert seconds_of(run) == 8


@pytest.mark.parametrize(
    ('texts', 'codes'),
    [(['很好吃', 'OK 不错'], ['zh']), (['재미있다', '최고 movie'], ['ko']), (['これは本です', '日本語の本'], ['ja'])]
    + [(['the food is good'], []), (['très bon, merci'], []), (['很好吃', '재미있다'], ['ko', 'zh']), ([], [])],
)
def test_languages_by_the_scripts_of_the_texts(texts, codes):
    assert sorted(languages_of(texts)) == codes


def test_the_model_card(folder):
    summary = json.loads((folder / 'reports/dev.summary.json').read_text('utf-8'))
    scores = json.loads((folder / 'best/metrics.json').read_text())
    text = model_card(FACTS, {'learning_rate': 5e-5, 'batch_size': 32}, scores, summary['report'], 'runs/投诉/best')
    _, header, body = text.split('---\n', 2)
    assert yaml.safe_load(header) == {
        'language': ['zh', 'ko'],
        'license': 'mit',
        'tags': ['ernie'],
        'pipeline_tag': 'text-classification',
        'metrics': ['accuracy'],
    }
    assert body.startswith('\n# 投诉\n') and '| learning\\_rate | 5e-05 |' in body
    assert '1,234 rows of train.tsv' in body and f'| acc | {scores["acc"]:.4f} |' in body
    assert (
        '| 投诉&lt;b> | 1,000 |' in body
        and '| a\\|b\\_c | 4 |' in body
        and 'fewer than 10 training examples: a' in body
    )
    assert 'AutoModelForSequenceClassification' in body and "ernie.load('runs/投诉/best')" in body
    assert "ernie convert 'runs/投诉/best' hf_model --to huggingface" in body
    tags = model_card({**FACTS, 'task': 'sequence_labeling'}, {}, scores, summary['report'], 'x/best')
    assert '1,234 sentences of' in tags and '| F1 | entities |' in tags and '| F1 | rows |' in body
    empty = model_card({'task': 'other'}, {}, {}, None, 'x/best')
    assert yaml.safe_load(empty.split('---\n')[1]) == {'tags': ['ernie']} and 'transformers' not in empty
