"""What `benchmark.serving` and `benchmark.acceptance.serving` make of a server and of their numbers."""

import argparse
import os
import sys

import pytest

from benchmark import serving
from benchmark.acceptance import serving as acceptance
from benchmark.served import Served, children, embed_bodies
from propeller.errors import UserError

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', 'propeller.service.worker'])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path in ('/readyz', '/metrics')
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b'# HELP x\\nernie_workers_up 1.0\\nernie_workers_up_total 7.0\\n' if known else b'')
    def log_message(self, *_):
        pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_is_started_watched_and_ended_with_all_its_workers():
    with Served([sys.executable, '-c', SERVER, '{port}'], patience=60) as server:
        (worker,) = server.workers()
        assert server.metric('ernie_workers_up') == 1 and server.metric('ernie_ready') is None
        assert server.get('/other') is None and server.memory() > 5 << 20
        assert children(os.getpid()).count(server.process.pid) == 1
    assert server.process.poll() is not None and worker not in children(server.process.pid)
    with pytest.raises(UserError, match='found no server.* nothing here'):
        Served([sys.executable, '-c', 'raise SystemExit("nothing here")'], patience=60).__enter__()


def test_texts_are_the_sentences_of_the_set(tmp_path):
    folder = tmp_path / 'sst2_en'
    folder.mkdir()
    (folder / 'dev.tsv').write_text('label\ttext_a\n0\ta "quoted film\n1\tün film \n', encoding='utf-8')
    path = tmp_path / 't.txt'
    assert serving.write_texts(str(tmp_path), path) == ['a "quoted film', 'ün film']
    assert embed_bodies(path, 3)(1) == '{"texts": ["ün film", "a \\"quoted film", "ün film"]}'.encode()


def test_a_rate_that_is_too_low_is_told(capsys):
    shares = [0.3, 1.2, 0.1]
    found = {'offline': 100.0, 'offline with tokenizing': 90.0, 'http': 85.0, 'zmq': 90.0}
    found |= {'rival none': 40.0, 'rival time': 50.0, 'http shares': shares, 'zmq shares': shares}
    found |= {'http alone': 7.5, 'zmq alone': 6.5, 'http engine alone': 5.0, 'zmq engine alone': 5.0}
    found |= {f'{protocol} pause': 2.0 for protocol in ('http', 'zmq')}
    found |= {f'{protocol} engine after {how}': 5.5 for protocol in ('http', 'zmq') for how in ('sleep', 'spin')}
    args = argparse.Namespace(engine='openvino', precision='fp32', clients=32)
    assert serving.report(args, [found, found, found]) == 0
    text = capsys.readouterr().out
    assert 'offline                       100.0  0.85 (at least 0.8)' in text and '2.50 ms more (at most 3)' in text
    assert 'the server takes 2.00 ms more than the former' in text
    assert serving.report(args, [found | {'rival none': 43.0}]) == 1
    assert serving.report(args, [found | {'zmq alone': 7.1}]) == 1


def test_what_is_missed_is_told(capsys):
    assert acceptance.told([('lost', 0, '0', True)]) == 0
    assert acceptance.told([('lost', 3, '0', False), ('drift', 1, '2', True)]) == 1
    assert capsys.readouterr().out.splitlines() == ['lost: 0 (0)', 'lost: 3 (0)  MISSED', 'drift: 1 (2)']
    assert acceptance.mixed(list('abcdef')) == ['a', 'b', 'c', 'd e f', 'e', 'f']
