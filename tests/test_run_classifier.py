"""One whole run of run_classifier: what it learns, what it logs, which files it leaves."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from propeller.storage import open_tensors
from tests.ernie.tiny_model import CONFIG, VOCABULARY, messages, run, sentences, write_model, write_table

pytestmark = pytest.mark.curves

ROWS, EPOCHS, BATCH = 150, 5, 8
STEPS = EPOCHS * -(-ROWS // BATCH)  # 95
PREFIX = re.compile(r'\[(DEBUG|INFO|WARNING)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[ *[\w.]+\.py: *\d+\]:\t')


class Whole:
    """The run, its folders and its data."""

    def __init__(self, root):
        self.root, self.model, self.checkpoints = root, write_model(root / 'model'), root / 'checkpoints'
        for name in ('m', 'mm', 'data'):
            (root / name).mkdir()
        rows = sentences(ROWS, 1)
        self.train = write_table(root / 'data/train.tsv', ['label', 'text_a'], [(y, text) for text, y in rows])
        self.dev_rows, self.other_rows = sentences(43, 2), sentences(9, 3)
        self.dev = write_table(root / 'm/dev.tsv', ['text_a', 'label'], self.dev_rows)
        self.other = write_table(root / 'mm/dev.tsv', ['text_a', 'label'], self.other_rows)
        unlabelled = [(text,) for text, _ in sentences(13, 4)]
        self.test = write_table(root / 'data/test.tsv', ['text_a'], unlabelled)
        # The dev set as a test set: its labels must be ignored, and its predictions must give the logged scores.
        self.ran = run(
            init_pretraining_params=self.model / 'params',
            checkpoints=self.checkpoints,
            train_set=self.train,
            dev_set=f'{self.dev},{self.other}',
            test_set=f'{self.test},{self.dev}',
            test_save=f'{root}/out/test,{root}/out/dev',
            diagnostic=self.other,
            diagnostic_save=root / 'out/diagnostic',
            epoch=EPOCHS,
            batch_size=BATCH,
            validation_steps=30,
            save_steps=40,
            max_checkpoints=2,
            verbose=True,
            enable_ce=(),
            log_dir=root / 'events',
        )
        self.lines = messages(self.ran.log)
        self.records = [json.loads(line) for line in (self.checkpoints / 'metrics.jsonl').read_text().splitlines()]

    def predictions(self, path):
        """(classes [N], probabilities [N, C]) of a prediction file."""
        cells = [line.split('\t') for line in path.read_text(encoding='utf-8').splitlines()]
        assert all(len(row) == 2 for row in cells)
        return np.array([float(c) for c, _ in cells]), np.array([[float(x) for x in p[1:-1].split()] for _, p in cells])


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return Whole(tmp_path_factory.mktemp('whole'))


def test_it_learns(whole):
    scores = [r['acc'] for r in whole.records if r['phase'] == 'dev' and r['file'] == whole.dev]
    assert max(scores) > 0.95
    assert scores[0] < max(scores)


def test_every_line_has_the_prefix(whole):
    for line in whole.ran.log.splitlines():
        assert PREFIX.match(line), line


def test_the_settings_come_first(whole):
    lines = whole.lines
    assert lines[0] == '-----------  Configuration Arguments -----------'
    end = lines.index('-' * 48)
    names = [line.partition(': ')[0] for line in lines[1:end]]
    assert names == sorted(names) and len(names) > 60
    assert f'train_set: {whole.train}' in lines[1:end] and 'epoch: 5' in lines[1:end]
    second = lines.index('-' * 48, end + 1)
    assert lines[end + 1 : second] == [f'{key}: {CONFIG[key]}' for key in sorted(CONFIG)]


@pytest.mark.parametrize(
    'line',
    [
        'Device count: 1',
        f'Num train examples: {ROWS}',
        f'Max train steps: {STEPS}',
        f'Num warmup steps: {STEPS // 10}',
        'Final diagnostic',
        'random seed: 1',
        'new, with random values: _cls_out_w, _cls_out_b',
    ],
)
def test_lines_that_stand_once(whole, line):
    assert whole.lines.count(line) == 1


def test_lines_with_paths(whole):
    log = '\n'.join(whole.lines)
    assert re.search(r'^Theoretical memory usage in training: \d+\.\d{3} - \d+\.\d{3} MB$', log, re.M)
    assert f'Done final diagnostic, saving to {whole.root}/out/diagnostic' in whole.lines
    for path, name in ((whole.test, 'test'), (whole.dev, 'dev')):
        assert f'testing {path}, save to {whole.root}/out/{name}.4.95' in whole.lines
    assert re.search(rf'^best checkpoint: {whole.checkpoints}/best \(step \d+, [01]\.\d{{6}}\)$', log, re.M)
    assert f'last checkpoint: {whole.checkpoints}/step_95' in whole.lines


def test_training_lines(whole):
    number = r'\d+\.\d{6}'
    form = re.compile(
        rf'epoch: (\d+), progress: (\d+)/150, step: (\d+), ave loss: ({number}), ave acc: ({number}), '
        rf'speed: {number} steps/s, time left: \d+:\d\d:\d\d'
    )
    found = [(i, m) for i, line in enumerate(whole.lines) if (m := form.fullmatch(line))]
    assert [int(m[3]) for _, m in found] == list(range(10, 91, 10))
    for i, m in found:
        step = int(m[3])
        assert re.fullmatch(rf'train pyreader queue size: \d+, learning rate: {number}', whole.lines[i - 1])
        assert int(m[1]) == (step - 1) // 19
        in_epoch = step - 19 * int(m[1])
        assert in_epoch * BATCH - 2 <= int(m[2]) <= in_epoch * BATCH  # the short batch (6 rows) comes at any place
        record = next(r for r in whole.records if r['phase'] == 'train' and r['step'] == step)
        assert float(m[4]) == pytest.approx(record['loss'], abs=1e-6) and record['acc'] == pytest.approx(float(m[5]))
        assert f'{_rate(step - 1):f}' in whole.lines[i - 1]
        assert record['learning_rate'] == pytest.approx(_rate(step - 1))
        assert 0 < record['real_token_share'] <= 1 and record['tokens_per_second'] > 0


def _rate(updates, total=STEPS, warmup=STEPS // 10):
    return 0.01 * (updates / warmup if updates < warmup else 1 - min(updates, total) / total)


def test_evaluation_lines_at_intervals_and_ends_of_epochs(whole):
    number = r'\d+\.\d{6}'
    form = re.compile(
        rf'\[dev evaluation\] ave loss: ({number}), acc:({number}), data_num: (\d+), elapsed time: {number} s, '
        r'file: (\S+), epoch: (\d+), steps: (\d+)'
    )
    found = [(i, m) for i, line in enumerate(whole.lines) if (m := form.fullmatch(line))]
    expected = [(19, 0), (30, 1), (38, 1), (57, 2), (60, 3), (76, 3), (90, 4), (95, 4)]
    both = [(path, str(e), str(s)) for s, e in expected for path in (whole.dev, whole.other)]
    assert [(m[4], m[5], m[6]) for _, m in found] == both
    for i, m in found:
        assert whole.lines[i - 1] == f'validation result of dataset {m[4]}:'
        assert int(m[3]) == (43 if m[4] == whole.dev else 9)
        keys = ('dev', int(m[6]), m[4])
        record = next(r for r in whole.records if (r['phase'], r['step'], r.get('file')) == keys)
        assert record['loss'] == pytest.approx(float(m[1]), abs=1e-6)
        assert record['acc'] == pytest.approx(float(m[2]), abs=1e-6)


def test_logged_scores_are_those_of_the_predictions(whole):
    """The dev set was predicted too: scikit-learn must find the same numbers in that file."""
    true = np.array([y for _, y in whole.dev_rows])
    for step, epoch in ((19, 0), (30, 1), (95, 4)):
        classes, probabilities = whole.predictions(whole.root / f'out/dev.{epoch}.{step}')
        record = next(r for r in whole.records if r['phase'] == 'dev' and r['step'] == step and r['file'] == whole.dev)
        assert record['acc'] == pytest.approx(accuracy_score(true, classes))
        assert record['loss'] == pytest.approx(
            log_loss(true, probabilities / probabilities.sum(1, keepdims=True)), rel=1e-4
        )
        np.testing.assert_array_equal(classes, probabilities.argmax(1))
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_prediction_files(whole):
    suffixes = ['0.19', '1.30', '1.38', '2.57', '3.60', '3.76', '4.90', '4.95']
    expected = [f'{name}.{suffix}' for name in ('dev', 'test') for suffix in suffixes] + ['diagnostic']
    assert sorted(p.name for p in (whole.root / 'out').iterdir()) == sorted(expected)
    lines = (whole.root / 'out/test.4.95').read_text().splitlines()
    assert len(lines) == 13
    assert all(re.fullmatch(r'[01]\.0\t\[[\d.e-]+ [\d.e-]+\]', line) for line in lines)
    classes, _ = whole.predictions(whole.root / 'out/diagnostic')
    assert len(classes) == 9


def test_reports(whole):
    true = [y for _, y in whole.dev_rows]
    classes, _ = whole.predictions(whole.root / 'out/dev.4.95')
    folder = whole.checkpoints / 'reports'
    ends = ['calibration.png', 'confusion.png', 'confusion.tsv', 'errors.jsonl', 'errors.tsv', 'json']
    ends += ['precision_recall.png', 'rows.safetensors', 'summary.json', 'txt']
    of_training = [f'training.{end}' for end in ('confusion.tsv', 'json', 'txt')]
    of_sets = [f'{name}_dev.{end}' for name in ('m', 'mm') for end in ends]
    assert sorted(p.name for p in folder.iterdir()) == [*of_sets, *of_training]
    report = json.loads((folder / 'm_dev.json').read_text(encoding='utf-8'))
    matrix = confusion_matrix(true, classes)
    assert report['confusion_matrix'] == matrix.tolist()
    for key, values in zip(
        ('precision', 'recall', 'f1', 'support'), precision_recall_fscore_support(true, classes), strict=True
    ):
        np.testing.assert_allclose([row[key] for row in report['classes']], values)
    rows = [line.split('\t') for line in (folder / 'm_dev.confusion.tsv').read_text().splitlines()]
    assert [[int(x) for x in row[1:]] for row in rows[1:]] == matrix.tolist()
    assert f'{report["accuracy"]:.4f}' in (folder / 'm_dev.txt').read_text()


def test_checkpoints(whole):
    names = sorted(p.name for p in whole.checkpoints.iterdir())
    assert names.pop(0) == '.propeller-run.json'
    assert names == [
        'best',
        'curves.png',
        'facts.json',
        'metrics.jsonl',
        'report.html',
        'reports',
        'run.log',
        'run.yaml',
        'step_80',
        'step_95',
    ]  # the newest two
    always = ['ernie_config.json', 'labels.json', 'metrics.json', 'model.safetensors', 'report.json', 'report.txt']
    always += ['tokenizer_config.json', 'training_state.json', 'vocab.txt']
    assert sorted(p.name for p in (whole.checkpoints / 'best').iterdir()) == ['README.md', *always]
    assert sorted(p.name for p in (whole.checkpoints / 'step_95').iterdir()) == sorted(
        [*always, 'optimizer.safetensors']
    )
    for name in ('best', 'step_80', 'step_95'):
        folder = whole.checkpoints / name
        assert (folder / 'vocab.txt').read_bytes() == (whole.model / 'vocab.txt').read_bytes()
        assert json.loads((folder / 'ernie_config.json').read_text()) == CONFIG
        labels = json.loads((folder / 'labels.json').read_text())
        assert labels['labels'] == ['0', '1'] and labels['num_labels'] == 2 and labels['max_seq_len'] == 15


def test_the_best_checkpoint_is_that_of_the_best_evaluation(whole):
    records = [r for r in whole.records if r['phase'] == 'dev' and r['file'] == whole.dev]
    acc, _, step = max((r['acc'], -r['loss'], -r['step']) for r in records)  # of equal scores that with the lower loss
    saved = json.loads((whole.checkpoints / 'best/metrics.json').read_text())
    assert (saved['step'], saved['acc'], saved['main_value']) == (-step, acc, acc)
    state = json.loads((whole.checkpoints / 'best/training_state.json').read_text())
    assert (state['global_step'], state['value'], state['epoch']) == (-step, acc, (-step - 1) // 19)
    ran = run(
        init_checkpoint=whole.checkpoints / 'best',
        do_train=False,
        dev_set=whole.dev,
        test_set=whole.test,
        test_save=whole.root / 'again/best',
        checkpoints=whole.root / 'again',
    )
    assert f'acc:{acc:f}, data_num: 43, ' in ran.log and f'epoch: {(-step - 1) // 19}, steps: {-step}' in ran.log
    again = (whole.root / f'again/best.{(-step - 1) // 19}.{-step}').read_text()
    assert again == (whole.root / f'out/test.{(-step - 1) // 19}.{-step}').read_text()


def test_wrong_rows_are_those_of_the_best_checkpoint(whole):
    best = json.loads((whole.checkpoints / 'best/metrics.json').read_text())
    for name, path in (('m_dev', whole.dev), ('mm_dev', whole.other)):
        summary = json.loads((whole.checkpoints / f'reports/{name}.summary.json').read_text())
        (record,) = [r for r in whole.records if (r['phase'], r['step'], r.get('file')) == ('dev', best['step'], path)]
        assert (summary['step'], summary['values']['acc']) == (best['step'], record['acc'])
        lines = (whole.checkpoints / f'reports/{name}.errors.jsonl').read_text(encoding='utf-8').splitlines()
        wrong = [json.loads(line) for line in lines]
        assert len(wrong) == summary['wrong'] == round((1 - record['acc']) * summary['count'])
        rows = [line.split('\t') for line in Path(path).read_text(encoding='utf-8').splitlines()]
        for entry in wrong:
            assert [entry['text_a'], entry['true']] == rows[entry['line'] - 1] and entry['predicted'] != entry['true']
    page = (whole.checkpoints / 'report.html').read_text(encoding='utf-8')
    assert 'Dev set m_dev' in page and 'Dev set mm_dev' in page and f'{best["acc"]:.4f}' in page
    card = (whole.checkpoints / 'best/README.md').read_text(encoding='utf-8')
    assert 'pipeline_tag: text-classification' in card and f'| acc | {best["acc"]:.4f} |' in card


def test_records_have_no_gap(whole):
    for record in whole.records:
        assert {'step', 'epoch', 'phase', 'time', 'loss', 'acc'} <= set(record)
    train = [r for r in whole.records if r['phase'] == 'train']
    assert [r['epoch'] for r in train] == [(r['step'] - 1) // 19 for r in train]
    times = [r['time'] for r in whole.records]
    assert times == sorted(times)


def test_curves_are_a_picture(whole):
    content = (whole.checkpoints / 'curves.png').read_bytes()
    assert content.startswith(b'\x89PNG\r\n\x1a\n') and content.rstrip().endswith(b'IEND\xaeB`\x82')
    import matplotlib.image

    picture = matplotlib.image.imread(whole.checkpoints / 'curves.png')
    assert picture.shape[0] > 200 and picture.std() > 0.01


def test_event_file_can_be_read(whole):
    event_pb2 = pytest.importorskip('tensorboardX.proto.event_pb2')
    (path,) = (whole.root / 'events').glob('events.*')
    content, values = path.read_bytes(), {}
    while content:
        size = int.from_bytes(content[:8], 'little')
        event = event_pb2.Event.FromString(content[12 : 12 + size])
        values |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        content = content[16 + size :]
    for record in whole.records:
        tag = 'train' if record['phase'] == 'train' else f'dev/{"m" if record["file"] == whole.dev else "mm"}_dev'
        for key in ('loss', 'acc'):
            assert values[f'{tag}/{key}', record['step']] == pytest.approx(record[key])
    assert ('train/learning_rate', 10) in values
    # An epoch has both sides: the training rows, and the first dev set.
    dev = next(r for r in whole.records if r['phase'] == 'dev' and r['step'] == 95)
    assert values['epoch/val_loss', 95] == pytest.approx(dev['loss']) and 0 < values['epoch/f1', 95] <= 1


def test_kpis(whole):
    record = next(r for r in whole.records if r['phase'] == 'train' and r['step'] == 80)  # the second-last log point
    found = [line.split('\t') for line in whole.ran.out.splitlines()]
    assert [(row[0], row[1]) for row in found] == [
        ('kpis', f'train_{name}_card1') for name in ('duration', 'loss', 'acc')
    ]
    assert float(found[0][2]) == pytest.approx(10 / record['steps_per_second'])
    assert (found[1][2], found[2][2]) == (f'{record["loss"]:f}', f'{record["acc"]:f}')


def test_the_folder_given_stays_as_it_was(whole):
    assert (whole.model / 'vocab.txt').read_text(encoding='utf-8').split() == VOCABULARY
    before = open_tensors(str(whole.model / 'params'))
    after = open_tensors(str(whole.checkpoints / 'step_95'))
    assert set(after) == {*before, '_cls_out_w', '_cls_out_b'}
    assert all(not np.array_equal(before[name], after[name]) for name in before if name.endswith('.w_0'))
