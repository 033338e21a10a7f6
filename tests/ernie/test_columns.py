"""A model is given the columns that it learnt from, or an error; a misspelt name is told, others pass quietly."""

import json
import logging
from types import SimpleNamespace

import pytest

from ernie.checkpoint.labels_json import read_saved_labels
from ernie.config import ErnieConfig
from ernie.inference.loaded import row_of_record
from ernie.inference.stream import read_rows
from ernie.programs import CLASSIFY
from ernie.reader.classify import ClassifyReader
from ernie.reader.columns import ColumnNames, Columns, nearest
from ernie.reader.sequence_label import SequenceLabelReader
from ernie.tasks.classification.training import ClassificationTask
from ernie.tasks.codec import BadRecord
from ernie.tokenization import TOKENIZERS, FullTokenizer
from propeller.errors import UserError
from tests.ernie.tiny_inference import infer, write_checkpoint
from tests.ernie.tiny_model import CONFIG, SETTINGS, flags, messages, run, write_model, write_table

KNOWN = ('text_a', 'text_b', 'label', 'qid')
PAIRS = [('的一是', '好', 1), ('不了人', '坏', 0), ('我在有', '', 1)]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('m') / 'm')


@pytest.fixture
def task(model):
    def make(saved=None, **values):
        args = CLASSIFY.build_parser().parse_args(flags(**(SETTINGS | values)))
        vocabulary = str(model / 'vocab.txt')
        return ClassificationTask(args, ErnieConfig(CONFIG), TOKENIZERS[args.tokenizer](vocabulary), saved or {})

    return make


def table(path, *names, rows=PAIRS):
    """A file with these columns: texts, label, and for other names the second text."""
    place = {'text_a': 0, 'label': 2}
    return write_table(path, names, [[row[place.get(name, 1)] for name in names] for row in rows])


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        *(('text_B', 'text_b'), ('Text_A', 'text_a'), ('textb', 'text_b'), ('text-b', 'text_b'), ('text b', 'text_b')),
        *(('text_b\u200b', 'text_b'), ('Label', 'label'), ('labels', 'label'), ('lable', 'label'), ('QID', 'qid')),
        *((name, None) for name in ('id', 'source', 'title', 'score', 'qi', 'date', 'split', 'text_id', '标签', '')),
    ],
)
def test_names_that_look_alike(name, expected):
    assert nearest(name, KNOWN) == expected


@pytest.mark.parametrize('cache', [True, False])
def test_a_misspelt_column_is_told_and_others_pass_quietly(model, tmp_path, caplog, monkeypatch, cache):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    caplog.set_level(logging.DEBUG)
    path = table(tmp_path / 'a.tsv', 'id', 'text_a', 'text_bb', 'label', 'source')
    reader = ClassifyReader(FullTokenizer(str(model / 'vocab.txt')), 15, cache=cache)
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        reader.read(path)
        told = [record for record in caplog.records if 'not read' in record.message]
        assert [(record.levelname, record.message) for record in told] == [
            ('WARNING', f"{path}: the column 'text_bb' is not read: is it meant to be 'text_b'?"),
            ('DEBUG', f"{path}: columns that are not read: 'id', 'source'"),
        ]


def test_a_table_of_tags_tells_of_a_misspelt_label(model, tmp_path, caplog):
    path = write_table(tmp_path / 't.tsv', ['text_a', 'lable'], [('的\x02一', 'O\x02O')])
    reader = SequenceLabelReader(FullTokenizer(str(model / 'vocab.txt')), 15, {'O': 0}, labelled=False, cache=False)
    reader.read(path)
    assert "the column 'lable' is not read: is it meant to be 'label'?" in caplog.text
    reader = SequenceLabelReader(reader.encoder.tokenizer, 15, {'O': 0}, cache=False)
    with pytest.raises(UserError, match=r"t.tsv:1: .*expected also .*'label'\. Is 'lable' meant to be 'label'\?"):
        reader.read(path)


def test_what_training_had_evaluation_and_prediction_need(task, tmp_path):
    train = table(tmp_path / 'train.tsv', 'text_b', 'label', 'text_a')
    made = task()
    made.prepare_training(made.read(train, labelled=True))
    assert made.describe()['columns'] == ['text_a', 'text_b']
    made.read(table(tmp_path / 'dev.tsv', 'qid', 'text_a', 'text_b', 'label', rows=[('a', 3, 1)]), labelled=True)
    other = ((True, ('text_a', 'text_bb', 'label')), (False, ('text_a',)), (False, ('text_a', 'text_bb')))
    for labelled, names in other:
        path = table(tmp_path / 'other.tsv', *names)
        with pytest.raises(UserError) as error:
            made.read(path, labelled)
        found = ', '.join(map(repr, names))
        start = f"{path}:1: found the columns {found}, expected also a column 'text_b': the training set {train} has"
        assert str(error.value).startswith(start)
        assert ('meant to be' in str(error.value)) == (len(names) > 1)


def test_a_model_of_one_text_takes_no_second(task, tmp_path):
    made = task()
    made.prepare_training(made.read(table(tmp_path / 'train.tsv', 'label', 'text_a'), labelled=True))
    assert made.describe()['columns'] == ['text_a']
    made.read(table(tmp_path / 'test.tsv', 'text_a', 'id'), labelled=False)
    with pytest.raises(UserError, match=r"found a column 'text_b', expected none .*: the training set .* text_a alone"):
        made.read(table(tmp_path / 'dev.tsv', 'text_a', 'text_b', 'label'), labelled=True)


def test_a_checkpoint_demands_its_columns_in_training_too(task, tmp_path):
    made = task({'columns': ['text_a', 'text_b']})
    with pytest.raises(UserError, match="also a column 'text_b': the checkpoint learnt from text_a and text_b"):
        made.read(table(tmp_path / 'train.tsv', 'text_a', 'label'), labelled=True)


def test_a_checkpoint_without_the_record_reads_as_before(task, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    made = task({'task': 'classification', 'num_labels': 2})
    assert 'does not say which columns it learnt from' in caplog.text
    for names in (('text_a', 'label'), ('text_a', 'text_b', 'label')):
        made.read(table(tmp_path / 'a.tsv', *names), labelled=True)


def test_a_tokenizer_that_cuts_at_spaces_is_warned_of_for_cn(task, caplog):
    task(tokenizer='CharTokenizer', for_cn=False), task()
    assert 'for_cn' not in caplog.text
    task(tokenizer='CharTokenizer')
    assert '--tokenizer CharTokenizer cuts at spaces, and --for_cn true drops those next to ideographs' in caplog.text


def test_sets_that_disagree_end_before_the_training(model, tmp_path):
    train, dev = table(tmp_path / 'train.tsv', *KNOWN[:3]), table(tmp_path / 'dev.tsv', 'text_a', 'text_bb', 'label')
    with pytest.raises(UserError, match="'text_bb', 'label', expected also a column 'text_b'"):
        run(init_pretraining_params=model, train_set=train, dev_set=dev, do_test=False, checkpoints=tmp_path / 'c')
    assert not list((tmp_path / 'c').glob('step_*'))


def test_names_that_were_learnt_are_recorded_and_hold_for_other_files(task, tmp_path):
    rows = [('的一是', '好', 1), ('不了人', '坏', 0)]
    train = write_table(tmp_path / 'train.tsv', ['document', 'title', 'stars'], rows)
    made = task(text_column='document')
    made.prepare_training(made.read(train, labelled=True))
    names = {'text_a': 'document', 'label': 'stars'}
    assert made.describe()['column_names'] == names and made.describe()['columns'] == ['text_a']
    for names_of_file in (['document', 'title', 'stars'], ['text_a', 'title', 'label'], ['review', 'id', 'target']):
        path = write_table(tmp_path / 'dev.tsv', names_of_file, rows)
        assert made.read(path, labelled=True).lengths.tolist() == [5, 5]
    (tmp_path / 'labels.json').write_text(json.dumps(made.describe()))
    assert read_saved_labels(tmp_path)['column_names'] == names
    later = task(saved={'task': 'classification', 'columns': ['text_a'], 'column_names': names})
    assert later.read(train, labelled=False).lengths.tolist() == [5, 5]
    with pytest.raises(UserError, match=r"a column 'documnet' \(--text_column\)\. Did you mean document"):
        task(text_column='documnet').read(train, labelled=True)


@pytest.mark.parametrize('names', ['document', [], {'text_a': 3}, None])
def test_a_record_of_names_that_cannot_be(tmp_path, names):
    folder = checkpoint(tmp_path / 'c')
    labels = json.loads((folder / 'labels.json').read_text())
    (folder / 'labels.json').write_text(json.dumps(labels | {'column_names': names}))
    with pytest.raises(UserError, match='labels.json: found column_names'):
        read_saved_labels(folder)


def test_the_columns_are_part_of_the_cache_key(model, tmp_path, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    path = write_table(tmp_path / 'a.tsv', ['title', 'review'], [('的一是', '好'), ('不了', '坏')])
    tokenizer, found = FullTokenizer(str(model / 'vocab.txt')), {}
    for name in ('title', 'review', 'title'):
        reader = ClassifyReader(tokenizer, 15, task_kind='predict', columns=ColumnNames(name))
        found.setdefault(name, []).append(reader.read(path).lengths.tolist())
    assert found == {'title': [[5, 4], [5, 4]], 'review': [[3, 3]]}
    assert len(list((tmp_path / 'cache').rglob('set.json'))) == 2


def test_records_of_a_program_by_other_names():
    codec = SimpleNamespace(columns=Columns(('text_a',)), settings={'column_names': {'text_a': 'body'}})
    for record in ({'text_a': 'x', 'body': 'y'}, {'body': 'x', 'title': 'y'}, {'Review': 'x', 'id': 3, 4: 5}):
        assert row_of_record(codec, record, 1).record['text_a'] == 'x'
    row = row_of_record(codec, {'title': 'x', 'review': 'y'}, 7)
    assert row.record is None and "2 columns that could be the text: 'title', 'review'" in row.bad.found
    tagger = SimpleNamespace(columns=Columns(words='tokens'), settings={})
    record = row_of_record(tagger, {'tokens': ['王', '明']}, 1).record
    assert record == {'text_a': '王\x02明', 'tokens': ['王', '明']}


# ------------------------------------------------------------------------------------------------ new texts


def checkpoint(folder, *columns):
    """A checkpoint that learnt from these columns; without any, one from before they were recorded."""
    write_checkpoint(folder)
    labels = json.loads((folder / 'labels.json').read_text())
    (folder / 'labels.json').write_text(json.dumps(labels | ({'columns': list(columns)} if columns else {})))
    return folder


def predict(folder, path, **values):
    return infer(init_checkpoint=folder, predict_set=path, save_inference_model_path='', use_cuda=False, **values)


@pytest.mark.parametrize('engine', ['predictor', 'executor'])
def test_prediction_demands_the_second_text(tmp_path, engine):
    folder = checkpoint(tmp_path / 'c', 'text_a', 'text_b')
    path = table(tmp_path / 'p.tsv', 'text_a', 'Text_bb')
    error = r"p.tsv:1: .* 'text_a', 'Text_bb', expected also .*'text_b'\. Is 'Text_bb' meant to be 'text_b'\?"
    with pytest.raises(UserError, match=error):
        predict(folder, path, engine=engine)


def test_an_export_keeps_the_columns_and_old_models_read_what_there_is(tmp_path):
    folder, path = checkpoint(tmp_path / 'c', 'text_a', 'text_b'), table(tmp_path / 'p.tsv', 'text_a', 'text_b')
    ran = infer(init_checkpoint=folder, save_inference_model_path=tmp_path / 'e', use_cuda=False)
    assert read_saved_labels(tmp_path / 'e/c_inference_model')['columns'] == ['text_a', 'text_b']
    with pytest.raises(UserError, match="found only 'text_a', expected a JSON object with 'text_a' and 'text_b'"):
        predict(tmp_path / 'e/c_inference_model', '-', stdin='{"text_a": "好"}\n'.encode())
    ran = predict(checkpoint(tmp_path / 'old'), path)
    assert len(ran.out.splitlines()) == 3
    assert any('does not say which columns' in line for line in messages(ran.log))


def rows(tmp_path, content, columns, name='a.jsonl'):
    (tmp_path / name).write_text(content, encoding='utf-8')
    return list(read_rows(str(tmp_path / name), columns))


def test_keys_of_json_lines(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    pair = Columns(('text_a', 'text_b'), ('label', 'qid'))
    lines = [{'text_a': 'x', 'text_bb': 'y', 'id': i} for i in range(3)]
    made = rows(tmp_path, '\n'.join(map(json.dumps, lines)), pair)
    assert [row.bad.found for row in made] == ["only 'text_a', 'text_bb', 'id'"] * 3
    assert made[0].bad.advice == "Is 'text_bb' meant to be 'text_b'?"
    lines = [{'text_a': 'x', 'text_b': '', 'Label': '1', 'id': i} for i in range(3)]
    assert all(row.bad is None for row in rows(tmp_path, '\n'.join(map(json.dumps, lines)), pair))
    said = [record.message for record in caplog.records if 'not read' in record.message]
    assert len(said) == 2 and "'Label' is not read: is it meant to be 'label'?" in said[0] and said[1].endswith("'id'")


def test_a_table_with_a_second_text_for_a_model_of_one(tmp_path):
    single = Columns(('text_a',), ('label',), ('text_b',))
    with pytest.raises(UserError, match=r"a.csv:1: found a column 'text_b', expected none .* learnt from text_a alone"):
        rows(tmp_path, 'text,text_b\nx,y\n', single, 'a.csv')


def test_records_of_a_program(tmp_path):
    from ernie.inference.folder import ModelFolder

    pair = ModelFolder(checkpoint(tmp_path / 'p', 'text_a', 'text_b')).codec
    with pytest.raises(BadRecord) as bad:
        pair.encode({'text_a': 'x', 'text_B': 'y'})
    assert bad.value.found == "nothing as text_b beside 'text_a', 'text_B'"
    assert pair.encode({'text_a': '好', 'text_b': ''}).split == [3]
    single = ModelFolder(checkpoint(tmp_path / 's', 'text_a')).codec
    with pytest.raises(BadRecord, match='text_b'):
        single.encode({'text_a': 'x', 'text_b': 'y'})
    assert single.encode({'text_a': 'x', 'text_b': None}).ids


@pytest.mark.parametrize('columns', ['text_a', [], ['text_b'], ['text_a', 'x'], {}, 3])
def test_a_record_of_columns_that_cannot_be(tmp_path, columns):
    folder = checkpoint(tmp_path / 'c')
    labels = json.loads((folder / 'labels.json').read_text())
    (folder / 'labels.json').write_text(json.dumps(labels | {'columns': columns}))
    with pytest.raises(UserError, match=r"labels.json: found columns .*, expected \['text_a'\] or"):
        read_saved_labels(folder)
