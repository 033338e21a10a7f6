"""Parquet and folders of data sets; nothing is registered where pyarrow is not installed."""

import importlib.util
import io
import json

from benchmark.acceptance.mutations import mutate_bytes, mutate_json, mutate_json_lines
from benchmark.acceptance.outside.registry import parser

_LABEL = {'names': ['差', '好'], '_type': 'ClassLabel'}
_FEATURES = {
    'text': {'dtype': 'string', '_type': 'Value'},
    'label': _LABEL,
    'tags': {'feature': _LABEL, '_type': 'List'},
}
_STATE = {'_data_files': [{'filename': 'data-00000-of-00001.arrow'}], '_fingerprint': 'x', '_split': 'train'}
_QUESTION = {'id': 'x', 'question': '谁', 'context': '今天', 'answers': {'text': ['天'], 'answer_start': [1]}}


def _written(write):
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def _files():
    """dict name -> bytes of a Parquet file and of a folder of `save_to_disk`."""
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    columns = {'text': ['今天', '热', 'bad x'], 'label': [1, 0, 1], 'tokens': [['今', '天'], ['x'], ['热']]}
    columns |= {'tags': [[0, 1], [0], [1]], 'picture': [b'\x00'] * 3}
    about = json.dumps({'info': {'features': _FEATURES}})
    table = pyarrow.table(columns).replace_schema_metadata({'huggingface': about})

    def stream(sink):
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, 2)

    return {
        'a.parquet': _written(lambda sink: pyarrow.parquet.write_table(table, sink)),
        'data-00000-of-00001.arrow': _written(stream),
        'state.json': json.dumps(_STATE).encode(),
        'dataset_info.json': json.dumps({'features': _FEATURES}).encode(),
    }


def _read(path):
    from ernie.inference.stream import read_rows
    from ernie.reader.columnar import classes_of
    from ernie.reader.records import read_records
    from ernie.reader.rows import BadRows
    from ernie.reader.sentences import Sentences
    from ernie.reader.warnings import Notes

    classes_of(path, 'label')
    for row in read_rows(path):
        str(row.bad and row.bad.as_error('p'))
    for row in Sentences(True).of(path, BadRows(path), Notes(path, [])):
        str(row)
    for record in read_records(path, ('text_a', 'label')):
        str(record)


if importlib.util.find_spec('pyarrow'):
    _FILES = _files()
    _SAVED = {name: content for name, content in _FILES.items() if name != 'a.parquet'}

    @parser('Parquet', {'a.parquet': _FILES['a.parquet']})
    def _parquet(folder):
        _read(str(folder / 'a.parquet'))

    for _name, _mutate in (('data-00000-of-00001.arrow', mutate_bytes), ('state.json', mutate_json)):

        @parser(f'data set: {_name}', _SAVED, _mutate, _name)
        def _folder(folder):
            _read(str(folder))

    @parser('data set: dataset_info.json', _SAVED, mutate_json, 'dataset_info.json')
    def _info(folder):
        _read(str(folder))


@parser('folder of splits', {'train.csv': 'text;label\n"今;天";1\n热;0\n'.encode(), 'dev.jsonl': b'{"text": "x"}\n'})
def _splits(folder):
    from ernie.reader.dataset_folder import splits_of
    from ernie.reader.records import read_records

    for path in splits_of(str(folder)).values():
        list(read_records(path))


@parser('questions of records', {'q.jsonl': (json.dumps(_QUESTION) + '\n').encode() * 2}, mutate_json_lines)
def _questions(folder):
    from ernie.reader.questions import read_questions
    from ernie.reader.rows import BadRows

    read_questions(folder / 'q.jsonl', BadRows(folder / 'q.jsonl'))
