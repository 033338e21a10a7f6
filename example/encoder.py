"""The encoder in a propeller model: its graph, its first values, its optimizer, its training."""

import os
import re

import propeller.paddle as propeller
from ernie.checkpoint import open_model
from ernie.checkpoint.names import is_of_encoder
from ernie.config import DEFAULT_LAYER_NORM_EPS
from ernie.model.encoders import backbone_shapes, build_encoder
from ernie.optimization import decays, describe_schedule, learning_rate_schedule, warmup_steps_of
from ernie.zoo import resolve
from example.command_line import check_inputs
from propeller.errors import UserError, bad_input
from propeller.graph import paddle

# What is taken from a pre-trained model, where it has it.
WARM = re.compile(r'^encoder.*[wb]_0$|^.*embedding$|^.*bias$|^.*scale$|^pooled_fc.[wb]_0$')


class EncoderModel(propeller.train.Model):
    """Base of the examples' models. `config` is `Setup.params`.

    Attributes:
        training: whether dropout is on.
    """

    @property
    def training(self):
        return self.mode == propeller.RunMode.TRAIN

    def encode(self, ids, types, mask):
        """The `ernie.model.encoders.Encoder` over a batch.

        Args:
            ids, types: int64 [B, T, 1], token ids and sentence types.
            mask: float32 [B, T], 1 for tokens and 0 for padding.
        """
        ids, types = ids.squeeze(-1), types.squeeze(-1)
        features = [ids, types, positions(ids), mask]
        if self.config.ernie.use_task_id:
            features.append(ids * 0 + self.config.task_id)
        return build_encoder(features, self.config.ernie, self.training)

    def backward(self, loss):
        """AdamW with a warm-up, linear decay to 0 at `max_steps`, and gradients of norm 1 at most."""
        config, steps, kind = self.config, self.run_config.max_steps, 'linear_warmup_decay'
        schedule = kind, config.learning_rate, warmup_steps_of(kind, config.warmup_proportion, steps), steps
        propeller.log.debug(describe_schedule(*schedule, hint='a larger warmup_proportion'))
        propeller.minimize(loss, learning_rate_schedule(*schedule), config.weight_decay, decays, 1.0)


def positions(ids):
    """0, 1, 2 ... in each row: int64 [B, T]. ids: int64 [B, T]."""
    return paddle.cumsum(ids * 0 + 1, axis=1) - 1


def warm_start(setup, without=()):
    """The `propeller.WarmStartSetting` of `--warm_start_from`, None without it.

    Args:
        setup: `example.command_line.Setup`.
        without: beginnings of names of the encoder that the model does not have.
    Raises:
        UserError: there is no such model, or nothing of it can be taken.
    """
    place, config = setup.args.warm_start_from, setup.params.ernie
    if not place:
        propeller.log.warning('no --warm_start_from: all parameters are random')
        return None
    tensors = open_model(resolve(place))
    names = [name for name in backbone_shapes(config) if not name.startswith(tuple(without))]
    taken = [name for name in names if WARM.match(name) and name in tensors]
    if not taken:
        held = ', '.join(list(tensors)[:3]) or 'nothing'
        raise bad_input(
            place, f'none of the {len(names)} parameters of the encoder ({held} ...)', 'a pre-trained model'
        )
    propeller.log.info('warm start: %d of the %d parameters of the encoder from %s', len(taken), len(names), place)
    for what, those in (
        ('not there, and therefore random', [name for name in names if name not in taken]),
        (
            'there and not used',
            [name for name in tensors if is_of_encoder(name) and name not in backbone_shapes(config)],
        ),
    ):
        if those:
            propeller.log.warning('%s: %d parameters are %s: %s', place, len(those), what, ', '.join(those[:5]))
    _compare(place, tensors.config or {}, config)
    return propeller.WarmStartSetting(lambda variable: variable.name in taken, tensors)


def _compare(place, theirs, ours):
    """Warn where the hyper-parameters describe another computation than the model's own configuration."""
    defaults = {'layer_norm_eps': DEFAULT_LAYER_NORM_EPS, 'num_attention_heads': None, 'hidden_act': None}
    for name, default in defaults.items():
        found, expected = ours.get(name, default), theirs.get(name) or default
        if theirs and found != expected:
            propeller.log.warning('--hparam %s is %s; the configuration of %s says %s', name, found, place, expected)


def train(setup, model, train_set, eval_sets, better, without=()):
    """Train, with evaluations on the way; the best model goes to `{model_dir}/best/inference`.

    Args:
        setup: `example.command_line.Setup`.
        model: class.
        train_set, eval_sets: see `propeller.train_and_eval`.
        better: function (old results, new results) -> bool.
        without: see `warm_start`.
    Returns:
        the best results, dict data set -> dict metric -> number; in processes beside the first of a job None.
    """
    check_inputs(setup)
    best = propeller.train.exporter.BestInferenceModelExporter(os.path.join(setup.run_config.model_dir, 'best'), better)
    return train_for_best(setup, model, train_set, eval_sets, best, warm_start_setting=warm_start(setup, without))


def train_for_best(setup, model, train_set, eval_sets, best, **more):
    """Train, and let an exporter keep the best.

    Args:
        setup, model, train_set, eval_sets: see `train`; the files of `setup` are checked.
        best: exporter with the best results at `best`.
        more: of `propeller.train_and_eval`.
    Returns:
        `best.best`; in processes beside the first of a job None.
    Raises:
        UserError: nothing was evaluated.
    """
    propeller.train_and_eval(
        model_class_or_model_fn=model,
        params=setup.params,
        run_config=setup.run_config,
        train_dataset=train_set,
        eval_dataset=eval_sets,
        exporters=[best],
        **more,
    )
    if not propeller.train.distribution.status.is_master:
        return None
    if best.best is None:
        raise UserError(
            f'{setup.run_config.model_dir}: found no evaluation in this run, expected one: see eval_steps and '
            'skip_steps of --run_config. The last checkpoint is there, nothing is exported.'
        )
    return best.best


def predictions(setup, model, dataset, ckpt_path=None):
    """What the last checkpoint of `model_dir` (or `ckpt_path`) predicts: a tuple of lists for each example."""
    check_inputs(setup)
    return propeller.Learner(model, setup.run_config, setup.params).predict(dataset, ckpt_path=ckpt_path)
