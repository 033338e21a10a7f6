"""example/finetune_ranker.py."""

import numpy as np
import pytest

from example import finetune_ranker
from propeller.errors import UserError
from tests.ernie.tiny_model import sentences
from tests.example.common import flags, pairs, run, write, write_tiny_model


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'ernie')


@pytest.fixture(scope='module')
def trained(model, tmp_path_factory):
    """(model_dir, the printed lines) of a short training."""
    folder = tmp_path_factory.mktemp('ranker')
    words = flags(model, pairs(folder / 'data'), folder / 'out', max_steps=8, eval_steps=4)
    return folder / 'out', run(finetune_ranker, words)


def test_it_prints_the_scores_of_dev_and_test(trained):
    _, lines = trained
    assert [line.split('\t')[0] for line in lines] == ['dev_mrr', 'test_mrr', 'dev_f1', 'test_f1']
    scores = [float(line.split('\t')[1]) for line in lines]
    assert all(0 <= score <= 1 for score in scores)


def test_it_predicts_pairs_whatever_stands_beside_them(trained, model, monkeypatch):
    rows = sentences(11, seed=3)
    lines = [f'{900 + i}\t{text[:2]}\t{text}' for i, (text, _) in enumerate(rows)]
    lines.insert(4, '7\t\t')  # without a text
    lines.insert(5, f'8\t好\t{"的" * 300}')
    words = flags(model, 'none', trained[0], '--do_predict')
    found = run(finetune_ranker, words, monkeypatch, '\n'.join(lines).encode())
    qids, classes, *scores = zip(*(line.split('\t') for line in found), strict=True)
    assert [*qids] == [line.split('\t')[0] for line in lines]
    scores = np.array(scores, float).T
    np.testing.assert_allclose(scores.sum(1), 1, atol=2e-5)
    assert [int(c) for c in classes] == [*scores.argmax(1)]
    alone = run(
        finetune_ranker, [*words, '--predict_model', str(trained[0] / 'model_8')], monkeypatch, lines[0].encode()
    )
    np.testing.assert_allclose(np.array(alone[0].split('\t')[2:], float), scores[0], atol=2e-5)


def test_it_wants_two_classes_and_numbered_questions(model, tmp_path):
    data = pairs(tmp_path / 'data', ['train', 'dev'])
    with pytest.raises(UserError, match='num_label: found 3, expected 2'):
        run(finetune_ranker, flags(model, data, tmp_path / 'out', hparams={'num_label': 3}))
    write(data / 'train/part-0', ['q1\t好\t坏\t1'])
    with pytest.raises(UserError, match=r"part-0:1: found 'q1' in column qid, expected a whole number"):
        run(finetune_ranker, flags(model, data, tmp_path / 'out'))
