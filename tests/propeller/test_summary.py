"""`propeller.summary` in a training, as a viewer reads it: by the record format and tensorboardX's message."""

import numpy as np
import pytest

import propeller.paddle as propeller
from propeller import graph
from propeller.graph import F, paddle
from propeller.update import minimize
from tests.propeller.test_learner import TRUE_WEIGHT, WIDTH, config, dataset
from tests.propeller.test_record import events


class Layers(propeller.train.Model):
    """Two products, each with its summaries; the last one is NaN."""

    def forward(self, features):
        (x,) = features
        for i in range(2):
            x = paddle.matmul(x, graph.parameter(f'w{i}', [x.shape[1], 1 + 4 * (1 - i)], graph.truncated_normal(0.5)))
            propeller.summary.scalar('层/mean', x.mean())
            propeller.summary.histogram('values', x)
        propeller.summary.scalar('nothing', paddle.log(x.mean() * 0 - 1))
        return x

    def loss(self, predictions, label):
        loss = F.mse_loss(predictions, label)
        propeller.summary.scalar('loss', 2 * loss)
        return loss

    def backward(self, loss):
        minimize(loss, lambda step: 0.01)

    def metrics(self, predictions, label):
        return {'mse': propeller.metrics.MSE(label, predictions)}


def test_a_training_writes_what_its_graph_asks_for(tmp_path, logged):
    """At log steps, with the values before the step's update; evaluation and prediction ask without a word."""
    run_config = config(tmp_path / 'run', log_steps=3, eval_steps=6, max_steps=8)
    seen = []

    class Watch(propeller.train.RunHook):
        def before_train(self, program):
            self.values = [*program.parameter_values.values(), program.outputs.loss]

        def before_run(self, state):
            return self.values

        def after_run(self, fetched, state):
            seen.append([np.array(f) for f in fetched])

    propeller.train_and_eval(
        model_class_or_model_fn=Layers,
        params={},
        run_config=run_config,
        train_dataset=dataset(),
        eval_dataset=dataset(),
        train_hooks=[Watch()],
        seed=3,
    )
    list(propeller.Learner(Layers, run_config, {}).predict(dataset(labelled=False)))
    found = {(v.tag, e.step): v for e in events(tmp_path / 'run' / 'train_history') for v in e.summary.value}
    names = {'层/mean', '层/mean_1', 'loss', 'loss_1', 'global_step', 'values', 'values_1'}
    assert set(found) == {(name, step) for name in names for step in (3, 6)}
    for step in (3, 6):
        hidden = list(dataset())[step - 1][0] @ seen[step - 2][0]  # a parameter is fetched after its update
        assert found['层/mean', step].simple_value == pytest.approx(hidden.mean(), abs=1e-6)
        histogram = found['values', step].histo
        assert (histogram.num, histogram.max) == (hidden.size, pytest.approx(hidden.max(), abs=1e-6))
        assert histogram.sum_squares == pytest.approx((hidden**2).sum(), rel=1e-4)
        loss = float(seen[step - 1][-1])
        assert found['loss', step].simple_value == pytest.approx(loss)
        assert found['loss_1', step].simple_value == pytest.approx(2 * loss)  # the model's own, beside the training's
    evaluated = {v.tag for e in events(tmp_path / 'run' / 'eval_history' / 'eval') for v in e.summary.value}
    assert evaluated == {'loss', 'mse'}
    assert not [line for line in logged if 'no propeller graph' in line]
    assert sum('the name is taken' in line for line in logged) == 3
    assert [line for line in logged if 'nothing is' in line] == [
        f'summary nothing is not finite at step {step}, left out' for step in (3, 6)
    ]


def test_half_precision_is_written_as_numbers():
    paddle.enable_static()
    with paddle.static.program_guard(paddle.static.Program()), propeller.summary.recording() as record:
        x = paddle.static.data('x', [-1, WIDTH], 'float32').astype('bfloat16')
        propeller.summary.histogram('x', x)
        (fetched,) = paddle.static.Executor().run(feed={'x': TRUE_WEIGHT.T}, fetch_list=[record.histogram[0][1]])
    assert fetched.dtype == np.float32 and fetched.tolist() == TRUE_WEIGHT.T.tolist()
