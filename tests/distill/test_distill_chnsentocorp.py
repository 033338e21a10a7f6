"""distill_chnsentocorp.py: the student's loss, its data in turn, its folders, its flags."""

import argparse
import itertools
import json
import shutil

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import ernie
from distill import command_line, distill_chnsentocorp
from distill.student import Data, Student
from distill.student_folder import with_special_tokens
from ernie.checkpoint import open_model
from ernie.distill.mixing import alternate, by_length
from example.command_line import check_inputs
from propeller import graph
from propeller.data import Dataset
from propeller.errors import UsageError, UserError
from propeller.session import Session
from propeller.types import RunMode
from tests.distill.common import spaced, student_data, student_flags, write
from tests.example.common import run

FLAGS = {
    'run_config': None,
    'hparam': None,
    'max_seqlen': 128,
    'vocab_file': None,
    'data_dir': None,
    'unsupervise_data_dir': None,
    'skip_bad_rows': False,
    'seed': None,
    'teacher_outputs': None,
    'teacher_labels': 'soft',
    'teacher_classes': '',
    'teacher_host': None,
    'teacher_vocab_file': None,
    'teacher_max_seqlen': 128,
    'server_batch_size': 64,
    'num_coroutine': 1,
    'teacher_output': 'logits',
    'teacher_timeout': 60.0,
    'teacher_retries': 5,
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = student_data(tmp_path_factory.mktemp('student'))
    write(folder / 'labelled_by_teacher' / 'part.0', spaced(40, 3))
    return folder


def setup_of(data, *more, hparams=()):
    flags = student_flags(data, data / 'nowhere', '--unsupervise_data_dir', str(data / 'labelled_by_teacher'), *more)
    parser = distill_chnsentocorp.build_parser()
    return command_line.read_setup('p', parser, [*flags, '--hparam', json.dumps(dict(hparams))])


@pytest.mark.parametrize('online', [False, True])
def test_flags_and_defaults(online):
    parser = distill_chnsentocorp.build_parser(online)
    found = {a.dest: a.default for a in parser._actions if a.default != argparse.SUPPRESS}
    assert found == FLAGS
    needed = {'vocab_file', 'teacher_host', 'teacher_vocab_file'} if online else {'vocab_file'}
    assert {a.dest for a in parser._actions if a.required} == needed


def test_the_graph_is_that_of_2019(data):
    setup = setup_of(data)
    session = Session(seed=2)
    feeds = [graph.Feed('ids', (-1, -1), 'int64'), graph.Feed('label', (-1, 2), 'float32')]

    def build(ids, label):
        model = Student(setup.params, RunMode.EVAL)
        logits = model.forward([ids])
        return [logits, model.loss(logits, label)]

    program = session.build(feeds, build)
    session.initialize(program)
    p = {name: session.read(name).astype(np.float64) for name in program.parameters()}
    assert {name: value.shape for name, value in p.items()} == {
        'word_embedding': (41, 8),
        'middle_fc.w_0': (8, 8),
        'middle_fc.b_0': (8,),
        'pooler_fc.w_0': (8, 2),
        'pooler_fc.b_0': (2,),
    }
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 41, (3, 6)) * (np.arange(6) < np.array([[6], [3], [1]]))
    label = np.float32([[9999, 0], [1.5, -2], [0.2, 0.1]])
    logits, loss = session.run(program, [ids, label], program.outputs)
    total = (p['word_embedding'][ids] * (ids != 0)[..., None]).sum(1)
    hidden = np.tanh(total / (1 + np.abs(total)) @ p['middle_fc.w_0'] + p['middle_fc.b_0'])
    expected = hidden @ p['pooler_fc.w_0'] + p['pooler_fc.b_0']
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)
    target = softmax(label.astype(np.float64), -1)
    np.testing.assert_allclose(loss, -(target * log_softmax(expected, -1)).sum(-1).mean(), rtol=1e-5)


def test_labels_are_vectors_and_texts_are_cut(data):
    setup = setup_of(data, '--max_seqlen', '3')
    ids, label = next(iter(Data(setup).labelled('dev', data / 'dev', False)))
    assert ids.shape == (8, 3) and ids.dtype == np.int64 and label.shape == (8, 2) and label.dtype == np.float32
    assert sorted(set(label.ravel())) == [0, 9999] and (label.sum(-1) == 9999).all()
    lines = (data / 'dev' / 'part.0').read_text(encoding='utf-8').splitlines()
    assert label.argmax(-1).tolist() == [int(line[-1]) for line in lines[:8]]
    words = lines[0].split('\t')[0].split()[:3]
    assert ids[0].tolist() == [setup.vocab[word] for word in words] + [0] * (3 - len(words))


def test_a_seed_is_that_of_the_order_too(data, tmp_path):
    def first(*more):
        return next(iter(Data(setup_of(data, *more)).labelled('train', data / 'train', True)))[0].tolist()

    assert first('--seed', '3') == first('--seed', '3') != first('--seed', '4')
    assert first() == first('--seed', '0')
    model = tmp_path / 'm'
    flags = student_flags(data, model, '--unsupervise_data_dir', str(data / 'labelled_by_teacher'), max_steps=8)
    setups = [
        command_line.read_setup('p', distill_chnsentocorp.build_parser(), [*flags, '--seed', seed]) for seed in '34'
    ]
    check_inputs(setups[0])
    with pytest.raises(UserError, match='found seed 4, expected 3, as in its training'):
        check_inputs(setups[1])


def numbers(start):
    return lambda first=0: iter(range(start + first, start + 1000))


def test_batches_come_in_turn_from_anywhere():
    one, other = (Dataset(numbers(s), start_at=numbers(s), count=lambda: 1000) for s in (0, 5000))
    both = alternate(one, other)
    first = list(itertools.islice(both, 9))
    assert first == [0, 5000, 1, 5001, 2, 5002, 3, 5003, 4]
    for start in range(9):
        assert list(itertools.islice(both.iterate_from(start), 9 - start)) == first[start:]
    assert both.seekable


def test_rows_of_like_length_share_a_batch():
    lengths = np.random.default_rng(0).integers(1, 90, 1000).tolist()

    def rows(first=0):
        return ((range(length), number) for number, length in enumerate(lengths[first:], first))

    def lists(start=0):
        return [(len(ids), number) for ids, number in grouped.iterate_from(start)]

    grouped = by_length(Dataset(rows, start_at=rows, count=lambda: 1000), 10, seed=1, batches=20)
    found = lists()
    assert sorted(number for _, number in found[:200]) == list(range(200))  # of the first window alone
    assert [length for length, _ in found] == [lengths[number] for _, number in found]
    batches = [[length for length, _ in found[i : i + 10]] for i in range(0, 1000, 10)]
    assert np.mean([10 * max(batch) / sum(batch) for batch in batches]) < 1.2
    assert [batch[0] for batch in batches] != sorted(batch[0] for batch in batches)
    for start in (0, 7, 200, 473):
        assert lists(start) == found[start:]
    assert grouped.seekable


@pytest.mark.parametrize('hparams', [{}, {'encoder': 'bilstm', 'hidden_size': 12}], ids=['bow', 'bilstm'])
def test_it_trains_and_its_folder_predicts_the_same(data, tmp_path, hparams):
    data, raw = shutil.copytree(data, tmp_path / 'data'), 'encoder' in hparams
    if raw:  # each character is a word of this lexer
        (data / 'tokenizer_config.json').write_text('{"tokenizer_class": "WordTokenizer", "lexer": "words"}')
    labelled = data / 'labelled_by_teacher'
    flags = student_flags(data, tmp_path / 'm', '--unsupervise_data_dir', str(labelled), hparams=hparams, max_steps=48)
    (line,) = run(distill_chnsentocorp, flags)
    name, accuracy = line.split('\t')
    assert name == 'dev_acc3' and float(accuracy) > 0.8
    best = tmp_path / 'm' / 'best'
    (step,) = (best / 'ckpt_info').read_text().split()
    ours, theirs = open_model(best / step), open_model(best / 'ernie_model')
    assert 'pooler_fc.w_0' in ours and np.array_equal(ours['pooler_fc.w_0'], theirs['_cls_out_w'])
    rows = [line.split('\t') for line in (data / 'dev' / 'part.0').read_text(encoding='utf-8').splitlines()]
    texts = [text.replace(' ', '') if raw else text for text, _ in rows]
    labels = [row['label'] for row in ernie.load(best / 'ernie_model', engine='executor')(texts)]
    found = sum(label == expected for label, (_, expected) in zip(labels, rows, strict=True)) / len(rows)
    assert found == pytest.approx(float(accuracy), abs=1e-5)


@pytest.mark.parametrize(
    'more, hparams, message',
    [
        ([], {}, '--unsupervise_data_dir is missing'),
        (['--teacher_host', 'tcp://localhost:1'], {}, 'found no --teacher_vocab_file'),
        (['--unsupervise_data_dir', 'x', '--max_seqlen', '2'], {}, '--max_seqlen 2: expected at least 3'),
        (['--unsupervise_data_dir', 'x', '--teacher_classes', 'a,b'], {}, 'found no --teacher_outputs'),
        (['--unsupervise_data_dir', 'x', '--seed', '-1'], {}, '--seed -1: expected a number from 0'),
        (['--unsupervise_data_dir', 'x'], {'encoder': 'ernie'}, "found 'ernie', expected bow or bilstm"),
        (['--unsupervise_data_dir', 'x'], {'vocab_size': 9}, r'vocab.txt: found id 3\d \(.\), expected ids below'),
        (['--unsupervise_data_dir', 'x'], {'use_fp16': 1}, 'use_fp16: found True'),
        (['--unsupervise_data_dir', 'x'], {'emb_size': None}, "key 'hidden_size' is missing"),
    ],
)
def test_what_cannot_be(data, tmp_path, more, hparams, message):
    with pytest.raises((UserError, UsageError), match=message):
        distill_chnsentocorp.main(student_flags(data, tmp_path / 'm', *more, hparams=hparams))


def test_a_label_that_is_none(data, tmp_path):
    write(tmp_path / 'taught' / 'part.0', ['好 美\t1', '差\t2'])
    with pytest.raises(UserError, match=r"part.0:2: found the label '2' in column label, expected one of 0, 1"):
        distill_chnsentocorp.main(
            student_flags(data, tmp_path / 'm', '--unsupervise_data_dir', str(tmp_path / 'taught'))
        )


def test_special_tokens_at_the_end_of_a_word_list():
    assert with_special_tokens({'<pad>': 0, '[UNK]': 1, 'a': 2}, 8)['[MASK]'] == 6
    assert with_special_tokens({'<pad>': 0, '[UNK]': 1, 'a': 2}, 6) is None
