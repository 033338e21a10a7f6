"""An HTTP server under thousands of changed requests: a typed answer to each within a second, and no harm done.

    ernie serve MODEL --http_port 8080 &
    python -m benchmark.acceptance.fuzz_http --url http://127.0.0.1:8080

Requests of every route are changed at random: the values of their JSON, their bytes, their headers. With
`--schemathesis N` that program (`pip install schemathesis`) makes about N requests more from the OpenAPI file, and
holds the answers against it. Afterwards a good request must succeed, and no worker may have been replaced.

Exit code 1 where an answer was none, was not typed, came late, or told of a fault of the server.
"""

import argparse
import asyncio
import collections
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

SECONDS = 1.0
FAULTS = (500, 501, 502)  # 503, 504 and 429 are answers of a server under load, 504 of a short time-out too
_NO_FAULTS = ('2xx', '3xx', '4xx', '503', '504')
_AT_ONCE = 8
_TEXT = {'model': 'NAME', 'texts': ['快递晚了三天', ['a text', 'another'], {'text_a': 'a', 'text_b': 'b'}]}
_TENSOR = {'name': 'text_a', 'datatype': 'BYTES', 'shape': [1], 'data': ['a text']}
_IDS = {'name': 'input_ids', 'datatype': 'INT64', 'shape': [1, 3], 'data': [1, 5, 2]}
REQUESTS = (
    ('/v1/classify', _TEXT | {'top_k': 2, 'min_confidence': 0.5, 'timeout': 5}),
    ('/v1/tag', {'model': 'NAME', 'text': '王小明在北京。'}),
    ('/v1/answer', {'model': 'NAME', 'items': [{'question': 'Where?', 'context': 'In Rome.'}], 'top_k': 1}),
    ('/v1/embed', {'model': 'NAME', 'texts': ['a', 'b'], 'normalize': True}),
    ('/v1/embeddings', {'model': 'NAME', 'input': ['a', 'b'], 'encoding_format': 'base64'}),
    ('/embed', {'model': 'NAME', 'inputs': ['a'], 'truncate': True}),
    ('/predict', {'model': 'NAME', 'inputs': [['a'], ['a', 'b']], 'raw_scores': False}),
    ('/rerank', {'model': 'NAME', 'query': 'a', 'texts': ['b', 'c'], 'return_text': True}),
    ('/similarity', {'model': 'NAME', 'inputs': {'source_sentence': 'a', 'sentences': ['b']}}),
    ('/tokenize', {'model': 'NAME', 'inputs': ['a b'], 'add_special_tokens': False}),
    ('/v2/models/NAME/infer', {'inputs': [_TENSOR], 'outputs': [{'name': 'result'}], 'id': '1'}),
    ('/v2/models/NAME/infer', {'inputs': [_IDS]}),
    *((path, None) for path in ('/v1/models', '/info', '/v2', '/v2/models/NAME', '/readyz', '/metrics', '/none')),
)
_ODD = (
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    2**70,
    '',
    ' ',
    '好' * 400,
    'a\ud800',
    '\0',
    [],
    {},
    [[]],
    [None],
    [1, 2],
    {'a': 1},
)
_RAW = ('NaN', '-Infinity', '1e999', '[' * 2000, '{"a":' * 50, '"\\ud800"', '9' * 5000, '"', ',', '\x00', 'nul')
_METHODS = ('GET', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'HEAD', 'BREW')
_HEADERS = (
    b'Content-Type: text/plain\r\n',
    b'Content-Encoding: gzip\r\n',
    b'Transfer-Encoding: chunked\r\n',
    b'Authorization: Bearer \xff\xfe\r\n',
    b'X-Request-ID: a b\x7f\r\n',
    b'traceparent: 00-0-0-0\r\n',
    b'Content-Length: 3\r\n',
    b'Content-Length: -1\r\n',
    b'Upgrade: websocket\r\nConnection: Upgrade\r\n',
    b'Expect: 100-continue\r\n',
    b'no colon\r\n',
    b'Cookie: ' + b'a' * 40_000 + b'\r\n',
    b': empty\r\n',
)


def request(seed, names):
    """The bytes of a request. names: of the models of the server; the same seed and names give the same."""
    draw = random.Random(seed)
    path, content = draw.choice(REQUESTS)
    path = path.replace('NAME', draw.choice(names))
    method = 'POST' if content is not None else 'GET'
    body = b''
    if content is not None:
        content = json.loads(json.dumps(content).replace('NAME', draw.choice(names)))
        for _ in range(draw.choice((0, 1, 1, 2, 3))):
            _change(content, draw)
        body = json.dumps(content, ensure_ascii=draw.random() < 0.5).encode('utf-8', 'surrogatepass')
        if draw.random() < 0.2:
            values = list(re.finditer(rb'[\w"\[\]{}.-]+', body))
            chosen = draw.choice(values)
            body = body[: chosen.start()] + draw.choice(_RAW).encode() + body[chosen.end() :]
        if draw.random() < 0.2:
            body = _changed_bytes(body, draw)
    if draw.random() < 0.1:
        method = draw.choice(_METHODS)
    if draw.random() < 0.05:
        path = draw.choice(('/' + 'a' * 9000, '/%ff%00', '//', path + '/', path + '?model=%zz', '*', path.upper()))
    head = b'%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' % (method.encode(), path.encode())
    head += b'Content-Type: application/json\r\nContent-Length: %d\r\n' % len(body)
    if draw.random() < 0.15:
        head += draw.choice(_HEADERS)
    whole = head + b'\r\n' + body
    return _changed_bytes(whole, draw) if draw.random() < 0.1 else whole


def _change(content, draw):
    """Puts an odd value at a place of some JSON, or another name."""
    places = list(_places(content))
    holder, key = draw.choice(places)
    if isinstance(holder, dict) and draw.random() < 0.2:
        holder[draw.choice(('model', 'Text', 'text', 'timeout', 'inputs', 'é'))] = holder.pop(key)
    elif isinstance(holder, list) and draw.random() < 0.1:
        holder.extend([holder[key]] * draw.choice((1, 300, 2000)))
    else:
        holder[key] = json.loads(json.dumps(draw.choice(_ODD)))


def _places(value):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if inner and isinstance(inner, list | dict):
            yield from _places(inner)


def _changed_bytes(content, draw):
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 3, 10))):
        at = draw.randrange(len(content) + 1)
        if draw.random() < 0.4:
            content[at : at + draw.choice((1, 1, 20, 1000))] = b''
        elif draw.random() < 0.5:
            content[at:at] = draw.randbytes(draw.choice((1, 2, 30)))
        elif at < len(content):
            content[at] = draw.randrange(256)
    return bytes(content)


def is_whole(content):
    """Whether a server can know the end of a request, or that it is none: an answer is due then."""
    import h11

    if not content:
        return False  # to h11 that is the end of the connection
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=32 << 10)
    reader.receive_data(content)
    try:
        while (event := reader.next_event()) is not h11.NEED_DATA:
            if type(event) is h11.EndOfMessage:
                return True
    except h11.RemoteProtocolError:
        return True
    return False


class Verdict:
    """What became of requests.

    Args:
        patience: seconds that an answer may take.

    Attributes:
        statuses: Counter of status -> number; 'unfinished' of requests that had no end, and whose client went.
        faults: list of (seed, what was wrong).
        slowest: seconds.
    """

    def __init__(self, patience=SECONDS):
        self.patience = patience
        self.statuses, self.faults, self.slowest = collections.Counter(), [], 0.0

    def take(self, seed, reply, seconds):
        """reply: bytes, the whole answer."""
        match = re.match(rb'HTTP/1\.1 (\d{3}) ', reply)
        if reply.startswith(b'HTTP/1.1 100 '):
            match = re.match(rb'HTTP/1\.1 (\d{3}) ', reply.partition(b'\r\n\r\n')[2])
        status = int(match[1]) if match else 'none'
        self.slowest = max(self.slowest, seconds)
        self.statuses[status] += 1
        if status in FAULTS:
            self.faults.append((seed, f'status {status}: {reply[-300:]!r}'))
        elif status == 'none':
            self.faults.append((seed, f'no answer: {reply[:100]!r}'))
        elif seconds > self.patience:
            self.faults.append((seed, f'{seconds:.1f} s'))
        elif status >= 400 and not _is_typed(reply):
            self.faults.append((seed, f'an error without a type: {reply[-300:]!r}'))


def _is_typed(reply):
    head, _, body = reply.rpartition(b'\r\n\r\n')
    if not body:  # HEAD
        return b'application/json' in head
    try:
        error = json.loads(body)['error']
    except (ValueError, KeyError, TypeError):
        return False
    return bool(error if isinstance(error, str) else error['message'])


async def ask(host, port, content, patience=SECONDS):
    """(reply, seconds) of a request; the reply is empty where none came within three times `patience`."""
    begin = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    reply = bytearray()
    try:
        async with asyncio.timeout(3 * patience):
            writer.write(content)
            while not _is_complete(reply, content) and (part := await reader.read(1 << 16)):
                reply += part
    except (TimeoutError, ConnectionError):
        pass  # what follows the end of a request may reset the connection
    finally:
        writer.close()
    return bytes(reply), time.perf_counter() - begin


def _is_complete(reply, content):
    """Whether a reply to `content` is there to its end: the connection may stay open."""
    if reply.startswith(b'HTTP/1.1 100 '):
        reply = reply.partition(b'\r\n\r\n')[2]
    head, end, body = reply.partition(b'\r\n\r\n')
    length = re.search(rb'(?i)\r\ncontent-length: (\d+)', head)
    return bool(end and (content.startswith(b'HEAD ') or length and len(body) >= int(length[1])))


async def fuzz(host, port, seeds, names, patience=SECONDS):
    """`Verdict` of the requests of these seeds."""
    verdict, seeds = Verdict(patience), iter(seeds)

    async def client():
        for seed in seeds:
            content = request(seed, names)
            if is_whole(content):
                verdict.take(seed, *await ask(host, port, content, patience))
            else:
                verdict.statuses['unfinished'] += 1
                writer = (await asyncio.open_connection(host, port))[1]
                writer.write(content)
                writer.close()

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return verdict


# ---------------------------------------------------------------- a server


def _get(url, path, token, content=None):
    headers = {'Content-Type': 'application/json'} | ({'Authorization': f'Bearer {token}'} if token else {})
    data = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=60) as answer:
        return answer.read()


def _restarts(url):
    text = _get(url, '/metrics', None).decode()
    return float(re.search(r'^ernie_worker_restarts_total (\S+)', text, re.MULTILINE)[1])


def _by_schemathesis(url, token, names, count, seed):
    """Exit code of that program, for about `count` requests."""
    program = shutil.which('schemathesis', path=os.path.dirname(sys.executable)) or shutil.which('schemathesis')
    if program is None:
        sys.exit('error: schemathesis is not installed (pip install schemathesis)')
    described = json.loads(_get(url, '/openapi.json', None))
    for schema in described['components']['schemas'].values():  # names that are none would be refused at once
        if 'model' in schema.get('properties', {}):
            schema['properties']['model'] = {'type': 'string', 'enum': names}
    operations = 0
    for path in described['paths'].values():
        for operation in path.values():
            operations += 1
            for part in operation.get('parameters', ()):
                if part['name'] == 'model':
                    part['schema'] = {'type': 'string', 'enum': names}
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'openapi.json')
        with open(file, 'w', encoding='utf-8') as f:
            json.dump(described, f)
        with open(os.path.join(folder, 'schemathesis.toml'), 'w', encoding='utf-8') as f:
            f.write(f'[checks.not_a_server_error]\nexpected-statuses = {json.dumps(_NO_FAULTS)}\n')
        command = [program, 'run', file, '--url', url, '--seed', str(seed), '-n', str(max(count // operations, 1))]
        # What a model cannot use is valid by the schema, and some that is not is taken; a token is not always needed.
        unfit = 'positive_data_acceptance,negative_data_rejection,ignored_auth'
        command += ['--exclude-checks', unfit, '--phases', 'examples,coverage,fuzzing', '--continue-on-failure']
        command += ['--suppress-health-check', 'all', '--no-shrink', '--request-timeout', '10']
        command += ['-H', f'Authorization: Bearer {token}'] if token else []
        return subprocess.run(command, cwd=folder).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--url', default='http://127.0.0.1:8080', help='of the server')
    parser.add_argument('--count', type=int, default=10_000, help='changed requests')
    parser.add_argument('--schemathesis', type=int, default=0, metavar='N', help='about N requests more, made by it')
    parser.add_argument('--seed', type=int, default=0, help='of the first request')
    parser.add_argument('--auth_token', help='of the server')
    args = parser.parse_args()
    url, place = args.url.rstrip('/'), urllib.parse.urlsplit(args.url)
    names = [model['id'] for model in json.loads(_get(url, '/v1/models', args.auth_token))['data']]
    restarts, begin = _restarts(url), time.monotonic()
    seeds = range(args.seed, args.seed + args.count)
    verdict = asyncio.run(fuzz(place.hostname, place.port or 80, seeds, names))
    statuses = ', '.join(f'{status}: {n}' for status, n in sorted(verdict.statuses.items(), key=str))
    print(f'{args.count} changed requests in {time.monotonic() - begin:.0f} s; statuses {statuses}')
    print(f'slowest answer: {verdict.slowest:.2f} s; wrong: {len(verdict.faults)}')
    for seed, what in verdict.faults[:10]:
        print(f'  seed {seed}: {what}')
    code = bool(verdict.faults)
    if args.schemathesis:
        code |= _by_schemathesis(url, args.auth_token, names, args.schemathesis, args.seed) != 0
    good = json.loads(_get(url, '/tokenize', args.auth_token, {'inputs': 'still here', 'model': names[0]}))
    replaced = _restarts(url) - restarts
    print(f'a good request afterwards: {len(good[0])} tokens; workers replaced: {replaced:g}')
    sys.exit(int(code or replaced > 0))


if __name__ == '__main__':
    main()
