"""Fixtures that several files of tests share."""

import functools
import logging
import os
import random
import signal
import sys
import traceback
import zlib

import numpy as np
import pytest
from hypothesis import settings

from ernie.report import drawing
from propeller.log import VARIABLE, get_logger
from tests.ernie.tiny_model import run, write_model

# On a busy machine any example may take long.
settings.register_profile('patient', deadline=None)
settings.load_profile('patient')


def pytest_configure(config):
    """A shell without job control starts `pytest &` with SIGINT ignored, which programs under test would inherit."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault(VARIABLE, 'debug')  # tests look at all lines, in this process and in others
    # Paddle notes the Python stack with each operator of a graph; a test's is deep, and costs more than the operator.
    traceback.extract_stack = functools.partial(_nearest_frames, traceback.extract_stack)


def _nearest_frames(extract_stack, f=None, limit=None):
    return extract_stack(f or sys._getframe(1), limit or 1)


@pytest.fixture(scope='module', autouse=True)
def pictures(request):
    """Pictures are drawn, which takes half the time of a small training, in modules marked `curves` only."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker('curves'):
            patch.setattr(drawing, 'render', lambda *_: b'\x89PNG')
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Trainings without a seed draw the same one whenever the tests of a file run: none fails by chance."""
    seed = zlib.crc32(item.location[0].encode())
    drawing_seeds = random.Random(seed)
    random.SystemRandom = lambda: drawing_seeds  # as `propeller.Session` draws its own
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (a user's functions may use it)


def pytest_collection_modifyitems(items):
    """What is marked `slow` may take longer than `--timeout` says."""
    for item in items:
        if item.get_closest_marker('slow') and not item.get_closest_marker('timeout'):
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """`--numprocesses auto`: a process needs a core, and up to 2 GB."""
    return min(len(os.sched_getaffinity(0)), 4)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Folder of a small random model."""
    return write_model(tmp_path_factory.mktemp('model') / 'ernie')


@pytest.fixture
def logged():
    """The log messages of the test: the loggers of the packages do not pass them up to pytest's own handler."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    loggers = [get_logger(name) for name in ('ernie', 'propeller')]
    for logger in loggers:
        logger.addHandler(handler)
    yield found
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.fixture
def train(tmp_path, model):
    """Function (flags) -> `Ran`: run_classifier from that model, with checkpoints in `tmp_path / 'c'`."""

    def start(**values):
        settings = {'init_pretraining_params': model / 'params', 'checkpoints': tmp_path / 'c', 'do_test': False}
        return run(**(settings | values))

    return start
