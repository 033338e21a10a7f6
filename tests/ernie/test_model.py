"""The graph of the model against a float64 computation in numpy, on odd sizes with padding."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import erf

from ernie.checkpoint import backbone_shapes
from ernie.config import ErnieConfig
from ernie.model.encoders import LAYERS, POOLED
from ernie.model.encoders import TOKENS as SOME
from ernie.model.ernie import ErnieModel
from ernie.model.heads import head as task_head
from propeller import graph, ops
from propeller.ops.choice import kernels
from propeller.session import Session

B, T, H, A, V, TYPES, POSITIONS, TASKS = 3, 7, 12, 3, 31, 4, 9, 5
LENGTHS = [7, 1, 4]
TOKENS = np.arange(T) < np.array(LENGTHS)[:, None]  # what is computed on padding means nothing
CONFIG = {
    'vocab_size': V,
    'hidden_size': H,
    'num_hidden_layers': 2,
    'num_attention_heads': A,
    'max_position_embeddings': POSITIONS,
    'sent_type_vocab_size': TYPES,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.02,
}
WITH_TASK = {**CONFIG, 'use_task_id': True, 'task_type_vocab_size': TASKS}
RELU = {**CONFIG, 'hidden_act': 'relu', 'intermediate_size': 20, 'layer_norm_eps': 1e-3}
TANH = {**CONFIG, 'hidden_act': 'gelu_new', 'layer_norm_eps': 1e-12}
FEEDS = [graph.Feed(n, (-1, -1), 'int64') for n in ('ids', 'positions', 'types', 'tasks')]
FEEDS.append(graph.Feed('mask', (-1, -1), 'float32'))


def batch():
    rng = np.random.default_rng(3)
    mask = TOKENS.astype(np.float32)
    ids, types = rng.integers(1, V, (B, T)), rng.integers(0, TYPES, (B, T))
    positions = np.stack([rng.permutation(POSITIONS)[:T] for _ in range(B)])
    keep = mask.astype(np.int64)
    return [ids * keep, positions * keep, types * keep, rng.integers(0, TASKS, (B, T)), mask]


@pytest.fixture(params=['plain', 'fused'], autouse=True)
def form(request):
    """Every test runs with plain operators, and where they can be had with fused ones."""
    if request.param == 'fused' and not ops.available():
        pytest.skip(kernels().why)
    with ops.use('true' if request.param == 'fused' else 'false'):
        yield request.param


def build(config, outputs, seed=5, training=False, feeds=FEEDS, weight_sharing=True, read=LAYERS):
    """(session, program) whose outputs are `outputs(model)`; every parameter is random, biases and norms too."""
    session = Session(seed=seed)

    def build_fn(ids, positions, types, tasks, mask, *others):
        settings = {'training': training, 'weight_sharing': weight_sharing, 'read': read}
        return outputs(ErnieModel(ids, positions, types, tasks, mask, ErnieConfig(config), **settings), *others)

    program = session.build(feeds, build_fn)
    session.initialize(program)
    return session, program


def randomize(session, program):
    rng, values = np.random.default_rng(11), {}
    for name, shape in program.parameters().items():
        values[name] = (0.5 * rng.standard_normal(shape) + name.endswith('_scale')).astype(np.float32)
        session.write(name, values[name])
    return {name: value.astype(np.float64) for name, value in values.items()}


# ------------------------------------------------------------------------------------------ the same in float64


def act64(x, kind):
    if kind == 'gelu_new':
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    return np.maximum(x, 0) if kind == 'relu' else x * (1 + erf(x / np.sqrt(2))) / 2


def norm64(x, p, name, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * p[f'{name}_layer_norm_scale'] + p[f'{name}_layer_norm_bias']


def linear64(x, p, name):
    return x @ p[f'{name}.w_0'] + p[f'{name}.b_0']


def softmax64(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention64(x, p, name, mask):
    """Row by row and head by head; padding keys are left out altogether."""
    q, k, v = (linear64(x, p, f'{name}_{part}_fc') for part in ('query', 'key', 'value'))
    context = np.zeros_like(x)
    width = H // A
    for b in range(B):
        real = mask[b] > 0
        for head in range(A):
            at = slice(head * width, (head + 1) * width)
            weights = softmax64(q[b][:, at] @ k[b][real][:, at].T / np.sqrt(width))
            context[b][:, at] = weights @ v[b][real][:, at]
    return linear64(context, p, f'{name}_output_fc')


def encoder64(p, config, ids, positions, types, tasks, mask):
    epsilon = config.get('layer_norm_eps', 1e-5)
    x = p['word_embedding'][ids] + p['pos_embedding'][positions] + p['sent_embedding'][types]
    if config.get('use_task_id'):
        x = x + p['task_embedding'][tasks]
    x, layers = norm64(x, p, 'pre_encoder', epsilon), []
    for i in range(config['num_hidden_layers']):
        layer = f'encoder_layer_{i}'
        x = norm64(x + attention64(x, p, f'{layer}_multi_head_att', mask), p, f'{layer}_post_att', epsilon)
        wide = act64(linear64(x, p, f'{layer}_ffn_fc_0'), config['hidden_act'])
        x = norm64(x + linear64(wide, p, f'{layer}_ffn_fc_1'), p, f'{layer}_post_ffn', epsilon)
        layers.append(x)
    return layers


def pooled64(p, sequence):
    return np.tanh(linear64(sequence[:, 0], p, 'pooled_fc'))


def cross_entropy64(logits, labels):
    return -np.log(softmax64(logits)[np.arange(len(labels)), labels]).mean()


# ------------------------------------------------------------------------------------------ encoder


@pytest.mark.parametrize('config', [CONFIG, WITH_TASK, RELU, TANH], ids=['gelu', 'task', 'relu', 'tanh'])
def test_encoder_equals_float64(config):
    session, program = build(config, lambda m: [*m.layer_outputs, m.get_sequence_output(), m.get_pooled_output()])
    p, arrays = randomize(session, program), batch()
    first, last, sequence, pooled = session.run(program, arrays, program.outputs)
    layers = encoder64(p, config, *arrays)
    for found, expected in zip((first, last, sequence), (*layers, layers[-1]), strict=True):
        assert found.shape == (B, T, H) and found.dtype == np.float32
        np.testing.assert_allclose(found[TOKENS], expected[TOKENS], atol=2e-5)
    np.testing.assert_allclose(pooled, pooled64(p, layers[-1]), atol=2e-5)


def test_padding_changes_nothing():
    session, program = build(CONFIG, lambda m: [m.get_sequence_output(), m.get_pooled_output()])
    randomize(session, program)
    arrays = batch()
    sequence, pooled = session.run(program, arrays, program.outputs)
    other = [array.copy() for array in arrays]
    padding = arrays[-1] == 0
    other[0][padding], other[1][padding], other[2][padding] = 17, 3, 2
    sequence_2, pooled_2 = session.run(program, other, program.outputs)
    np.testing.assert_array_equal(sequence[~padding], sequence_2[~padding])
    np.testing.assert_array_equal(pooled, pooled_2)
    for row, length in enumerate(LENGTHS):
        alone = session.run(program, [array[row : row + 1, :length] for array in arrays], program.outputs)
        np.testing.assert_allclose(alone[0][0], sequence[row, :length], atol=1e-5)


def test_positions_and_types_and_tasks_matter():
    session, program = build(WITH_TASK, lambda m: [m.get_pooled_output()])
    randomize(session, program)
    arrays = batch()
    (pooled,) = session.run(program, arrays, program.outputs)
    for i, size in ((1, POSITIONS), (2, TYPES), (3, TASKS)):
        other = [array.copy() for array in arrays]
        other[i] = (other[i] + 1) % size
        (changed,) = session.run(program, other, program.outputs)
        assert (np.abs(changed - pooled).max(axis=1) > 1e-3).all()


def test_the_layout_of_2019_is_accepted():
    feeds = [f._replace(shape=(-1, -1, 1)) for f in FEEDS]
    flat, flat_program = build(WITH_TASK, lambda m: [m.get_sequence_output(), m.get_pooled_output()])
    deep, deep_program = build(WITH_TASK, lambda m: [m.get_sequence_output(), m.get_pooled_output()], feeds=feeds)
    randomize(flat, flat_program), randomize(deep, deep_program)
    expected = flat.run(flat_program, batch(), flat_program.outputs)
    found = deep.run(deep_program, [array[..., None] for array in batch()], deep_program.outputs)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_in_training_only():
    def mean_and_runs(training):
        session, program = build(CONFIG, lambda m: [m.get_sequence_output()], training=training)
        randomize(session, program)
        return [session.run(program, batch(), program.outputs)[0] for _ in range(2)]

    first, second = mean_and_runs(training=False)
    np.testing.assert_array_equal(first, second)
    first, second = mean_and_runs(training=True)
    assert np.abs(first - second).max() > 0.1
    quiet = {**CONFIG, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
    session, program = build(quiet, lambda m: [m.get_sequence_output()], training=True)
    p = randomize(session, program)
    (found,) = session.run(program, batch(), program.outputs)
    np.testing.assert_allclose(found[TOKENS], encoder64(p, quiet, *batch())[-1][TOKENS], atol=2e-5)


# ------------------------------------------------------------------------------------------ outputs for pre-training

MASKED = np.array([0, 3, 6, 14, 17])
TRUE_IDS = np.array([4, 30, 7, 7, 1])


@pytest.mark.parametrize('config', [CONFIG, RELU], ids=['gelu', 'relu'])
@pytest.mark.parametrize('weight_sharing', [True, False])
def test_masked_lm(config, weight_sharing, form):
    others = [graph.Feed('mask_pos', (-1, 1), 'int64'), graph.Feed('mask_label', (-1, 1), 'int64')]
    session, program = build(
        config,
        lambda m, at, label: [m.get_lm_logits(at), m.get_lm_output(label, at)],
        feeds=FEEDS + others,
        weight_sharing=weight_sharing,
    )
    assert np.all(session.read('mask_lm_trans_layer_norm_bias') == 0)
    assert np.all(session.read('mask_lm_trans_layer_norm_scale') == 1)
    p, arrays = randomize(session, program), batch()
    logits, loss = session.run(program, [*arrays, MASKED[:, None], TRUE_IDS[:, None]], program.outputs)
    picked = encoder64(p, config, *arrays)[-1].reshape(B * T, H)[MASKED]
    hidden = act64(linear64(picked, p, 'mask_lm_trans_fc'), config['hidden_act'])
    hidden = norm64(hidden, p, 'mask_lm_trans', config.get('layer_norm_eps', 1e-5))
    words = p['word_embedding'].T if weight_sharing else p['mask_lm_out_fc.w_0']
    expected = hidden @ words + p['mask_lm_out_fc.b_0']
    np.testing.assert_allclose(logits[:, :V], expected, atol=1e-4)
    assert V % 8 and logits.shape == (len(MASKED), V if form == 'fused' else -(-V // 8) * 8)
    np.testing.assert_allclose(logits[:, V:], -1e4, rtol=1e-6)
    assert loss.shape == ()
    assert float(loss) == pytest.approx(cross_entropy64(expected, TRUE_IDS), rel=1e-4)
    shapes = backbone_shapes(ErnieConfig(config)) | {
        'mask_lm_trans_fc.w_0': (H, H),
        'mask_lm_trans_fc.b_0': (H,),
        'mask_lm_trans_layer_norm_scale': (H,),
        'mask_lm_trans_layer_norm_bias': (H,),
        'mask_lm_out_fc.b_0': (V,),
    }
    if not weight_sharing:
        shapes['mask_lm_out_fc.w_0'] = (H, V)
    del shapes['pooled_fc.w_0'], shapes['pooled_fc.b_0']  # made only for who asks for the pooled output
    assert program.parameters() == shapes


def test_last_layer_of_some_tokens():
    """What readers of single tokens get is that of the whole layer."""
    others = [graph.Feed('mask_pos', (-1, 1), 'int64')]

    def outputs(read):
        tokens = (lambda model, at: []) if read == POOLED else lambda model, at: [model.get_tokens(at)]
        of_model = lambda model, at: [model.get_pooled_output(), *tokens(model, at)]  # noqa: E731
        session, program = build(CONFIG, of_model, feeds=FEEDS + others, read=read)
        p = randomize(session, program)
        assert program.parameters() == backbone_shapes(ErnieConfig(CONFIG))
        return p, session.run(program, [*batch(), MASKED[:, None]], program.outputs)

    p, (pooled, tokens) = outputs(LAYERS)
    last = encoder64(p, CONFIG, *batch())[-1]
    for read in (SOME, POOLED):
        own, (found, *others_found) = outputs(read)
        assert own.keys() == p.keys() and len(others_found) == (read == SOME)
        np.testing.assert_allclose(found, np.tanh(linear64(last[:, 0], p, 'pooled_fc')), atol=2e-5)
        np.testing.assert_allclose(found, pooled, atol=1e-6)
        for rows in others_found:
            np.testing.assert_allclose(rows, last.reshape(B * T, H)[MASKED], atol=2e-5)
            np.testing.assert_allclose(rows, tokens, atol=1e-6)


def test_only_the_first_tokens_ask_where_the_pooled_output_alone_is_read(form):
    """In all layers but the last all tokens do."""
    for read, last in ((POOLED, 'first_attention'), (SOME, 'attention'), (LAYERS, 'self_attention')):
        _, program = build(CONFIG, lambda model: [model.get_pooled_output()], read=read)
        names = [op.name().split('.')[-1] for op in program.main.global_block().ops]
        kinds = [name.removeprefix('propeller_') for name in names if name.endswith('attention')]
        expected = ['self_attention'] * (CONFIG['num_hidden_layers'] - 1) + [last]
        assert kinds == (expected if form == 'fused' else [])


@pytest.mark.parametrize('read', [SOME, POOLED])
@pytest.mark.parametrize('what', ['get_sequence_output', 'layer_outputs'])
def test_whole_layers_must_be_asked_for(what, read):
    def outputs(model):
        found = getattr(model, what)
        return [found() if callable(found) else found[-1]]

    with pytest.raises(ValueError, match=f"found read='{read}', expected 'layers' where outputs of whole layers"):
        build(CONFIG, outputs, read=read)


def test_some_tokens_must_be_asked_for():
    with pytest.raises(ValueError, match="found read='pooled', expected 'tokens' where some tokens are read"):
        build(CONFIG, lambda model: [model.get_tokens(None)], read=POOLED)
    with pytest.raises(ValueError, match="read is 'first', expected layers, tokens, pooled"):
        build(CONFIG, lambda model: [], read='first')


@pytest.mark.parametrize(('task', 'width'), [(None, 2), ({'task_name': 'order', 'num_labels': 5}, 5)])
def test_sentence_level_tasks(task, width):
    name = task['task_name'] if task else 'next_sent'
    labels = np.array([[1], [0], [width - 1]])

    def outputs(model, label):
        return list(model.get_task_output(task, label) if task else model.get_next_sentence_output(label))

    session, program = build(CONFIG, outputs, feeds=[*FEEDS, graph.Feed('label', (-1, 1), 'int64')])
    p, arrays = randomize(session, program), batch()
    loss, accuracy = session.run(program, [*arrays, labels], program.outputs)
    logits = linear64(pooled64(p, encoder64(p, CONFIG, *arrays)[-1]), p, f'{name}_fc')
    assert float(loss) == pytest.approx(cross_entropy64(logits, labels[:, 0]), rel=1e-4)
    assert float(accuracy) == pytest.approx((logits.argmax(1) == labels[:, 0]).mean())
    assert program.parameters()[f'{name}_fc.w_0'] == (H, width) and program.parameters()[f'{name}_fc.b_0'] == (width,)


# ------------------------------------------------------------------------------------------ parameters

LAYER_TABLE = {
    'multi_head_att_query_fc.w_0': (H, H),
    'multi_head_att_query_fc.b_0': (H,),
    'multi_head_att_key_fc.w_0': (H, H),
    'multi_head_att_key_fc.b_0': (H,),
    'multi_head_att_value_fc.w_0': (H, H),
    'multi_head_att_value_fc.b_0': (H,),
    'multi_head_att_output_fc.w_0': (H, H),
    'multi_head_att_output_fc.b_0': (H,),
    'post_att_layer_norm_scale': (H,),
    'post_att_layer_norm_bias': (H,),
    'ffn_fc_0.w_0': (H, 4 * H),
    'ffn_fc_0.b_0': (4 * H,),
    'ffn_fc_1.w_0': (4 * H, H),
    'ffn_fc_1.b_0': (H,),
    'post_ffn_layer_norm_scale': (H,),
    'post_ffn_layer_norm_bias': (H,),
}
TABLE = {
    'word_embedding': (V, H),
    'pos_embedding': (POSITIONS, H),
    'sent_embedding': (TYPES, H),
    'task_embedding': (TASKS, H),
    'pre_encoder_layer_norm_scale': (H,),
    'pre_encoder_layer_norm_bias': (H,),
    **{f'encoder_layer_{i}_{name}': shape for i in range(2) for name, shape in LAYER_TABLE.items()},
    'pooled_fc.w_0': (H, H),
    'pooled_fc.b_0': (H,),
    '_cls_out_w': (H, 6),
    '_cls_out_b': (6,),
}


def classifier(config, seed=5):
    return build(config, lambda m: [task_head(m.get_pooled_output(), '_cls_out_w', '_cls_out_b', 6, False)], seed)


@pytest.mark.parametrize('config', [CONFIG, WITH_TASK], ids=['plain', 'task'])
def test_parameter_names_and_shapes(config):
    _, program = classifier(config)
    expected = {n: s for n, s in TABLE.items() if n != 'task_embedding' or config is WITH_TASK}
    assert program.parameters() == expected
    encoder = {n: s for n, s in expected.items() if not n.startswith('_cls')}
    assert backbone_shapes(ErnieConfig(config)) == encoder


def test_initial_values():
    config = {**WITH_TASK, 'vocab_size': 997, 'hidden_size': 60, 'initializer_range': 0.05}
    session, program = classifier(config)
    for name, shape in program.parameters().items():
        value = session.read(name)
        if name.endswith('_scale'):
            assert np.all(value == 1), name
        elif len(shape) == 1:
            assert np.all(value == 0), name
        else:
            std = 0.02 if name == '_cls_out_w' else 0.05
            assert np.abs(value).max() <= 2 * std * (1 + 1e-6), name
            if value.size > 3000:
                # The deviation of a normal distribution that is cut at two of its deviations is 0.8796 of it.
                assert value.std() == pytest.approx(0.8796 * std, rel=0.05), name
                assert abs(value.mean()) < 5 * std / value.size**0.5, name
                assert np.abs(value).max() > 1.9 * std, name


def test_the_seed_decides_the_initial_values():
    values = [classifier(CONFIG, seed)[0].read('word_embedding') for seed in (5, 5, 6)]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 0.01


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('path', 'number'),
    [
        ('config/ernie_config.json', 99_866_112),
        ('script/en_glue/ernie_base/ernie_config.json', 109_483_776),
        ('script/en_glue/ernie_large/ernie_config.json', 335_143_936),
    ],
)
def test_number_of_parameters_of_the_shipped_configurations(path, number):
    values = json.loads((ROOT / path).read_text(encoding='utf-8'))
    shapes = backbone_shapes(ErnieConfig(values))
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == number
    assert 'task_embedding' not in shapes  # as in the released models: no configuration sets use_task_id
