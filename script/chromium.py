"""A headless Chromium, driven through its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
_KEYS = {'Tab': 9, 'Enter': 13, 'Escape': 27, ' ': 32, 'ArrowUp': 38, 'ArrowDown': 40}
_SHIFT, _CONTROL = 8, 2


def program():
    """Path of Chromium; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@contextlib.contextmanager
def browser(folder, environment=None):
    """A new Chromium. Yields a function that opens a `Tab`.

    Args:
        folder: a new one, for its profile.
        environment: dict of variables that it gets besides.
    """
    words = '--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-port=0 --lang=en-US'
    quiet = '--no-first-run --disable-background-networking --disable-component-update --disable-sync --no-pings'
    process = subprocess.Popen(
        [program(), *words.split(), *quiet.split(), f'--user-data-dir={folder}', 'about:blank'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {'LANGUAGE': 'en_US'} | (environment or {}),
        start_new_session=True,
    )
    try:
        with contextlib.ExitStack() as stack:
            port = _port(process, Path(folder) / 'DevToolsActivePort')
            yield lambda: stack.enter_context(_tab(port))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _port(process, file):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if file.is_file() and (lines := file.read_text().split()):
            return int(lines[0])
        assert process.poll() is None, f'Chromium ended with {process.returncode}'
        time.sleep(0.05)
    raise TimeoutError('Chromium did not start within 60 s')


@contextlib.contextmanager
def _tab(port):
    from websockets.sync.client import connect

    request = urllib.request.Request(f'http://127.0.0.1:{port}/json/new?about:blank', method='PUT')
    with urllib.request.urlopen(request, timeout=30) as answer:
        address = json.load(answer)['webSocketDebuggerUrl']
    with connect(address, max_size=None, compression=None) as socket:
        tab = Tab(socket)
        for domain in ('Page', 'Runtime', 'Network', 'Log'):
            tab.call(f'{domain}.enable')
        yield tab


class Tab:
    """One page of a browser.

    Attributes:
        requests: addresses that were asked for.
        complaints: errors of scripts and of the policy, messages of the console.
    """

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.requests, self.complaints = [], []

    def call(self, method, **parameters):
        """The result of a command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({'id': number, 'method': method, 'params': parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get('id') == number:
                assert 'error' not in message, message
                return message['result']
            self._note(message)

    def _note(self, message):
        method, given = message.get('method'), message.get('params', {})
        if method == 'Network.requestWillBeSent':
            self.requests.append(given['request']['url'])
        elif method == 'Runtime.exceptionThrown':
            self.complaints.append(str(given['exceptionDetails']))
        elif method == 'Log.entryAdded' and given['entry']['source'] != 'network':
            self.complaints.append(given['entry']['text'])
        elif method == 'Runtime.consoleAPICalled':
            self.complaints.append(str(given['args']))

    def run(self, expression):
        """The value of a JavaScript expression; a promise is waited for."""
        found = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in found, found
        return found['result'].get('value')

    def wait(self, expression, seconds=60):
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.run(expression):
                return value
            time.sleep(0.02)
        raise TimeoutError(f'{expression} is not true after {seconds} s; the page says: {self.run(_ALL)}')

    def open(self, address, width=1200, height=900, dark=False, reduced=False):
        """Load a page, for a screen of this size in CSS pixels."""
        features = [
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'},
            {'name': 'prefers-reduced-motion', 'value': 'reduce' if reduced else 'no-preference'},
        ]
        self.call('Emulation.setEmulatedMedia', features=features)
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Page.navigate', url=address)
        self.wait('document.readyState === "complete" && location.href !== "about:blank"')

    def press(self, key, shift=False, control=False):
        """A key by its name, with all that the browser does then."""
        text = {'Enter': '\r', ' ': ' '}.get(key, '')
        common = {
            'key': key,
            'code': 'Space' if key == ' ' else key,
            'windowsVirtualKeyCode': _KEYS[key],
            'modifiers': shift * _SHIFT + control * _CONTROL,
        }
        kind = 'keyDown' if text and not control else 'rawKeyDown'
        self.call('Input.dispatchKeyEvent', type=kind, **common, **({'text': text} if kind == 'keyDown' else {}))
        self.call('Input.dispatchKeyEvent', type='keyUp', **common)

    def type(self, text):
        """Text into what has the focus."""
        self.call('Input.insertText', text=text)

    def tab_to(self, selector, most=40):
        """Press Tab until an element has the focus."""
        for _ in range(most):
            if self.run(f'document.activeElement.matches({json.dumps(selector)})'):
                return
            self.press('Tab')
        raise AssertionError(f'{selector} is not reached with Tab')

    def text(self, selector):
        """What is to be read in the first element, '' where there is none."""
        return self.run(f'document.querySelector({json.dumps(selector)})?.innerText ?? ""')

    def texts(self, selector):
        return self.run(f'[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText)')

    def screenshot(self):
        """The whole page as PNG, bytes."""
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}
        found = self.call('Page.captureScreenshot', format='png', clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found['data'])


_ALL = 'document.body.innerText'
