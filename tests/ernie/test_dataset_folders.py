"""Parquet, Arrow and folders of data sets: the rows are those that pyarrow was given."""

import json
import random

import pytest

from ernie.inference.given import read_given
from ernie.inference.stream import count_lines, read_rows
from ernie.reader.columnar import classes_of
from ernie.reader.dataset_folder import data_digest, data_files, is_there, named_split, splits_of
from ernie.reader.questions import read_questions
from ernie.reader.records import read_records
from ernie.reader.rows import BadRows
from ernie.reader.sentences import Sentences
from ernie.reader.warnings import Notes
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from ernie.settings.predict import PredictVerbSettings
from ernie.survey.form import task_of
from ernie.survey.tables import survey_table
from ernie.survey.tagging import survey_sentences
from propeller.errors import UserError
from tests.ernie.dataset_folders import (
    VALUE,
    class_label,
    list_of,
    pyarrow,
    save_splits,
    save_to_disk,
    write_parquet,
)

NAMES = ('差评', '好评')
FEATURES = {'review': VALUE, 'stars': class_label(*NAMES)}
TEXTS = ['很好', 'a\tb\n"c"', ' 😀', '不行', 'naïve', '나쁘다', 'x' * 3000]
REVIEWS = {'id': list(range(7)), 'review': TEXTS, 'stars': [1, 0, 1, 0, 1, 0, 0], 'picture': [b'\x00\xff'] * 7}
PAIRS = [(text, NAMES[label]) for text, label in zip(TEXTS, REVIEWS['stars'], strict=True)]


def part(first, end):
    return {name: values[first:end] for name, values in REVIEWS.items()}


def pairs(path, **options):
    return [(r.cells['text_a'], r.cells['label']) for r in read_records(path, ('text_a', 'label'), **options)]


def forms(folder):
    yield write_parquet(folder / 'a.parquet', REVIEWS, FEATURES)
    yield write_parquet(folder / 'b.parquet', REVIEWS, FEATURES, row_group_size=2, compression='zstd')
    yield write_parquet(folder / 'whatever.bin', REVIEWS, FEATURES)
    yield save_to_disk(folder / 'one', REVIEWS, FEATURES)
    yield save_to_disk(folder / 'shards', REVIEWS, FEATURES, shards=3, batch=2, in_schema=False)
    for i in range(2):
        write_parquet(folder / f'hub/data/train-{i:05d}-of-00002.parquet', part(4 * i, 4 * i + 4), FEATURES)
    yield folder / 'hub'
    yield f'{folder / "hub"}:train'


def test_all_forms_hold_the_same_rows(tmp_path):
    paths = list(forms(tmp_path))
    for path in paths:
        rows = list(read_records(path, ('text_a', 'label')))
        assert [(row.cells['text_a'], row.cells['label']) for row in rows] == PAIRS, path
        assert [row.line for row in rows] == list(range(1, 8))
        assert rows[3].cells == {'id': '3', 'text_a': '不行', 'label': '差评'}
        assert classes_of(str(path), 'stars') == NAMES
    with pyarrow.OSFile(str(tmp_path / 'a.arrow'), 'wb') as sink:
        table = pyarrow.table(part(0, 2))
        with pyarrow.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    assert pairs(tmp_path / 'a.arrow') == [('很好', '1'), ('a\tb\n"c"', '0')]
    assert classes_of(str(tmp_path / 'a.arrow'), 'stars') == ()
    assert count_lines(str(paths[0])) == 7 and count_lines(str(paths[3])) is None


def test_a_word_alone_is_no_split_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / 'test.csv').write_text('text\n好\n')
    (tmp_path / 'train.csv').write_text('text\n好\n')
    monkeypatch.chdir(tmp_path)
    assert read_given(PredictVerbSettings(inputs=('test',))).texts == ('test',)
    assert read_given(PredictVerbSettings(inputs=('./test',))).files == ('./test',)


def test_splits_by_name(tmp_path):
    features = {'review': VALUE, 'stars': class_label(*NAMES)}
    saved = save_splits(tmp_path / 's', train=(part(0, 4), features), dev=(part(4, 7), features))
    hub = tmp_path / 'h'
    write_parquet(hub / 'train.parquet', part(0, 4), features)
    write_parquet(hub / 'validation.parquet', part(4, 7), features)
    (hub / 'README.md').write_text('x')
    (hub / 'LICENSE.txt').write_text('x')
    folders = tmp_path / 'f'
    for split, rows in (('train', part(0, 4)), ('valid', part(4, 7))):
        write_parquet(folders / f'zh/{split}/0000.parquet', rows, features)
    for folder in map(str, (saved, hub, folders)):
        assert splits_of(folder) == {'train': f'{folder}:train', 'validation': f'{folder}:validation'}
        for name in ('validation', 'dev'):
            assert pairs(f'{folder}:{name}') == pairs(f'{folder}/{name}') == PAIRS[4:]
        assert named_split(folder, 'train') == f'{folder}:train' and named_split(f'{folder}:train', 'test').endswith(
            'train'
        )
        assert is_there(f'{folder}:train') and is_there(f'{folder}/dev') and not is_there(f'{folder}/else')
        assert not is_there(f'{folder}: is a text') and not is_there(f'{folder}:')
        with pytest.raises(UserError, match='splits train, validation, expected one of them. Say which: .*:train'):
            data_files(folder)
        with pytest.raises(UserError, match="splits train, validation, expected one called 'tran'. Did you mean train"):
            pairs(f'{folder}:tran')
        with pytest.raises(UserError, match='splits train, validation, expected a split test'):
            named_split(folder, 'test')
    assert splits_of(str(hub / 'train.parquet')) == {} == splits_of(str(save_to_disk(tmp_path / 'one', REVIEWS)))
    assert data_digest(f'{hub}:train') != data_digest(f'{hub}:validation') == data_digest(f'{hub}/dev')


def test_a_folder_as_the_sets_of_a_training(tmp_path):
    folder = str(save_splits(tmp_path / 's', train=(part(0, 4), FEATURES), validation=(part(4, 7), FEATURES)))
    made = FinetuneSettings(train_set=folder, dev_set=folder, do_test=False, given=frozenset()).checked()
    assert (made.train_set, made.dev_set) == (f'{folder}:train', f'{folder}:validation')
    own = OwnDataSettings(train_set=folder, do_test=False, given=frozenset()).checked()
    assert (own.train_set, own.dev_set, own.dev_share) == (f'{folder}:train', f'{folder}:validation', 0.0)
    own = OwnDataSettings(train_set=folder, do_test=False, dev_share=0.2, given=frozenset(['dev_share'])).checked()
    assert (own.dev_set, own.dev_share) == (None, 0.2)
    with pytest.raises(UserError, match='expected a split test'):
        FinetuneSettings(train_set=folder, test_set=folder, test_save='x', given=frozenset()).checked()
    found = survey_table(made.train_set, made)
    assert found.label_map == {'差评': 0, '好评': 1} and found.rows == 4
    assert task_of(made.train_set) == 'classification'


def test_text_files_of_a_folder(tmp_path):
    (tmp_path / 'train.csv').write_text('text;label\n好;1\n坏;0\n')
    (tmp_path / 'test.jsonl').write_text('{"text": "x", "label": 1}\n')
    assert pairs(f'{tmp_path}:train') == [('好', '1'), ('坏', '0')]
    assert pairs(f'{tmp_path}:test') == [('x', '1')]
    for i, rows in enumerate((['text\tlabel', 'a\t1', 'b', 'c\t0'], ['text\tlabel', 'd\t1', 'e\t1\t2'])):
        (tmp_path / 'parts').mkdir(exist_ok=True)
        (tmp_path / f'parts/part-{i}.tsv').write_text('\n'.join(rows) + '\n')
    bad = BadRows(tmp_path / 'parts')
    rows = list(read_records(tmp_path / 'parts', ('text_a', 'label'), bad))
    assert [(row.line, row.cells['text_a']) for row in rows] == [(2, 'a'), (4, 'c'), (6, 'd')]
    assert [line for line, _ in bad.rows] == [3, 7] and '(part-1.tsv:3)' in bad.rows[1][1]
    with pytest.raises(UserError, match=r'part-0\.tsv:3: found 1 cells'):
        pairs(tmp_path / 'parts')


def broken_folders(tmp_path):
    def folder(name, **files):
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file.replace('__', '.')).write_text(content)
        return tmp_path / name

    yield folder('empty'), 'found a folder without a data file, expected a file, or a folder of a data set'
    yield folder('two', a__csv='x', b__csv='y'), r'several files: a\.csv, b\.csv, .* Give the file itself'
    yield folder('parts', **{'train-00000-of-00003__csv': 'x'}), '1 parts of train-00000-of-00003.csv, expected 3'
    yield folder('twice', train__csv='x', train__jsonl='y'), r'several files: train\.csv, train\.jsonl'
    yield folder('no_list', state__json='{"_data_files": 3}'), 'state.json: found _data_files'
    yield (
        folder('outside', state__json='{"_data_files": [{"filename": "../x.arrow"}]}'),
        'state.json: found _data_files',
    )
    yield folder('missing', state__json='{"_data_files": [{"filename": "x.arrow"}]}'), 'x.arrow: found no such file'
    chosen = {'_data_files': [{'filename': 'x'}], '_indices_data_files': [{'filename': 'y'}]}
    yield folder('chosen', state__json=json.dumps(chosen)), 'Call flatten_indices'
    yield folder('dict', dataset_dict__json='{"splits": ["../x"]}'), 'dataset_dict.json: found splits'
    yield folder('bad', dataset_dict__json='['), 'dataset_dict.json'


def test_folders_that_are_no_data_sets(tmp_path):
    for folder, message in broken_folders(tmp_path):
        with pytest.raises(UserError, match=message) as e:
            pairs(folder)
        assert '\n' not in str(e.value)
    for name in ('zh', 'en'):
        write_parquet(tmp_path / f'several/{name}/train.parquet', REVIEWS)
    with pytest.raises(UserError, match='several data sets: en, zh, expected one of them. Say which: .*several/en'):
        pairs(tmp_path / 'several')


def test_damaged_files_end_in_one_line(tmp_path):
    rng = random.Random(3)
    for path in (write_parquet(tmp_path / 'a.parquet', REVIEWS, FEATURES), save_to_disk(tmp_path / 's', REVIEWS)):
        file = path if path.is_file() else path / 'data-00000-of-00001.arrow'
        content = file.read_bytes()
        for kind in range(60):
            place = rng.randrange(8, len(content))
            changed = (
                content[:place]
                if kind % 3 == 0
                else content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
            )
            file.write_bytes(changed)
            try:
                pairs(path)
            except UserError as e:
                assert '\n' not in str(e)
    (tmp_path / 'b.parquet').write_text('no table at all')
    with pytest.raises(UserError, match='b.parquet: found a file that does not begin as one, expected Parquet'):
        pairs(tmp_path / 'b.parquet')


def test_values_that_are_no_cells(tmp_path):
    path = write_parquet(tmp_path / 'a.parquet', {'text': ['a', None, 'c'], 'label': [[1, 2], [3], []]})
    with pytest.raises(
        UserError, match=r"a.parquet:2: found nothing as 'text_a', expected a row with 'text_a' and 'label'"
    ):
        pairs(path)
    bad = BadRows(path)
    assert pairs(path, bad_rows=bad) == [('a', '1,2'), ('c', '')] and len(bad) == 1
    path = write_parquet(tmp_path / 'b.parquet', {'text': [['a']], 'label': [1]})
    with pytest.raises(UserError, match=r"b.parquet:1: found \['a'\] as 'text_a'"):
        pairs(path)
    path = write_parquet(
        tmp_path / 'c.parquet', {'text': ['a', 'b', 'c'], 'label': [1, -1, 5]}, {'label': class_label('x', 'y')}
    )
    assert pairs(path) == [('a', 'y'), ('b', '-1'), ('c', '5')]


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / 'a.parquet', REVIEWS)
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    with pytest.raises(UserError, match='pip install pyarrow'):
        pairs(path)


def test_rows_to_predict_keep_what_the_file_has(tmp_path):
    path = write_parquet(tmp_path / 'a.parquet', REVIEWS, FEATURES)
    for place in (path, f'{save_splits(tmp_path / "s", test=(REVIEWS, FEATURES))}:test'):
        rows = list(read_rows(str(place)))
        assert [row.record['text_a'] for row in rows] == TEXTS
        assert rows[1].cells == {'id': 1, 'review': TEXTS[1], 'stars': '差评'}
    assert len(list(read_rows(str(path), input_format='parquet'))) == 7
    (tmp_path / 't.txt').write_text('x\n')
    with pytest.raises(UserError, match='pyarrow cannot read'):
        list(read_rows(str(tmp_path / 't.txt'), input_format='parquet'))


TAGS = class_label('O', 'B-PER', 'I-PER')
SENTENCES = {
    'tokens': [['王', '明', '来'], ['EU', 'x']],
    'ner_tags': [[1, 2, 0], [1, 0]],
    'pos_tags': [[0, 0, 0], [0, 0]],
}
NAMED = [(['王', '明', '来'], ['B-PER', 'I-PER', 'O']), (['EU', 'x'], ['B-PER', 'O'])]


def sentences(path, **options):
    rows = Sentences(True, **options).of(path, None, Notes(path, []))
    return [(row.tokens, row.labels) for row in rows]


def test_tokens_and_their_tags(tmp_path):
    for old in (False, True):
        features = {'tokens': list_of(VALUE, old), 'ner_tags': list_of(TAGS, old)}
        assert sentences(save_to_disk(tmp_path / f'{old}', SENTENCES, features)) == NAMED
        assert sentences(write_parquet(tmp_path / f'{old}.parquet', SENTENCES, features)) == NAMED
    lines = [{'words': tokens, 'tags': tags} for tokens, tags in NAMED]
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    (tmp_path / 'a.json').write_text(json.dumps(lines, indent=1))
    assert sentences(tmp_path / 'a.jsonl') == sentences(tmp_path / 'a.json') == NAMED
    bare = save_to_disk(tmp_path / 'bare', SENTENCES)
    with pytest.raises(UserError, match='found the number 1 as a label, which nothing names'):
        sentences(bare)
    assert sentences(bare, label_map={'0': 0, '1': 1, '2': 2})[1] == (['EU', 'x'], ['1', '0'])
    (tmp_path / 'b.jsonl').write_text('{"tokens": ["a", null], "tags": ["O", "O"]}\n')
    with pytest.raises(UserError, match=r"b\.jsonl:1: found \['a', None\] as tokens"):
        sentences(tmp_path / 'b.jsonl')


def test_the_task_of_a_folder(tmp_path):
    tags = save_to_disk(tmp_path / 'tags', SENTENCES, {'ner_tags': list_of(TAGS)})
    assert task_of(str(tags)) == 'sequence_labeling'
    questions = {'query': ['a'], 'passage': ['b'], 'answer': ['b']}
    assert task_of(str(write_parquet(tmp_path / 'q.parquet', questions))) == 'mrc'
    found = survey_sentences(str(tags), FinetuneSettings(given=frozenset()))
    assert found.label_map == {'B-PER': 0, 'I-PER': 1, 'O': 2}


def test_questions_as_datasets_has_them(tmp_path):
    answer = pyarrow.struct(
        [('text', pyarrow.list_(pyarrow.string())), ('answer_start', pyarrow.list_(pyarrow.int32()))]
    )
    answers = [{'text': ['b'], 'answer_start': [1]}, {'text': [], 'answer_start': []}]
    columns = {
        'id': ['x', 'y'],
        'question': ['谁', '何'],
        'context': ['ab', 'cd'],
        'answers': pyarrow.array(answers, answer),
    }
    path = write_parquet(tmp_path / 'a.parquet', columns)
    first, second = read_questions(path).questions
    assert first.answers == (('b', 1),) and not first.is_impossible
    assert second.answers == () and second.is_impossible


def test_nan_is_no_value(tmp_path):
    nan = float('nan')
    table = {'text': ['好', '坏', '中'], 'label': [1.0, nan, 0.0], 'note': [nan, 1.0, None]}
    write_parquet(tmp_path / 'a.parquet', table)
    path = tmp_path / 'a.parquet'
    with pytest.raises(UserError, match="a.parquet:2: found nothing as 'label', expected a row"):
        list(read_records(path, ('text_a', 'label')))
    bad = BadRows(path)
    assert [r.cells['label'] for r in read_records(path, ('text_a', 'label'), bad)] == ['1.0', '0.0']
    assert len(bad) == 1
    assert [row.cells['note'] for row in read_rows(str(path))] == [None, 1.0, None]
    (tmp_path / 'a.jsonl').write_text('{"text": "好", "label": NaN}\n')
    with pytest.raises(UserError, match="a.jsonl:1: found nothing as 'label'"):
        list(read_records(tmp_path / 'a.jsonl', ('text_a', 'label')))
