"""The flags of `ernie distill`, frozen, and what is said of values that cannot be."""

import pytest

from ernie.config import ErnieConfig
from ernie.distill.terms import Terms, evenly, fitted, parse_loss, parse_pairs, terms_of
from ernie.programs import DISTILL, OWN_DATA
from ernie.settings.fields import described
from ernie.settings.finetune import OwnDataSettings
from propeller.errors import UsageError
from tests.ernie.tiny_model import CONFIG

NEW = {
    'teacher': None,
    'loss': 'logits,labels',
    'temperature': 1.0,
    'layer_pairs': None,
    'relation_heads': None,
    'projection': None,
    'student_layers': None,
    'plain': None,
    'with_plain': False,
}
LEFT_OUT = {
    *('do_train', 'tries', 'try_minutes', 'freeze_encoder', 'boost', 'keep_layers', 'is_classify', 'is_regression'),
    *('is_multilabel', 'enable_ce', 'diagnostic', 'diagnostic_save', 'num_iteration_per_drop_scope'),
    *('use_multi_gpu_test', 'use_fast_executor'),
}


def parse(*argv):
    return DISTILL.build_parser('ernie distill').parse_args(list(argv))


def test_the_flags_are_those_of_finetune_without_some_and_these():
    known = described(type(parse()))
    assert {name: one.default for name, one in known.items() if name in NEW} == NEW
    assert set(known) == (set(described(OwnDataSettings)) - LEFT_OUT) | set(NEW)
    theirs = vars(OWN_DATA.build_parser().parse_args([]))
    assert {n for n in set(known) - set(NEW) if getattr(parse(), n) != theirs[n]} == set()
    found = parse('f.tsv', '--teacher', 't', '--loss', 'relation=1,logits=0.5', '--projection', 'false')
    assert (found.train_set, found.loss, found.projection) == ('f.tsv', 'relation=1,logits=0.5', False)


def test_losses_and_pairs_are_read_as_they_are_written():
    assert parse_loss('relation=2, logits=0.5,labels') == {'relation': 2.0, 'logits': 0.5, 'labels': 1.0}
    assert parse_pairs('4-1,12-3') == ((4, 1), (12, 3))
    assert evenly(12, 3) == ((4, 1), (8, 2), (12, 3)) and evenly(7, 2) == ((4, 1), (7, 2))


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({}, '--teacher is missing'),
        ({'teacher': 't', 'train_set': None}, 'no training file is given'),
        ({'loss': 'logit'}, '--loss logit: expected one of relation, .*Did you mean logits'),
        ({'loss': 'logits=0'}, '--loss logits=0: expected a weight above 0'),
        ({'loss': 'logits=nan'}, 'expected a weight above 0'),
        ({'loss': 'hidden,hidden=2'}, 'hidden stands there twice'),
        ({'loss': ','}, '--loss is empty'),
        ({'layer_pairs': '4:1', 'loss': 'hidden'}, '--layer_pairs 4:1: expected pairs'),
        ({'layer_pairs': '4-1,8-1', 'loss': 'hidden'}, 'a layer of the student stands there twice'),
        ({'layer_pairs': '4-1,8-2', 'loss': 'relation'}, '--layer_pairs 4-1,8-2: relation compares one pair'),
        ({'layer_pairs': '4-1'}, '--layer_pairs is of --loss relation, hidden, attention'),
        ({'temperature': 2.0, 'loss': 'hidden'}, '--temperature is of --loss logits'),
        ({'relation_heads': 2, 'loss': 'hidden'}, '--relation_heads is of --loss relation'),
        ({'projection': True}, '--projection is of --loss hidden'),
        ({'student_layers': '4,2'}, '--student_layers 4,2: expected layers from 1, ascending'),
        ({'student_layers': '0,2'}, 'expected layers from 1'),
        ({'student_layers': '1', 'ernie_config_path': __file__}, 'give one, layers of a model or a new one'),
        ({'plain': 'a', 'with_plain': True}, '--plain and --with_plain true: give one'),
        ({'loss': 'relation', 'with_plain': True}, '--with_plain: by --loss relation alone the student'),
    ],
)
def test_what_cannot_be(values, words):
    given = {'teacher': 't', 'train_set': __file__, **values} if values else {}
    with pytest.raises(UsageError, match=words):
        type(parse())(**given).checked()


def config(**values):
    return ErnieConfig({**CONFIG, **values})


def fit(loss, student=None, **values):
    return fitted(Terms(parse_loss(loss), **values), config(num_hidden_layers=4), config(**(student or {})))


def test_what_was_left_out_follows_from_the_two_models():
    found = fit('relation,hidden')
    assert found.pairs == ((2, 1), (4, 2)) and found.relation_heads == 3 and found.projection is False
    wider = fit('relation,hidden', {'hidden_size': 20, 'num_attention_heads': 4})
    assert wider.relation_heads == 2 and wider.projection is True  # 12 and 20 have 1, 2 and 4 in common
    assert fit('hidden', projection=True).projection is True and fit('logits').pairs == ()
    assert fit('relation,logits').pairs == ((4, 2),)


@pytest.mark.parametrize(
    ('loss', 'student', 'values', 'words'),
    [
        ('hidden', {}, {'pairs': ((5, 1),)}, '--layer_pairs 5-1: the teacher has 4 layers'),
        ('hidden', {}, {'pairs': ((4, 3),)}, '--layer_pairs 4-3: the student has 2 layers'),
        ('relation', {}, {'pairs': ((0, 0),)}, '0 is the embeddings, which hidden alone compares'),
        ('relation', {'hidden_size': 15}, {'relation_heads': 2}, '--relation_heads 2: .* the widths 12 .* and 15'),
        ('attention', {'num_attention_heads': 2}, {}, '3 attention heads, the student 2. Take relation'),
        ('hidden', {'hidden_size': 15}, {'projection': False}, '12 wide in the teacher and 15 in the student'),
        ('relation', {'encoder': 'bilstm'}, {}, 'the student is an encoder of the kind bilstm, without attention'),
    ],
)
def test_two_models_that_cannot_be_compared(loss, student, values, words):
    with pytest.raises(UsageError, match=words):
        fit(loss, student, **values)


def test_terms_of_settings():
    found = terms_of(parse('f', '--loss', 'hidden', '--layer_pairs', '2-1,4-2'))
    assert found.of_layers_alone and found.needs_teacher and found.pairs == ((2, 1), (4, 2))
    assert not terms_of(parse('f', '--loss', 'labels')).needs_teacher
