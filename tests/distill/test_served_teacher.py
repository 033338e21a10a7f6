"""A teacher behind a server: what it is asked, what it may answer, and that it goes."""

import numpy as np
import pytest
from scipy.special import softmax

from distill.command_line import teacher_cutter
from distill.student import Data
from ernie.distill import answer_clock, online
from ernie.distill.answer_clock import AnswerClock, asked
from ernie.distill.online import ServedTeacher
from ernie.tokenizers.vocabulary import load_vocab
from propeller.data import Dataset
from propeller.errors import UserError
from propeller.service.client import InferenceError
from tests.distill.common import student_data, write
from tests.distill.test_distill_chnsentocorp import setup_of
from tests.ernie.tiny_model import VOCABULARY

LOGITS = np.float32([[1.5, -2], [0.25, 3]])


class Client:
    """Stands for `InferenceClient`. answers: what each call gives, an exception is raised."""

    def __init__(self, answers):
        self.answers, self.asked, self.made = list(answers), [], None

    def __call__(self, *arrays):
        self.asked.append(arrays)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def served(monkeypatch):
    def make(*answers, **settings):
        client = Client(answers)
        monkeypatch.setattr(online, 'InferenceClient', lambda *made: setattr(client, 'made', made) or client)
        return client, ServedTeacher('tcp://h:1', 2, wait=0.0, **settings)

    return make


ROWS = np.ones((2, 3, 1), np.int64)
GONE = InferenceError('unavailable', 'Client call failed: no server takes connections there (tcp://h:1).')


def test_logits_as_they_come(served):
    client, teacher = served([LOGITS], batch_size=64, num_coroutine=10, timeout=3.0)
    assert np.array_equal(teacher(ROWS), LOGITS) and client.asked[0][0] is ROWS
    assert client.made == ('tcp://h:1', 64, 10, 3.0)


def test_probabilities_become_logits(served):
    _, teacher = served([softmax(LOGITS, -1)], outputs='probabilities')
    np.testing.assert_allclose(softmax(teacher(ROWS), -1), softmax(LOGITS, -1), rtol=1e-6)


def test_it_is_asked_again(served, caplog):
    client, teacher = served(GONE, GONE, [LOGITS], retries=2)
    assert np.array_equal(teacher(ROWS), LOGITS) and len(client.asked) == 3
    assert 'no server takes connections there' in caplog.text


def test_it_goes(served):
    client, teacher = served(*[GONE] * 9, retries=2)
    with pytest.raises(UserError, match='--teacher_host tcp://h:1: the teacher gave no answer after 3 tries .*lower'):
        teacher(ROWS)
    assert len(client.asked) == 3


def test_what_it_refuses_is_not_asked_again(served):
    client, teacher = served(*[InferenceError('invalid', 'expected 4 arrays, found 2.')] * 2)
    with pytest.raises(UserError, match=r'does not take token ids .*\(expected 4 arrays, found 2.*finetune_classifier'):
        teacher(ROWS)
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    'outputs, answer, message',
    [
        ('logits', [softmax(LOGITS, -1)], 'found probabilities in the answer, expected logits: export'),
        ('probabilities', [LOGITS], r'found rows like \[1.5, -2.0\] in the answer, expected probabilities'),
        ('logits', [np.zeros((2, 3), np.float32)], r'found float32 \[2, 3\] in the answer, expected float32 \[2, 2\]'),
        ('logits', [np.zeros((2, 2))], r'found float64 \[2, 2\]'),
        ('logits', [LOGITS * np.inf], 'found numbers that are not finite'),
        ('logits', [], 'found no array'),
    ],
)
def test_other_answers(served, outputs, answer, message):
    _, teacher = served(answer, outputs=outputs)
    with pytest.raises(UserError, match=message):
        teacher(ROWS)


def test_the_teacher_reads_its_own_text_with_its_own_vocabulary(tmp_path, monkeypatch):
    data = student_data(tmp_path / 's')
    write(data / 'labelled_by_teacher' / 'part.0', ['好 [UNK] 的\tFine[UNK]的'])
    vocabulary = write(tmp_path / 'vocab.txt', VOCABULARY)
    more = ('--teacher_host', 'tcp://h:1', '--teacher_vocab_file', str(vocabulary), '--server_batch_size', '5')
    setup, asked = setup_of(data, *more), []
    cut, ids = teacher_cutter(setup.args, load_vocab(vocabulary)), VOCABULARY.index
    assert list(cut('Finely[UNK] 的'.encode())) == ['fine', '##ly', '[UNK]', '的']

    class Teacher:
        def __init__(self, *made):
            self.made = made

        def __call__(self, *arrays):
            asked.append((self.made, *arrays))
            return np.full((len(arrays[0]), 2), 0.5, np.float32)

    monkeypatch.setattr('distill.student.ServedTeacher', Teacher)
    monkeypatch.setattr('propeller.data.dataset.made_ahead', lambda make, size: make())
    clock = AnswerClock()
    words, label = next(iter(Data(setup).taught(data / 'labelled_by_teacher', clock)))
    assert clock.answers == 1 and clock.busy > 0
    assert words[0].tolist() == [setup.vocab[w] for w in ('好', '[UNK]', '的')] and label.shape == (8, 2)
    made, first, types = asked[0]
    assert made == ('tcp://h:1', 2, 'logits', 5, 1, 60.0, 5) and first.shape == types.shape == (8, 5, 1)
    assert first[0, :, 0].tolist() == [ids(t) for t in ('[CLS]', 'fine', '[UNK]', '的', '[SEP]')] and not types.any()


def test_who_waited_for_whom(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(answer_clock.time, 'monotonic', lambda: now[0])

    def after(seconds):
        now[0] += seconds
        return 'answer'

    def answered(start=0):
        for i in range(start, 4):
            _, times = asked(lambda: after(1.0))
            yield [np.array(i), times]
            after(3.0)

    clock = AnswerClock()
    batches = clock.without_times(Dataset(answered, start_at=answered, count=lambda: 4))
    assert batches.seekable and batches.count() == 4 and [len(batch) for batch in batches.iterate_from(1)] == [1, 1, 1]
    assert clock.answers == 3 and clock.busy == 3.0 and clock.idle == pytest.approx(1 - 3 / 9)
    for waited, computed in ((2.0, 6.0), (0.0, 2.0)):
        assert not clock.should_stop(None)
        after(waited)
        assert not clock.before_run(None)
        after(computed)
    with caplog.at_level('INFO'):
        clock.after_train()
    assert caplog.messages == [
        'trained for 10.0 s, 2.0 s of them (20%) waiting for batches; the teacher answered 3 batches in 9.0 s, and was '
        'not asked in 67% of that time'
    ]
