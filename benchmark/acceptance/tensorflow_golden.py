"""Make the checkpoints of TensorFlow that the tests read, and what TensorFlow itself computes with them.

    VENV/bin/python -m benchmark.acceptance.tensorflow_golden BERT tests/ernie/golden/tensorflow

VENV has tensorflow-cpu 2.21.0; BERT is a clone of https://github.com/google-research/bert (eedf571). Its `modeling.py`
and `optimization.py` are run as they are, over the interface of TensorFlow 1 that TensorFlow 2 still has. Two functions
that are gone, the norm of `tf.contrib` and the dense layer of `tf.layers`, are written out here as they were.

    pretrained/   bert_model.ckpt of the pre-training graph, with heads and state of the optimizer; bert_config.json,
                  vocab.txt
    classifier/   model.ckpt-3 and model.ckpt-7 of the graph of run_classifier.py, and the file `checkpoint`
    parts/        parts.ckpt: two files of values, a table in three parts, types of other widths, a text
    objects/      a checkpoint of TensorFlow 2 (`tf.train.Checkpoint`)
    expected.npz  the arrays of the first three, see `packed`; inputs and outputs of the model in pretrained/
"""

import argparse
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np

CONFIG = {
    'attention_probs_dropout_prob': 0.1,
    'directionality': 'bidi',
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'hidden_size': 8,
    'initializer_range': 0.02,
    'intermediate_size': 12,
    'max_position_embeddings': 9,
    'num_attention_heads': 2,
    'num_hidden_layers': 2,
    'pooler_fc_size': 8,
    'type_vocab_size': 2,
    'vocab_size': 23,
}
VOCABULARY = [
    '[PAD]',
    '[UNK]',
    '[CLS]',
    '[SEP]',
    '[MASK]',
    *'这家酒店很好不吃了一的',
    '##s',
    'word',
    'the',
    'a',
    '!',
    '。',
    'b',
]
LABELS = 3
IDS = [[2, 5, 6, 7, 8, 3, 17], [2, 19, 3, 9, 3, 0, 0], [2, 3, 0, 0, 0, 0, 0]]
TYPES = [[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
MASK = [[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 0]]


def layer_norm(inputs, begin_norm_axis, begin_params_axis, scope):
    """`tf.contrib.layers.layer_norm` of TensorFlow 1.15, for float32 and the last axis."""
    assert begin_norm_axis == begin_params_axis == -1
    with tf.variable_scope(scope, 'LayerNorm'):
        shape = inputs.shape[-1:]
        beta = tf.get_variable('beta', shape, initializer=tf.zeros_initializer())
        gamma = tf.get_variable('gamma', shape, initializer=tf.ones_initializer())
        mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, variance_epsilon=1e-12)


def dense(inputs, units, activation=None, name='dense', kernel_initializer=None):
    """`tf.layers.dense` of TensorFlow 1.15, for matrices or a batch of them."""
    with tf.variable_scope(name):
        kernel = tf.get_variable('kernel', [inputs.shape[-1], units], initializer=kernel_initializer)
        bias = tf.get_variable('bias', [units], initializer=tf.zeros_initializer())
        outputs = tf.nn.bias_add(tf.tensordot(inputs, kernel, [[-1], [0]]), bias)
        return outputs if activation is None else activation(outputs)


def google(clone, name):
    """A module of google-research/bert, its TensorFlow being the interface of version 1."""
    first = types.ModuleType('tensorflow')
    first.__dict__.update({key: getattr(tf, key) for key in dir(tf) if key not in ('keras', 'layers')})
    first.layers = types.SimpleNamespace(dense=dense)
    first.contrib = types.SimpleNamespace(layers=types.SimpleNamespace(layer_norm=layer_norm))
    sys.modules['tensorflow'] = first
    try:
        spec = importlib.util.spec_from_file_location(name, Path(clone) / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.modules['tensorflow'] = tensorflow
    return module


def randomized(session, seed):
    """Random values for all variables; those of norms are not 1 and 0. Returns dict name -> value."""
    rng, values = np.random.default_rng(seed), {}
    for variable in tf.global_variables():
        shape = tuple(variable.shape)
        value = rng.normal(0, 0.4, shape) + variable.op.name.endswith('gamma')
        dtype = variable.dtype.base_dtype.as_numpy_dtype
        value = np.asarray(value if np.issubdtype(dtype, np.floating) else rng.integers(1, 99, shape), dtype)
        variable.load(value, session)
        values[variable.op.name] = value
    return values


def model(modeling, training=False):
    ids, types_, mask = (tf.constant(rows, tf.int32) for rows in (IDS, TYPES, MASK))
    return modeling.BertModel(modeling.BertConfig.from_dict(CONFIG), training, ids, mask, types_)


def pretrained(clone, folder):
    """The graph of run_pretraining.py (`get_masked_lm_output`, `get_next_sentence_output`) and its optimizer."""
    modeling, optimization = google(clone, 'modeling'), google(clone, 'optimization')
    with tf.Graph().as_default(), tf.Session() as session:
        bert = model(modeling)
        with tf.variable_scope('cls/predictions'):
            with tf.variable_scope('transform'):
                hidden = dense(bert.get_sequence_output(), CONFIG['hidden_size'], activation=modeling.gelu)
                hidden = modeling.layer_norm(hidden)
            bias = tf.get_variable('output_bias', [CONFIG['vocab_size']], initializer=tf.zeros_initializer())
            words = tf.tensordot(hidden, bert.get_embedding_table(), [[2], [1]]) + bias
        with tf.variable_scope('cls/seq_relationship'):
            weights = tf.get_variable('output_weights', [2, CONFIG['hidden_size']])
            bias = tf.get_variable('output_bias', [2], initializer=tf.zeros_initializer())
            order = tf.nn.bias_add(tf.matmul(bert.get_pooled_output(), weights, transpose_b=True), bias)
        tf.train.get_or_create_global_step()
        optimization.create_optimizer(tf.reduce_mean(words) + tf.reduce_mean(order), 1e-4, 10, 1, False)
        session.run(tf.global_variables_initializer())
        values = randomized(session, 1)
        outputs = {'layers': bert.get_all_encoder_layers(), 'pooled': bert.get_pooled_output()}
        outputs |= {'words': words, 'order': order}
        found = session.run(outputs)
        tf.train.Saver().save(session, str(folder / 'bert_model.ckpt'), write_meta_graph=False, write_state=False)
    (folder / 'bert_config.json').write_text(json.dumps(CONFIG, indent=2) + '\n')
    (folder / 'vocab.txt').write_text('\n'.join(VOCABULARY) + '\n', encoding='utf-8')
    return values, {**found, 'layers': np.stack(found['layers']), 'ids': IDS, 'types': TYPES, 'mask': MASK}


def classifier(clone, folder):
    """The graph of run_classifier.py (`create_model`), saved twice with other values; the second is the newest."""
    modeling = google(clone, 'modeling')
    with tf.Graph().as_default(), tf.Session() as session:
        model(modeling)
        tf.get_variable('output_weights', [LABELS, CONFIG['hidden_size']])
        tf.get_variable('output_bias', [LABELS], initializer=tf.zeros_initializer())
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        saver = tf.train.Saver()
        for step in (3, 7):
            values = randomized(session, step)
            saver.save(session, str(folder / 'model.ckpt'), step, write_meta_graph=False)
    (folder / 'bert_config.json').write_text(json.dumps(CONFIG, indent=2) + '\n')
    return values


def parts(folder):
    """Variables on two devices, of which each has a file of values; one in three parts."""
    config = tf.ConfigProto(device_count={'CPU': 2})
    with tf.Graph().as_default(), tf.Session(config=config) as session:
        with tf.device('/cpu:0'):
            tf.get_variable('table', [101, 3], partitioner=tf.fixed_size_partitioner(3))
            tf.get_variable('columns', [2, 300], partitioner=tf.fixed_size_partitioner(2, axis=1))
        with tf.device('/cpu:1'):
            for kind in (tf.float16, tf.float64, tf.int32, tf.int64, tf.bool, tf.uint8):
                tf.get_variable(kind.name, [2, 3], kind, initializer=tf.zeros_initializer())
            tf.get_variable('scalar', [], initializer=tf.zeros_initializer())
            tf.get_variable('empty', [0, 4], initializer=tf.zeros_initializer())
            narrow = tf.get_variable('bfloat16', [5], tf.bfloat16, initializer=tf.zeros_initializer())
            text = tf.get_variable('text', [], tf.string, initializer=tf.constant_initializer('酒店'))
        session.run(tf.global_variables_initializer())
        kept = [v for v in tf.global_variables() if v.op.name not in (narrow.op.name, text.op.name)]
        rng, values = np.random.default_rng(5), {}
        for variable in kept:
            value = (rng.normal(0, 9, tuple(variable.shape)) * 10).astype(variable.dtype.base_dtype.as_numpy_dtype)
            variable.load(value, session)
            values[variable.op.name] = value
        session.run(narrow.assign(tf.cast(tf.constant([1.5, -0.0, 3.140625, 65536, 1e-30]), tf.bfloat16)))
        values['bfloat16'] = session.run(tf.cast(narrow, tf.float32))
        tf.train.Saver(sharded=True).save(
            session, str(folder / 'parts.ckpt'), write_meta_graph=False, write_state=False
        )
    for name, axis in (('table', 0), ('columns', 1)):
        pieces = sorted(key for key in values if key.startswith(f'{name}/part_'))
        values[name] = np.concatenate([values.pop(key) for key in pieces], axis)
    return values


def objects(folder):
    """A checkpoint whose names are attributes of objects."""
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.get_variable('v', [1, 2], use_resource=True)
        session.run(tf.global_variables_initializer())
        tf.train.Checkpoint(dense=variable).write(str(folder / 'tf2.ckpt'), session=session)


def packed(folder, values):
    """Arrays as two: an archive of many has more names than numbers."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    about = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    content = b''.join(array.tobytes() for array in arrays.values())
    return {folder: np.frombuffer(content, np.uint8), f'{folder}_names': np.array(json.dumps(about))}


def main():
    """Make all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('bert', help='Clone of google-research/bert.')
    parser.add_argument('target', type=Path, help='Folder to make.')
    arguments = parser.parse_args()
    global tensorflow, tf
    import tensorflow  # after the flags: `--help` needs none
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    made = {name: arguments.target / name for name in ('pretrained', 'classifier', 'parts', 'objects')}
    for folder in made.values():
        folder.mkdir(parents=True)
    arrays, outputs = {}, {}
    arrays['pretrained'], outputs = pretrained(arguments.bert, made['pretrained'])
    arrays['classifier'] = classifier(arguments.bert, made['classifier'])
    arrays['parts'] = parts(made['parts'])
    objects(made['objects'])
    found = {}
    for folder, values in arrays.items():
        found |= packed(folder, values)
    np.savez_compressed(arguments.target / 'expected.npz', **found, **{k: np.asarray(v) for k, v in outputs.items()})


if __name__ == '__main__':
    main()
