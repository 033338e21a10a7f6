"""All readers of files open and parse them in the one way: what one refuses, all refuse, in one line."""

import json
import os
import threading
import time

import pytest

from ernie.checkpoint.labels_json import read_saved_labels
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.inference.folder import ModelFolder
from ernie.inference.stream import read_rows
from ernie.metrics.mrc import load_predictions
from ernie.pretrain.building.shards import MANIFEST, ShardFolder
from ernie.pretrain.demo_data import MARK, read_mark
from ernie.pretrain.schedule import read_schedule
from ernie.pretrain.tasks.discourse_markers import load_relations
from ernie.reader.classify import ClassifyReader, load_label_map
from ernie.reader.rows import BadRows
from ernie.reader.squad_json import read_squad
from ernie.tokenization import FullTokenizer
from ernie.zoo.bundles import read_record
from propeller.config import parse_file
from propeller.errors import UserError
from propeller.storage import open_tensors
from propeller.train.checkpoint import read_state
from propeller.train.exporter import BestExporter

READERS = {
    'ernie_config.json': lambda folder, path: ErnieConfig(path),
    'tokenizer_config.json': lambda folder, path: folder_tokenizer(str(folder)),
    'labels.json': lambda folder, path: read_saved_labels(str(folder)),
    'inference.json': lambda folder, path: ModelFolder(str(folder)),
    'model.safetensors.index.json': lambda folder, path: open_tensors(folder),
    'pytorch_model.bin.index.json': lambda folder, path: open_tensors(folder),
    'training_state.json': lambda folder, path: read_state(folder),
    'best.json': lambda folder, path: BestExporter(str(folder), None),
    MANIFEST: lambda folder, path: ShardFolder(str(folder), {}, overwrite=True),
    'map.json': lambda folder, path: load_label_map(path),
    'schedule.json': lambda folder, path: read_schedule(path),
    'schedule.yaml': lambda folder, path: read_schedule(path),
    'relations.json': lambda folder, path: load_relations(path),
    'record.json': lambda folder, path: read_record(path),
}
DATA = {
    'predictions.json': lambda folder, path: load_predictions(path),
    'squad.json': lambda folder, path: read_squad(path),
    'settings': lambda folder, path: parse_file(path),
}
HOSTILE = {
    'deep': '[' * 100_000,
    'digits': '{"a": ' + '9' * 5000 + '}',
    'twice': '{"a": 1, "a": 2}',
    'surrogate': '{"a": "\\ud800"}',
    'bytes': b'{"a": "\xff"}',
    'list': '[1]',
}


@pytest.mark.parametrize('content', HOSTILE)
@pytest.mark.parametrize('name', [*READERS, *DATA])
def test_what_cannot_be_kept_is_refused_by_every_reader(tmp_path, name, content):
    text = HOSTILE[content]
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as raised:
        (READERS | DATA)[name](tmp_path, path)
    assert str(path) in str(raised.value) and str(raised.value).isprintable() and len(str(raised.value)) < 1000


@pytest.mark.parametrize('name', READERS)
def test_no_reader_waits_for_a_writer(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match='found a FIFO'):
        READERS[name](tmp_path, tmp_path / name)


def test_a_mark_that_is_none_is_an_unfinished_folder(tmp_path):
    for text in HOSTILE.values():
        (tmp_path / MARK).write_bytes(text if isinstance(text, bytes) else text.encode())
        assert read_mark(tmp_path) == ({'a': 1} if text == '{"a": 1}' else {})


def through_fifo(path, content):
    os.mkfifo(path)
    threading.Thread(target=path.write_text, args=(content,), daemon=True).start()
    return path


def test_data_may_come_through_a_fifo(tmp_path):
    vocab = tmp_path / 'vocab.txt'
    vocab.write_text('\n'.join(['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'今天好']))
    table = through_fifo(tmp_path / 'table', 'text_a\tlabel\n今天\t1\n好\t0\n')
    assert len(ClassifyReader(FullTokenizer(vocab), 8).read(table)) == 2
    lines = through_fifo(tmp_path / 'lines', '{"text_a": "今天"}\n')
    assert [row.record for row in read_rows(str(lines))] == [{'text_a': '今天'}]
    question = {'id': 'q', 'question': '?', 'answers': []}
    squad = {'data': [{'paragraphs': [{'context': 'c', 'qas': [question]}]}]}
    assert len(read_squad(through_fifo(tmp_path / 'squad', json.dumps(squad)))) == 1
    assert parse_file(through_fifo(tmp_path / 'settings', '{"a": 1}')) == {'a': 1}


def test_bad_questions_take_linear_time(tmp_path):
    questions = [{'id': f'q{i // 2}', 'question': 'x' * 200, 'answers': []} for i in range(8000)]
    path = tmp_path / 'squad.json'
    path.write_text(json.dumps({'data': [{'paragraphs': [{'context': 'c', 'qas': questions}]}]}, indent=0))
    bad, started = BadRows(path), time.process_time()
    assert len(read_squad(path, bad)) == 4000 and len(bad) == 4000
    assert time.process_time() - started < 10  # 0.3 s; 100 s where the text is searched for each of them
    assert bad.messages()[0].startswith(f'{path}:14: found question')
