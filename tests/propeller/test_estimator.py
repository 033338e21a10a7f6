"""What users of 2019 give to Learner and train_and_eval: functions as models, hooks, layers of Paddle, wrong things."""

import json

import numpy as np
import pytest

import propeller.paddle as propeller
from propeller import graph
from propeller.errors import UserError
from propeller.exported import ExportedModel
from propeller.graph import F, paddle
from propeller.storage import open_tensors
from propeller.storage.fluid import write_variable

WIDTH, ROWS = 3, 26
X = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = X @ np.array([[0.5], [-1.0], [2.0]], np.float32)
Z = X[::-1].copy()
PREDICT = propeller.RunMode.PREDICT


def dataset(*arrays, size=5, times=1):
    shapes, types = [[-1, array.shape[1]] for array in arrays], [array.dtype.name for array in arrays]

    def batches():
        for start in [*range(0, ROWS, size)] * times:
            yield [array[start : start + size] for array in arrays]

    return propeller.data.Dataset.from_generator_func(batches, data_shapes=shapes, data_types=types)


def config(folder, **settings):
    return propeller.RunConfig(
        **{'model_dir': str(folder), 'max_steps': 6, 'eval_steps': 2, 'log_steps': 1, 'skip_steps': 0, **settings}
    )


def train_and_eval(folder, model, **given):
    arguments = {
        'params': propeller.HParams(rate=0.1),
        'run_config': config(folder),
        'train_dataset': dataset(X, Y, times=2),
        'eval_dataset': dataset(X, Y),
        'seed': 1,
    }
    return propeller.train_and_eval(**{**arguments, 'model_class_or_model_fn': model, **given})


def weight():
    return graph.parameter('w', [WIDTH, 1], graph.truncated_normal(0.5))


def two_towers(features, params, mode):
    """Arguments in an order of its own, without the run's settings; two models for inference."""
    x, z = features[0], features[1]
    left, right = paddle.matmul(x, weight()), z * 2.0
    specs = {'left': propeller.InferenceSpec([x], [left]), 'both': propeller.InferenceSpec([z, x], [right, left])}
    if mode is PREDICT:
        two_towers.built += 1
        return propeller.ModelSpec(predictions=(left, right), mode=mode, inference_spec=specs)
    loss = F.mse_loss(left, features[2])
    if mode is propeller.RunMode.TRAIN:
        propeller.minimize(loss, params.rate)
        return propeller.ModelSpec(loss=loss, mode=mode, train_hooks=[Notes()])
    metrics = {'mse': propeller.metrics.MSE(features[2], left)}
    return propeller.ModelSpec(loss, left, metrics, mode, specs, eval_hooks=[Notes()])


class Notes(propeller.RunHook):
    """Writes down what is asked of it. `before_train` has no argument, as in programs of 2019."""

    made = []

    def __init__(self):
        self.calls, self.values = [], []
        self.made.append(self)

    def before_train(self):
        self.calls.append('begin')

    def after_run(self, fetched, state):
        self.calls.append(state.step)

    def after_train(self):
        return [*self.calls, 'end']


def test_a_function_with_two_models_for_inference(tmp_path):
    """One folder for each; they are exported from the graph of the evaluation, and from that of the prediction."""
    better = lambda old, new: new['dev']['mse'] < old['dev']['mse']  # noqa: E731
    two_towers.built = 0
    given = propeller.train.exporter.BestInferenceModelExporter(
        str(tmp_path / 'given'), better, two_towers, {}, dataset(X, Z)
    )
    live = propeller.train.exporter.BestInferenceModelExporter(str(tmp_path / 'live'), better)
    Notes.made.clear()
    mine = Notes()
    results = train_and_eval(
        tmp_path / 'run',
        two_towers,
        train_dataset=dataset(X, Z, Y, times=2),
        eval_dataset={'dev': dataset(X, Z, Y), 'test': dataset(X, Z, Y)},
        eval_hooks=[mine],
        exporters=[given, live],
    )
    assert two_towers.built == 1
    assert results['dev'] == results['test'] and set(results['dev']) == {'loss', 'mse'}
    assert given.best == live.best == given._best == json.loads((tmp_path / 'given/best.json').read_text())
    assert given.best['test']['mse'] == pytest.approx(float(results['test']['mse'])), 'the last one is the best'
    w = open_tensors(str(tmp_path / 'run/model_6'))['w']
    for folder in ('given', 'live'):
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == ['best.json', 'both', 'left']
        left, both = (ExportedModel(str(tmp_path / folder / name)) for name in ('left', 'both'))
        assert left.input_names == ['eval_placeholder_0']
        assert both.input_names == ['eval_placeholder_0', 'eval_placeholder_1']
        np.testing.assert_allclose(left.run([X[:4]])[0], X[:4] @ w, rtol=1e-5)
        np.testing.assert_allclose(both.run([X[:4], X[4:8]])[0], X[4:8] * 2, rtol=1e-5)  # in the order of features
    # Six evaluations of six batches: three times two sets. The model's own hooks come beside those that are given.
    one = ['begin', 1, 2, 3, 4, 5, 6]
    assert mine.calls == one * 6
    assert [hook.calls for hook in Notes.made if hook is not mine] == [one, one * 6]


def test_hooks_and_the_log_of_an_evaluation(tmp_path, capsys):
    learner = propeller.Learner(Layers, config(tmp_path), propeller.HParams(rate=0.1), seed=1)
    learner.train(dataset(X, Y, times=2))
    capsys.readouterr()
    results, notes = learner.evaluate(dataset(X, Y), [Notes()])
    assert notes == ['begin', 1, 2, 3, 4, 5, 6, 'end'] and results == learner.evaluate(dataset(X, Y))
    lines = [line.split(':\t', 1)[-1] for line in capsys.readouterr().err.splitlines()]
    start = lines.index('*** eval res:       eval ***')
    assert lines[start + 1 : start + 3] == [f'loss\t{results["loss"]}', f'mse\t{results["mse"]}']
    assert lines[start + 3] == '*' * 30


class Layers(propeller.Model):
    """Layers of Paddle, with dropout whatever the mode is; the arguments that the guide of 2019 has."""

    def __init__(self, config, mode):
        self.config = config

    def forward(self, features):
        hidden = paddle.nn.Dropout(0.1)(F.softsign(paddle.nn.Linear(WIDTH, 4)(features[0])))
        return paddle.static.nn.fc(hidden, 1, weight_attr=paddle.ParamAttr(name='cls_out_w'))

    def loss(self, predictions, label):
        return F.mse_loss(predictions, label)

    def backward(self, loss):
        propeller.minimize(loss, self.config.rate)

    def metrics(self, predictions, label):
        return {'mse': propeller.metrics.MSE(label, predictions)}


NAMES = ['cls_out_w', 'fc_0.b_0', 'linear_0.b_0', 'linear_0.w_0']


def test_layers_of_paddle_are_trained_saved_resumed_and_predicted_with(tmp_path):
    def run(folder, **settings):
        learner = propeller.Learner(Layers, config(folder, **settings), propeller.HParams(rate=0.1), seed=1)
        learner.train(dataset(X, Y, times=2))
        return learner

    learner = run(tmp_path / 'whole', save_steps=1)
    run(tmp_path / 'parts', max_steps=3)
    run(tmp_path / 'parts')
    first, whole, parts = (
        open_tensors(str(tmp_path / name)) for name in ('whole/model_1', 'whole/model_6', 'parts/model_6')
    )
    assert sorted(whole) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(whole[name], parts[name])
        assert np.abs(whole[name] - first[name]).min() > 1e-3
    (predicted,) = learner.predict(dataset(X, size=ROWS), split_batch=False)
    hidden = X @ whole['linear_0.w_0'] + whole['linear_0.b_0']
    expected = hidden / (1 + np.abs(hidden)) @ whole['cls_out_w'] + whole['fc_0.b_0']
    np.testing.assert_allclose(predicted[0], expected, rtol=1e-4, atol=1e-5)
    first_row = learner.evaluate(dataset(X[:1], expected[:1] + 2, size=ROWS))
    assert first_row['mse'] == pytest.approx(4, rel=1e-3), 'no dropout in the evaluation'
    assert type(predicted[0]) is list and type(next(learner.predict(dataset(X)))) is tuple


def test_prediction_without_a_checkpoint(tmp_path):
    """From random values it would be nothing; a warm start may have them all."""
    propeller.Learner(Layers, config(tmp_path / 'a', max_steps=1), propeller.HParams(rate=0.1)).train(dataset(X, Y))
    choices = {'all': lambda v: v.persistable and v.dtype == 'float32' and v.shape, 'some': lambda v: 'fc' in v.name}
    learners = {
        name: propeller.Learner(
            Layers, config(tmp_path / 'b'), {}, propeller.WarmStartSetting(choice, str(tmp_path / 'a/model_1'))
        )
        for name, choice in choices.items()
    }
    trained = propeller.Learner(Layers, config(tmp_path / 'a'), {})
    assert list(learners['all'].predict(dataset(X))) == list(trained.predict(dataset(X), ckpt_path=None, steps=None))
    with pytest.raises(UserError, match='0 checkpoints, and no value of cls_out_w from a warm start'):
        next(learners['some'].predict(dataset(X)))
    with pytest.raises(UserError, match='b: found no checkpoint, expected one to evaluate. Train first.'):
        learners['all'].evaluate(dataset(X, Y))
    with pytest.raises(UserError, match='found 1 checkpoints, expected number -2 of them'):
        next(trained.predict(dataset(X), ckpt=-2))
    lost = propeller.WarmStartSetting(lambda v: True, str(tmp_path / 'lost'))
    with pytest.raises(UserError, match='lost: found nothing there, expected the folder that the training starts from'):
        propeller.Learner(Layers, config(tmp_path / 'c'), propeller.HParams(rate=0.1), lost).train(dataset(X, Y))


def test_checkpoints_of_2019(tmp_path):
    """None is passed over or written over; one predicts, and gives a training its first values."""
    layers = {'cls_out_w': (4, 1), 'fc_0.b_0': (1,), 'linear_0.b_0': (4,), 'linear_0.w_0': (3, 4)}
    values = {name: np.full(shape, 0.5, np.float32) for name, shape in layers.items()}
    folder = tmp_path / 'run/model_7'
    folder.mkdir(parents=True)
    (folder.parent / 'ckpt_info').write_text('model_7\n')
    for name, array in {**values, 'fc_0.b_0_moment1_0': np.zeros(1, np.float32)}.items():
        write_variable(str(folder / name), array)
    (folder / 'meta').write_text('{"global_step": 7, "time": 1.5}')
    learner = propeller.Learner(Layers, config(tmp_path / 'run'), propeller.HParams(rate=0.1))
    (row, *_) = learner.predict(dataset(X), ckpt_path=str(folder))
    hidden = X[0] @ values['linear_0.w_0'] + 0.5
    assert row[0] == pytest.approx((hidden / (1 + np.abs(hidden)) * 0.5).sum(keepdims=True) + 0.5)
    for call in (lambda: learner.train(dataset(X, Y)), lambda: next(learner.predict(dataset(X)))):
        with pytest.raises(
            UserError, match=r'run: found a checkpoint of 2019 \(model_7\), expected .* WarmStartSetting'
        ):
            call()
    assert (folder.parent / 'ckpt_info').read_text() == 'model_7\n'
    warm = propeller.WarmStartSetting(lambda v: True, str(folder))
    propeller.Learner(Layers, config(tmp_path / 'b', max_steps=1), propeller.HParams(rate=1e-6), warm).train(
        dataset(X, Y)
    )
    np.testing.assert_allclose(open_tensors(str(tmp_path / 'b/model_1'))['cls_out_w'], 0.5, atol=1e-5)


def spec(features, mode, **fields):
    x = paddle.matmul(features[0], weight())
    loss = F.mse_loss(x, features[-1])
    if mode is propeller.RunMode.TRAIN and fields.pop('trains', True):
        propeller.minimize(loss, 0.1)
    fields = {name: value(x, loss) if callable(value) else value for name, value in fields.items()}
    return propeller.ModelSpec(**{'loss': loss, 'predictions': [x], 'mode': mode, **fields})


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'loss': None}, 'model_fn in TRAIN: found no loss, expected a scalar value of the graph'),
        ({'loss': 0.5}, 'found the loss 0.5, expected a scalar value'),
        ({'loss': lambda x, loss: x}, r'found a loss of shape \[-1, 1\], expected a scalar: .* Take its mean over'),
        ({'trains': False}, 'found no optimizer, expected one: call propeller.minimize'),
        ({'metrics': [3]}, 'model_fn in EVAL: found list as metrics, expected a dict name -> metric object'),
        (
            {'metrics': {'acc': propeller.metrics.Acc(np.ones(3), 0.5)}},
            "model_fn in EVAL: metric 'acc': found .*expected graph values",
        ),
        ({'metrics': {'acc': 0.5}}, "found float as the metric 'acc', expected an object of propeller.metrics"),
    ],
)
def test_a_model_that_lacks_something(tmp_path, fields, text):
    def model_fn(features, mode, params, run_config=None):
        return spec(features, mode, **fields)

    with pytest.raises(UserError, match=text):
        train_and_eval(tmp_path, model_fn)


class Twice(propeller.metrics.Mean):
    def eval(self):
        return np.ones(2)


def test_other_models_that_cannot_be(tmp_path):
    def asks_for_more(features, mode, config):
        raise AssertionError('not called')

    def array_metric(features, mode, params):
        return spec(features, mode, metrics=lambda x, loss: {'twice': Twice(x)})

    for model, text in (
        (
            type('Half', (propeller.Model,), {'forward': print}),
            'Half: found no method backward, loss, metrics, expected',
        ),
        (lambda *_: None, '<lambda> returned NoneType, expected a ModelSpec'),
        (lambda x, mode, hparams: None, '<lambda> returned NoneType, expected a ModelSpec'),
        (
            asks_for_more,
            'asks_for_more: found the argument config, expected some of features, mode, params, run_config',
        ),
        (dict, "found <class 'dict'>, expected a subclass of propeller.train.Model or a function"),
        (array_metric, r'metric twice: Twice.eval\(\) gave ndarray of shape \(2,\), expected one number'),
    ):
        with pytest.raises(UserError, match=text):
            train_and_eval(tmp_path / 'x', model)
    with pytest.raises(UserError, match='Layers in TRAIN: found elements of 1 value, expected the inputs and, as the'):
        train_and_eval(tmp_path / 'y', Layers, train_dataset=dataset(X))


def test_arguments_of_train_and_eval(tmp_path):
    with pytest.raises(
        ValueError, match=r'1 arguments without a name, expected names: train_and_eval\(model_class_or_'
    ):
        propeller.train_and_eval(Layers)
    with pytest.raises(ValueError, match='train_and_eval needs model_class_or_model_fn, params, .* eval_dataset.'):
        propeller.train_and_eval()
    with pytest.raises(UserError, match="run_config: found {'model_dir': 'x'}, expected a propeller.RunConfig"):
        train_and_eval(tmp_path, Layers, run_config={'model_dir': 'x'})
    for sets, text in (
        ({}, 'found no data set'),
        ({'dev': [1]}, "eval_dataset 'dev': found list, expected a propeller Dataset"),
        ({'a/b': dataset(X, Y)}, "found the name 'a/b'"),
        (
            {'dev': dataset(X, Y), 'test': dataset(X, Y.astype(np.float64))},
            r'differ in shapes or types: dev has float32\[-1, 3\] float32\[-1, 1\], test has .* float64\[-1, 1\]',
        ),
    ):
        with pytest.raises(UserError, match=text):
            train_and_eval(tmp_path, Layers, eval_dataset=sets)
    with pytest.raises(TypeError, match="unknown setting 'max_step'; known are .* Did you mean max_steps?"):
        propeller.RunConfig(model_dir='x', max_step=3)


def test_an_evaluation_without_end(tmp_path):
    rows = propeller.data.Dataset.from_list([(x, y) for x, y in zip(X, Y, strict=True)])
    endless = rows.repeat().padded_batch(4)
    with pytest.raises(
        UserError, match='evaluation set dev: found data without end, .* repeat=False, or set eval_max_s'
    ):
        train_and_eval(tmp_path, Layers, eval_dataset={'dev': endless})
    results = train_and_eval(tmp_path, Layers, eval_dataset=endless, run_config=config(tmp_path, eval_max_steps=3))
    assert set(results) == {'eval'}


def test_exporters_that_cannot_be(tmp_path):
    make = propeller.train.exporter.BestInferenceModelExporter
    with pytest.raises(UserError, match='found no dataset, expected a model with a data set of its inputs'):
        make(str(tmp_path), None, Layers)
    with pytest.raises(UserError, match="cmp_fn of .*: found no 'dev', expected data sets .* .eval: loss, mse"):
        train_and_eval(tmp_path, Layers, exporters=[make(str(tmp_path / 'e'), lambda old, new: new['dev'] > 1)])

    def without(features, mode, params):
        return spec(features, mode)

    def strange(features, mode, params):
        return spec(
            features, mode, inference_spec=lambda x, loss: {'../x': propeller.InferenceSpec([features[0]], [x])}
        )

    def not_an_input(features, mode, params):
        return spec(features, mode, inference_spec=lambda x, loss: propeller.InferenceSpec([loss], [x]))

    for model, text in (
        (without, r'inference_spec: found None, expected InferenceSpec\(inputs, outputs\)'),
        (strange, "inference_spec: found the key '../x', expected the name of a folder"),
        (not_an_input, 'inference_spec: found the input .*expected one of the features'),
    ):
        with pytest.raises(UserError, match=text):
            train_and_eval(tmp_path / model.__name__, model, exporters=[make(str(tmp_path / 'f'), None)])
    assert not (tmp_path / 'f/best.json').exists()


def test_a_run_that_does_not_do_what_was_asked_says_so(tmp_path, capsys):
    wide = dataset(X, Y)
    wide.data_shapes = [[8, WIDTH], [-1, 1]]
    assert train_and_eval(tmp_path, Layers, run_config=config(tmp_path, eval_steps=7), train_dataset=wide) == {}
    said = capsys.readouterr().err
    assert 'no evaluation in this run of 6 steps: eval_steps is 7, skip_steps 0' in said
    assert said.count('data set train, element 0, value 0: found float32 of shape [5, 3], expected float32 of sh') == 1
    train_and_eval(tmp_path, Layers)
    assert f'nothing to train: {tmp_path} is at step 6, max_steps is 6' in capsys.readouterr().err
    other = dataset(X, Y.astype(np.float64))
    other.data_types = ['float32', 'float32']
    with pytest.raises(
        UserError, match='data set train, element 0, value 1: found float64 of shape .* expected float32'
    ):
        train_and_eval(tmp_path / 'b', Layers, train_dataset=other)
