"""`open_model`: every layout gives the same arrays under ERNIE's names."""

import json
import pickle

import numpy as np
import pytest

from ernie.checkpoint import backbone_shapes, open_model
from ernie.config import ErnieConfig
from propeller.errors import UserError
from propeller.storage import write_safetensors
from tests.ernie.checkpoint_models import (
    BACKBONE,
    CONFIG,
    HUGGINGFACE_CONFIG,
    PRETRAINING,
    TASK,
    as_huggingface,
    assert_holds,
    huggingface_folder,
    model_folder,
    parameters,
    write_companions,
)
from tests.ernie.test_config import ROOT
from tests.propeller.test_storage_pytorch import archive, state, tensor

VALUES = parameters()


@pytest.mark.parametrize(
    'folder, count',
    [('config', 99_866_112), ('script/en_glue/ernie_base', 109_483_776), ('script/en_glue/ernie_large', 335_143_936)],
)
def test_parameter_counts_of_the_released_models(folder, count):
    shapes = backbone_shapes(ErnieConfig(f'{ROOT}/{folder}/ernie_config.json'))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


def test_backbone_names_and_shapes():
    assert backbone_shapes(ErnieConfig(CONFIG)) == {name: shape for name, _, _, shape in BACKBONE}
    with_task = {**CONFIG, 'use_task_id': True, 'task_type_vocab_size': 3}
    assert set(backbone_shapes(ErnieConfig(with_task)).items()) - set(backbone_shapes(ErnieConfig(CONFIG)).items()) == {
        ('task_embedding', (3, 12))
    }


def test_model_folder_and_its_params_folder(tmp_path, monkeypatch):
    folder = model_folder(tmp_path / 'ernie', VALUES)
    monkeypatch.chdir(folder)
    for place in (folder, folder / 'params', f'{folder}/params/', 'params', '.'):
        model = open_model(place)
        assert_holds(model, VALUES)
        assert model.source == 'fluid' and model.config == CONFIG and model.unmapped == []
        with open(model.vocab_path, encoding='utf-8') as f:
            assert f.readline() == '[PAD]\n'


def test_a_variable_folder_alone(tmp_path):
    folder = model_folder(tmp_path / 'ernie', VALUES)
    (folder / 'ernie_config.json').unlink()
    (folder / 'vocab.txt').unlink()
    model = open_model(folder / 'params')
    assert_holds(model, VALUES)
    assert model.config is None and model.vocab_path is None


def test_checkpoint_folder_and_single_file(tmp_path):
    folder = write_companions(tmp_path / 'step_7')
    write_safetensors(folder / 'model.safetensors', VALUES)
    write_safetensors(folder / 'optimizer.safetensors', {'word_embedding_moment1_0': np.zeros(3)})
    (folder / 'labels.json').write_text('{}')
    for place in (folder, folder / 'model.safetensors'):
        model = open_model(place)
        assert_holds(model, VALUES)
        assert model.source == 'safetensors' and model.config == CONFIG
        assert model.labels_path == str(folder / 'labels.json')


@pytest.mark.parametrize('prefix', ['', 'bert.', 'ernie.'])
def test_huggingface_folder(tmp_path, prefix):
    tensors = as_huggingface(VALUES, prefix=prefix)
    tensors[f'{prefix}embeddings.position_ids'] = np.arange(9)[None]
    model = open_model(huggingface_folder(tmp_path / 'hf', tensors))
    assert_holds(model, VALUES)
    assert model.source == 'huggingface' and model.unmapped == []
    assert model.config == {**CONFIG, 'layer_norm_eps': 1e-12}
    assert model['encoder_layer_1_ffn_fc_0.w_0'].flags['C_CONTIGUOUS']


@pytest.mark.parametrize('prefix', ['ernie_gram', 'electra', 'roberta', 'nezha'])
def test_relatives_are_read_where_the_network_is_the_same(tmp_path, prefix):
    """Hugging Face's names and PaddleNLP's, told by the prefix of the tensors where no file names the kind."""
    plain = {k: v for k, v in HUGGINGFACE_CONFIG.items() if k not in ('model_type', 'architectures')}
    theirs = huggingface_folder(tmp_path / 'hf', as_huggingface(VALUES, prefix=f'{prefix}.'), plain)
    content = {f'{prefix}.{row[2]}': VALUES[row[0]] for row in BACKBONE}
    write_companions(pdparams(tmp_path / 'nlp' / 'x.pdparams', content).parent, plain, 'model_config.json')
    readable = {'ernie_gram': [theirs, tmp_path / 'nlp'], 'electra': [theirs, tmp_path / 'nlp']}
    readable['roberta'] = [tmp_path / 'nlp']  # Hugging Face's begins its positions at 2
    for folder in (theirs, tmp_path / 'nlp'):
        if folder in readable.get(prefix, ()):
            model = open_model(folder)
            assert_holds(model, VALUES)
            assert model.unmapped == [] and ErnieConfig(model.config).hidden_size == 12
            continue
        with pytest.raises(UserError, match=f'found a [A-Za-z]+ model .{prefix}., whose positions'):
            open_model(folder)


def test_byte_pair_roberta_and_narrow_embeddings_are_refused(tmp_path):
    content = {f'roberta.{row[2]}': VALUES[row[0]] for row in BACKBONE}
    nested = {'init_args': [{**CONFIG, 'cls_token_id': 0}], 'init_class': 'RobertaModel'}
    write_companions(pdparams(tmp_path / 'x.pdparams', content).parent, nested, 'model_config.json')
    with pytest.raises(UserError, match='model_config.json: found cls_token_id = 0: RoBERTa'):
        open_model(tmp_path)


def test_old_norm_names_and_sharded_files(tmp_path):
    folder = write_companions(tmp_path / 'hf', HUGGINGFACE_CONFIG, 'config.json')
    tensors = {
        n.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): v
        for n, v in as_huggingface(VALUES, prefix='bert.').items()
    }
    names = sorted(tensors)
    where = {name: f'model-{i % 3}.safetensors' for i, name in enumerate(names)}
    for file in set(where.values()):
        write_safetensors(folder / file, {n: tensors[n] for n in names if where[n] == file})
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': where}))
    assert_holds(open_model(folder), VALUES)


def test_pretraining_heads_and_task_table(tmp_path):
    rows = [*BACKBONE, TASK, *PRETRAINING]
    values = parameters(rows)
    tensors = as_huggingface(values, rows, 'ernie.')
    tensors['cls.predictions.decoder.weight'] = values['word_embedding']
    tensors['cls.predictions.decoder.bias'] = values['mask_lm_out_fc.b_0']
    config = {**HUGGINGFACE_CONFIG, 'model_type': 'ernie', 'use_task_id': True, 'task_type_vocab_size': 3}
    model = open_model(huggingface_folder(tmp_path / 'hf', tensors, config))
    assert_holds(model, values)
    assert model.unmapped == [] and model.config['use_task_id'] and model.config['task_type_vocab_size'] == 3


def test_an_output_table_of_its_own_is_kept(tmp_path):
    rows = [*BACKBONE, *PRETRAINING]
    values = parameters(rows)
    tensors = as_huggingface(values, rows, 'bert.')
    own = np.random.default_rng(5).standard_normal((31, 12)).astype(np.float32)
    tensors['cls.predictions.decoder.weight'] = own
    assert_holds(open_model(huggingface_folder(tmp_path / 'hf', tensors)), {**values, 'mask_lm_out_fc.w_0': own.T})


@pytest.mark.parametrize(
    'architecture, module, head',
    [
        ('BertForSequenceClassification', 'classifier', '_cls_out'),
        ('BertForTokenClassification', 'classifier', 'cls_seq_label_out'),
        ('ErnieForQuestionAnswering', 'qa_outputs', 'cls_mrc_out'),
    ],
)
def test_task_heads(tmp_path, architecture, module, head):
    weight, bias = np.arange(36, dtype=np.float32).reshape(12, 3), np.ones(3, np.float32)
    tensors = as_huggingface(VALUES, prefix='bert.')
    tensors.update({f'{module}.weight': weight.T, f'{module}.bias': bias})
    config = {**HUGGINGFACE_CONFIG, 'architectures': [architecture]}
    model = open_model(huggingface_folder(tmp_path / 'hf', tensors, config))
    assert_holds(model, {**VALUES, f'{head}_w': weight, f'{head}_b': bias})


def test_what_has_no_name_here_is_listed(tmp_path):
    tensors = as_huggingface(VALUES)
    tensors['adapter.weight'] = np.ones(2, np.float32)
    tensors['embeddings.position_ids'] = np.arange(9)[None] + 2
    model = open_model(huggingface_folder(tmp_path / 'hf', tensors))
    assert sorted(model.unmapped) == ['adapter.weight', 'embeddings.position_ids']
    assert_holds(model, VALUES)


def pdparams(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def test_paddlenlp_folder(tmp_path):
    names = {row[0]: f'ernie.{row[2]}' for row in BACKBONE}
    content = {names[n]: (names[n], v) for n, v in VALUES.items()}
    pdparams(tmp_path / 'nlp' / 'model_state.pdparams', content)
    config = {k: v for k, v in CONFIG.items() if k != 'intermediate_size'} | {'intermediate_size': 20}
    write_companions(tmp_path / 'nlp', {'init_args': [config], 'init_class': 'ErnieModel'}, 'model_config.json')
    model = open_model(tmp_path / 'nlp')
    assert_holds(model, VALUES)
    assert model.source == 'paddlenlp' and model.config == {**CONFIG, 'layer_norm_eps': 1e-5}


def test_pdparams_by_ernie_names_and_by_table(tmp_path):
    plain = pdparams(tmp_path / 'a' / 'x.pdparams', VALUES)
    write_companions(tmp_path / 'a')
    model = open_model(plain)
    assert_holds(model, VALUES)
    assert model.source == 'pdparams' and model.config == CONFIG
    layers = {f'block.{i}': name for i, name in enumerate(VALUES)}
    content = {layer: VALUES[name] for layer, name in layers.items()}
    content.update({'StructuredToParameterName@@': layers, 'buffer': np.ones(1, np.float32)})
    model = open_model(pdparams(tmp_path / 'b' / 'x.pdparams', content))
    assert_holds(model, VALUES)
    assert model.unmapped == ['buffer']


@pytest.mark.parametrize(
    'change, text',
    [
        ({'model_type': 'gpt2'}, "found model_type = 'gpt2', expected the network of BERT or ERNIE (bert, ernie,"),
        ({'model_type': 'roberta'}, 'found a RoBERTa model (roberta), whose positions begin at padding_idx + 1'),
        ({'model_type': 'nezha'}, 'found a NEZHA model (nezha), whose positions are relative'),
        ({'model_type': 'electra', 'embedding_size': 6}, 'found embedding_size = 6 in a model of type electra'),
        ({'hidden_act': 'silu'}, "hidden_act = 'silu'"),
        ({'position_embedding_type': 'relative_key'}, "position_embedding_type = 'relative_key'"),
        ({'is_decoder': True}, 'found is_decoder = true'),
        ({'hidden_size': None}, "key 'hidden_size' is missing"),
    ],
)
def test_networks_that_ours_is_not_are_refused(tmp_path, change, text):
    folder = huggingface_folder(tmp_path / 'hf', as_huggingface(VALUES), {**HUGGINGFACE_CONFIG, **change})
    with pytest.raises(UserError) as e:
        open_model(folder)
    assert text in str(e.value) and 'config.json' in str(e.value)


def test_contradicting_files_are_refused(tmp_path):
    tensors = as_huggingface(VALUES)
    twice = {**tensors, 'bert.pooler.dense.bias': tensors['pooler.dense.bias']}
    with pytest.raises(UserError, match='expected one tensor for pooled_fc.b_0'):
        open_model(huggingface_folder(tmp_path / 'a', twice))
    flat = {**tensors, 'pooler.dense.weight': np.ones(12, np.float32)}
    with pytest.raises(UserError, match='pooler.dense.weight of shape .12., expected a matrix'):
        open_model(huggingface_folder(tmp_path / 'b', flat))
    broken = model_folder(tmp_path / 'c', VALUES, {**CONFIG, 'hidden_act': 'tanh'})
    with pytest.raises(UserError, match="ernie_config.json: found hidden_act = 'tanh'"):
        open_model(broken)


def test_tensorflow_files_beside_readable_ones_do_no_harm(tmp_path):
    """Folders on the hub often hold several formats."""
    huggingface_folder(tmp_path / 'hf', as_huggingface(VALUES))
    for end in ('index', 'data-00000-of-00001'):
        (tmp_path / 'hf' / f'model.ckpt.{end}').write_bytes(b'x')
    assert_holds(open_model(tmp_path / 'hf'), VALUES)


def test_tensors_of_pytorch_are_mapped_like_the_others(tmp_path):
    """`pytorch_model.bin` in a Hugging Face folder: names, transposes, tied tables and classes as from safetensors."""
    rows = [*BACKBONE, *PRETRAINING]
    values = parameters(rows)
    tensors = as_huggingface(values, rows, 'bert.')
    tensors['cls.predictions.decoder.weight'] = tensors['bert.embeddings.word_embeddings.weight']
    folder = write_companions(tmp_path / 'hf', HUGGINGFACE_CONFIG, 'config.json')
    entries, storages = {}, {}
    for i, (name, array) in enumerate(tensors.items()):
        strides = tuple(size // 4 for size in array.strides)
        base = array if array.flags.c_contiguous else array.T
        entries[name] = tensor('FloatStorage', str(i), array.size, 0, array.shape, strides)
        storages[str(i)] = base.tobytes()
    archive(folder / 'pytorch_model.bin', state(entries), storages)
    model = open_model(folder)
    assert_holds(model, values)
    assert model.source == 'huggingface' and model.unmapped == []
