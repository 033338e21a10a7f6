"""Fixtures that several files of tests share."""

import logging
import os
import signal

import pytest
from hypothesis import settings

from propeller.log import get_logger
from tests.ernie.tiny_model import run, write_model

# On a busy machine any example may take long.
settings.register_profile('patient', deadline=None)
settings.load_profile('patient')


def pytest_configure(config):
    """A shell without job control starts `pytest &` with SIGINT ignored, which programs under test would inherit."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
