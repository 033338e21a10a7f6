"""What is installed, in one line, without loading any of it."""

import importlib.metadata
import platform

from propeller import __version__

_PADDLE = ('paddlepaddle', 'paddlepaddle-gpu')


def versions(name='ernie'):
    """`ernie 1.2.3, paddlepaddle 3.3.1, Python 3.11.7`: for `--version` and reports of faults."""
    return f'{name} {__version__}, {_paddle()}, Python {platform.python_version()}'


def _paddle():
    for package in _PADDLE:
        try:
            return f'{package} {importlib.metadata.version(package)}'
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'no paddlepaddle'
