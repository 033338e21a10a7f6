"""The fused cross entropy, and products with a transposed weight, beside float64 numpy; the masked-LM head of both."""

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.model.ernie import ErnieModel
from propeller import graph, ops
from propeller.graph import paddle
from tests.propeller.ops_oracle import (
    TOLERANCE,
    Built,
    LinearProgram,
    Training,
    close,
    difference,
    refused,
    same_for_any_threads,
    same_training,
)
from tests.propeller.ops_oracle import expected as expected_linear
from tests.propeller.ops_oracle import sample as sample_linear

pytestmark = pytest.mark.usefixtures('compiled')
IGNORED = -1
SHAPES = [((1,), 12), ((7,), 30), ((13,), 384), ((2, 5), 7), ((0,), 12), ((3, 0), 5), ((5,), 1), ((3,), 18_001)]


def sample(rows, classes, seed=0):
    """logits, label (some of them ignored) and the gradient of the loss."""
    rng = np.random.default_rng(seed)
    logits = (3 * rng.normal(size=(*rows, classes))).astype(np.float32)
    label = np.where(rng.random(rows) < 0.3, IGNORED, rng.integers(0, classes, rows))
    return logits, label.astype(np.int64), rng.normal(size=rows).astype(np.float32)


def expected(logits, label, dloss):
    """[loss, best, dlogits] in float64."""
    x = logits.astype(np.float64)
    shifted = x - x.max(-1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    there, safe = (label != IGNORED)[..., None], np.maximum(label, 0)[..., None]
    loss = -np.take_along_axis(log_softmax, safe, -1) * there
    one = np.arange(x.shape[-1]) == safe
    return [loss[..., 0], x.argmax(-1), (np.exp(log_softmax) - one) * there * dloss[..., None].astype(np.float64)]


class Loss(Built):
    """A program of the loss and its gradient, whose inputs are arrays and whose outputs are loss, best, dlogits."""

    def __init__(self, rank, classes, mode='true', last=()):
        rows = (-1,) * rank
        feeds = [
            graph.Feed('logits', (*rows, classes), 'float32'),
            graph.Feed('label', (*rows, *last), 'int64'),
            graph.Feed('dloss', rows, 'float32'),
        ]

        def build(logits, label, dloss):
            logits.stop_gradient = False
            loss, best = ops.softmax_cross_entropy(logits, label, IGNORED)
            return [loss, best, *paddle.static.gradients([loss], [logits], [dloss])]

        super().__init__(feeds, build, mode)


# ------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(('rows', 'classes'), SHAPES)
@pytest.mark.parametrize('last', [(), (1,)])
def test_loss_and_gradient_are_those_of_float64(rows, classes, last):
    arrays = logits, label, dloss = sample(rows, classes)
    found = Loss(len(rows), classes, last=last).run(logits, label.reshape(*rows, *last), dloss)
    assert [array.dtype for array in found] == [np.float32, np.int64, np.float32]
    right = expected(*arrays)
    assert difference(found[0], right[0]) < 1e-6 and difference(found[2], right[2]) < 1e-6
    np.testing.assert_array_equal(found[1], right[1])
    assert not found[0][label == IGNORED].any() and not found[2][label == IGNORED].any()


def test_the_plain_form_gives_the_same():
    for rows, classes in [((7,), 30), ((2, 5), 7), ((5,), 1)]:
        arrays = sample(rows, classes)
        fused, plain = (Loss(len(rows), classes, mode).run(*arrays) for mode in ('true', 'false'))
        close(fused, plain, 1e-6, rows, classes)
        assert not plain[2][arrays[1] == IGNORED].any()


def test_one_program_takes_any_number_of_rows():
    program = Loss(1, 30)
    for rows in (7, 0, 1, 300):
        arrays = sample((rows,), 30, seed=rows)
        close(program.run(*arrays), expected(*arrays), 1e-6, rows)


def test_large_scores_of_which_some_are_minus_infinity():
    logits, label, dloss = sample((6,), 77)
    label = np.maximum(label, 0)
    logits *= 1e4
    logits[:, 10:20] = -np.inf
    label[(label >= 10) & (label < 20)] = 3
    logits[0], label[0] = -np.inf, 5
    logits[0, 5] = -7.0
    loss, best, dlogits = Loss(1, 77).run(logits, label, dloss)
    right = expected(logits, label, dloss)
    assert difference(loss, right[0]) < 1e-6 and difference(dlogits, right[2]) < 1e-6
    assert loss[0] == 0 and best[0] == 5 and not dlogits[0].any()


def test_the_first_of_several_best_is_taken():
    logits = np.zeros((2, 200), np.float32)
    logits[1, [150, 70]] = 2
    assert Loss(1, 200).run(logits, np.zeros(2, np.int64), np.ones(2, np.float32))[1].tolist() == [0, 70]


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad):
    logits, label, dloss = sample((5,), 300)
    label = np.maximum(label, 0)
    logits[2, 170] = bad
    loss, _, dlogits = Loss(1, 300).run(logits, label, dloss)
    assert np.isnan(loss[2]) and np.isnan(dlogits[2]).any()
    assert np.isfinite(np.delete(loss, 2)).all() and np.isfinite(np.delete(dlogits, 2, 0)).all()


def test_threads_do_not_change_the_result(threads):
    arrays, program = sample((29,), 1500), Loss(1, 1500)
    same_for_any_threads(threads, lambda: program.run(*arrays))


# ------------------------------------------------------------------------------------------ transposed weights


@pytest.mark.parametrize('activation', [None, 'gelu'])
def test_transposed_weights_are_those_of_float64(precision, activation):
    for rows, inputs, outputs in [(1, 12, 30), (7, 30, 7), (13, 384, 2), (0, 12, 30), (130, 26, 1001), (7, 2, 1)]:
        arrays = sample_linear((rows,), inputs, outputs)
        found = LinearProgram(activation, precision, 2, inputs, outputs, transposed=True).run(*arrays)
        close(found, expected_linear(*arrays, activation), TOLERANCE[precision], rows, inputs, outputs)


def test_transposed_weights_in_the_plain_form():
    arrays = sample_linear((7,), 30, 13)
    found = LinearProgram('gelu', None, 2, 30, 13, 'false', transposed=True).run(*arrays)
    close(found, expected_linear(*arrays, 'gelu'), TOLERANCE['fp32'])


def test_threads_do_not_change_products_with_transposed_weights(threads, precision):
    arrays = sample_linear((130,), 26, 1001)
    program = LinearProgram(None, precision, 2, 26, 1001, transposed=True)
    same_for_any_threads(threads, lambda: program.run(*arrays))


# ------------------------------------------------------------------------------------------ the masked-LM head

WORDS = 1003  # no multiple of 8
CONFIG = {
    'vocab_size': WORDS,
    'hidden_size': 12,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'max_position_embeddings': 16,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.0,
    'attention_probs_dropout_prob': 0.0,
    'initializer_range': 0.2,
}


def pretrain(mode, sharing=True, **settings):
    """`Training` of a masked LM."""
    feeds = [graph.Feed(name, (-1, -1), 'int64') for name in ('ids', 'types', 'positions')]
    feeds += [graph.Feed('mask', (-1, -1), 'float32')]
    feeds += [graph.Feed(name, (-1,), 'int64') for name in ('label', 'place')]

    def loss(ids, types, positions, mask, label, place):
        model = ErnieModel(ids, positions, types, None, mask, ErnieConfig(CONFIG), True, sharing)
        return model.get_lm_output(label, place)

    ids = np.random.default_rng(5).integers(1, WORDS, (5, 7))
    place = np.array([1, 3, 11, 20, 34])
    label = ids.reshape(-1)[place]
    ids.reshape(-1)[place] = 3
    arrays = [ids, ids * 0, np.tile(np.arange(7), (5, 1)), np.ones(ids.shape, np.float32), label, place]
    return Training(feeds, loss, arrays, mode, rate=1e-3, **settings)


@pytest.mark.parametrize('settings', [{}, {'sharing': False}, {'recompute': True}])
def test_pretraining_is_that_of_the_plain_form(settings):
    fused = pretrain('true', **settings)
    names = fused.operators()
    assert 'propeller_cross_entropy' in names and 'cross_entropy_with_softmax' not in names
    noise = [name for name in fused.parameters if name.endswith('_key_fc.b_0')]  # softmax does not see them
    same_training(pretrain('false', **settings), fused, rel=2e-6, atol=2e-4, fall=1.0, noise=noise)


# ------------------------------------------------------------------------------------------ mistakes


def refuse(match, logits, label):
    refused(match, [graph.Feed('logits', *logits), graph.Feed('label', *label)], ops.softmax_cross_entropy)


def test_wrong_shapes_and_types_are_refused_in_both_forms():
    logits, label = ((-1, 12), 'float32'), ((-1,), 'int64')
    text = r'ops.softmax_cross_entropy: logits is float64 \[-1, 12\], expected float32'
    refuse(text, ((-1, 12), 'float64'), label)
    refuse(r'ops.softmax_cross_entropy: label is int32 \[-1\], expected int64', logits, ((-1,), 'int32'))
    text = r'label has shape \[3, 4\], expected \[3\] for logits of shape \[3, 12\]'
    refuse(text, ((3, 12), 'float32'), ((3, 4), 'int64'))
    text = r'label has shape \[4\], expected \[3\] for logits of shape \[3, 12\]'
    refuse(text, ((3, 12), 'float32'), ((4,), 'int64'))


def test_a_transposed_weight_of_another_shape_is_refused():
    def refuse(match, weight, bias):
        shapes = {'x': (-1, 12), 'weight': weight, 'bias': bias}
        feeds = [graph.Feed(name, shape, 'float32') for name, shape in shapes.items()]
        refused(match, feeds, lambda *values: ops.linear(*values, transposed=True))

    text = r'weight has shape \[12, 30\], expected \[outputs, 12\] for x of shape \[-1, 12\]'
    refuse(text, (12, 30), (30,))
    refuse(r'bias has shape \[12\], expected \[30\] for weight of shape \[30, 12\]', (30, 12), (12,))


@pytest.mark.parametrize('wrong', [12, -2, 2**40])
def test_labels_that_are_no_class_are_refused(wrong):
    logits, label, dloss = sample((7,), 12)
    label[4] = wrong
    text = rf'softmax_cross_entropy: label 4 is {wrong}, expected 0 to 11 or -1 for logits of shape \[7, 12\]'
    with pytest.raises(ValueError, match=text):
        Loss(1, 12).run(logits, label, dloss)


def test_shapes_that_show_only_at_run_time_are_refused_by_the_kernel():
    logits, label, dloss = sample((7,), 12)
    text = r'softmax_cross_entropy: label has shape \[6\], expected \[7\] for logits of shape \[7, 12\]'
    with pytest.raises(ValueError, match=text):
        Loss(1, 12).run(logits, label[:6], dloss)
