"""A local web server with ranges, which breaks off, changes its file and refuses on request."""

import contextlib
import http.server
import threading
import time


class FileServer:
    """Serves `content` under any path.

    Attributes:
        content: the bytes of the file; or dict name -> bytes, by the end of the path.
        etag: its ETag, or None.
        ranges: whether Range is honoured.
        breaks: for each coming GET, after how many bytes of the body the connection ends (None: never).
        answers: for each coming GET, a status to answer with in place of the file (None: the file).
        chunked: send without Content-Length.
        headers: name -> value of headers in place of the usual ones (None: left out).
        redirects: for each coming GET, an address to redirect to (None: the file).
        pace: seconds between two bytes of a body; 0: all at once.
        endless: send zeros after the content, without length, until the client goes.
        holds_after: number of bytes of a body after which the server sends nothing until this is None again.
        requests: (path, Range header or None) of all GETs.
    """

    def __init__(self, content):
        self.content, self.etag, self.ranges, self.chunked = content, '"one"', True, False
        self.breaks, self.answers, self.requests = [], [], []
        self.headers, self.redirects, self.pace, self.endless = {}, [], 0, False
        self.holds_after, self.url = None, ''


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def do_GET(self):
        plan, asked = self.server.plan, self.headers.get('Range')
        plan.requests.append((self.path, asked))
        content = plan.content
        if isinstance(content, dict):
            content = content.get(self.path.rpartition('/')[2])
        answer = plan.answers.pop(0) if plan.answers else 404 if content is None else None
        end = plan.breaks.pop(0) if plan.breaks else None
        start = int(asked.removeprefix('bytes=').removesuffix('-')) if asked and plan.ranges else 0
        if start and start >= len(content):
            answer = 416
        if answer:
            self.send_error(answer)
            return
        redirect = plan.redirects.pop(0) if plan.redirects else None
        if redirect:
            self.send_response(302)
            self.send_header('Location', redirect)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        body = content[start:]
        self.send_response(206 if asked and plan.ranges else 200)
        if asked and plan.ranges:
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        if plan.etag:
            self.send_header('ETag', plan.etag)
        if plan.endless:
            plan.headers['Content-Length'] = None
        self.send_header(*(('Transfer-Encoding', 'chunked') if plan.chunked else ('Content-Length', str(len(body)))))
        self.end_headers()
        if plan.pace or plan.endless:
            with contextlib.suppress(OSError):
                self._slowly_or_for_ever(body)
            self.close_connection = True
            return
        sent = body[:end]
        if plan.holds_after is not None:
            self.wfile.write(sent[: plan.holds_after])
            sent = sent[plan.holds_after :]
            while plan.holds_after is not None:
                time.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(b'%x\r\n%s\r\n' % (len(sent), sent) if plan.chunked else sent)
        if end is not None:
            self.close_connection = True
        elif plan.chunked:
            self.wfile.write(b'0\r\n\r\n')

    def send_header(self, keyword, value):
        value = self.server.plan.headers.get(keyword, value)
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None:
                super().send_header(keyword, one)

    def _slowly_or_for_ever(self, body):
        plan = self.server.plan
        for i in range(len(body)) if plan.pace else ():
            self.wfile.write(body[i : i + 1])
            time.sleep(plan.pace)
        self.wfile.write(b'' if plan.pace else body)
        while plan.endless:
            self.wfile.write(bytes(1 << 20))


@contextlib.contextmanager
def serve(content):
    """A running `FileServer`, whose `url` is set."""
    plan = FileServer(content)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    server.plan = plan
    plan.url = f'http://127.0.0.1:{server.server_address[1]}'
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    try:
        yield plan
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
