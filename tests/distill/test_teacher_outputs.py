"""A teacher's answers on disk: their bits, made once, gone on with after a kill, and read as a column."""

import copy
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import ernie
from distill import distill_chnsentocorp, teacher_outputs
from distill.student import Data
from ernie.distill import teacher_outputs as stored
from ernie.distill.answered import AnsweredFiles, class_order
from ernie.distill.teacher_outputs import PART_ROWS, Maker, TeacherOutputs, to_bfloat16
from ernie.distill.unknown import UnknownKept
from ernie.tokenization import FullTokenizer
from propeller.errors import UserError
from propeller.storage.values import bfloat16_to_float32
from tests.distill.common import student_data, student_flags, write
from tests.distill.test_distill_chnsentocorp import setup_of
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import VOCABULARY, sentences
from tests.example.common import ROOT, run


def test_bits_are_those_of_the_nearest_bfloat16():
    values = np.random.default_rng(0).normal(0, 50, 10_000).astype(np.float32)
    low = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    high = ((values.view(np.uint32) & 0xFFFF0000) + 0x10000).view(np.float32)
    nearest = np.where(np.abs(values - low.astype(np.float64)) < np.abs(high.astype(np.float64) - values), low, high)
    assert np.array_equal(bfloat16_to_float32(to_bfloat16(values)), nearest)


def test_bits_round_to_the_nearest_and_ties_to_even():
    exact = np.float32([1, -2.5, 0, 87.5])
    assert np.array_equal(bfloat16_to_float32(to_bfloat16(exact)), exact)
    ties = np.float32([1 + 2**-8, 1 + 3 * 2**-8])  # halfway between two values of 8 bits
    assert bfloat16_to_float32(to_bfloat16(ties)).tolist() == [1, 1 + 2**-6]


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(stored, 'PART_ROWS', 4)


def answer(texts):
    """float32 [n, 3], a softmax of what the texts say."""
    return softmax(np.float32([[len(t), ord(t[0]) % 7, t.count('a')] for t in texts]), -1)


TEXTS = [f'{chr(98 + i)}{"a" * (i % 3)}' for i in range(11)]


def test_answers_come_back(tmp_path, short_parts):
    with Maker(tmp_path / 'o', {'file': 'x'}, 3) as maker:
        assert maker.make(iter(TEXTS), answer) == (11, 11)
    found, expected = TeacherOutputs(tmp_path / 'o'), answer(TEXTS)
    assert (found.rows, found.classes, found.identity) == (11, 3, {'file': 'x'})
    for i in (10, 3, 4, 0):
        logits, label = found[i]
        np.testing.assert_allclose(logits, log_softmax(np.log(expected[i])), rtol=2**-8)
        assert label == expected[i].argmax()
    assert sorted(os.listdir(tmp_path / 'o')) == ['lock', 'outputs.json', 'part-000000', 'part-000001', 'part-000002']
    assert os.path.getsize(tmp_path / 'o' / 'part-000002') == 3 * (3 * 2 + 4) + 16


def test_what_is_finished_is_not_made_again(tmp_path, short_parts):
    asked = []

    def broken(texts):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(texts)
        return answer(texts)

    with pytest.raises(KeyboardInterrupt), Maker(tmp_path / 'o', {}, 3) as maker:
        maker.make(iter(TEXTS), broken)
    with pytest.raises(UserError, match='found answers to a part of the rows, expected all. Run teacher_outputs.py'):
        TeacherOutputs(tmp_path / 'o')
    with Maker(tmp_path / 'o', {}, 3) as maker:
        assert maker.make(iter(TEXTS), answer) == (11, 3)
    with Maker(tmp_path / 'o', {}, 3) as maker:
        assert maker.make(iter(TEXTS), None) == (11, 0)
    assert TeacherOutputs(tmp_path / 'o')[10][1] == answer(TEXTS)[10].argmax()


def test_answers_of_others_are_not_mixed(tmp_path, short_parts):
    with Maker(tmp_path / 'o', {'teacher': 'a'}, 3) as maker:
        with pytest.raises(UserError, match='another process is making these answers'):
            Maker(tmp_path / 'o', {'teacher': 'a'}, 3)
        maker.make(iter(TEXTS), answer)
    with pytest.raises(UserError, match=r"found answers with another teacher \('a'\), expected 'b'. Delete"):
        Maker(tmp_path / 'o', {'teacher': 'b'}, 3)
    with pytest.raises(UserError, match=r'found answers with another classes \(3\), expected 2'):
        Maker(tmp_path / 'o', {'teacher': 'a'}, 2)
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'thesis.txt').write_text('x')
    with pytest.raises(UserError, match=r'found files without outputs.json \(thesis.txt\)'):
        Maker(tmp_path / 'other', {}, 3)
    (tmp_path / 'o' / 'part-000001').write_bytes(b'x')
    with pytest.raises(UserError, match='part-000001: found 1 bytes, expected 56. Delete the folder'):
        TeacherOutputs(tmp_path / 'o')[5]


def test_unknown_in_a_text_is_the_token(tmp_path):
    kept = UnknownKept(FullTokenizer(str(write(tmp_path / 'vocab.txt', VOCABULARY))))
    ids = VOCABULARY.index
    assert kept.encode('好[UNK]Finely[UNK]') == [ids(t) for t in ('好', '[UNK]', 'fine', '##ly', '[UNK]')]
    assert kept.vocab['[UNK]'] == 3
    assert copy.copy(kept).encode('好[UNK]') == kept.encode('好[UNK]')  # an export copies it


CLASSES = ('坏', 'so so', '好')
GIVEN = ('--teacher_classes', ','.join(CLASSES))


@pytest.fixture(scope='module')
def taught(tmp_path_factory):
    """(folder of a student's data, folder of the teacher, folder of its answers)."""
    place = tmp_path_factory.mktemp('taught')
    data, teacher = student_data(place / 'student'), write_checkpoint(place / 'teacher')
    for name, seed in (('part.0', 5), ('part.1', 6)):
        write(data / 'unsup' / name, [f'{" ".join(text)}\t{text}' for text, _ in sentences(21, seed)])
    write(data / 'labelled_by_teacher' / 'part.0', ['好\t1'])
    files = [str(data / 'unsup' / name) for name in ('part.0', 'part.1')]
    flags = ['--teacher', str(teacher), '--input', *files, '--output', str(place / 'o'), '--engine', 'executor']
    teacher_outputs.main(flags)
    return data, teacher, place / 'o'


def test_the_answers_are_those_of_prediction(taught):
    data, teacher, answers = taught
    texts = [line.split('\t')[1] for line in (data / 'unsup' / 'part.1').read_text(encoding='utf-8').splitlines()]
    found, results = TeacherOutputs(answers / 'part.1'), ernie.load(teacher, engine='executor')(texts)
    assert found.rows == len(texts)
    for i, result in enumerate(results):
        expected = list(result['probabilities'].values())
        logits, label = found[i]
        np.testing.assert_allclose(softmax(logits), expected, rtol=0.02, atol=1e-4)
        assert label == int(np.argmax(expected))


@pytest.mark.parametrize('labels', ['soft', 'hard'])
def test_answers_are_a_column_of_the_training(taught, labels):
    data, _, answers = taught
    more = (
        '--unsupervise_data_dir',
        str(data / 'unsup'),
        '--teacher_outputs',
        str(answers),
        '--teacher_labels',
        labels,
        *GIVEN,
    )
    setup = setup_of(data, *more, hparams={'num_label': 3})
    batches = Data(setup).answered(data / 'unsup', answers)
    words = {tuple(setup.vocab[w] for w in line.split('\t')[0].split()): (name, i)
             for name in ('part.0', 'part.1')
             for i, line in enumerate((data / 'unsup' / name).read_text(encoding='utf-8').splitlines())}  # fmt: skip
    outputs, count = {name: TeacherOutputs(answers / name) for name in ('part.0', 'part.1')}, 0
    for ids, label in batches.take(6):
        for row, vector in zip(ids, label, strict=True):
            name, i = words[tuple(row[row != 0].tolist())]
            logits, best = outputs[name][i]
            expected = logits if labels == 'soft' else 9999 * np.eye(3)[best]
            assert np.array_equal(vector, expected) and vector.dtype == np.float32
            count += 1
    assert count == 48 and batches.seekable


def test_answers_in_the_order_of_the_labels(taught):
    data, _, answers = taught
    column = setup_of(data).text_column('text')
    plain, turned = (
        AnsweredFiles(data / 'unsup', answers, column, 3, names) for names in (CLASSES, (CLASSES[2], *CLASSES[:2]))
    )
    for (_, logits, label), (_, others, other) in zip(plain.dataset().take(9), turned.dataset().take(9), strict=True):
        assert others.tolist() == logits[[2, 0, 1]].tolist() and [2, 0, 1][other] == label


def test_a_student_learns_from_them(taught, tmp_path):
    data, _, answers = taught
    more = ('--unsupervise_data_dir', str(data / 'unsup'), '--teacher_outputs', str(answers), *GIVEN)
    (line,) = run(
        distill_chnsentocorp, student_flags(data, tmp_path / 'm', *more, max_steps=8, hparams={'num_label': 3})
    )
    assert line.startswith('dev_acc3\t')


def test_answers_that_do_not_fit(taught, tmp_path):
    data, teacher, answers = taught
    write(tmp_path / 'unsup' / 'part.0', ['好\t好'])
    more = ('--unsupervise_data_dir', str(tmp_path / 'unsup'), '--teacher_outputs', str(answers), *GIVEN)
    with pytest.raises(UserError, match='found answers to another file, expected those to .*part.0. Make them anew'):
        distill_chnsentocorp.main(student_flags(data, tmp_path / 'm', *more, hparams={'num_label': 3}))
    with pytest.raises(UserError, match='found 3 classes, expected num_label 2'):
        distill_chnsentocorp.main(student_flags(data, tmp_path / 'm', *more))
    tagger = write_checkpoint(tmp_path / 'tagger', 'tagging')
    flags = ['--input', str(tmp_path / 'unsup' / 'part.0'), '--output', str(tmp_path / 'o'), '--teacher']
    with pytest.raises(UserError, match='found a model of the kind sequence_labeling, expected a classifier'):
        teacher_outputs.main([*flags, str(tagger)])


def test_classes_by_their_names(tmp_path, short_parts):
    def order(labels, given=()):
        with Maker(tmp_path / '-'.join(labels), {'labels': labels}, 3) as maker:
            maker.make(iter(TEXTS), answer)
        return class_order(TeacherOutputs(tmp_path / '-'.join(labels)), given)

    assert order(['0', '1', '2']) == [0, 1, 2] and order(['1', '0', '2']) == [1, 0, 2]
    assert order(['好', '差', '中'], ('差', '中', '好')) == [1, 2, 0]
    for labels, given, message in (
        (
            ['好', '差', '中'],
            (),
            "found a teacher with the classes '好', '差', '中', expected 0, 1, 2, .*--teacher_classes",
        ),
        (['1', '2', '3'], (), "classes '1', '2', '3', expected 0, 1, 2"),
        (['好', '差', '中'], ('好', '差'), r"expected '好', '差' \(--teacher_classes\)"),
        (['a', 'b'], (), 'found labels'),
    ):
        with pytest.raises(UserError, match=message):
            order(labels, given)


_KILLED = """
import os, signal, sys
import numpy as np
from ernie.distill.teacher_outputs import PART_ROWS, Maker

def answer(texts):
    if texts[0] == str(2 * PART_ROWS):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.full((len(texts), 2), 0.5, np.float32)

Maker(sys.argv[1], {'labels': ['0', '1']}, 2).make(map(str, range(3 * PART_ROWS)), answer)
"""


def test_it_goes_on_after_a_kill(tmp_path):
    ran = subprocess.run(
        [sys.executable, '-c', _KILLED, str(tmp_path / 'o')], cwd=ROOT, capture_output=True, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert json.loads((tmp_path / 'o' / 'outputs.json').read_text())['rows'] is None
    with Maker(tmp_path / 'o', {'labels': ['0', '1']}, 2) as maker:
        rows, made = maker.make(map(str, range(3 * PART_ROWS)), lambda texts: np.full((len(texts), 2), 0.5, np.float32))
    assert (rows, made) == (3 * PART_ROWS, PART_ROWS) and TeacherOutputs(tmp_path / 'o').rows == rows
