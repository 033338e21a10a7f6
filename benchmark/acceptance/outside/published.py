"""Data sets as their publishers lay them out, converted into the folder of the input."""

import io
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path

from benchmark.acceptance.mutations import mutate_bytes, mutate_json
from benchmark.acceptance.outside.registry import framed, parser

_ROWS = b"sentence\tlabel\nit 's fine \t1\nno good \t0\n"
_NAMES = ('aclImdb/train/neg/0_3.txt', 'aclImdb/train/pos/0_9.txt', 'aclImdb/test/neg/0_1.txt')
_REVIEWS = dict.fromkeys(_NAMES, b'A film.<br /><br />The end')
_RECORD = {'train': {'file': 'train.tsv', 'sha256': 'x'}}
_QUESTIONS = {'data': [{'paragraphs': [{'context': 'x', 'qas': [{'id': 'q', 'question': 'x?', 'answers': []}]}]}]}


def _zip(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for split in ('train', 'dev'):
            archive.writestr(f'SST-2/{split}.tsv', content)
    return buffer.getvalue()


def _tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _convert(name, path):
    from ernie.zoo.data_sets import convert_own

    with tempfile.TemporaryDirectory() as cache:
        convert_own(name, path, cache, max_bytes=1 << 26)


@parser(
    'published: a zip', {'SST-2.zip': _zip(_ROWS)}, framed(lambda _, rows: _zip(rows), lambda _: _ROWS, mutate_bytes)
)
def _zipped(folder):
    _convert('sst-2', folder / 'SST-2.zip')


@parser('published: a tar.gz', {'aclImdb_v1.tar.gz': _tar(_REVIEWS)})
def _tarred(folder):
    _convert('imdb', folder / 'aclImdb_v1.tar.gz')


@parser('published: questions', {'cmrc2018_dev.json': json.dumps(_QUESTIONS).encode()}, mutate_json)
def _asked(folder):
    _convert('cmrc2018', folder / 'cmrc2018_dev.json')


@parser(
    'published: the record in the cache',
    {'record.json': b'{"train": {"file": "train.tsv", "sha256": "x"}}'},
    mutate_json,
)
def _recorded(folder):
    from ernie.zoo.data_sets.fetching import read_splits

    read_splits(Path(folder, 'record.json'))
