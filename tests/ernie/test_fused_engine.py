"""`--engine fused`: the results of the executor from a checkpoint as it is, in every program, and what it refuses."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import ernie
from ernie.command import main
from ernie.config import ErnieConfig
from ernie.inference.export import Graph, export, of_tokens
from ernie.inference.folder import ModelFolder
from ernie.inference.fused import FusedEngine
from ernie.inference.predict import tokenized_rows
from ernie.inference.vectors import VectorFolder
from ernie.model.encoders import build_encoder
from ernie.model.packed import Packing
from ernie.model.task_model import encoder_feeds
from ernie.reader.tokenized_set import encoder_arrays
from ernie.service.open import open_models
from ernie.service.opener import open_served
from propeller.errors import UsageError, UserError
from propeller.ops import choice
from propeller.ops.choice import Kernels, kernels
from propeller.session import Session
from tests.ernie.tiny_inference import KINDS, records, texts, write_checkpoint
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG

pytestmark = pytest.mark.skipif(kernels().path is None, reason=str(kernels().why))
# Of logits and probabilities, in a random model: its weights are ten times as large as trained ones.
APART = {'fp32': 1e-5, 'bf16': 0.1, 'int8': 0.3}


@pytest.fixture(params=['fp32', 'bf16', 'int8'])
def form(request):
    if not {'fp32': True, 'bf16': kernels().bf16, 'int8': kernels().int8}[request.param]:
        pytest.skip(f'this processor has no {request.param} products')
    return request.param


@pytest.mark.parametrize('kind', KINDS)
def test_every_task_has_the_numbers_of_the_executor(tmp_path, kind, form):
    folder = ModelFolder(write_checkpoint(tmp_path / 'c', kind, TASK_CONFIG if kind == 'classify' else CONFIG))
    graph, engine = Graph(folder), FusedEngine.of(folder, form)
    assert engine.shapes == graph.shapes()
    windows = [folder.codec.encode(record) for record in records(kind, 11, seed=4)]
    rows = tokenized_rows([row for w in windows for row in w.ids], [n for w in windows for n in w.split])
    for indices in ([0], range(1, 8), [8, 9, 10]):
        arrays = encoder_arrays(rows, np.array(indices), folder.codec.task_id)
        outputs = (of_tokens(found.run(arrays), graph.shapes(), arrays[3]) for found in (graph, engine))
        for expected, got in zip(*outputs, strict=True):
            assert got.shape == expected.shape and got.dtype == np.float32
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=APART[form])
    if form != 'fp32':
        assert np.abs(got - expected).max() > 1e-6  # it is another precision


def test_the_verb_predicts_a_checkpoint_without_an_export(tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / 'c')
    rows = tmp_path / 'rows.jsonl'
    rows.write_text(''.join(json.dumps({'text_a': text + '好'}, ensure_ascii=False) + '\n' for text in texts(9)))
    monkeypatch.setattr('ernie.inference.program.export', lambda *_, **__: pytest.fail('exported'))
    monkeypatch.chdir(tmp_path)
    found = {}
    for engine in ('executor', 'fused'):
        out = tmp_path / f'{engine}.jsonl'
        assert main(['predict', str(checkpoint), str(rows), '--engine', engine, '--output', str(out)]) in (None, 0)
        found[engine] = [json.loads(line)['probabilities'] for line in out.read_text().splitlines()]
    assert len(found['fused']) == 9
    for ours, theirs in zip(found['fused'], found['executor'], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert sorted(os.listdir(tmp_path)) == ['c', 'executor.jsonl', 'fused.jsonl', 'rows.jsonl']


def test_load_takes_it_for_tasks_and_vectors(tmp_path, form):
    checkpoint = write_checkpoint(tmp_path / 'c')
    rows = texts(7, seed=2, most=12)
    rows = [row + '好' for row in rows]
    with (
        ernie.load(checkpoint, engine='fused', precision=form) as model,
        ernie.load(checkpoint, engine='executor') as right,
    ):
        for ours, theirs in zip(model(rows), right(rows), strict=True):
            assert ours['probabilities'] == pytest.approx(theirs['probabilities'], abs=APART[form])
    for pooling, layer in (('pooled', None), ('mean', 1), ('max', -1), ('cls', 0)):
        options = {'task': 'embedding', 'pooling': pooling, 'layer': layer, 'normalize': True}
        model, right = (
            ernie.load(checkpoint, engine='fused', precision=form, **options),
            ernie.load(checkpoint, **options),
        )
        np.testing.assert_allclose(model(rows), right(rows), atol=APART[form])


def test_an_export_is_the_weights_and_what_prediction_needs(tmp_path):
    checkpoint, target = write_checkpoint(tmp_path / 'c', 'crf'), str(tmp_path / 'exported')
    source = ModelFolder(checkpoint)
    description, opened = export(source, target, 'fused')
    assert description['format'] == 'fused' and list(opened) == ['fused']
    companions = {'vocab.txt', 'labels.json', 'ernie_config.json', 'inference.json', 'tokenizer_config.json'}
    assert set(os.listdir(target)) == companions | {'model.safetensors'}
    rows = [record['text_a'] + '好' for record in records('crf', 5)]
    with ernie.load(target) as model, ernie.load(checkpoint, engine='executor') as right:
        found, expected = (
            [[(e['type'], e['text']) for e in r['entities']] for r in one(rows)] for one in (model, right)
        )
        assert found == expected and sum(map(len, found)) > 5
    with pytest.raises(UsageError, match='--engine openvino: the model in .* is fused; give --engine fused'):
        ernie.load(target, engine='openvino')
    os.truncate(os.path.join(target, 'model.safetensors'), 1000)
    with pytest.raises(UserError, match=r'model\.safetensors'):
        ernie.load(target)
    os.remove(os.path.join(target, 'model.safetensors'))
    with pytest.raises(UserError, match=r'model\.safetensors'):
        ernie.load(target)


def test_an_export_with_other_numbers_is_refused(tmp_path, monkeypatch):
    checkpoint, run = ModelFolder(write_checkpoint(tmp_path / 'c')), FusedEngine.run
    monkeypatch.setattr(FusedEngine, 'run', lambda self, arrays: [a + 2e-5 for a in run(self, arrays)])
    with pytest.raises(UserError, match='fused: output 0 of the exported model differs by [12].*e-05'):
        export(checkpoint, str(tmp_path / 'new'), 'fused')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('task', [None, 'embedding'])
def test_a_server_exports_for_it_and_opens_any_precision(tmp_path, task, form):
    (model,) = open_models([('m', str(write_checkpoint(tmp_path / 'c')))], 'fused', form, 2, task=task)
    assert model.info['engine'] == 'fused' and model.info['precision'] == form
    run = open_served(**model.arguments)
    arrays = [np.array([[1, 5, 6, 2]]), np.zeros((1, 4), np.int64), np.arange(4)[None], np.ones((1, 4), np.float32)]
    folder = VectorFolder(tmp_path / 'c') if task else ModelFolder(tmp_path / 'c')
    np.testing.assert_allclose(run(arrays)[0], folder.graph().run(arrays)[0], atol=APART[form])


def test_int8_needs_no_export_but_other_engines_do(tmp_path):
    checkpoint = str(write_checkpoint(tmp_path / 'c'))
    with pytest.raises(UsageError, match='is not exported. Make it: ernie export .*; or give --engine fused'):
        ernie.load(checkpoint, engine='openvino', precision='int8')


def test_an_encoder_of_another_kind_is_refused():
    names = 'vocab_size', 'hidden_size', 'num_hidden_layers', 'max_position_embeddings', 'initializer_range'
    config = ErnieConfig({name: CONFIG[name] for name in names} | {'encoder': 'bow', 'num_hidden_layers': 1})
    refused = pytest.raises(
        UserError, match='found an encoder of the kind bow, expected ernie. Take --engine predictor'
    )
    with refused, Packing('fp32'):
        Session(seed=0).build(encoder_feeds(config), lambda *features: build_encoder(features, config))


def test_missing_parameters_and_values_that_are_no_numbers_are_named(tmp_path):
    checkpoint = write_checkpoint(tmp_path / 'c')
    tensors = load_file(checkpoint / 'model.safetensors')
    name = 'encoder_layer_1_ffn_fc_0.w_0'
    bad = tensors[name].copy()
    bad[2, 3] = np.nan
    save_file(tensors | {name: bad}, checkpoint / 'model.safetensors')
    with pytest.raises(UserError, match=rf'{name} with nan at \[2, 3\]'):
        FusedEngine.of(ModelFolder(checkpoint))
    save_file({n: t for n, t in tensors.items() if n != name}, checkpoint / 'model.safetensors')
    with pytest.raises(UserError, match=f'1 missing: {name}'):
        FusedEngine.of(ModelFolder(checkpoint))


def test_what_this_machine_cannot_do_is_said_in_a_line(tmp_path, monkeypatch, caplog):
    source, real = ModelFolder(write_checkpoint(tmp_path / 'c')), kernels()
    monkeypatch.setattr(choice, 'kernels', lambda: Kernels(why='no C++ compiler was found'))
    with pytest.raises(
        UsageError, match='fused operators cannot be had here: no C.* found. Take --engine predictor'
    ) as e:
        FusedEngine.of(source)
    assert '\n' not in str(e.value)
    monkeypatch.setattr(choice, 'kernels', lambda: real._replace(bf16=False, int8=False))
    with pytest.raises(UsageError, match=r'this processor has no products of 8 bits \(avx512_vnni\). Take --engine'):
        FusedEngine.of(source, 'int8')
    with pytest.raises(UsageError, match='--engine fused runs on the processor only'):
        ernie.load(str(tmp_path / 'c'), engine='fused', device='gpu')
