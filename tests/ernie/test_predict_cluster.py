"""`ernie predict --engine_cluster ray`: the results of a local run, row for row, from two workers."""

import csv
import importlib.util
import json
import os
import sys

import pytest

from ernie.command import main
from ernie.inference import cluster
from ernie.settings.predict import PredictVerbSettings
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_inference import infer, texts, write_checkpoint

FORMS = ('jsonl', 'csv', 'parquet')


def rows_of(folder, form):
    """The rows of all parts, in the order of their names."""
    found = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if form == 'parquet':
            parquet = pytest.importorskip('pyarrow.parquet')
            found += parquet.read_table(path).to_pylist(maps_as_pydicts='strict')
        else:
            with open(path, encoding='utf-8') as f:
                found += list(csv.DictReader(f)) if form == 'csv' else [json.loads(line) for line in f]
    return found


@pytest.mark.slow
@pytest.mark.skipif(not all(map(importlib.util.find_spec, ('ray', 'pyarrow', 'pandas'))), reason='no ray[data]')
def test_two_workers_give_what_one_process_gives(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint = write_checkpoint(tmp_path / 'classify')
    infer(init_checkpoint=checkpoint, save_inference_model_path=tmp_path, use_cuda=False)
    one = [{'id': i, 'text_a': text, 'row': 'x'} for i, text in enumerate(texts(23))]
    (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, one)) + '\nno json\n')
    with open('b.csv', 'w', encoding='utf-8', newline='') as f:
        csv.writer(f).writerows([['text_a', 'label'], *([f'{text}\nline "two"', 'x'] for text in texts(9, 1))])
    common = [
        'predict',
        'classify_inference_model',
        '--batch_size',
        '4',
        '--length_window',
        '2',
        '--skip_bad_rows',
        '1',
    ]
    ray = [*common, '--engine_cluster', 'ray', '--workers', '2']
    main([*common, 'a.jsonl', 'b.csv', '--output', 'local'])
    expected = [rows_of_file(f'local/{name}.jsonl') for name in 'ab']
    monkeypatch.setattr(cluster, 'ray_session', _kept(cluster.ray_session))
    main([*ray, 'a.jsonl', 'b.csv', '--output', 'out'])
    assert len(os.listdir('out')) == 3 + 2
    found = rows_of('out', 'jsonl')
    assert [(row.pop('file'), row.pop('row')) for row in found] == [
        *(('a.jsonl', n) for n in range(1, 25)),
        *(('b.csv', n) for n in range(1, 10)),
    ]
    assert [row.pop('input_row', None) for row in found[:24]] == [*'x' * 23, None]
    local = [{n: v for n, v in row.items() if n != 'row'} for row in sum(expected, [])]
    assert found == local and 'error' in found[23]
    for form in FORMS[1:]:
        main([*ray, 'b.csv', '--output', f'out {form}', '--format', form])
        table = rows_of(f'out {form}', form)
        assert [int(row.pop('row')) for row in table] == list(range(1, 10))
        assert [(row['input_label'], row['label'], float(row['confidence'])) for row in table] == [
            (row['input_label'], row['label'], row['confidence']) for row in expected[1]
        ]
    capsys.readouterr()
    for words, text in (
        (['a.jsonl', '--skip_bad_rows', 'false'], r'a.jsonl:24: found bad JSON'),
        (['a.jsonl', '--text_column', 'review'], r"a.jsonl:1: found .*'review'"),
    ):
        with pytest.raises(UserError, match=text):
            main([*ray, *words, '--output', 'failed'])
        assert not os.path.exists('failed')


def rows_of_file(path):
    with open(path, encoding='utf-8') as f:
        return [json.loads(line) for line in f]


def _kept(session):
    """Ray is started once for all calls."""
    import atexit
    import contextlib

    stack = contextlib.ExitStack()
    atexit.register(stack.close)

    @contextlib.contextmanager
    def kept(*arguments):
        if not stack.__dict__.get('ray'):
            stack.__dict__['ray'] = stack.enter_context(session(*arguments))
        yield stack.__dict__['ray']

    return kept


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
    from ernie.inference.given import read_given

    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.csv').write_text('text_a\nx\n')
    settings = PredictVerbSettings(inputs=inputs, engine_cluster='ray', **values)
    with pytest.raises(error, match=text):
        cluster.check_cluster(settings, read_given(settings))


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray.data', None)
    monkeypatch.setitem(sys.modules, 'ray', sys)  # whatever is imported as ray
    text = r'--engine_cluster ray needs the package ray\[data\].*pip install "ray\[data\]"'
    with pytest.raises(UserError, match=text), cluster.ray_session('--engine_cluster ray', modules=('ray', 'ray.data')):
        pass
