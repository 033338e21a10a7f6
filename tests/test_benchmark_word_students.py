"""What `benchmark.word_students` trains, and its table."""

import concurrent.futures

import pytest

from benchmark import word_students
from benchmark.word_students import RATES, Texts, line, main, measured, parse_flags
from propeller.errors import UsageError


@pytest.fixture
def texts(tmp_path):
    files = ['--train', 't.tsv', '--dev', 'd.tsv', '--teacher', 'run', '--further', 'f.tsv']
    return Texts(parse_flags([*files, '--out', str(tmp_path / 'out')]))


def test_one_rate_for_all_of_a_student(texts, monkeypatch):
    def accuracy(_, student, method, rate, seed):
        return (0.9 if rate == RATES[1] else 0.5) + seed / 1000, f'{method} {rate} {seed}'

    monkeypatch.setattr(word_students, 'train', accuracy)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        rate, table, folder = measured(texts, 'bow', [1, 2], pool)
    assert rate == RATES[1] and folder == f'soft {rate} 1'
    assert table == dict.fromkeys(word_students.METHODS, [0.901, 0.902])


def test_a_training_is_made_once(texts, monkeypatch):
    asked = []

    def program(name, flags, threads=None, show=False):
        asked.append((name, threads, flags[flags.index('--unsupervise_data_dir') :]))
        best = texts.path('runs', 'bow_unchanged_0.001_2', 'training', 'best', 'ernie_model')
        word_students.os.makedirs(best)
        return 'dev_acc3\t0.87500\n'

    monkeypatch.setattr(word_students, '_run', program)
    for _ in range(2):
        accuracy, folder = word_students.train(texts, 'bow', 'unchanged', 0.001, 2)
    assert accuracy == 0.875 and folder == texts.path('runs', 'bow_unchanged_0.001_2', 'student')
    assert asked == [
        (
            'distill_chnsentocorp.py',
            1,
            [
                *('--unsupervise_data_dir', texts.path('unchanged')),
                *('--teacher_outputs', texts.answers, '--teacher_labels', 'soft'),
            ],
        )
    ]


def test_rows_of_the_table():
    assert (
        line('teacher', [0.9325], parameters=21_500_000, rows=61.4) == '| teacher | 93.25 |  | 21.5 million | 61 |  |'
    )
    assert line('x', [0.9, 0.92], 3e-4, plain=0.9) == '| x | 91.00 (90.00 to 92.00) | +1.00 |  |  | 0.0003 |'


def test_students_that_there_are(tmp_path):
    with pytest.raises(UsageError, match='--students elmo: expected some of bow, bilstm'):
        main(['--train', 't', '--dev', 'd', '--teacher', 'x', '--out', str(tmp_path), '--students', 'elmo'])
