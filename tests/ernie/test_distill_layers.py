"""`ernie distill` on tiny models: every task, both stages, resume, what is left behind, and what is refused."""

import json

import numpy as np
import pytest

import ernie
from ernie.command import main
from ernie.config import ErnieConfig
from ernie.distill.layer_graph import PROJECTIONS, layer_losses
from ernie.distill.plan import Plan
from ernie.distill.teacher import PREFIX, Teacher
from ernie.distill.terms import Terms, fitted
from ernie.model.encoders import build_encoder
from ernie.model.task_model import encoder_feeds
from ernie.run.source import Source
from ernie.settings.distill import DistillSettings
from propeller.errors import UserError
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.update import minimize
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_inference import TAGS, describe, write_checkpoint
from tests.ernie.tiny_model import CONFIG, records, sentences, table, write_model
from tests.ernie.tiny_model import flags as words_of

QUIET = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
TEACHER = {**CONFIG, 'num_hidden_layers': 4}
LABELS = ['坏', '好']
COMMON = {'use_cuda': False, 'cache': False, 'batch_size': 8, 'learning_rate': 0.01, 'cpu_threads': 1, 'epoch': 2}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def teacher(tmp_path):
    """A random classifier of two classes with four layers."""
    return two_classes(write_checkpoint(tmp_path / 'teacher', config=TEACHER))


def two_classes(folder):
    """The checkpoint with two of its three classes."""
    from safetensors.numpy import save_file

    tensors = open_tensors(str(folder))
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in tensors}
    arrays = {n: np.ascontiguousarray(a[..., :2]) if n.startswith('_cls') else a for n, a in arrays.items()}
    save_file(arrays, folder / 'model.safetensors')
    labels = {**describe('classify'), 'num_labels': 2, 'labels': LABELS, 'label_map': {'坏': 0, '好': 1}}
    labels |= {'columns': ['text_a']}
    (folder / 'labels.json').write_text(json.dumps(labels), encoding='utf-8')
    return folder


def rows(path, count=24, seed=1):
    return table(path, [(text, LABELS[label]) for text, label in sentences(count, seed)])


def distill(path, teacher, **values):
    return main(['distill', str(path), '--teacher', str(teacher), *words_of(**{**COMMON, **values})])


def arrays(folder, name='model.safetensors'):
    tensors = open_tensors(str(folder / name))
    return {name: np.asarray(tensors[name]) for name in tensors}


# ------------------------------------------------------------------ the graph


def batch():
    rng, mask = np.random.default_rng(0), (np.arange(7) < np.array([7, 3, 5])[:, None]).astype(np.float32)
    ids = rng.integers(1, CONFIG['vocab_size'], (3, 7)) * mask.astype(np.int64)
    return [ids, ids * 0, np.tile(np.arange(7), (3, 1)), mask]


def test_queries_keys_and_values_are_those_of_the_layer(tmp_path):
    folder = write_model(tmp_path / 'm')
    config, tensors = ErnieConfig(CONFIG), open_tensors(str(folder / 'params'))

    def build(*features):
        encoder = build_encoder(features, config)
        return [encoder.get_sequence_output(0), *encoder.get_projections(2)]

    session = Session(seed=1)
    program = session.build(encoder_feeds(config), build)
    session.initialize(program)
    for name in program.parameters():
        session.write(name, np.asarray(tensors[name]))
    below, *found = session.run(program, batch(), program.outputs)
    on = batch()[3] > 0
    for part, values in zip(('query', 'key', 'value'), found, strict=True):
        name = f'encoder_layer_1_multi_head_att_{part}_fc'
        expected = below.astype(float) @ tensors[f'{name}.w_0'] + tensors[f'{name}.b_0']
        np.testing.assert_allclose(values[on], expected[on], atol=1e-5)


@pytest.mark.parametrize('student', [{}, {'hidden_size': 20, 'num_attention_heads': 2}])
def test_gradients_reach_the_student_alone_and_a_copy_of_the_teacher_has_no_loss(tmp_path, student):
    teacher = Teacher(write_model(tmp_path / 'm', config={**CONFIG, **QUIET}))
    config = ErnieConfig({**CONFIG, **QUIET, **student})
    losses = ('hidden', 'relation', *(() if student else ('attention',)))
    terms = fitted(Terms(dict.fromkeys(losses, 1.0)), teacher.config, config)

    def build(*features):
        found = layer_losses(terms, teacher, build_encoder(features, config, training=True), features)
        minimize(sum(found.values()), 0.001)
        return found

    session = Session(seed=1)
    program = session.build(encoder_feeds(config), build)
    session.initialize(program)
    teacher.load(session, program)
    assert {name.startswith(PREFIX) for name in program.borrowed_values} == {True}
    assert not any(name.startswith(PREFIX) for name in {**program.parameters(), **program.optimizer_state()})
    assert (PROJECTIONS[0] in program.optimizer_state()) is bool(student)
    before = {name: session.read(name) for name in program.borrowed_values}
    if not student:
        for name in program.parameters():
            session.write(name, before[PREFIX + name])
    found = session.step(program, batch(), list(program.outputs.values()))
    assert all(abs(float(loss)) < 1e-5 for loss in found) is not bool(student)
    if student:
        again = session.step(program, batch(), list(program.outputs.values()))
        assert sum(map(float, again)) < sum(map(float, found))
        assert session.read(PROJECTIONS[0]).shape == (20, 12)
    assert all(np.array_equal(before[name], session.read(name)) for name in before)


# ------------------------------------------------------------------ whole runs


@pytest.mark.slow
def test_two_stages_and_the_table(tmp_path, teacher, caplog):
    train, dev = rows(tmp_path / 't.tsv'), rows(tmp_path / 'd.tsv', 19, 2)
    texts = tmp_path / 'texts.txt'
    texts.write_text('\n'.join(text for text, _ in sentences(30, 3)) + '\n\n', encoding='utf-8')
    assert distill(texts, teacher, loss='relation,hidden=0.1', checkpoints='first', student_layers='2,4') is not None
    first = tmp_path / 'first/best'
    assert not (first / 'labels.json').exists() and '_cls_out_w' not in arrays(first)
    record = json.loads((first / 'distillation.json').read_text())
    assert record['layer_pairs'] == [[2, 1], [4, 2]] and record['student_layers'] == [2, 4]
    losses = [r['loss'] for r in records(tmp_path / 'first', 'dev')]
    assert losses[-1] < losses[0]
    teachers, begun = arrays(teacher), arrays(first)
    assert np.array_equal(begun['pooled_fc.w_0'], teachers['pooled_fc.w_0'])
    distill(train, teacher, model='first', loss='logits=2,labels,relation', temperature=2, dev_set=dev,
            checkpoints='second', plain=str(teacher))  # fmt: skip
    answer = ernie.load(tmp_path / 'second/best', engine='executor')('好美')
    assert answer['label'] in LABELS
    models = json.loads((tmp_path / 'second/compared.json').read_text())
    assert [m['name'] for m in models] == ['teacher', 'without distillation', 'student']
    assert models[0]['score'] == models[1]['score'] and models[0]['parameters'] > models[2]['parameters']
    assert all(m['rows_per_second'] > 0 and m['bytes'] > 4 * m['parameters'] for m in models)
    assert arrays(tmp_path / 'second/best').keys() == begun.keys() | {'_cls_out_w', '_cls_out_b'}


def test_the_layers_that_were_chosen(teacher):
    plan = Plan(DistillSettings(teacher='t', train_set='f', student_layers='1,3'), Teacher(teacher))
    source = Source(str(teacher))
    plan.take_layers(source)
    theirs, name = arrays(teacher), 'encoder_layer_{}_ffn_fc_0.w_0'
    assert source.config.num_hidden_layers == 2 and name.format(2) not in source.tensors
    assert len(source.tensors) == len(theirs) - 2 * 16
    for new, old in ((0, 0), (1, 2)):
        assert np.array_equal(source.tensors[name.format(new)], theirs[name.format(old)])
    assert Plan(DistillSettings(teacher='t', train_set='f'), Teacher(teacher)).layers == (4,)


@pytest.mark.slow
def test_resume_changes_nothing_and_the_plain_student_begins_alike(tmp_path, teacher):
    train, same = rows(tmp_path / 't.tsv'), {'lr_scheduler': 'constant', 'warmup_proportion': 0}
    settings = {'loss': 'logits,labels,hidden', 'student_layers': '1,3', 'projection': True, 'dev_share': 0.2, **same}
    distill(train, teacher, **settings, checkpoints='once', max_steps=4, with_plain=True)
    models = json.loads((tmp_path / 'once/compared.json').read_text())
    assert models[1]['folder'].startswith('once/plain') and models[1]['parameters'] == models[2]['parameters']
    for stop in (2, 4):
        distill(train, teacher, **settings, checkpoints='twice', max_steps=stop, resume=stop > 2)
    for file in ('model.safetensors', 'optimizer.safetensors'):
        once, twice = (arrays(tmp_path / folder / 'step_4', file) for folder in ('once', 'twice'))
        assert once.keys() == twice.keys() and all(np.array_equal(once[n], twice[n]) for n in once)
    assert PROJECTIONS[0] in once
    with pytest.raises(UserError, match=r'distillation.json: found loss .*Continue with what the checkpoint'):
        distill(train, teacher, **{**settings, 'loss': 'logits,hidden'}, checkpoints='twice', resume=True)


@pytest.mark.parametrize('kind', ['crf', 'reading', 'pairs'])
def test_other_tasks(tmp_path, kind):
    folder = write_checkpoint(tmp_path / 'm', 'classify' if kind == 'pairs' else kind, TEACHER)
    loss, more = 'logits,labels,relation,attention', {}
    if kind == 'crf':
        found = tiny_tagging.sentences(24, 1)
        path = tiny_tagging.write_conll(tmp_path / 't.conll', found)
        assert {label for _, labels in found for label in labels} <= set(TAGS)
    elif kind == 'reading':
        path, more = tiny_reading.write_puzzles(tmp_path / 't.json', 24, 1), {'max_query_length': 4, 'doc_stride': 3}
    else:
        pairs = zip(sentences(24, 1), sentences(24, 2), strict=True)
        path = table(tmp_path / 't.tsv', [(a[0], b[0], ['坏', '好'][a[1]]) for a, b in pairs],
                     ('text_a', 'text_b', 'label'))  # fmt: skip
        loss = 'logits,labels=0.5,hidden'
    distill(path, folder, loss=loss, checkpoints='c', max_steps=2, dev_share=0.2, recompute=kind == 'pairs', **more)
    saved = json.loads((tmp_path / 'c/best/labels.json').read_text())
    assert saved['task'] == describe('classify' if kind == 'pairs' else kind)['task']
    assert arrays(tmp_path / 'c/best').keys() < arrays(folder).keys()
    assert len(json.loads((tmp_path / 'c/compared.json').read_text())) == 3
    distill(path, folder, loss='relation', checkpoints='d', max_steps=2, dev_share=0.2)
    assert not (tmp_path / 'd/best/labels.json').exists()


def test_what_is_refused(tmp_path, teacher):
    train = rows(tmp_path / 't.tsv')
    encoder = write_model(tmp_path / 'e')
    other = write_model(tmp_path / 'o', vocabulary=['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'abcdefgh'])
    tags = tiny_tagging.write_conll(tmp_path / 't.conll', tiny_tagging.sentences(9, 1))
    labelled = two_classes(write_checkpoint(tmp_path / 'l'))
    saved = json.loads((labelled / 'labels.json').read_text())
    names = {'好': 0, '坏': 1}
    (labelled / 'labels.json').write_text(json.dumps({**saved, 'labels': [*names], 'label_map': names}))
    turned = tmp_path / 'map.json'
    turned.write_text(json.dumps(names))
    strange = table(tmp_path / 's.tsv', [('好美', '好'), ('差', '中')])
    for path, of, values, words in (
        (train, encoder, {}, 'found a model without a task .*expected a fine-tuned one.*take --loss relation'),
        (tags, teacher, {}, 'found a file for the task sequence_labeling, expected one for the teacher'),
        (train, teacher, {'model': other}, 'vocab.txt: found another vocabulary, expected that of the teacher'),
        (train, teacher, {'model': labelled}, 'l: found labels .*, expected .*, as the teacher'),
        (train, teacher, {'label_map_config': turned}, 'map.json: found other labels than those of the checkpoint'),
        (strange, teacher, {}, "s.tsv:3: found the label '中', expected one of the labels that the model has"),
        (train, tmp_path / 'none', {}, 'none: found no such folder'),
        (train, teacher, {'max_seq_len': 18}, '--max_seq_len 18: the .* has 17 positions'),
        (train, teacher, {'student_layers': '2,5'}, '--student_layers 2,5: .*teacher has 4 layers'),
        (train, teacher, {'loss': 'hidden', 'layer_pairs': '5-1'}, '--layer_pairs 5-1: the teacher has 4 layers'),
    ):
        with pytest.raises(UserError, match=words):
            distill(path, of, checkpoints=tmp_path / 'c', **values)
