"""Google's BERT in checkpoints of TensorFlow: names, configuration, and what the model computes.

`benchmark/acceptance/tensorflow_golden.py` made the files, and the numbers, with google-research/bert itself.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ernie.checkpoint import match_parameters, open_model
from ernie.checkpoint.__main__ import inspect_lines, main
from ernie.checkpoint.convert import convert
from ernie.checkpoint.model_folder import read_config
from ernie.checkpoint.names import is_training_state
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.inference.find import find_model
from ernie.model.ernie import ErnieModel
from ernie.run.outputs import model_files
from ernie.run.source import Source
from ernie.zoo.resolver import find
from propeller import graph, ops
from propeller.errors import UserError
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.storage.values import load_values
from tests.ernie.checkpoint_models import huggingface_folder
from tests.ernie.tensorflow_golden import GOLDEN, arrays_of, outputs
from tests.propeller.tensorflow_files import checkpoint

PREFIX = 'bert_model.ckpt'
CONFIG = {
    'attention_probs_dropout_prob': 0.1,
    'hidden_act': 'gelu_new',
    'hidden_dropout_prob': 0.1,
    'hidden_size': 8,
    'initializer_range': 0.02,
    'intermediate_size': 12,
    'layer_norm_eps': 1e-12,
    'max_position_embeddings': 9,
    'num_attention_heads': 2,
    'num_hidden_layers': 2,
    'type_vocab_size': 2,
    'vocab_size': 23,
}
# Some of the names, written out; None: the same shape, else what becomes of it.
PLACES = {
    'word_embedding': 'bert/embeddings/word_embeddings',
    'pos_embedding': 'bert/embeddings/position_embeddings',
    'sent_embedding': 'bert/embeddings/token_type_embeddings',
    'pre_encoder_layer_norm_scale': 'bert/embeddings/LayerNorm/gamma',
    'encoder_layer_1_multi_head_att_key_fc.w_0': 'bert/encoder/layer_1/attention/self/key/kernel',
    'encoder_layer_0_multi_head_att_output_fc.b_0': 'bert/encoder/layer_0/attention/output/dense/bias',
    'encoder_layer_1_post_att_layer_norm_bias': 'bert/encoder/layer_1/attention/output/LayerNorm/beta',
    'encoder_layer_0_ffn_fc_0.w_0': 'bert/encoder/layer_0/intermediate/dense/kernel',
    'encoder_layer_0_ffn_fc_1.w_0': 'bert/encoder/layer_0/output/dense/kernel',
    'encoder_layer_1_post_ffn_layer_norm_scale': 'bert/encoder/layer_1/output/LayerNorm/gamma',
    'pooled_fc.w_0': 'bert/pooler/dense/kernel',
    'mask_lm_trans_fc.w_0': 'cls/predictions/transform/dense/kernel',
    'mask_lm_trans_layer_norm_bias': 'cls/predictions/transform/LayerNorm/beta',
    'mask_lm_out_fc.b_0': 'cls/predictions/output_bias',
    'next_sent_fc.b_0': 'cls/seq_relationship/output_bias',
}


@pytest.fixture(scope='module')
def pretrained():
    """What TensorFlow wrote into that checkpoint."""
    return arrays_of('pretrained')


@pytest.fixture
def folder(tmp_path):
    """A copy of the pre-trained model, whose files a test may change."""
    return Path(shutil.copytree(GOLDEN / 'pretrained', tmp_path / 'bert'))


def tensors_of(path):
    return dict(open_tensors(path))


# ------------------------------------------------------------------------------------------ the model


def test_every_tensor_has_its_place(pretrained):
    model = open_model(GOLDEN / 'pretrained')
    assert model.source == 'tensorflow' and model.vocab_path == str(GOLDEN / 'pretrained' / 'vocab.txt')
    assert model.path == str(GOLDEN / 'pretrained' / PREFIX) and model.folder == str(GOLDEN / 'pretrained')
    for name, place in PLACES.items():
        assert model[name].tobytes() == pretrained[place].tobytes(), name
    order = pretrained['cls/seq_relationship/output_weights']
    assert model.shape('next_sent_fc.w_0') == (8, 2) and np.array_equal(model['next_sent_fc.w_0'], order.T)
    assert model.unmapped and all(is_training_state(name) for name in model.unmapped)
    assert len(model) == 5 + 2 * 16 + 2 + 5 + 2 and len(model) + len(model.unmapped) == len(pretrained)


def test_the_configuration_has_what_only_the_program_of_google_says():
    for path in (GOLDEN / 'pretrained', GOLDEN / 'pretrained' / PREFIX, GOLDEN / 'pretrained' / f'{PREFIX}.index'):
        assert open_model(path).config == CONFIG
    config = GOLDEN / 'pretrained' / 'bert_config.json'
    # Given by a flag, it means the same.
    assert read_config(open_model(GOLDEN / 'pretrained'), config).to_dict() == CONFIG


@pytest.mark.parametrize('form', ['plain', 'fused'])
def test_outputs_are_those_of_tensorflow(form):
    """All layers, the pooled output and both heads of the pre-training, to 1e-5."""
    if form == 'fused' and not ops.available():
        pytest.skip('no fused operators here')
    model, expected = open_model(GOLDEN / 'pretrained'), outputs()
    mask = expected['mask'].astype(np.float32)
    width = mask.shape[1]
    places = np.arange(mask.size)[mask.ravel() > 0]
    arrays = [expected['ids'], np.tile(np.arange(width), (len(mask), 1)), expected['types'], mask, places]
    feeds = [graph.Feed(name, (-1, -1), 'int64') for name in ('ids', 'positions', 'types')]
    feeds += [graph.Feed('mask', (-1, -1), 'float32'), graph.Feed('places', (-1,), 'int64')]

    def build(ids, positions, types, mask, places):
        made = ErnieModel(ids, positions, types, None, mask, ErnieConfig(model.config))
        pooled = made.get_pooled_output()
        return *made.layer_outputs, pooled, made.get_lm_logits(places), made.get_task_logits(pooled, 'next_sent_fc', 2)

    with ops.use('true' if form == 'fused' else 'false'):
        session = Session(seed=0)
        program = session.build(feeds, build)
        session.initialize(program)
        load_values(session, match_parameters(program.parameters(), model).load, model)
        found = session.run(program, arrays, program.outputs)
    tokens = mask > 0
    for layer, theirs in zip(found[:2], expected['layers'], strict=True):
        np.testing.assert_allclose(layer[tokens], theirs[tokens], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[2], expected['pooled'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[3][:, :23], expected['words'][tokens], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[4], expected['order'], rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------------------ converting


@pytest.mark.parametrize('to', ['fluid', 'safetensors', 'huggingface'])
def test_conversion_is_exact(tmp_path, capsys, to):
    main(['convert', str(GOLDEN / 'pretrained' / PREFIX), str(tmp_path / 'new'), '--to', to])
    out = capsys.readouterr().out
    model, copy = open_model(GOLDEN / 'pretrained'), open_model(tmp_path / 'new')
    assert {**copy.config, 'layer_norm_eps': 1e-12} == CONFIG
    assert sorted(copy) == sorted(model) and all(copy[name].tobytes() == model[name].tobytes() for name in model)
    assert f'{tmp_path / "new"}: 46 tensors written as {to} and read back bit by bit.' in out
    assert 'left out, state of the optimizer: bert/embeddings/LayerNorm/beta/adam_m, ' in out and ' and 90 more' in out
    assert ('note: hidden_act gelu_new' in out) == (to == 'fluid')


def test_a_head_has_classes_by_number(tmp_path):
    shutil.copytree(GOLDEN / 'classifier', tmp_path / 'out')
    shutil.copy(GOLDEN / 'pretrained' / 'vocab.txt', tmp_path / 'out')
    done = convert(tmp_path / 'out', tmp_path / 'new', 'huggingface')
    model, arrays = open_model(tmp_path / 'new'), arrays_of('classifier')
    # The newest, though the folder that the file `checkpoint` names is not there.
    assert np.array_equal(model['_cls_out_w'], arrays['output_weights'].T)
    assert np.array_equal(model['_cls_out_b'], arrays['output_bias'])
    labels = json.loads((tmp_path / 'new' / 'labels.json').read_text())
    assert labels['task'] == 'classification' and labels['labels'] == ['0', '1', '2'] and labels['max_seq_len'] == 9
    assert done.left_out == ['global_step'] and 'the 3 classes are called by their numbers' in done.notes[0]
    assert json.loads((tmp_path / 'new' / 'config.json').read_text())['architectures'] == [
        'BertForSequenceClassification'
    ]


def test_a_head_of_squad(tmp_path):
    arrays = {name: array for name, array in tensors_of(GOLDEN / 'classifier').items() if name.startswith('bert/')}
    weights = np.arange(16, dtype=np.float32).reshape(2, 8)
    arrays |= {'cls/squad/output_weights': weights, 'cls/squad/output_bias': np.ones(2, np.float32)}
    checkpoint(tmp_path / 'model.ckpt', arrays)
    shutil.copy(GOLDEN / 'pretrained' / 'bert_config.json', tmp_path)
    model = open_model(tmp_path)
    assert np.array_equal(model['cls_mrc_out_w'], weights.T) and model.unmapped == []
    convert(tmp_path, tmp_path / 'new', 'safetensors', vocab_path=str(GOLDEN / 'pretrained' / 'vocab.txt'))
    assert json.loads((tmp_path / 'new' / 'labels.json').read_text())['task'] == 'mrc'


# ------------------------------------------------------------------------------------------ what a path means


def test_programs_take_prefix_file_and_folder(folder):
    for path in (folder, folder / PREFIX, folder / f'{PREFIX}.index'):
        assert find(path) == (str(path), {}) and find_model(path) == str(path)
        source = Source(str(path))
        assert source.config.to_dict() == CONFIG and source.vocab_path == str(folder / 'vocab.txt')
    assert Source(str(folder / PREFIX), config_path=str(folder / 'bert_config.json')).config.to_dict() == CONFIG
    files = {str(folder / f'{PREFIX}{end}') for end in ('.index', '.data-00000-of-00001')}
    assert set(model_files(str(folder / PREFIX))) == files < set(model_files(str(folder)))
    with pytest.raises(UserError, match=f'Did you mean {folder}/bert_model.ckpt?'):
        find_model(folder / 'bert_mdel.ckpt')


def test_readable_formats_beside_it_come_first(folder):
    """Folders on the hub often hold several."""
    tensors = {'embeddings.word_embeddings.weight': np.zeros((23, 8), np.float32)}
    huggingface_folder(folder, tensors, {'model_type': 'bert', **CONFIG})
    assert open_model(folder).source == 'huggingface'


@pytest.mark.parametrize(
    'name, lower',
    [
        ('uncased_L-12_H-768_A-12', True),
        ('cased_L-24_H-1024_A-16', False),
        ('multi_cased_L-12_H-768_A-12', False),
        ('wwm_cased_L-24_H-1024_A-16', False),
        ('chinese_L-12_H-768_A-12', True),
        ('mycased_L-1', None),
    ],
)
def test_the_name_of_googles_folder_says_the_letter_case(tmp_path, name, lower):
    (tmp_path / name).mkdir()
    found = folder_tokenizer(str(tmp_path / name))
    assert found.settings.do_lower_case is (lower is not False)
    assert found.said_by == ({} if lower is None else {'do_lower_case': str(tmp_path / name)})
    (tmp_path / name / 'tokenizer_config.json').write_text('{"do_lower_case": true}')
    assert folder_tokenizer(str(tmp_path / name)).settings.do_lower_case is True


# ------------------------------------------------------------------------------------------ what cannot be


def test_without_its_configuration_the_heads_are_unknown_and_nothing_else(folder):
    (folder / 'bert_config.json').unlink()
    model = open_model(folder)
    assert model.config is None
    for open_it in (lambda: Source(str(folder)), lambda: convert(folder, folder / 'new', 'fluid')):
        with pytest.raises(UserError) as e:
            open_it()
        assert str(e.value) == (
            f'{folder / PREFIX}: found no bert_config.json beside it, expected the number of attention heads, which no '
            f'tensor says. Write {{"num_attention_heads": N}} into {folder}/bert_config.json; all other sizes are in '
            f'the tensors.'
        )
    assert any('config: none found (' in line and 'num_attention_heads' in line for line in inspect_lines(str(folder)))
    (folder / 'bert_config.json').write_text('{"num_attention_heads": 2}')
    assert open_model(folder).config == CONFIG


def test_configurations_of_others_keep_their_word(folder):
    """A folder converted by transformers says epsilon and activation itself; `gelu` is the exact form there."""
    (folder / 'bert_config.json').rename(folder / 'bert_config_rbt3.json')
    assert open_model(folder).config == CONFIG
    (folder / 'bert_config_rbt3.json').unlink()
    theirs = {**CONFIG, 'hidden_act': 'gelu', 'model_type': 'bert'}
    (folder / 'config.json').write_text(json.dumps(theirs))
    assert open_model(folder).config == {**CONFIG, 'hidden_act': 'gelu'}
    (folder / 'config.json').write_text(json.dumps({**theirs, 'hidden_act': 'gelu_pytorch_tanh'}))
    assert open_model(folder).config == CONFIG
    (folder / 'ernie_config.json').write_text(json.dumps({**CONFIG, 'layer_norm_eps': 1e-7}))
    assert open_model(folder).config == {**CONFIG, 'layer_norm_eps': 1e-7}


def test_a_run_does_not_start_from_random_values(tmp_path, folder):
    arrays = tensors_of(folder)
    lost = 'bert/encoder/layer_1/intermediate/dense/kernel'
    checkpoint(folder / PREFIX, {name: array for name, array in arrays.items() if name != lost})
    with pytest.raises(UserError, match=r'1 missing: encoder_layer_1_ffn_fc_0\.w_0 \[8, 12\]'):
        convert(folder, tmp_path / 'new', 'safetensors')
    checkpoint(folder / PREFIX, {**arrays, 'bert/encoder/layer_1/output/dense/extra': np.zeros(3, np.float32)})
    with pytest.raises(UserError, match='1 tensors of the encoder would not be used: bert/encoder/layer_1/output/'):
        convert(folder, tmp_path / 'new', 'safetensors')
    values = json.loads((folder / 'bert_config.json').read_text())
    (folder / 'bert_config.json').write_text(json.dumps({**values, 'num_hidden_layers': 1}))
    checkpoint(folder / PREFIX, arrays)
    with pytest.raises(UserError, match='16 tensors of the encoder would not be used: encoder_layer_1_'):
        convert(folder, tmp_path / 'new', 'safetensors')
    assert not os.path.exists(tmp_path / 'new')


@pytest.mark.parametrize(
    'name, network',
    [
        ('bert/encoder/transformer/group_0/inner_group_0/ffn_1/intermediate/dense/kernel', 'an ALBERT model'),
        ('electra/encoder/layer_0/output/dense/kernel', 'an ELECTRA model'),
        ('bert/encoder/layer_0/bottleneck/input/dense/kernel', 'a MobileBERT model'),
        ('model/transformer/layer_0/rel_attn/q/kernel', 'an XLNet model'),
        ('model/h0/attn/c_attn/w', 'a GPT-2 model'),
        ('dense/.ATTRIBUTES/VARIABLE_VALUE', 'objects of TensorFlow 2 or Keras'),
        ('lstm/kernel', '1 tensors without word embeddings (lstm/kernel)'),
    ],
)
def test_networks_that_ours_is_not_are_named(tmp_path, name, network):
    checkpoint(tmp_path / 'model.ckpt', {name: np.zeros(2, np.float32)})
    with pytest.raises(UserError) as e:
        open_model(tmp_path)
    assert f'model.ckpt: found {network}' in str(e.value) and 'google-research/bert' in str(e.value)


def test_values_that_are_not_finite_are_refused(tmp_path, folder):
    arrays = tensors_of(folder)
    arrays['bert/pooler/dense/bias'][3] = np.nan
    checkpoint(folder / PREFIX, arrays)
    with pytest.raises(UserError, match=r'found pooled_fc\.b_0 with nan at \[3\]'):
        convert(folder, tmp_path / 'new', 'safetensors')
