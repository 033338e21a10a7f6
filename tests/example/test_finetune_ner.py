"""example/finetune_ner.py and what is its own of it, example/tagging.py."""

import numpy as np
import pytest
from seqeval.metrics import f1_score

import propeller.paddle as propeller
from ernie.config import ErnieConfig
from ernie.utils.data import CharTokenizer
from example import finetune_ner
from example.finetune_ner import LABELS, Tagger
from example.tagging import LabelsColumn, TokenChunkF1, TokensColumn, check_rows, same_count, tagged
from example.texts import Cutter
from propeller.errors import UserError
from propeller.storage import open_tensors
from tests.ernie.tiny_model import CONFIG, sentences
from tests.example.common import flags, label_of, names, run, write, write_tiny_model

VOCAB = {word: i for i, word in enumerate(['[PAD]', '[CLS]', '[SEP]', '[UNK]', '好', '中', 'pad', '##d', '##le'])}
CUTTER = Cutter(CharTokenizer(VOCAB), 'CharTokenizer')


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'ernie')


@pytest.fixture(scope='module')
def trained(model, tmp_path_factory):
    """(model_dir, the printed lines) of a short training."""
    folder = tmp_path_factory.mktemp('ner')
    data = names(folder / 'data')
    words = flags(model, data, folder / 'out', hparams={'num_label': None}, max_steps=150, eval_steps=50)
    return folder / 'out', run(finetune_ner, words)


def test_it_prints_the_f1_of_dev_and_test(trained):
    out, lines = trained
    assert [line.split('\t')[0] for line in lines] == ['dev_f1', 'test_f1']
    assert min(float(line.split('\t')[1]) for line in lines) > 0.5
    assert (out / 'best/inference/model.json').is_file()
    parameters = open_tensors(out / 'model_150')
    assert parameters.shape('cls_seq_label_out_w') == (12, 7) and 'pooled_fc.w_0' not in parameters


def test_each_token_gets_a_label_whatever_stands_beside_it(trained, model, monkeypatch):
    texts = [text for text, _ in sentences(11, seed=3)]
    texts[2:2] = ['', '的' * 40]
    lines = ['\x02'.join(text) for text in texts]
    lines += ['finely\x02\u200b\x02好的', '好']  # pieces, a character that is no text, two in one token
    words = flags(model, 'none', trained[0], '--do_predict', hparams={'num_label': None})
    found = [line.split() for line in run(finetune_ner, words, monkeypatch, '\n'.join(lines).encode())]
    assert [len(labels) for labels in found] == [*map(len, texts), 3, 1]
    assert found[3][30:] == ['O'] * 10  # beyond --max_seqlen
    alone = [run(finetune_ner, words, monkeypatch, line.encode()) for line in (lines[0], lines[-1])]
    assert [one[0].split() for one in alone] == [found[0], found[-1]]
    rest = [i for i in range(len(texts)) if i != 3]
    assert f1_score([[*map(label_of, texts[i])] for i in rest], [found[i] for i in rest]) > 0.5


def test_padding_and_continuations_are_not_in_the_loss(tmp_path):
    """The loss of an evaluation does not depend on how its rows are cut into batches."""
    rng = np.random.default_rng(0)
    rows = []
    for length in (1, 7, 3, 0, 12):
        packed = np.where(rng.random(length) < 0.3, ~rng.integers(3, 60, length), rng.integers(3, 60, length))
        packed[:1] = abs(packed[:1])
        rows.append(tagged(packed, rng.integers(0, 7, np.count_nonzero(packed >= 0)), 10, 1, 2))
    params = propeller.HParams(
        ernie=ErnieConfig(CONFIG), learning_rate=0.01, warmup_proportion=0, weight_decay=0.0, task_id=0
    )
    losses = []
    for size in (5, 2):
        dataset = propeller.data.Dataset.from_list(rows).padded_batch(size, (0, 0, 0, -1))
        dataset = dataset.map(lambda *arrays: [array[..., None] for array in arrays])
        dataset.data_shapes, dataset.data_types = [[-1, -1, 1], [-1, -1, 1], [-1, 1], [-1, -1, 1]], ['int64'] * 4
        config = propeller.RunConfig(model_dir=str(tmp_path), max_steps=1, log_steps=1)
        learner = propeller.Learner(Tagger, config, params, seed=1)
        if not losses:
            learner.train(dataset)
        losses.append(float(learner.evaluate(dataset)['loss']))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_tokens_become_pieces_of_which_the_first_has_the_label():
    column = TokensColumn('tokens', VOCAB, CUTTER)
    packed = column.raw_to_instance('好\x02paddle\x02 \x02国'.encode())
    assert packed.tolist() == [4, 6, ~7, ~8, 3, 3] and packed.dtype == np.int64
    ids, types, length, labels = tagged(packed, np.array([0, 1, 6, 6]), 9, 1, 2)
    assert ids.tolist() == [1, 4, 6, 7, 8, 3, 3, 2] and not types.any() and length == 8
    assert labels.tolist() == [-1, 0, 1, -1, -1, 6, 6, -1]
    ids, _, length, labels = tagged(packed, np.array([0, 1, 6, 6]), 5, 1, 2)
    assert ids.tolist() == [1, 4, 6, 7, 2] and length == 5 and labels.tolist() == [-1, 0, 1, -1, -1]
    assert tagged(column.raw_to_instance(b''), np.array([]), 5, 1, 2)[0].tolist() == [1, 2]


def test_labels_are_those_of_the_list():
    column = LabelsColumn('labels', LABELS)
    assert column.raw_to_instance(b'O\x02I-LOC\x02B-PER').tolist() == [6, 5, 0]
    with pytest.raises(UserError, match=r"found the label 'B-LOG', expected those of B-PER"):
        column.raw_to_instance(b'O\x02B-LOG')


def test_rows_need_a_label_for_each_token(tmp_path, caplog):
    write(tmp_path / 'a', ['好\x02中\tO\x02O', '好\x02中\tO', '\t'])
    with pytest.raises(UserError, match=r'a:2: found 2 tokens and 1 labels, expected one label for each token'):
        check_rows(tmp_path, 10)
    assert check_rows(tmp_path, 10, skip=True) == 1
    assert same_count(np.array([3, ~4, 5]), [0, 6]) and not same_count(np.array([3, ~4]), [0, 6])


def test_chunk_f1_is_that_of_seqeval_over_tokens():
    rng = np.random.default_rng(3)
    label, pred = rng.integers(0, 7, (9, 13)), rng.integers(0, 7, (9, 13))
    pred = np.where(rng.random(label.shape) < 0.6, label, pred)
    label[:, 0] = -1
    for row in label:
        row[rng.integers(1, 13) :] = -1
    label[rng.random(label.shape) < 0.2] = -1
    tokens = [
        [([LABELS[i] for i in tags[row >= 0]]) for row, tags in zip(label, from_, strict=True)]
        for from_ in (label, pred)
    ]
    metric = TokenChunkF1(None, None, None, len(LABELS))
    for part in (slice(0, 4), slice(4, 9)):
        metric.update([label[part][..., None], pred[part], np.zeros((0, 1))])
    assert float(metric.eval()) == pytest.approx(f1_score(*tokens), abs=1e-6)
