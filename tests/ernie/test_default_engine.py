"""Which engine runs a model where nobody says, and that nothing is compiled to find out."""

import pytest

import ernie
from ernie.config import ErnieConfig
from ernie.inference import engines
from ernie.inference.engines import default_engine
from ernie.inference.folder import ModelFolder
from ernie.inference.verb import _engine
from ernie.service.open import open_models
from ernie.settings.predict import PredictVerbSettings
from propeller.ops.build import Unavailable
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import CONFIG

AVX512 = ['avx2', 'avx512f']


@pytest.fixture
def compiled(monkeypatch):
    """A processor machine with AVX-512 where the operators are compiled, as far as the choice knows."""
    monkeypatch.setattr(engines, 'existing', lambda: '/library.so')
    monkeypatch.setattr(engines, 'processor_flags', lambda: AVX512)
    monkeypatch.setattr(engines.PredictorEngine, 'may_use_gpu', lambda: False)


@pytest.fixture
def not_compiled(monkeypatch, compiled):
    monkeypatch.setattr(engines, 'existing', lambda: None)


def test_our_kernels_where_they_are_compiled(compiled, monkeypatch):
    config = ErnieConfig(CONFIG)
    assert default_engine(config) == default_engine(config, False) == 'fused'
    names = 'vocab_size', 'hidden_size', 'max_position_embeddings', 'initializer_range'
    bow = {name: CONFIG[name] for name in names} | {'encoder': 'bow', 'num_hidden_layers': 1}
    assert default_engine(ErnieConfig(bow)) == 'predictor'
    assert default_engine(config, use_cuda=True) == 'predictor'
    monkeypatch.setattr(engines.PredictorEngine, 'may_use_gpu', lambda: True)
    assert default_engine(config) == 'predictor' and default_engine(config, use_cuda=False) == 'fused'


def unavailable():
    raise Unavailable('no compiler')


@pytest.mark.parametrize(('name', 'value'), [('existing', lambda: None), ('existing', unavailable)])
@pytest.mark.parametrize('flags', [AVX512, None, ['avx2']])
def test_predictor_elsewhere(compiled, monkeypatch, name, value, flags):
    monkeypatch.setattr(engines, 'processor_flags', lambda: flags)
    if flags is AVX512:
        monkeypatch.setattr(engines, name, value)
    assert default_engine(ErnieConfig(CONFIG)) == 'predictor'


@pytest.mark.parametrize(
    ('given', 'typed', 'cluster', 'engine'),
    [
        ({}, False, False, 'fused'),
        ({}, True, False, 'fused'),
        ({'precision': 'int8'}, False, False, 'fused'),
        ({'engine': 'executor'}, False, False, 'executor'),
        ({}, False, True, 'predictor'),
        ({'use_cuda': True}, False, False, 'predictor'),
        ({'export_format': 'paddle'}, True, False, 'predictor'),
        ({'save_inference_model_path': 'kept'}, False, False, 'predictor'),
    ],
)
def test_the_verb(compiled, tmp_path, given, typed, cluster, engine):
    folder = ModelFolder(write_checkpoint(tmp_path / 'c'))
    assert _engine(PredictVerbSettings(**given), folder, typed, cluster) == engine


def test_the_verb_without_them(not_compiled, tmp_path):
    folder, settings = ModelFolder(write_checkpoint(tmp_path / 'c')), PredictVerbSettings()
    assert _engine(settings, folder, False, False) == 'predictor'
    assert _engine(settings, folder, True, False) == 'executor'
    assert _engine(settings.replace(precision='bf16'), folder, True, False) == 'predictor'


def test_load_and_a_server_take_it(tmp_path):
    """As this machine is: what runs is what `default_engine` says."""
    checkpoint = str(write_checkpoint(tmp_path / 'c'))
    expected = default_engine(ErnieConfig(CONFIG))
    (model,) = open_models([('m', checkpoint)])
    assert model.info['engine'] == expected
    (kept,) = open_models([('m', checkpoint)], keep=str(tmp_path / 'kept'))
    assert kept.info['engine'] == 'predictor'
    with ernie.load(checkpoint) as loaded, ernie.load(checkpoint, engine=expected) as right:
        assert loaded(['好', '坏坏']) == right(['好', '坏坏'])
