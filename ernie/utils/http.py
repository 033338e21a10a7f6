"""Connections to web servers that are not trusted: http and https only, and none may take its time without end."""

import http.client
import io
import time
import urllib.request

from propeller.errors import UserError, quoted

TIMEOUT_SECONDS = 60
# Until there is a connection: without a network nobody waits for minutes.
CONNECT_SECONDS = 15
# Of the time that is spent waiting for the server. An answer that comes more slowly is broken off.
WINDOW_SECONDS = 60
BYTES_PER_SECOND = 1000
SCHEMES = ('http', 'https')


def open_url(url, headers):
    """The response to a GET, as `urllib.request.urlopen` gives it.

    Raises:
        UserError: the address, or one that it redirects to, is not of http or https, or leads from https to http.
        OSError: no connection (`urllib.error.URLError`), an answer of failure (`HTTPError`), or too slow. Reading from
            the response raises the same when it is too slow.
    """
    _check_scheme(url, url)
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        _Http(),
        _Https(),
    ):
        opener.add_handler(handler)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)


def _check_scheme(url, source):
    scheme = url.partition(':')[0].lower()
    if scheme not in SCHEMES:
        raise UserError(f'{source}: leads to {quoted(url)}, expected an address of http or https.')
    if scheme == 'http' and source.lower().startswith('https:'):
        raise UserError(f'{source}: leads to {quoted(url)}, from https to http, where anybody could change the file.')


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(self, req, fp, code, msg, headers):
        return super().http_error_302(req, _Unread(fp), code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Unread:
    """A response whose content nobody wants: urllib would read it into memory, and it may have no end."""

    def __init__(self, response):
        self.response = response

    def read(self):
        return b''

    def __getattr__(self, name):
        return getattr(self.response, name)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req):
        return self.do_open(_HttpConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req):
        return self.do_open(_HttpsConnection, req)


class _HttpConnection(http.client.HTTPConnection):
    def connect(self):
        _connect(self, super().connect)


class _HttpsConnection(http.client.HTTPSConnection):
    def connect(self):
        _connect(self, super().connect)


def _connect(connection, connect):
    patience = connection.timeout
    connection.timeout = min(patience, CONNECT_SECONDS)
    connect()
    connection.sock.settimeout(patience)
    connection.sock = _MeteredSocket(connection.sock)


class _MeteredSocket:
    """A socket from which answers are read with a look at the clock: headers and lengths of chunks too."""

    def __init__(self, sock):
        self.sock = sock

    def makefile(self, mode):
        return io.BufferedReader(_MeteredFile(self.sock.makefile(mode, buffering=0)))

    def __getattr__(self, name):
        return getattr(self.sock, name)


class _MeteredFile(io.RawIOBase):
    def __init__(self, file):
        self.file, self.waited, self.received = file, 0.0, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        started = time.monotonic()
        count = self.file.readinto(buffer)
        self.waited += time.monotonic() - started
        self.received += count or 0
        if self.waited > WINDOW_SECONDS:
            if self.received < BYTES_PER_SECOND * self.waited:
                raise TimeoutError(f'only {self.received} bytes in {self.waited:.0f} seconds')
            self.waited, self.received = 0.0, 0
        return count

    def close(self):
        self.file.close()
        super().close()
