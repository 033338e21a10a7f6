"""Small random models in every layout, built from names written out here, for the checkpoint tests."""

import json

import numpy as np

from propeller.storage import write_safetensors
from propeller.storage.fluid import write_variable

CONFIG = {
    'vocab_size': 31,
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'max_position_embeddings': 9,
    'type_vocab_size': 2,
    'hidden_act': 'relu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.0,
    'initializer_range': 0.02,
    'intermediate_size': 20,
}
HUGGINGFACE_CONFIG = {
    **CONFIG,
    'model_type': 'bert',
    'architectures': ['BertModel'],
    'layer_norm_eps': 1e-12,
    'position_embedding_type': 'absolute',
    'pad_token_id': 0,
}
VOCABULARY = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'的一是不了人我在有他这', '##s', 'word']

# ERNIE name, Hugging Face name, PaddleNLP name, ERNIE shape; {} is the layer.
LAYER = [
    ('multi_head_att_query_fc.w_0', 'attention.self.query.weight', 'self_attn.q_proj.weight', (12, 12)),
    ('multi_head_att_query_fc.b_0', 'attention.self.query.bias', 'self_attn.q_proj.bias', (12,)),
    ('multi_head_att_key_fc.w_0', 'attention.self.key.weight', 'self_attn.k_proj.weight', (12, 12)),
    ('multi_head_att_key_fc.b_0', 'attention.self.key.bias', 'self_attn.k_proj.bias', (12,)),
    ('multi_head_att_value_fc.w_0', 'attention.self.value.weight', 'self_attn.v_proj.weight', (12, 12)),
    ('multi_head_att_value_fc.b_0', 'attention.self.value.bias', 'self_attn.v_proj.bias', (12,)),
    ('multi_head_att_output_fc.w_0', 'attention.output.dense.weight', 'self_attn.out_proj.weight', (12, 12)),
    ('multi_head_att_output_fc.b_0', 'attention.output.dense.bias', 'self_attn.out_proj.bias', (12,)),
    ('post_att_layer_norm_scale', 'attention.output.LayerNorm.weight', 'norm1.weight', (12,)),
    ('post_att_layer_norm_bias', 'attention.output.LayerNorm.bias', 'norm1.bias', (12,)),
    ('ffn_fc_0.w_0', 'intermediate.dense.weight', 'linear1.weight', (12, 20)),
    ('ffn_fc_0.b_0', 'intermediate.dense.bias', 'linear1.bias', (20,)),
    ('ffn_fc_1.w_0', 'output.dense.weight', 'linear2.weight', (20, 12)),
    ('ffn_fc_1.b_0', 'output.dense.bias', 'linear2.bias', (12,)),
    ('post_ffn_layer_norm_scale', 'output.LayerNorm.weight', 'norm2.weight', (12,)),
    ('post_ffn_layer_norm_bias', 'output.LayerNorm.bias', 'norm2.bias', (12,)),
]
BACKBONE = [
    ('word_embedding', 'embeddings.word_embeddings.weight', 'embeddings.word_embeddings.weight', (31, 12)),
    ('pos_embedding', 'embeddings.position_embeddings.weight', 'embeddings.position_embeddings.weight', (9, 12)),
    ('sent_embedding', 'embeddings.token_type_embeddings.weight', 'embeddings.token_type_embeddings.weight', (2, 12)),
    ('pre_encoder_layer_norm_scale', 'embeddings.LayerNorm.weight', 'embeddings.layer_norm.weight', (12,)),
    ('pre_encoder_layer_norm_bias', 'embeddings.LayerNorm.bias', 'embeddings.layer_norm.bias', (12,)),
    *(
        (f'encoder_layer_{i}_{e}', f'encoder.layer.{i}.{h}', f'encoder.layers.{i}.{p}', s)
        for i in range(2)
        for e, h, p, s in LAYER
    ),
    ('pooled_fc.w_0', 'pooler.dense.weight', 'pooler.dense.weight', (12, 12)),
    ('pooled_fc.b_0', 'pooler.dense.bias', 'pooler.dense.bias', (12,)),
]
TASK = ('task_embedding', 'embeddings.task_type_embeddings.weight', '', (3, 12))
PRETRAINING = [
    ('mask_lm_trans_fc.w_0', 'cls.predictions.transform.dense.weight', '', (12, 12)),
    ('mask_lm_trans_fc.b_0', 'cls.predictions.transform.dense.bias', '', (12,)),
    ('mask_lm_trans_layer_norm_scale', 'cls.predictions.transform.LayerNorm.weight', '', (12,)),
    ('mask_lm_trans_layer_norm_bias', 'cls.predictions.transform.LayerNorm.bias', '', (12,)),
    ('mask_lm_out_fc.b_0', 'cls.predictions.bias', '', (31,)),
    ('next_sent_fc.w_0', 'cls.seq_relationship.weight', '', (12, 2)),
    ('next_sent_fc.b_0', 'cls.seq_relationship.bias', '', (2,)),
]
TURNED = ('w_0', '_w')


def parameters(rows=BACKBONE, seed=0):
    """dict ERNIE name -> random float32 array."""
    rng = np.random.default_rng(seed)
    return {row[0]: rng.standard_normal(row[3]).astype(np.float32) for row in rows}


def as_huggingface(values, rows=BACKBONE, prefix=''):
    """dict Hugging Face name -> array, linear weights as [out, in]; heads (`cls.`) carry no prefix."""
    names = {row[0]: row[1] for row in rows}
    return {
        (names[n] if names[n].startswith('cls.') else prefix + names[n]): v.T if n.endswith(TURNED) else v
        for n, v in values.items()
    }


def write_companions(folder, config=CONFIG, name='ernie_config.json'):
    """Configuration and vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(config))
    (folder / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return folder


def model_folder(folder, values, config=CONFIG):
    """`params/`, `vocab.txt`, `ernie_config.json`."""
    write_companions(folder, config)
    (folder / 'params').mkdir()
    for name, value in values.items():
        write_variable(folder / 'params' / name, value)
    return folder


def huggingface_folder(folder, tensors, config=HUGGINGFACE_CONFIG):
    """`model.safetensors`, `vocab.txt`, `config.json`."""
    write_companions(folder, config, 'config.json')
    write_safetensors(folder / 'model.safetensors', tensors)
    return folder


def assert_holds(model, values):
    """The model has exactly these arrays."""
    assert sorted(model) == sorted(values)
    for name, value in values.items():
        assert model.shape(name) == value.shape and model.dtype(name) == value.dtype, name
        assert np.array_equal(model[name], value), name
