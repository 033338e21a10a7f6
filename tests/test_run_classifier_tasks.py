"""The kinds of task and of data that run_classifier knows, each on a set that shows whether it works."""

import csv
import json
import re

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from propeller.errors import UsageError, UserError
from propeller.storage import open_tensors
from tests.ernie.tiny_model import (
    BAD,
    CONFIG,
    FILLING,
    GOOD,
    messages,
    probabilities,
    records,
    run,
    sentences,
    table,
    write_model,
)

QUIET = {**CONFIG, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}


def whole_run(folder, train_rows, dev_rows, header=('text_a', 'label')):
    """(flags for training on the rows, evaluating and predicting the dev rows, path of the dev file)."""
    dev = table(folder / 'dev.tsv', dev_rows, header)
    flags = {'train_set': table(folder / 'train.tsv', train_rows, header), 'dev_set': dev}
    return flags | {'do_test': True, 'test_set': dev, 'test_save': folder / 'out'}, dev


def best(folder, key):
    return max(r[key] for r in records(folder, 'dev'))


# ------------------------------------------------------------------------------------------ kinds of task


def test_pairs(tmp_path, train):
    """The first text says nothing about the class, the second everything."""

    def pairs(count, seed):
        rng = np.random.default_rng(seed + 50)
        firsts = (''.join(rng.choice(list(FILLING), rng.integers(1, 8))) for _ in range(count))
        return [(b, a, y) for a, (b, y) in zip(firsts, sentences(count, seed, most=5), strict=True)]

    header = ('text_b', 'text_a', 'label')
    train(
        train_set=table(tmp_path / 'train.tsv', pairs(150, 1), header),
        dev_set=table(tmp_path / 'dev.tsv', pairs(43, 2), header),
        epoch=6,
        metric='acc_and_f1',
    )
    assert best(tmp_path / 'c', 'acc') > 0.95 and best(tmp_path / 'c', 'f1') > 0.95
    types = open_tensors(str(tmp_path / 'c/step_114'))['sent_embedding']
    before = write_model(tmp_path / 'fresh') / 'params'
    assert (np.abs(types - open_tensors(str(before))['sent_embedding']).max(axis=1) > 1e-3).all()


def test_three_classes(tmp_path, train):
    """The F1 over all classes chooses the best checkpoint; what looks at class 1 alone is refused before any work."""
    words = (BAD, GOOD, FILLING[:5])
    rows = [(text, label if label != 2 or i % 3 else 0) for i, (text, label) in enumerate(sentences(60, 1, words))]
    files, dev = whole_run(tmp_path, rows, sentences(29, 2, words))
    for metric in ('acc_and_f1', 'acc_and_f1_and_mrr', 'pearson_and_spearman'):
        with pytest.raises(UsageError, match=f'{metric}: it looks at class 1 of two classes, and the task has 3;'):
            train(**files, num_labels=3, metric=metric)
    assert not (tmp_path / 'c/metrics.jsonl').exists()
    log = train(**files, num_labels=3, metric='macro_f1', epoch=3, validation_steps=3).log
    found = [r['macro_f1'] for r in records(tmp_path / 'c', 'dev')]
    kept = json.loads((tmp_path / 'c/best/metrics.json').read_text())
    assert kept['main_value'] == kept['macro_f1'] == max(found) > min(found)
    state = json.loads((tmp_path / 'c/best/training_state.json').read_text())
    step = records(tmp_path / 'c', 'dev')[found.index(max(found))]['step']
    assert (state['global_step'], state['value']) == (step, max(found))
    predicted = probabilities(tmp_path / f'out.{kept["epoch"]}.{step}').argmax(axis=1)
    true = [label for _, label in sentences(29, 2, words)]
    for average in ('micro', 'macro', 'weighted'):
        assert kept[f'{average}_f1'] == pytest.approx(f1_score(true, predicted, average=average))
    assert f'macro_f1: {kept["macro_f1"]:f}, weighted_f1: {kept["weighted_f1"]:f}, data_num: 29' in log


def test_classes_without_a_row_and_rows_that_are_cut_are_told(tmp_path, train):
    """Blank lines at the end are no rows of them."""
    data = tmp_path / 'rows.tsv'
    data.write_text('text_a\tlabel\n' + f'{GOOD * 40}\t2\n{GOOD}\t2\n{BAD}\t0\n' + '\n \n', encoding='utf-8')
    quick = {'train_set': data, 'do_val': False, 'max_steps': 1, 'num_labels': 3, 'max_seq_len': 12}
    log = messages(train(**quick).log)
    assert f"{data}: 1 of 3 classes have no row, and will not be learned: '1'" in log
    assert any(line.startswith(f'{data}: 1 of 3 rows do not fit into 12 tokens: ') for line in log)
    data.write_text(f'text_a\tlabel\n{GOOD}\t2\n{BAD}\t2\n', encoding='utf-8')
    log = messages(train(**quick, checkpoints=tmp_path / 'second').log)
    assert (
        f"{data}: all labels are '2': there is nothing to tell apart. Are the rows of the other classes missing?" in log
    )


def test_regression(tmp_path, train):
    """The value is the share of good characters, minus that of bad ones."""

    def rows(count, seed):
        rng = np.random.default_rng(seed)
        result = []
        for _ in range(count):
            text = ''.join(rng.choice(list(GOOD + BAD + FILLING[:6]), rng.integers(3, 9)))
            value = sum((c in GOOD) - (c in BAD) for c in text) / len(text)
            result.append((text, f'{value:.4f}'))
        return result

    dev_rows = rows(43, 2)
    files, dev = whole_run(tmp_path, rows(150, 1), dev_rows)
    ran = train(
        **files,
        is_classify=False,
        is_regression=True,
        epoch=5,
    )
    number = r'-?\d+\.\d{6}'
    log = '\n'.join(messages(ran.log))
    steps = re.findall(
        rf'^epoch: \d, progress: \d+/150, step: (\d+), ave loss: {number},  speed: {number} steps/s, time left: .*$',
        log,
        re.M,
    )
    assert steps == [str(s) for s in range(10, 91, 10)]
    line = re.search(
        rf'^\[dev evaluation\] ave loss: ({number}), pearson:({number}), spearman:{number}, corr:{number}, '
        rf'elapsed time: {number} s, file: {re.escape(dev)}, epoch: 4, steps: 95$',
        log,
        re.M,
    )
    cells = [row.split('\t') for row in (tmp_path / 'out.4.95').read_text().splitlines()]
    predicted, true = np.array([float(c) for c, _ in cells]), np.array([float(v) for _, v in dev_rows])
    assert all(float(text[1:-1]) == pytest.approx(float(value), rel=1e-6) for value, text in cells)
    assert float(line[2]) == pytest.approx(pearsonr(predicted, true)[0], abs=1e-5)
    assert float(line[1]) == pytest.approx(((predicted - true) ** 2).mean(), abs=1e-5)
    assert best(tmp_path / 'c', 'pearson') > 0.8
    reports = {path.name for path in (tmp_path / 'c/reports').iterdir()}
    assert 'dev.errors.tsv' in reports and not reports & {'dev.json', 'dev.txt'}  # there are no classes to report


def test_ranking_by_questions(tmp_path, train):
    def rows(count, seed):
        return [(q // 3 + 100, text, y) for q, (text, y) in enumerate(sentences(count, seed))]

    dev_rows = rows(43, 2)
    files, _ = whole_run(tmp_path, rows(150, 1), dev_rows, ('qid', 'text_a', 'label'))
    ran = train(
        **files,
        metric='acc_and_f1_and_mrr',
        epoch=3,
    )
    lines = (tmp_path / 'out.2.57').read_text().splitlines()
    assert [int(line.split('\t')[0]) for line in lines] == [q for q, _, _ in dev_rows]
    assert all(re.fullmatch(r'\d+\t[01]\.0\t\[\S+ \S+\]', line) for line in lines)
    scores = probabilities(tmp_path / 'out.2.57', column=2)[:, 1]
    ranks = []
    for q in sorted({q for q, _, _ in dev_rows}):
        mine = sorted(
            ((-s, y) for s, (p, _, y) in zip(scores, dev_rows, strict=True) if p == q), key=lambda pair: pair[0]
        )
        ranks.append(next((1 / i for i, (_, y) in enumerate(mine, start=1) if y), 0.0))
    last = records(tmp_path / 'c', 'dev')[-1]
    assert last['mrr'] == pytest.approx(np.mean(ranks)) and 0 < last['mrr'] <= 1
    assert f'f1: {last["f1"]:f}, mrr: {last["mrr"]:f}, data_num: 43, elapsed' in ran.log


def test_a_checkpoint_knows_its_kind_and_settings(tmp_path, train):
    """Evaluation and prediction without the flags of the training give what they gave with them."""
    rows = [(text, ('2', '1, 0')[y]) for text, y in sentences(40, 1)]
    data = table(tmp_path / 'data.tsv', rows)
    settings = {'is_multilabel': True, 'num_labels': 4, 'max_seq_len': 9, 'tokenizer': 'CharTokenizer'}
    train(train_set=data, dev_set=data, do_test=True, test_set=data, test_save=tmp_path / 'a', epoch=1, **settings)
    work = {'do_train': False, 'checkpoints': tmp_path / 'e', 'init_pretraining_params': None, 'dev_set': data}
    work |= {'init_checkpoint': tmp_path / 'c/step_5', 'do_test': True, 'test_set': data, 'test_save': tmp_path / 'b'}
    ran = train(**work, max_seq_len=None)
    assert 'from the checkpoint: max_seq_len 9, num_labels' not in ran.log  # num_labels has no default to differ from
    assert 'from the checkpoint: max_seq_len 9, tokenizer CharTokenizer' in messages(ran.log)
    assert (tmp_path / 'b.0.5').read_bytes() == (tmp_path / 'a.0.5').read_bytes()
    line = json.loads((tmp_path / 'e/evaluation.jsonl').read_text())
    assert line['loss'] == pytest.approx(records(tmp_path / 'c', 'dev')[-1]['loss'], abs=1e-6)
    with pytest.raises(UsageError, match='the flags say regression, the checkpoint is of the kind multilabel'):
        train(**work, is_classify=False, is_regression=True)


def test_several_labels_a_row(tmp_path, train):
    """Good texts have the labels 0 and 1, bad ones the label 2; label 3 never holds."""

    def rows(count, seed):
        return [(text, ('2', '1, 0')[y]) for text, y in sentences(count, seed)]

    dev_rows = rows(43, 2)
    files, _ = whole_run(tmp_path, rows(150, 1), dev_rows)
    ran = train(
        **files,
        is_multilabel=True,
        num_labels=4,
        epoch=10,
        class_weights='balanced',
    )
    assert best(tmp_path / 'c', 'micro_f1') > 0.95
    true = np.array([[str(i) in labels.split(', ') for i in range(4)] for _, labels in dev_rows])
    found = probabilities(tmp_path / 'out.9.190')
    cells = [line.split('\t')[0] for line in (tmp_path / 'out.9.190').read_text().splitlines()]
    assert cells == [','.join(str(i) for i in range(4) if row[i] >= 0.5) for row in found]
    last = records(tmp_path / 'c', 'dev')[-1]
    assert last['micro_f1'] == pytest.approx(f1_score(true, found >= 0.5, average='micro', zero_division=0))
    entropy = -np.where(true, np.log(found), np.log1p(-found)).mean()
    assert last['loss'] == pytest.approx(entropy, rel=1e-3)  # without the class weights
    assert re.search(r'class weights: 0 0\.\d+, 1 0\.\d+, 2 0\.\d+, 3 1\n', ran.log)


def test_csv_and_chinese_labels(tmp_path, train):
    """Quoted cells with commas, quotes and line breaks; names of classes; the checkpoint remembers them."""
    names = {0: '差评', 1: '好评'}

    def write(path, rows):
        with open(path, 'w', encoding='utf-8', newline='') as f:
            writer = csv.writer(f)
            writer.writerow(['id', 'text', 'label'])
            writer.writerows([i, f'{text[:1]}"的",\n{text[1:]}', names[y]] for i, (text, y) in enumerate(rows))
        return path

    (tmp_path / 'map.json').write_text(json.dumps({'好评': 1, '差评': 0}), encoding='utf-8')
    dev = write(tmp_path / 'dev.csv', sentences(43, 2))
    train(
        train_set=write(tmp_path / 'train.csv', sentences(150, 1)),
        dev_set=dev,
        label_map=tmp_path / 'map.json',
        epoch=5,
        max_seq_len=17,
    )
    assert best(tmp_path / 'c', 'acc') > 0.95
    assert json.loads((tmp_path / 'c/best/labels.json').read_text(encoding='utf-8'))['labels'] == ['差评', '好评']
    report = (tmp_path / 'c/reports/dev.txt').read_text(encoding='utf-8')
    assert '好评' in report and '差评' in report
    work = {'do_train': False, 'do_test': False, 'dev_set': dev, 'checkpoints': tmp_path / 'e'}
    scores = f'acc:{best(tmp_path / "c", "acc"):f}, data_num: 43'
    assert scores in run(**work, init_checkpoint=tmp_path / 'c/best').log
    assert scores in run(**work, init_checkpoint=tmp_path / 'c/best', label_map_config=tmp_path / 'map.json').log
    (tmp_path / 'turned.json').write_text(json.dumps({'好评': 0, '差评': 1}), encoding='utf-8')
    for again in ({'resume': True}, {**work, 'init_checkpoint': tmp_path / 'c/best'}):
        with pytest.raises(UserError, match='turned.json: found other labels than those of the checkpoint; leave out'):
            train(**{'train_set': tmp_path / 'train.csv'} | again, label_map_config=tmp_path / 'turned.json')


def test_class_weights(tmp_path, train):
    """18 rows of one class, 6 of the other, in one batch without dropout: the weighted mean is known from the start."""
    rows = [(text, int(i % 4 == 0)) for i, (text, _) in enumerate(sentences(24, 5))]
    data = table(tmp_path / 'rows.tsv', rows)
    quiet = write_model(tmp_path / 'quiet', config=QUIET)
    settings = {
        'init_pretraining_params': quiet,
        'train_set': data,
        'dev_set': data,
        'batch_size': 24,
        'learning_rate': 1e-9,
        'skip_steps': 1,
        'epoch': 1,
        'freeze_encoder': True,
    }
    true = np.array([y for _, y in rows])
    for weights, expected in (
        (None, None),
        ('balanced', compute_class_weight('balanced', classes=np.arange(2), y=true)),
        ('0.25, 3', np.array([0.25, 3])),
    ):
        folder = tmp_path / (weights or 'none')[:4]
        ran = train(**settings, class_weights=weights, checkpoints=folder)
        if weights:
            assert f'class weights: 0 {expected[0]:.4g}, 1 {expected[1]:.4g}' in messages(ran.log)
        state = open_tensors(str(folder / 'step_1'))
        run(
            init_checkpoint=folder / 'step_1',
            do_train=False,
            test_set=data,
            test_save=folder / 'out',
            checkpoints=tmp_path / 'e',
        )
        found = probabilities(folder / 'out.0.1')
        assert np.ptp(found[:, 1]) > 1e-4 and '_cls_out_w' in state
        dev_loss = records(folder, 'dev')[-1]['loss']
        assert dev_loss == pytest.approx(log_loss(true, found / found.sum(1, keepdims=True)), rel=1e-5)
        if weights:
            per_row, weight = -np.log(found[np.arange(24), true]), expected[true]
            weighted = (weight * per_row).sum() / weight.sum()
            train_loss = records(folder, 'train')[0]['loss']
            assert abs(weighted - dev_loss) > 1e-3
            assert train_loss == pytest.approx(weighted, abs=0.02)  # the head has dropout of its own


def test_batches_counted_in_tokens(tmp_path, train):
    rows = sentences(60, 1)
    ran = train(
        train_set=table(tmp_path / 'train.tsv', rows),
        dev_set=table(tmp_path / 'dev.tsv', sentences(20, 2)),
        in_tokens=True,
        batch_size=45,
        epoch=2,
        skip_steps=1,
    )
    lines = messages(ran.log)
    assert f'Max train steps: {records(tmp_path / "c", "train")[-1]["step"]}' in lines
    steps = [re.match(r'epoch: (\d), progress: (\d+)/60, step', line) for line in lines]
    progress = [(int(m[1]), int(m[2])) for m in steps if m]
    for epoch in (0, 1):
        done = [p for e, p in progress if e == epoch]
        assert done[-1] == 60 and all(a < b for a, b in zip(done, done[1:], strict=False))
        assert 60 * 8 / 45 < len(done) < 60 / 3
        sizes = np.diff([0, *done])
        assert sizes.max() > sizes.min()
    for r in records(tmp_path / 'c', 'train'):
        assert 0 < r['real_token_share'] <= 1
