"""Fixtures that several files of tests share."""

import pytest

from tests.ernie.tiny_model import run, write_model


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Folder of a small random model."""
    return write_model(tmp_path_factory.mktemp('model') / 'ernie')


@pytest.fixture
def train(tmp_path, model):
    """Function (flags) -> `Ran`: run_classifier from that model, with checkpoints in `tmp_path / 'c'`."""

    def start(**values):
        settings = {'init_pretraining_params': model / 'params', 'checkpoints': tmp_path / 'c', 'do_test': False}
        return run(**(settings | values))

    return start
