"""`ernie serve` as a process: what it prints, what it is made of, and how it ends."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import ernie
from ernie.programs import EXPORT, SERVE
from ernie.service import exporting, verb
from ernie.service.client import TextClient
from ernie.service.encoder_server import build_parser, layer_of
from ernie.service.encoder_server import main as encoder_server
from ernie.service.open import open_models
from ernie.service.place import PrivatePlace
from ernie.settings.fields import described
from ernie.settings.serve import ServeSettings
from propeller.errors import UsageError, UserError
from propeller.service.client import InferenceError
from propeller.service.limits import Limits
from propeller.service.security import Security
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import write_model

ROOT = Path(__file__).parents[2]
FLAGS = {
    'models': (), 'http_port': None, 'port': None, 'host': '127.0.0.1', 'auth_token': None, 'auth_token_file': None,
    'curve_secret_key': None, 'curve_client_keys': None, 'workers': None, 'cpu_threads': None, 'tokenizer_threads': 1,
    'engine': None, 'precision': None, 'use_cuda': None, 'task': None, 'pooling': None, 'layer': None,
    'normalize': False, 'max_seq_len': None, 'do_lower_case': None, 'tokenizer': None, 'for_cn': None,
    'label_map_config': None, 'num_labels': None, 'ernie_config_path': None, 'vocab_path': None, 'log_level': None,
    'sentence_piece_model': None, 'word_dict': None,
    'save_inference_model_path': '', 'max_chars': 200_000, 'drain_timeout': 30.0,
}  # fmt: skip


class Server:
    """A running `ernie serve`. addresses: dict 'http' and 'tcp' -> address. lines: what it has said."""

    def __init__(self, *flags):
        self.lines, self.addresses = [], {}
        command = [sys.executable, '-m', 'ernie', 'serve', *flags]
        environment = os.environ | {'ERNIE_LOG_LEVEL': 'info'}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in self.process.stderr:
            self.lines.append(line.rstrip('\n'))
            if found := re.search(r'((http|tcp)://\S+:\d+)$', self.lines[-1]):
                self.addresses[found[2]] = found[1]
            if line.startswith('try '):
                break
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join()
        return code


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """Two models, exported by the server's own child process."""
    folder = tmp_path_factory.mktemp('served')
    write_checkpoint(folder / 'reviews' / 'best', 'classify')
    write_model(folder / 'encoder')
    flags = (
        '--port',
        '0',
        '--http_port',
        '0',
        '--engine',
        'onnxruntime',
        '--pooling',
        'mean',
        '--threads',
        '1',
        '--workers',
        '1',
    )
    models = (str(folder / 'reviews'), f'vectors={folder / "encoder"}')
    one = Server(*models, *flags, '--save_inference_model_path', str(folder / 'kept'))
    one.folder = folder
    yield one
    one.process.kill()
    one.process.wait()


def post(address, route, body):
    request = urllib.request.Request(address + route, json.dumps(body).encode(), {'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_start_says_what_is_served_and_what_to_type(server):
    said = '\n'.join(server.lines)
    assert re.search(r'^model +reviews: classify, 3 labels; 15 tokens; onnxruntime fp32$', said, re.M)
    assert re.search(r'^ +vectors: vectors of 12 numbers \(mean, layer 2\); 17 tokens; onnxruntime fp32$', said, re.M)
    assert re.search(r'^workers +1 process, 1 thread each \(as --workers says\)$', said, re.M)
    assert re.search(r'^limits +a request: 1,024 texts, 131,072 tokens, 30 s; waiting: 262,144 tokens$', said, re.M)
    for address in server.addresses.values():
        assert [line for line in server.lines if line.endswith(address)] == [f'listening on {address}']
    call = shlex.split(server.lines[-1].removeprefix('try'))
    assert call[0] == 'curl' and call[1] == server.addresses['http'] + '/v1/classify'
    found = post(server.addresses['http'], '/v1/classify', json.loads(call[-1]))
    assert found['model'] == 'reviews' and found['results'][0]['label'] in ('坏', 'so so', '好')


def test_http_and_zmq_give_the_results_of_load(server):
    texts = ['好美赞', '差', 'Finely, poor。']
    port = int(server.addresses['tcp'].rpartition(':')[2])
    with ernie.load(server.folder / 'reviews', engine='executor') as model:
        expected = model(texts)
    for got in (
        post(server.addresses['http'], '/v1/classify', {'texts': texts})['results'],
        TextClient(port=port, model='reviews')(texts),
    ):
        assert [r['label'] for r in got] == [r['label'] for r in expected]
        for have, want in zip(got, expected, strict=True):
            assert have['probabilities'] == pytest.approx(want['probabilities'], abs=1e-5)
    with ernie.load(server.folder / 'encoder', task='embedding', pooling='mean') as model:
        expected = model(texts)
    np.testing.assert_allclose(TextClient(port=port, model='vectors')(texts), expected, atol=1e-5)
    got = post(server.addresses['http'], '/v1/embed', {'model': 'vectors', 'texts': texts})['results']
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_the_front_process_has_neither_paddle_nor_an_engine(server):
    pid = server.process.pid
    with open(f'/proc/{pid}/maps', encoding='utf-8') as f:
        libraries = {os.path.basename(line.split()[-1]) for line in f if '.so' in line}
    assert not [name for name in libraries if re.search('paddle|onnxruntime|openvino', name)]
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        resident = next(int(line.split()[1]) >> 10 for line in f if line.startswith('VmRSS'))
    assert resident < 150
    code = (
        'import sys, ernie.service.verb, ernie.service.encoder_server, ernie.service.client\n'
        'from ernie.service.http.app import create_app; from tests.ernie.fake_text_service import Service\n'
        'create_app(Service()).openapi()\n'
        'heavy = ("paddle", "onnxruntime", "openvino", "matplotlib", "pyarrow")\n'
        'print([n for n in sys.modules if n.split(".")[0] in heavy])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == '[]\n', done.stderr


def test_sigterm_answers_what_was_admitted(server):
    """The last of this module: it ends the server."""
    port, answered, failed = int(server.addresses['tcp'].rpartition(':')[2]), [], []

    def ask():
        with TextClient(port=port, model='reviews', timeout=30) as client:
            try:
                while True:
                    answered.append(client(['好美赞'] * 20))
            except InferenceError as e:
                failed.append(e)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(answered) < 5:
        time.sleep(0.01)
    assert server.end() == 0
    for thread in threads:
        thread.join(40)
    assert {e.code for e in failed} == {'unavailable'} and len(failed) == 3
    assert any('answering what was admitted' in line for line in server.lines)
    assert not any('Traceback' in line for line in server.lines)
    kept = sorted(path.name.rpartition('-')[0] for path in (server.folder / 'kept').iterdir())
    assert kept == ['reviews', 'vectors']


def test_a_model_exported_for_vectors_by_hand(tmp_path):
    write_model(tmp_path / 'encoder')
    flags = ['--task', 'embedding', '--pooling', 'max', '--layer', '1', '--save_inference_model_path', str(tmp_path)]
    EXPORT.main([str(tmp_path / 'encoder'), *flags])
    texts = ['好美赞', '', '的一是不了人我在有他这中大来上国个到说们']
    exported = str(tmp_path / 'encoder_inference_model')
    with ernie.load(tmp_path / 'encoder', task='embedding', pooling='max', layer=1) as model:
        expected = model(texts)
    with ernie.load(exported, task='embedding', engine='predictor', threads=1) as model:
        np.testing.assert_allclose(model(texts), expected, atol=1e-5)
    (served,) = open_models([('m', exported)])
    assert (served.info['pooling'], served.info['layer'], served.task) == ('max', 1, 'embed')
    for wrong, message in (
        (['--pooling', 'max'], 'give --task embedding'),
        (['--task', 'embedding', '--num_labels', '3'], 'are for classes'),
        (['--task', 'embedding', '--layer', '1'], 'pooled is made of the last layer'),
    ):
        with pytest.raises(UsageError, match=message):
            EXPORT.main([str(tmp_path / 'encoder'), *wrong])
    with pytest.raises(UsageError, match='is exported already'):
        EXPORT.main([exported, '--task', 'embedding'])
    with pytest.raises(UsageError, match='come from the executor.*ernie export MODEL --task embedding'):
        ernie.load(tmp_path / 'encoder', task='embedding', engine='predictor')


def test_the_exports_of_a_killed_server_go_when_the_next_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    code = (
        'import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n'
        'from ernie.service.place import PrivatePlace\n'
        'place = PrivatePlace(); open(os.path.join(place.name, "model"), "w").close()\n'
        'os.kill(os.getpid(), signal.SIGKILL)'
    )
    assert subprocess.run([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT).returncode == -signal.SIGKILL
    (killed,) = tmp_path.iterdir()
    for other in ('ernie-serve-notours', 'something'):
        (tmp_path / other).mkdir()
    place = PrivatePlace()
    assert not killed.exists()
    assert os.stat(place.name).st_mode & 0o077 == 0
    second = PrivatePlace()  # the first one lives
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'ernie-serve-notours', 'something', *(os.path.basename(p.name) for p in (place, second))}
    del place, second
    assert {path.name for path in tmp_path.iterdir()} == {'ernie-serve-notours', 'something'}


# ---------------------------------------------------------------- flags and mistakes


def test_no_flag_comes_goes_or_changes_its_default():
    limits = {field.name: field.default for field in dataclasses.fields(Limits)}
    found = vars(SERVE.build_parser().parse_args([]))
    assert found == FLAGS | limits
    assert ServeSettings().limits() == Limits()
    assert set(described(ServeSettings)) == set(found)
    assert SERVE.build_parser().parse_args(['m', '--threads', '3']).cpu_threads == 3


def test_flags_of_the_encoder_server():
    found = vars(build_parser().parse_args(['-m', 'x']))
    own = {
        name: found[name] for name in ('model_dir', 'port', 'verbose', 'encode_layer', 'text', 'engine', 'precision')
    }
    assert own == {'model_dir': 'x', 'port': 8888, 'verbose': False, 'encode_layer': 'pooler', 'text': False,
                   'engine': None, 'precision': None}  # fmt: skip
    assert (found['workers'], found['threads'], found['drain_timeout']) == (None, None, 30.0)
    helps = {action.dest: action.help for action in build_parser()._actions}
    settings = described(ServeSettings)
    for theirs, ours in (('workers', 'workers'), ('threads', 'cpu_threads'), ('drain_timeout', 'drain_timeout')):
        assert helps[theirs].startswith(settings[ours].description.help)
    assert layer_of('pooler') == ('pooled', None)
    assert layer_of('layer12') == ('none', 12)
    assert layer_of('layer1', 'mean') == ('mean', 1)
    for wrong in ('layer0', 'layer', 'enc1', ''):
        with pytest.raises(UsageError, match='--encode_layer .*: expected pooler, or layer1'):
            layer_of(wrong)


MISTAKES = [
    ([], UsageError, 'no model is given. Expected: ernie serve MODEL'),
    (['nowhere/at/all'], UserError, 'nowhere/at/all: found no such folder, expected a checkpoint'),
    (['m', '--engine', 'executor', '--precision', 'bf16'], UsageError, '--precision bf16: --engine executor cannot'),
    (['m', '--port', '70000'], UsageError, '--port 70000: expected from 0 to 65535'),
    (['m', '--port', '7', '--http_port', '7'], UsageError, 'expected two ports'),
    (['m', '--queue_tokens', '5'], UsageError, '--queue_tokens: found 5, expected at least request_tokens'),
    (['a', 'b', '--vocab_path', 'v'], UsageError, '--vocab_path is for one model, and 2 are given'),
    (['m', '--auth_token', 'short'], UsageError, '--auth_token: found a token of 5 characters, expected 8 or'),
    (['m', '--threads', '-1'], UsageError, '--threads/--cpu_threads -1: expected at least 1'),
    (['m', '--curve_secret_key', 'k'], UsageError, '--curve_secret_key is for ZeroMQ, which is not served'),
    (['m', '--http_port', '0', '--curve_client_keys', 'k'], UsageError, '--curve_client_keys is for ZeroMQ'),
    (['m', '--host', 'no.such.host.invalid', '--port', '8123'], UserError, 'no.such.host.invalid: no address'),
]


@pytest.mark.parametrize(('flags', 'kind', 'message'), MISTAKES, ids=[' '.join(f) for f, _, _ in MISTAKES])
def test_mistakes_are_told_before_anything_is_exported(flags, kind, message):
    with pytest.raises(kind, match=message) as caught:
        SERVE.main(flags)
    assert type(caught.value) is kind


def test_the_start_says_that_keys_do_not_cover_http(caplog):
    settings = ServeSettings(models=('m',), port=1, http_port=2, curve_secret_key='k')
    for args in (settings, settings.replace(http_port=None), settings.replace(curve_secret_key=None)):
        verb._warn(args.checked(), Security())
    assert caplog.messages == ['--curve_secret_key is for ZeroMQ alone: HTTP is neither encrypted nor asks for keys']


def test_a_port_that_is_taken():
    with socket.create_server(('127.0.0.1', 0)) as one:
        port = one.getsockname()[1]
        for main, flags in ((SERVE.main, ['m', '--port', str(port)]), (encoder_server, ['-m', 'm', '-p', str(port)])):
            with pytest.raises(UserError, match=f'--port {port}: cannot be used on 127.0.0.1'):
                main(flags)


def test_programs_start_as_files():
    for name in ('client', 'encoder_server'):
        path = os.path.join('ernie', 'service', f'{name}.py')
        done = subprocess.run([sys.executable, path, '--help'], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and 'usage' in done.stdout, done.stderr


def test_a_kept_export_is_known_by_the_contents_of_its_model_wherever_it_lies(tmp_path):
    def digest(path, **fields):
        return exporting._digest(exporting.Job(name='a', path='', place='', format='onnx', **fields), path)

    one, copy = tmp_path / 'one', tmp_path / 'copy'
    write_model(one)
    shutil.copytree(one, copy)
    (copy / 'vocab.txt').touch()
    assert digest(str(one)) == digest(str(copy)) != digest(str(one), pooling='mean')
    weights = one / 'params' / 'word_embedding'
    before, content = weights.stat(), bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_size == before.st_size and digest(str(one)) != digest(str(copy))
    alone = digest(str(copy / 'params'))  # its vocabulary lies beside it
    assert digest(str(shutil.copytree(copy, tmp_path / 'third') / 'params')) == alone
    (copy / 'vocab.txt').write_text('[PAD]')
    assert digest(str(copy / 'params')) != alone
    (copy / 'bert.ckpt.index').write_text('a')  # of TensorFlow, by the prefix of its files
    tensorflow = digest(str(copy / 'bert.ckpt'))
    (copy / 'notes').write_text('a')
    assert digest(str(copy / 'bert.ckpt')) == tensorflow
    (copy / 'bert.ckpt.index').write_text('b')
    assert digest(str(copy / 'bert.ckpt')) != tensorflow
    given = [digest(str(one), given={'vocab_path': str(folder / 'vocab.txt')}) for folder in (one, copy)]
    assert given[0] != given[1]
    one.rename(tmp_path / 'cased_L-2_H-12_A-3')  # Google's: which case, the name alone says
    lower = shutil.copytree(tmp_path / 'cased_L-2_H-12_A-3', tmp_path / 'uncased_L-2_H-12_A-3')
    assert digest(str(tmp_path / 'cased_L-2_H-12_A-3')) != digest(str(lower))


def test_an_export_without_rights_is_one_line(tmp_path, monkeypatch):
    def refused(job):
        raise PermissionError(13, 'Permission denied', job.path)

    job = {'name': 'a', 'path': '/models/a', 'place': str(tmp_path), 'format': 'onnx'}
    file = tmp_path / 'jobs.json'
    file.write_text(json.dumps({'jobs': [job]}))
    monkeypatch.setattr(exporting, 'do', refused)
    monkeypatch.setattr(sys, 'argv', ['exporting', str(file)])
    monkeypatch.setattr(exporting.signal, 'signal', lambda *_: None)
    exporting.main()
    assert json.loads(file.read_text()) == {'error': '/models/a: Permission denied.', 'exit_code': 1}
