"""Learner, train_and_eval and exporters on a model small enough to compute by hand."""

import json
import os

import numpy as np
import pytest

import propeller.paddle as propeller
from propeller import graph
from propeller.errors import UserError
from propeller.exported import ExportedModel
from propeller.graph import F
from propeller.session import Session
from propeller.storage import Tensors, open_tensors, write_safetensors
from propeller.train.loop import LoopState
from propeller.train.metrics import MSE
from propeller.update import minimize
from tests.counting_hook import Counts

ROWS, WIDTH = 37, 3
TRUE_WEIGHT = np.array([[0.5], [-1.0], [2.0]], np.float32)


class Line(propeller.train.Model):
    """y = x w, with dropout on x so that the random state matters."""

    def forward(self, features):
        x = features[0]
        if self.mode == propeller.RunMode.TRAIN and self.config.dropout:
            x = F.dropout(x, self.config.dropout)
        return graph.paddle.matmul(x, graph.parameter('w', [WIDTH, 1], graph.truncated_normal(0.1)))

    def loss(self, predictions, label):
        return F.mse_loss(predictions, label)

    def backward(self, loss):
        minimize(loss, lambda step: 0.05, clip_norm=1.0)

    def metrics(self, predictions, label):
        return {'mse': MSE(label, predictions)}


def dataset(repeat=1, labelled=True):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    y = x @ TRUE_WEIGHT

    def batches():
        for _ in range(repeat):
            for start in range(0, ROWS, 5):
                end = start + 5
                yield [x[start:end], y[start:end]] if labelled else [x[start:end]]

    shapes, types = [[-1, WIDTH], [-1, 1]], ['float32', 'float32']
    n = 2 if labelled else 1
    return propeller.data.Dataset.from_generator_func(batches, data_shapes=shapes[:n], data_types=types[:n])


def config(folder, **kw):
    settings = {'model_dir': str(folder), 'save_steps': 4, 'eval_steps': 5, 'log_steps': 3, 'skip_steps': 0}
    return propeller.RunConfig(**{**settings, **kw})


def params(dropout=0.0):
    return propeller.HParams(dropout=dropout)


def weight(folder):
    return open_tensors(str(folder))['w']


@pytest.mark.slow
def test_train_and_eval_learns_and_reports(tmp_path):
    results = propeller.train_and_eval(
        model_class_or_model_fn=Line,
        params=params(),
        run_config=config(tmp_path / 'run', max_steps=150),
        train_dataset=dataset(repeat=30),
        eval_dataset={'dev': dataset(), 'other': dataset()},
        seed=1,
    )
    np.testing.assert_allclose(weight(tmp_path / 'run' / 'model_150'), TRUE_WEIGHT, atol=0.05)
    assert set(results) == {'dev', 'other'}
    x_loss = float(results['dev']['loss'])
    assert x_loss < 0.01
    assert results['dev']['mse'] == pytest.approx(x_loss, rel=1e-5)  # over all rows, though the last batch is smaller
    listed = (tmp_path / 'run' / 'ckpt_info').read_text().split()
    assert listed[-1] == 'model_150'
    assert len(listed) == 10
    assert sorted(listed) == sorted(p.name for p in (tmp_path / 'run').iterdir() if p.name.startswith('model_'))


def test_resume_equals_an_undisturbed_run(tmp_path, monkeypatch):
    def run(folder, **kw):
        learner = propeller.Learner(Line, config(folder, **kw), params(dropout=0.3), seed=7)
        learner.train(dataset(repeat=4))

    run(tmp_path / 'whole', max_steps=20)
    run(tmp_path / 'parts', max_steps=8)
    run(tmp_path / 'parts', max_steps=20)
    for name in ('model.safetensors', 'optimizer.safetensors'):
        a, b = (open_tensors(str(tmp_path / d / 'model_20' / name)) for d in ('whole', 'parts'))
        assert list(a) == list(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_a_learner_that_goes_on_makes_the_rows_that_are_left_only(tmp_path):
    """The same parameters as without a break, from a shuffled and repeated data set."""
    made, x = [], np.random.default_rng(4).normal(size=(ROWS, WIDTH)).astype(np.float32)

    def train(folder, steps):
        made.clear()
        rows = propeller.data.Dataset.from_list(list(range(ROWS)))
        rows = rows.map(lambda i: (made.append(i), (x[i], x[i] @ TRUE_WEIGHT))[1])
        batches = rows.shuffle(6, seed=2).repeat(4).padded_batch(5)
        batches.data_shapes, batches.data_types = [[-1, WIDTH], [-1, 1]], ['float32', 'float32']
        propeller.Learner(Line, config(folder, max_steps=steps), params(dropout=0.3), seed=7).train(batches)

    train(tmp_path / 'whole', 30)
    assert len(made) == 4 * ROWS
    train(tmp_path / 'parts', 22)
    train(tmp_path / 'parts', 30)
    assert len(made) < 4 * ROWS - 22 * 5 + 30  # what is left, and what the buffer of the shuffle held
    for name in ('model.safetensors', 'optimizer.safetensors'):
        a, b = (open_tensors(str(tmp_path / d / 'model_30' / name)) for d in ('whole', 'parts'))
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_evaluate_and_predict_use_the_checkpoint(tmp_path):
    learner = propeller.Learner(Line, config(tmp_path, max_steps=16), params(), seed=3)
    learner.train(dataset(repeat=4))
    w = weight(tmp_path / 'model_16')
    predicted = list(learner.predict(dataset(labelled=False)))
    rows = np.concatenate([batch[0] for batch in dataset(labelled=False)])
    np.testing.assert_allclose([p[0] for p in predicted], rows @ w, rtol=1e-5, atol=1e-6)
    older = list(learner.predict(dataset(labelled=False), ckpt=-2, steps=1))
    np.testing.assert_allclose([p[0] for p in older], rows[:5] @ weight(tmp_path / 'model_12'), rtol=1e-5, atol=1e-6)
    results = learner.evaluate(dataset())
    labels = rows @ TRUE_WEIGHT
    assert results['mse'] == pytest.approx(float(((rows @ w - labels) ** 2).mean()), rel=1e-4)
    whole = list(learner.predict(dataset(labelled=False), split_batch=False))
    assert [len(batch[0]) for batch in whole] == [5] * 7 + [2]


def test_function_style_model(tmp_path):
    def model_fn(features, mode, params, run_config):
        if mode == propeller.RunMode.PREDICT:
            return propeller.ModelSpec(predictions=[Line(params, mode).forward(features)], mode=mode)
        *inputs, label = features
        line = Line(params, mode, run_config)
        predictions = line.forward(inputs)
        loss = line.loss(predictions, label)
        if mode == propeller.RunMode.TRAIN:
            line.backward(loss)
        return propeller.ModelSpec(
            loss=loss, predictions=[predictions], metrics={'m': MSE(label, predictions)}, mode=mode
        )

    learner = propeller.Learner(model_fn, config(tmp_path, max_steps=3), params(), seed=3)
    learner.train(dataset())
    results = learner.evaluate(dataset())
    assert results['m'] == pytest.approx(results['loss'], rel=1e-5)  # over all rows, though the last batch is smaller
    assert len(list(learner.predict(dataset(labelled=False)))) == ROWS


def test_best_exporters(tmp_path):
    smaller = lambda old, new: new['eval']['loss'] < old['eval']['loss']  # noqa: E731
    best = propeller.train.BestExporter(str(tmp_path / 'best'), smaller)
    inference = propeller.train.BestInferenceModelExporter(
        str(tmp_path / 'served'), smaller, Line, params(), dataset(labelled=False)
    )
    propeller.train_and_eval(
        model_class_or_model_fn=Line,
        params=params(),
        run_config=config(tmp_path / 'run', max_steps=10),
        train_dataset=dataset(repeat=3),
        eval_dataset=dataset(),
        exporters=[best, inference],
        seed=2,
    )
    kept = [p.name for p in (tmp_path / 'best').iterdir() if p.is_dir()]
    assert kept == ['model_10']
    x = np.ones((4, WIDTH), np.float32)
    (out,) = ExportedModel(str(tmp_path / 'served' / 'inference')).run([x])
    np.testing.assert_allclose(out, x @ weight(tmp_path / 'best' / 'model_10'), rtol=1e-5)
    assert best._best == json.loads((tmp_path / 'best' / 'best.json').read_text())
    again = propeller.train.BestExporter(str(tmp_path / 'best'), smaller)
    assert again.best == best.best


class Kept(MSE):
    """As the metrics of 2019: what is fetched must be persistable."""

    @property
    def tensor(self):
        for value in super().tensor:
            value.persistable = True
        return super().tensor


def test_values_that_a_metric_of_2019_keeps_do_not_go_into_an_export(tmp_path):
    class KeptLine(Line):
        def metrics(self, predictions, label):
            return {'mse': Kept(label, predictions)}

    served = propeller.train.BestInferenceModelExporter(str(tmp_path / 'served'), lambda old, new: True)
    results = propeller.train_and_eval(
        model_class_or_model_fn=KeptLine,
        params=params(),
        run_config=config(tmp_path / 'run', max_steps=5),
        train_dataset=dataset(),
        eval_dataset=dataset(),
        exporters=[served],
        seed=2,
    )
    assert results['eval']['mse'] == pytest.approx(results['eval']['loss'], rel=1e-5)
    (out,) = ExportedModel(str(tmp_path / 'served' / 'inference')).run([np.ones((4, WIDTH), np.float32)])
    assert out.shape == (4, 1)


class Rated(propeller.train.BestExporter):
    """Notes what it writes."""

    def write(self, session, program, gstep):
        self.written.append(gstep)


def test_the_best_never_comes_from_what_is_no_number(tmp_path):
    class Program:
        def parameters(self):
            return {}

    exporter = Rated(str(tmp_path), lambda old, new: new['dev']['acc'] > old['dev']['acc'])
    exporter.written = []
    for step, score in enumerate([np.nan, 0.5, np.inf, np.nan, 0.75]):
        exporter.export(None, Program(), None, {'dev': {'acc': score, 'other': 1.0}}, LoopState(step))
    assert exporter.written == [1, 4] and exporter.best['dev']['acc'] == 0.75
    (tmp_path / 'best.json').write_text('{"dev": {"acc": NaN}}')
    assert Rated(str(tmp_path), None).best is None


def test_a_model_that_is_not_finite_is_not_exported(tmp_path):
    session = Session(seed=1)
    program = session.build(
        [graph.Feed('x', (-1, 2), 'float32')], lambda x: x * graph.parameter('w', [2], graph.constant(np.inf))
    )
    session.initialize(program)
    exporter = Rated(str(tmp_path), None)
    with pytest.raises(UserError, match=r'not saved, because w has inf at \[0\], the first of 2'):
        exporter.export(session, program, None, {'dev': {'acc': 0.5}}, LoopState(3))
    assert exporter.best is None


def test_warm_start_loads_what_the_predicate_names(tmp_path):
    learner = propeller.Learner(Line, config(tmp_path / 'a', max_steps=4), params(), seed=3)
    learner.train(dataset())
    setting = propeller.WarmStartSetting(lambda v: v.name == 'w', str(tmp_path / 'a' / 'model_4'))
    seen = []

    class Peek(propeller.train.RunHook):
        def before_train(self, program):
            seen.append(program)

    warm = propeller.Learner(Line, config(tmp_path / 'b', max_steps=1), params(), setting, seed=9)
    warm.train(dataset(), [Peek()])
    # One update at rate 0.05 moves Adam's parameters by at most 0.05.
    assert np.abs(weight(tmp_path / 'b' / 'model_1') - weight(tmp_path / 'a' / 'model_4')).max() <= 0.0501
    assert len(seen) == 1


class Renamed(Tensors):
    """The tensors of a file by other names."""

    def __init__(self, tensors):
        super().__init__(tensors.path)
        self.tensors = tensors

    def __getitem__(self, name):
        return self.tensors[f'their_{name}']

    def __iter__(self):
        return (name.removeprefix('their_') for name in self.tensors)

    def __len__(self):
        return len(self.tensors)

    def shape(self, name):
        return self.tensors.shape(f'their_{name}')

    def dtype(self, name):
        return self.tensors.dtype(f'their_{name}')

    def is_bfloat16(self, name):
        return False


def test_a_warm_start_from_opened_tensors(tmp_path):
    path = tmp_path / 'theirs.safetensors'
    write_safetensors(path, {'their_w': np.full((WIDTH, 1), 7, np.float32), 'their_w2': np.ones(2, np.float32)})
    setting = propeller.WarmStartSetting(lambda v: v.name == 'w', Renamed(open_tensors(path)))
    propeller.Learner(Line, config(tmp_path / 'b', max_steps=1), params(), setting).train(dataset())
    assert np.abs(weight(tmp_path / 'b' / 'model_1') - 7).max() <= 0.0501
    write_safetensors(path, {'their_w': np.ones((WIDTH, 2), np.float32)})
    setting = setting._replace(from_dir=Renamed(open_tensors(path)))
    with pytest.raises(UserError, match=r'theirs.safetensors.*w has shape'):
        propeller.Learner(Line, config(tmp_path / 'c', max_steps=1), params(), setting).train(dataset())


@pytest.mark.parametrize(
    ('array', 'text'),
    [
        (np.ones((WIDTH, 1), np.int64), 'w is int64, expected float32'),
        (np.full((WIDTH, 1), np.nan, np.float32), r'found w with nan at \[0, 0\]'),
        (np.ones((WIDTH, 2), np.float32), r'w has shape \[3, 2\], expected \[3, 1\]'),
        (None, 'w is missing'),
    ],
)
def test_a_warm_start_is_strict(tmp_path, array, text):
    tensors = {'other': np.ones(2, np.float32)} | ({} if array is None else {'w': array})
    write_safetensors(tmp_path / 'model.safetensors', tensors)
    setting = propeller.WarmStartSetting(lambda v: v.name == 'w', str(tmp_path))
    with pytest.raises(UserError, match=text):
        propeller.Learner(Line, config(tmp_path / 'b', max_steps=1), params(), setting, seed=9).train(dataset())


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(UserError, match='model_dir'):
        propeller.Learner(Line, propeller.RunConfig())
    with pytest.raises(UserError, match='Dataset'):
        propeller.Learner(Line, config(tmp_path), params()).train([1, 2])
    with pytest.raises(UserError, match='eval_dataset'):
        propeller.train_and_eval(model_class_or_model_fn=Line, params=params(), run_config=config(tmp_path))
    with pytest.raises(UserError, match='best_metric and early_stop need evaluation sets'):
        propeller.Learner(Line, config(tmp_path, best_metric='min mse'), params()).train(dataset())
    with pytest.raises(UserError, match='best_metric: found acc, expected a metric of eval: loss, mse'):
        propeller.train_and_eval(
            model_class_or_model_fn=Line,
            params=params(),
            run_config=config(tmp_path, best_metric='max acc'),
            train_dataset=dataset(),
            eval_dataset=dataset(),
        )
    with pytest.raises(UserError, match='0 checkpoints'):
        next(propeller.Learner(Line, config(tmp_path), params()).predict(dataset(labelled=False)))
    assert not os.listdir(tmp_path)


# ---------------------------------------------------------------- whose folder it is, what hooks remember


def kept(folder):
    return json.loads((folder / 'training_state.json').read_text())


def test_hooks_remember_over_a_break(tmp_path):
    for steps in (4, 7):
        hooks = [Counts([]), Counts([])]
        propeller.Learner(Line, config(tmp_path, max_steps=steps), params(), seed=1).train(dataset(), hooks)
        assert [hook.steps for hook in hooks] == [list(range(1, steps + 1))] * 2
        assert kept(tmp_path / f'model_{steps}')['hooks'].keys() == {'Counts', 'Counts#2'}


def test_a_hook_that_cannot_be_kept_is_named_before_anything_is_written(tmp_path):
    learner = propeller.Learner(Line, config(tmp_path, max_steps=4), params(), seed=1)
    with pytest.raises(UserError, match=r'hook Counts: state_dict\(\): found what JSON cannot keep'):
        learner.train(dataset(), [Counts([{1, 2}])])
    assert not list(tmp_path.glob('model_*'))


def test_a_learner_goes_on_with_its_own_run(tmp_path):
    """Checkpoints of an older run with larger numbers lie in the folder; the run that worked last is continued."""
    older, folder = tmp_path / 'older', tmp_path / 'run'
    propeller.Learner(Line, config(older, max_steps=8), params(), seed=1).train(dataset(repeat=2))
    learner = propeller.Learner(Line, config(folder, max_steps=4), params(), seed=1)
    learner.train(dataset())
    (older / 'model_8').rename(folder / 'model_8')
    own, foreign = kept(folder / 'model_4')['run'], kept(folder / 'model_8')['run']
    assert own != foreign
    fresh = propeller.Learner(Line, config(folder, max_steps=6, max_ckpt=1), params(), seed=1)
    assert fresh._checkpoint(-1) == str(folder / 'model_4')
    fresh.train(dataset())
    assert kept(folder / 'model_6')['run'] == own and (folder / 'model_8').exists()
    (folder / '.propeller-run.json').unlink()
    with pytest.raises(UserError, match='found checkpoints of several runs .*model_6 of .*model_8 of'):
        propeller.Learner(Line, config(folder, max_steps=9), params()).train(dataset(repeat=2))


def test_two_learners_in_one_folder(tmp_path):
    class Second(propeller.train.RunHook):
        def before_train(self, program):
            with pytest.raises(UserError, match=f'at work there .process {os.getpid()} on .*model_dir'):
                propeller.Learner(Line, config(tmp_path, max_steps=1), params()).train(dataset())

    propeller.Learner(Line, config(tmp_path, max_steps=1), params()).train(dataset(), [Second()])
    propeller.Learner(Line, config(tmp_path, max_steps=2), params()).train(dataset())  # released
