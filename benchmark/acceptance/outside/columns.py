"""Record files, and text and vocabularies of feature columns."""

import gzip
import os
import struct
import tempfile

from benchmark.acceptance.mutations import mutate_bytes
from benchmark.acceptance.outside.registry import parser, zipped
from propeller.data.example import Example, Feature, Features, Int64List
from propeller.data.record_file import write_records

_VOCABULARY = '[PAD]\n[UNK]\n今天\n天气\n'.encode()
_TEXT = '今天 天气 x\t1\n\n天气\t0\n'.encode()


def _records():
    for ids, label in (([2, 300, 70000, -1], 1), ([], 0), (list(range(100, 160)), 2)):
        features = {'text': ids, 'label': [label]}
        feature = {name: Feature(int64_list=Int64List(value=ids)) for name, ids in features.items()}
        yield Example(features=Features(feature=feature)).SerializeToString()


def _written():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'records')
        write_records(path, _records(), source={'text': 'x'})
        with open(path, 'rb') as f:
            return f.read()


def _columns(folder):
    from propeller.data.feature_column import FeatureColumns, LabelColumn, TextColumn

    (folder / 'vocab').write_bytes(_VOCABULARY)
    return FeatureColumns([TextColumn('text', 1, vocab_file=folder / 'vocab'), LabelColumn('label')])


def _read(folder):
    (folder / 'gz').mkdir()
    os.rename(folder / 'records', folder / 'gz' / 'records')
    dataset = _columns(folder).build_dataset('t', gz_dir=folder / 'gz', repeat=False)
    list(dataset)
    list(dataset.iterate_from(1))


parser('record file', {'records': _written()})(_read)
_PLAIN = gzip.compress(b''.join(struct.pack('<i', len(record)) + record for record in _records()), 1, mtime=0)
parser('record file of 2019', {'records': _PLAIN}, zipped(mutate_bytes))(_read)


@parser('rows of feature columns', {'x': _TEXT})
def _rows(folder):
    columns = _columns(folder)
    for skip in (False, True):
        list(columns.build_dataset('t', False, data_file=folder / 'x', repeat=False, skip_bad_rows=skip))


@parser('vocabulary of a column', {'v': _VOCABULARY})
def _vocabulary(folder):
    from propeller.data.feature_column import TextColumn

    TextColumn('t', 1, vocab_file=folder / 'v')
