"""`ernie predict --engine_cluster ray`: the results of a local run, row for row, from two workers."""

import csv
import importlib.util
import json
import os
import sys

import numpy as np
import pytest

from ernie.command import main
from ernie.inference import cluster
from ernie.inference.folder import ModelFolder
from ernie.inference.given import Given, read_given
from ernie.programs import PREDICT
from ernie.settings.predict import PredictVerbSettings
from ernie.tasks.codec import Selection
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import infer, texts, write_checkpoint

FORMS = ('jsonl', 'csv', 'parquet')


def rows_of_file(path, form):
    if form == 'parquet':
        return pytest.importorskip('pyarrow.parquet').read_table(path).to_pylist(maps_as_pydicts='strict')
    with open(path, encoding='utf-8') as f:
        return list(csv.DictReader(f)) if form == 'csv' else [json.loads(line) for line in f]


@pytest.fixture(scope='module')
def room(tmp_path_factory):
    """A folder with an exported model, two files to predict (one with a bad row) and their local results."""
    root = tmp_path_factory.mktemp('room')
    infer(init_checkpoint=write_checkpoint(root / 'classify'), save_inference_model_path=root, use_cuda=False)
    rows = [{'id': i, 'text_a': text, 'row': 'x'} for i, text in enumerate(texts(13))]
    (root / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)) + '\nno json\n')
    with open(root / 'b.csv', 'w', encoding='utf-8', newline='') as f:
        csv.writer(f).writerows([['text_a', 'label'], *([f'{text}\nline "two"', 'x'] for text in texts(9, 1))])
    return root


def words(**more):
    flags = {'batch_size': 2, 'length_window': 2, 'skip_bad_rows': 'true', **more}
    return ['classify_inference_model', *(word for name, value in flags.items() for word in (f'--{name}', str(value)))]


def expected(form):
    """What a local run gives, with the two columns that tell the order. It is made once for each form."""
    if not os.path.isdir(f'local {form}'):
        main(['predict', *words(format=form, output=f'local {form}/'), 'a.jsonl', 'b.csv'])
    found = []
    for name, own in (('a', 'a.jsonl'), ('b', 'b.csv')):
        for number, row in enumerate(rows_of_file(f'local {form}/{name}.{form}', form), start=1):
            row = {'input_row' if key == 'row' else key: value for key, value in row.items()}
            found.append({'file': own, 'row': str(number) if form == 'csv' else number, **row})
    return found


def in_this_process(form, **more):
    """The work of reader and workers, one after the other, without Ray. Returns the rows of all parts."""
    args = PREDICT.build_parser().parse_args([*words(**more), 'a.jsonl', 'b.csv']).checked()
    folder = ModelFolder(args.init_checkpoint)
    args = args.replace(engine='predictor', cpu_threads=1)
    place = f'out {form} {" ".join(more)}'.strip()
    os.makedirs(place)
    layout = {'selection': Selection(min_confidence=0.0), 'carry': True, 'skips': args.skip_bad_rows}
    worker = cluster._Worker(cluster._model_files(folder.path), args, layout, form, place)
    results = []
    for number, path in enumerate(args.inputs):
        batch = {'number': np.array([number]), 'path': np.array([path], object), 'several': np.array([True])}
        blocks = cluster._read_blocks(args, folder.codec.columns, 'classification', None, batch)
        results += [worker({name: values[0] for name, values in block.items()}) for block in blocks]
    cluster._collect(args, args.inputs, results)
    return [row for name in sorted(os.listdir(place)) for row in rows_of_file(f'{place}/{name}', form)]


@pytest.mark.parametrize('form', FORMS)
def test_parts_hold_what_a_local_run_gives(room, monkeypatch, form):
    if form == 'parquet':
        pytest.importorskip('pyarrow')
    monkeypatch.chdir(room)
    found = in_this_process(form)
    assert len(os.listdir(f'out {form}')) == 4 + 3 and len(found) == 14 + 9
    plain = lambda rows: [{n: v for n, v in row.items() if v not in (None, '')} for row in rows]  # noqa: E731
    assert plain(found) == plain(expected(form))
    assert 'error' in plain(found)[13]


def test_the_first_bad_row_ends_it(room, monkeypatch):
    monkeypatch.chdir(room)
    with pytest.raises(UserError, match=r'a.jsonl:14: found bad JSON'):
        in_this_process('jsonl', skip_bad_rows='false')
    with pytest.raises(UserError, match=r"a.jsonl:1: found .*'review'"):
        in_this_process('jsonl', text_column='review')


@pytest.mark.slow
@pytest.mark.skipif(not all(map(importlib.util.find_spec, ('ray', 'pyarrow', 'pandas'))), reason='no ray[data]')
def test_two_workers_give_what_one_process_gives(room, monkeypatch):
    monkeypatch.chdir(room)
    main(['predict', *words(engine_cluster='ray', workers=2, output='out ray'), 'a.jsonl', 'b.csv'])
    assert len(os.listdir('out ray')) == 4 + 3
    found = [row for name in sorted(os.listdir('out ray')) for row in rows_of_file(f'out ray/{name}', 'jsonl')]
    assert found == expected('jsonl')


@pytest.mark.parametrize(
    ('values', 'inputs', 'error', 'text'),
    [
        ({}, ('a text',), UsageError, 'reads files: give their paths'),
        ({}, ('-',), UsageError, 'reads files'),
        ({}, ('a.csv',), UsageError, 'give --output FOLDER'),
        ({'output': '.'}, ('a.csv',), UserError, r'\.: found something that exists'),
        ({'output': 'new', 'format': 'tsv'}, ('a.csv',), UsageError, '--format tsv: .* writes jsonl, parquet, csv'),
    ],
)
def test_what_a_cluster_does_not_do(tmp_path, monkeypatch, values, inputs, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.csv').write_text('text_a\nx\n')
    settings = PredictVerbSettings(inputs=inputs, engine_cluster='ray', **values)
    with pytest.raises(error, match=text):
        cluster.check_cluster(settings, read_given(settings))


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray.data', None)
    monkeypatch.setitem(sys.modules, 'ray', sys)  # whatever is imported as ray
    text = r'--engine_cluster ray needs the package ray\[data\].*pip install "ray\[data\]"'
    with pytest.raises(UserError, match=text):
        cluster.check_cluster(PredictVerbSettings(output='new'), Given(files=('a.csv',)))
