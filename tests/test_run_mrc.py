"""run_mrc: what it learns, what it logs, which files it leaves, and what it refuses."""

import json
import re

import numpy as np
import pytest

from ernie.metrics.mrc import cmrc_scores, evaluate, load_predictions, load_truth
from ernie.reader.squad_json import read_squad
from propeller.errors import UsageError, UserError
from propeller.graph import Feed
from propeller.session import Session
from propeller.storage import open_tensors
from tests.ernie.tiny_model import CONFIG, TASK_CONFIG, flags, messages, records, write_model
from tests.ernie.tiny_reading import MRC_SETTINGS, qa, run_mrc, squad, write_json, write_puzzles

QUESTIONS, EPOCHS, BATCH = 60, 8, 16
NUMBER = r'\d+\.\d{6}'


class Whole:
    """A run with a dev and a test file, both with answers."""

    def __init__(self, root):
        self.root, self.model, self.checkpoints = root, write_model(root / 'model'), root / 'c'
        self.train = write_puzzles(root / 'train.json', QUESTIONS, 1)
        self.dev = write_puzzles(root / 'dev.json', 23, 2)
        self.test = write_puzzles(root / 'test.json', 11, 3)
        self.ran = run_mrc(
            init_pretraining_params=self.model / 'params',
            checkpoints=self.checkpoints,
            train_set=self.train,
            dev_set=self.dev,
            test_set=self.test,
            epoch=EPOCHS,
            batch_size=BATCH,
            validation_steps=30,
            max_checkpoints=1,
        )
        self.lines = messages(self.ran.log)
        self.evaluated = sorted({r['step'] for r in records(self.checkpoints, 'dev')})

    def json(self, name):
        return json.loads((self.checkpoints / name).read_text(encoding='ascii'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return Whole(tmp_path_factory.mktemp('mrc'))


def test_it_learns(whole):
    scores = [r['em'] for r in records(whole.checkpoints, 'dev')]
    assert scores[0] < 60 and max(scores) > 80


def test_training_lines(whole):
    windows = int(next(m[1] for line in whole.lines if (m := re.fullmatch(r'Num train examples: (\d+)', line))))
    assert windows > 1.5 * QUESTIONS
    form = re.compile(
        rf'epoch: \d+, progress: \d+/{windows}, step: (\d+), ave loss: {NUMBER}, speed: {NUMBER} steps/s.*'
    )
    steps = [int(m[1]) for line in whole.lines if (m := form.fullmatch(line))]
    assert steps == list(range(10, EPOCHS * -(-windows // BATCH) + 1, 10))
    assert (
        f'{whole.train}: {QUESTIONS} answers located, 0 of them not at their answer_start; 0 could not be located'
        in (whole.lines)
    )


def test_evaluation_lines_and_records(whole):
    form = re.compile(
        rf'\[(\S+) evaluation\] em: ({NUMBER}), f1: ({NUMBER}), avg: ({NUMBER}), questions: (\d+), '
        rf'elapsed time: {NUMBER}'
    )
    found = {m[1]: m for line in whole.lines if (m := form.fullmatch(line))}
    last = whole.evaluated[-1]
    phases = [f'{step}_{name}' for step in whole.evaluated[:-1] for name in ('dev', 'test')] + ['dev', 'test']
    assert list(found) == phases
    for phase, m in found.items():
        name = phase.rpartition('_')[2]
        step = last if phase == name else int(phase.partition('_')[0])
        record = next(r for r in records(whole.checkpoints, name) if r['step'] == step)
        assert [record[key] for key in ('em', 'f1', 'avg')] == pytest.approx([float(m[i]) for i in (2, 3, 4)], abs=1e-6)
        assert int(m[5]) == (23 if name == 'dev' else 11) and 'questions' not in record  # it is no curve
        truth = load_truth(whole.dev if name == 'dev' else whole.test)
        again = evaluate('cmrc', truth, load_predictions(whole.checkpoints / f'{phase}_predictions.json'))
        assert again == {**{key: record[key] for key in ('em', 'f1', 'avg')}, 'questions': int(m[5])}
    for line in ('Final validation result:', 'Final test result:'):
        assert whole.lines.count(line) == 1
    path = whole.checkpoints / 'dev_predictions.json'
    assert whole.lines.index('Final validation result:') + 1 == whole.lines.index(f'Writing predictions to: {path}')
    assert f'Writing nbest to: {whole.checkpoints}/dev_nbest_predictions.json' in whole.lines


def test_prediction_files(whole):
    with open(whole.dev, encoding='utf-8') as f:
        contexts = {
            entry['id']: p['context'] for a in json.load(f)['data'] for p in a['paragraphs'] for entry in p['qas']
        }
    predictions, n_best = whole.json('dev_predictions.json'), whole.json('dev_nbest_predictions.json')
    assert list(predictions) == list(n_best) == list(contexts)
    for key, answers in n_best.items():
        assert answers[0]['text'] == predictions[key]
        assert 1 <= len(answers) <= 20 and len({a['text'] for a in answers}) == len(answers)
        assert all(list(a) == ['text', 'probability', 'start_logit', 'end_logit'] for a in answers)
        assert all(a['text'] in contexts[key] and 1 <= len(a['text']) <= 4 for a in answers)
        sums = np.array([a['start_logit'] + a['end_logit'] for a in answers])
        assert (np.diff(sums) <= 0).all() and sums.min() > -1000
        np.testing.assert_allclose([a['probability'] for a in answers], np.exp(sums) / np.exp(sums).sum(), rtol=1e-6)
    text = (whole.checkpoints / 'dev_predictions.json').read_bytes()
    assert text.startswith(b'{\n    "q2_0": "\\u') and text.endswith(b'"\n}\n')


def test_best_checkpoint(whole):
    scores = [(r['avg'], -r['step']) for r in records(whole.checkpoints, 'dev')]
    avg, step = max(scores)
    saved = json.loads((whole.checkpoints / 'best/metrics.json').read_text())
    assert (saved['step'], saved['avg'], saved['main_value']) == (-step, avg, avg)
    assert saved['avg'] == (saved['em'] + saved['f1']) / 2


def test_checkpoint_holds_what_prediction_needs(whole):
    folder = whole.checkpoints / f'step_{whole.evaluated[-1]}'
    labels = json.loads((folder / 'labels.json').read_text())
    assert labels['task'] == 'mrc' and labels['unanswerable'] is False and labels['metric'] == 'cmrc'
    given = {name: value for name, value in MRC_SETTINGS.items() if name in labels}
    assert given and given == {name: labels[name] for name in given}
    parameters = open_tensors(str(folder))
    assert parameters.shape('cls_mrc_out_w') == (12, 2) and parameters.shape('cls_mrc_out_b') == (2,)
    assert set(parameters) == {*open_tensors(str(whole.model / 'params')), 'cls_mrc_out_w', 'cls_mrc_out_b'} - {
        'pooled_fc.w_0',
        'pooled_fc.b_0',
    }


def test_evaluation_alone_gives_the_same(whole, tmp_path):
    best = json.loads((whole.checkpoints / 'best/metrics.json').read_text())
    ran = run_mrc(
        init_checkpoint=whole.checkpoints / 'best',
        do_train=False,
        dev_set=whole.dev,
        do_test=False,
        checkpoints=tmp_path,
    )
    assert f'[dev evaluation] em: {best["em"]:f}, f1: {best["f1"]:f}, avg: {best["avg"]:f}, questions: 23' in ran.log
    assert 'Final validation result:' in messages(ran.log)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'dev_nbest_predictions.json',
        'dev_predictions.json',
        'evaluation.jsonl',
        'report.html',
        'reports',
    ]
    answers = json.loads((tmp_path / 'dev_predictions.json').read_text(encoding='utf-8'))
    truth = load_truth(whole.dev)
    lines = (tmp_path / 'reports/dev.errors.jsonl').read_text(encoding='utf-8').splitlines()
    wrong = {entry['id']: entry for entry in map(json.loads, lines)}
    assert wrong.keys() == {key for key, texts in truth.items() if cmrc_scores(texts, answers[key])[0] < 1}
    for key, entry in wrong.items():
        assert (entry['true'], entry['predicted']) == (truth[key], answers[key])
        assert entry['f1'] == pytest.approx(100 * cmrc_scores(truth[key], answers[key])[1], abs=1e-3)
    # What a run found on the way is what the best checkpoint gives alone.
    assert (whole.checkpoints / 'reports/dev.errors.jsonl').read_text(encoding='utf-8').splitlines() == lines


def test_resumed_runs_give_the_same_numbers(whole, tmp_path):
    settings = {'init_pretraining_params': whole.model / 'params', 'train_set': whole.train, 'dev_set': whole.dev}
    settings |= {'do_test': False, 'validation_steps': 4, 'skip_steps': 1, 'epoch': 2, 'save_steps': 3}
    run_mrc(**settings, checkpoints=tmp_path / 'a', max_steps=9)
    run_mrc(**settings, checkpoints=tmp_path / 'b', max_steps=9)
    (tmp_path / 'b/step_9').rename(tmp_path / 'away')  # as if it had been killed after step 6 was saved
    run_mrc(**settings, checkpoints=tmp_path / 'b', max_steps=9, resume=True)
    one, two = (open_tensors(str(tmp_path / x / 'step_9')) for x in 'ab')
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    timed = ('time', 'steps_per_second', 'tokens_per_second')
    kept = [[{k: v for k, v in r.items() if k not in timed} for r in records(tmp_path / x, 'train')] for x in 'ab']
    assert kept[0] == kept[1] and len(kept[0]) == 9


def test_early_stop_names_the_last_evaluation(whole, tmp_path):
    ran = run_mrc(
        init_pretraining_params=whole.model / 'params',
        train_set=whole.train,
        dev_set=whole.dev,
        do_test=False,
        checkpoints=tmp_path,
        epoch=3,
        validation_steps=2,
        early_stop=2,
        learning_rate=1e-9,
    )
    assert 'early stop: 2 evaluations without a better metric than at step 2' in messages(ran.log)
    names = sorted(p.name for p in tmp_path.glob('*dev_predictions.json'))
    assert names == [
        '2_dev_predictions.json',
        '4_dev_predictions.json',
        '6_dev_predictions.json',
        'dev_predictions.json',
    ]
    assert (tmp_path / 'dev_predictions.json').read_bytes() == (tmp_path / '6_dev_predictions.json').read_bytes()


def test_unanswerable_questions(tmp_path, whole):
    train = write_puzzles(tmp_path / 'train.json', 60, 4, unanswerable=0.4, longest=11)
    dev = write_puzzles(tmp_path / 'dev.json', 31, 5, unanswerable=0.4, longest=11)
    common = {'checkpoints': tmp_path / 'c', 'dev_set': dev, 'do_test': False, 'metric': 'squad', 'max_seq_len': 16}
    run_mrc(init_pretraining_params=whole.model / 'params', train_set=train, epoch=12, validation_steps=1000, **common)
    best = json.loads((tmp_path / 'c/best/metrics.json').read_text())
    assert best['no_answer_em'] > 80 and best['has_answer_em'] > 60
    assert json.loads((tmp_path / 'c/best/labels.json').read_text())['unanswerable'] is True
    n_best = json.loads((tmp_path / 'c/dev_nbest_predictions.json').read_text())
    assert all([answer['text'] for answer in answers].count('') == 1 for answers in n_best.values())
    folder = tmp_path / 'c/best'
    counts = []
    for threshold in (-1000, 0, 1000):
        run_mrc(init_checkpoint=folder, do_train=False, null_score_diff_threshold=threshold, **common)
        found = json.loads((tmp_path / 'c/dev_predictions.json').read_text())
        counts.append(sum(text == '' for text in found.values()))
    assert counts[0] == 31 and 5 < counts[1] < 25 and counts[2] == 0


def test_a_test_file_without_answers_is_predicted(whole, tmp_path):
    test = write_json(tmp_path / 't.json', squad(('的一是好大丑不了人', [{'id': 'only', 'question': '有在哪'}])))
    ran = run_mrc(
        init_checkpoint=whole.checkpoints / 'best',
        do_train=False,
        do_val=False,
        test_set=test,
        checkpoints=tmp_path / 'c',
    )
    assert json.loads((tmp_path / 'c/test_predictions.json').read_text()) == {'only': '好大丑'}
    assert 'Final test result:' in messages(ran.log) and 'evaluation] em' not in ran.log


def test_a_model_with_task_ids(tmp_path):
    model = write_model(tmp_path / 'm', config=TASK_CONFIG)
    train = write_puzzles(tmp_path / 't.json', 9, 1)
    run_mrc(
        init_pretraining_params=model,
        train_set=train,
        dev_set=train,
        do_test=False,
        checkpoints=tmp_path / 'c',
        epoch=1,
        task_id=2,
    )
    assert json.loads((tmp_path / 'c/best/labels.json').read_text())['task_id'] == 2


# ---------------------------------------------------------------- the graph


def test_loss_and_closed_positions_of_the_graph():
    """Against float64 numpy over the open positions, on an odd batch with padding."""
    from ernie.config import ErnieConfig
    from ernie.tasks.mrc.graph import CLOSED, ErnieMrc
    from propeller.train.model import build_model_spec
    from propeller.types import HParams, RunMode

    rng, split, lengths = np.random.default_rng(0), [4, 2, 5], [9, 6, 7]
    ids, types, positions = (np.zeros((3, 9), np.int64) for _ in range(3))
    mask = np.zeros((3, 9), np.float32)
    for i, (n, s) in enumerate(zip(lengths, split, strict=True)):
        ids[i, :n], types[i, s:n], positions[i, :n], mask[i, :n] = rng.integers(5, 60, n), 1, range(n), 1
    label = np.array([[5, 7], [0, 0], [5, 5]], np.int64)
    session = Session(seed=3)
    feeds = [Feed(n, (-1, -1), 'int64') for n in ('i', 't', 'p')] + [
        Feed('m', (-1, -1), 'float32'),
        Feed('l', (-1, 2), 'int64'),
    ]
    params = HParams(ernie=ErnieConfig(CONFIG))
    program = session.build(feeds, lambda *f: build_model_spec(ErnieMrc, f, RunMode.EVAL, params, None))
    session.initialize(program)
    spec = program.outputs
    start, end, loss = session.run(program, [ids, types, positions, mask, label], [*spec.predictions, spec.loss])
    expected = 0.0
    for i, (n, s) in enumerate(zip(lengths, split, strict=True)):
        opened = [0, *range(s, n - 1)]
        closed = [j for j in range(9) if j not in opened]
        for logits, target in ((start[i], label[i, 0]), (end[i], label[i, 1])):
            assert (logits[closed] == CLOSED).all() and (np.abs(logits[opened]) < 50).all()
            exact = logits[opened].astype(np.float64)
            expected += np.log(np.exp(exact).sum()) - exact[opened.index(target)]
    assert float(loss) == pytest.approx(expected / 6, rel=1e-6)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    'changes, text',
    [
        ({'metric': 'acc'}, '--metric acc: expected one of cmrc, squad'),
        ({'diagnostic': 'x', 'diagnostic_save': 'y'}, '--diagnostic'),
        ({'dev_set': 'a.json,b.json'}, '--dev_set a.json,b.json: expected one file'),
        ({'max_query_length': 11}, '--max_query_length 11: leaves no token'),
        ({'doc_stride': 0}, '--doc_stride 0: expected at least 1'),
        ({'n_best_size': 0}, '--n_best_size 0: expected at least 1'),
        ({'max_answer_length': 0}, '--max_answer_length 0: expected at least 1'),
    ],
)
def test_flags_that_cannot_be(whole, tmp_path, changes, text):
    settings = {
        'init_pretraining_params': whole.model,
        'train_set': whole.train,
        'checkpoints': tmp_path,
        'do_test': False,
    }
    with pytest.raises(UsageError, match=re.escape(text)):
        run_mrc(**(settings | changes))


def test_a_dev_file_without_answers(whole, tmp_path):
    dev = write_json(tmp_path / 'd.json', squad(('今天', [qa('x', '什么')])))
    with pytest.raises(UserError, match="d.json: found question 'x' without answers, expected at least one answer"):
        run_mrc(
            init_pretraining_params=whole.model, train_set=whole.train, dev_set=dev, do_test=False, checkpoints=tmp_path
        )


def test_a_checkpoint_of_another_task(whole, tmp_path):
    import run_classifier
    from tests.ernie.tiny_model import SETTINGS, table

    settings = {'init_checkpoint': whole.checkpoints / 'best', 'do_train': False, 'do_test': False}
    settings |= {'dev_set': table(tmp_path / 'd.tsv', [('好', 1)]), 'checkpoints': tmp_path / 'c'}
    with pytest.raises(UserError, match='found a checkpoint of the task mrc, expected classification'):
        run_classifier.main(flags(**(SETTINGS | settings)))


def test_missing_opencc(whole, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'opencc', None)
    with pytest.raises(UserError, match='--to_simplified true needs the package opencc'):
        run_mrc(
            init_pretraining_params=whole.model,
            train_set=whole.train,
            to_simplified=True,
            do_test=False,
            checkpoints=tmp_path,
        )


@pytest.mark.parametrize('engine', ['executor', 'predictor'])
def test_prediction_gives_the_answers_of_the_evaluation(whole, tmp_path, engine):
    import infer_classifyer

    answers = tmp_path / 'answers.jsonl'
    settings = {'init_checkpoint': whole.checkpoints / f'step_{whole.evaluated[-1]}', 'predict_set': whole.dev}
    settings |= {'format': 'jsonl', 'output': answers, 'engine': engine, 'use_cuda': False, 'batch_size': 5}
    infer_classifyer.main(flags(**settings, save_inference_model_path=tmp_path / 'exported'))
    found = [json.loads(line) for line in answers.read_text(encoding='utf-8').splitlines()]
    assert {result['id']: result['answer'] for result in found} == whole.json('dev_predictions.json')
    for result, question in zip(found, read_squad(whole.dev), strict=True):
        assert question.context[result['start'] : result['end']] == result['answer'] != ''
        best = whole.json('dev_nbest_predictions.json')[result['id']][0]
        assert result['probability'] == pytest.approx(best['probability'], abs=1e-5)
