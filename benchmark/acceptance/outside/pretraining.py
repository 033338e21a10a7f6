"""Samples, documents and what belongs to pre-training."""

import gzip
import json
import shutil

from benchmark.acceptance.mutations import mutate_bytes, mutate_json, mutate_json_lines
from benchmark.acceptance.outside.inputs import SAMPLES
from benchmark.acceptance.outside.registry import parser, zipped


def _samples(name, content, mutate):
    @parser(f'samples {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.sample_set import Limits, check_limits, read_sets
        from ernie.pretrain.tasks import make_tasks

        for samples in read_sets(str(folder / name)):
            check_limits(samples, Limits(12, 2, 16), make_tasks(['knowledge_masking', 'next_sentence']), name)


_samples('samples.txt', SAMPLES, mutate_bytes)
_samples('samples.gz', gzip.compress(SAMPLES, 1), zipped(mutate_bytes))


@parser('list of files', {'list': b'a.gz\t1.0\na.gz\t0\n', 'a.gz': b'x'})
def _file_list(folder):
    from ernie.pretrain.file_list import read_file_list

    read_file_list(folder / 'list')


def _documents(name, content, mutate):
    @parser(f'documents {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.building.documents import read_documents

        for document in read_documents([str(folder / name)]):
            str(document.name)


_TEXT = '标题\n今天很热。好。\n\n第二 document.\nmore text\n'.encode()
_documents('text.txt', _TEXT, mutate_bytes)
_documents('text.gz', gzip.compress(_TEXT, 1), zipped(mutate_bytes))
_documents('text.jsonl', '{"text": "今天\\n热"}\n{"text": "x", "id": 3}\n'.encode(), mutate_json_lines)


@parser('lines of a data set', {'lines.gz': gzip.compress(_TEXT, 1)}, zipped(mutate_bytes))
def _lines(folder):
    from propeller.data.dataset import Dataset

    for _ in Dataset.from_file(folder / 'lines.gz', 'GZIP'):
        pass


@parser('discourse markers', {'r.json': '{"cause": ["因为", "so"], "time": ["then"]}'.encode()}, mutate_json)
def _relations(folder):
    from ernie.pretrain.tasks.discourse_markers import load_relations

    load_relations(folder / 'r.json')


_MANIFEST = {'settings': {'seed': 1}, 'shards': {'0': {'files': {'train': 't0.gz'}, 'counts': {}, 'first': []}}}


@parser('manifest of shards', {'manifest.json': json.dumps(_MANIFEST).encode(), 't0.gz': b'x'}, mutate_json)
def _manifest(folder):
    from ernie.pretrain.building.shards import MANIFEST, ShardFolder

    if MANIFEST != 'manifest.json':
        shutil.copy(folder / 'manifest.json', folder / MANIFEST)
    ShardFolder(folder, {'seed': 1}, overwrite=True).close()
