"""The part of the Hugging Face hub that downloading a model needs, on a local port."""

import contextlib
import hashlib
import http.server
import json
import re
import threading

_API = re.compile(r'/api/models/([\w.-]+(?:/[\w.-]+)?)(?:/revision/([\w.-]+))?(?:\?.*)?')
_FILE = re.compile(r'/([\w.-]+(?:/[\w.-]+)?)/resolve/([\w.-]+)/([\w.-]+)')


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        hub.requests.append((self.command, self.path))
        if (tree := re.fullmatch(r'/api/models/(.+)/tree/[\w.-]+(?:\?.*)?', self.path)) and tree[1] in hub.models:
            files = hub.models[tree[1]]
            entries = [{'type': 'file', 'path': f, 'size': len(d), 'oid': _etag(d)} for f, d in files.items()]
            self._send(200, json.dumps(entries).encode())
        elif (api := _API.fullmatch(self.path)) and api[1] in hub.models:
            files = hub.models[api[1]]
            siblings = [{'rfilename': f, 'size': len(d), 'blobId': _etag(d)} for f, d in files.items()]
            self._send(200, json.dumps({'id': api[1], 'sha': hub.commit, 'siblings': siblings}).encode())
        elif (file := _FILE.fullmatch(self.path)) and file[3] in hub.models.get(file[1], {}):
            data = hub.models[file[1]][file[3]]
            self._send(200, data, {'ETag': f'"{_etag(data)}"', 'X-Repo-Commit': hub.commit})
        else:
            self._send(404, b'{}', {'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found'})

    def _send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in {'Content-Length': str(len(body)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(body)


def _etag(data):
    return hashlib.sha1(data).hexdigest()


class FakeHub:
    """models: dict name -> dict file -> bytes. commit: of all of them. requests: (method, path) of all that came."""

    def __init__(self, models):
        self.models, self.commit, self.requests, self.url = models, 'c0ffee' + '0' * 34, [], ''

    def files_asked(self):
        """Names of the files that were fetched."""
        return {path.rpartition('/')[2] for method, path in self.requests if method == 'GET' and '/resolve/' in path}


@contextlib.contextmanager
def serve(models):
    """Yields a `FakeHub` that runs."""
    hub = FakeHub(models)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler) as server:
        server.hub, hub.url = hub, f'http://127.0.0.1:{server.server_address[1]}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
