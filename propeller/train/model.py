"""`Model`, the four methods that a user writes, and how a graph is built from them."""

import abc
import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from propeller import graph, summary
from propeller.data.dataset import Dataset
from propeller.errors import UserError, quoted
from propeller.train.hooks import check_metrics
from propeller.train.metrics import Mean, Metrics
from propeller.train.precision import LossScale
from propeller.types import InferenceSpec, ModelSpec, RunConfig, RunMode


class Model(abc.ABC):
    """A model for `Learner`. The graph is built by calling these methods, once per mode.

    A subclass may have an `__init__` of its own, with these arguments or without the last one.

    Args:
        config: whatever was given as `params`.
        mode: `RunMode.TRAIN`, `EVAL` or `PREDICT`.
        run_config: the `RunConfig`.
    """

    def __init__(self, config: Any, mode: RunMode, run_config: RunConfig | None = None) -> None:
        self.config, self.mode, self.run_config = config, mode, run_config

    @abc.abstractmethod
    def forward(self, features: list[Any]) -> Any:
        """list of input values (without the label) -> one value or a list of values, the predictions."""

    @abc.abstractmethod
    def loss(self, predictions: Any, label: Any) -> Any:
        """-> a scalar value. Called in TRAIN and EVAL."""

    @abc.abstractmethod
    def backward(self, loss: Any) -> None:
        """Append the optimizer: call `propeller.update.minimize`. Called in TRAIN."""

    @abc.abstractmethod
    def metrics(self, predictions: Any, label: Any) -> dict[str, Metrics]:
        """-> dict name -> metric object. Called in EVAL."""


def build_model_spec(
    model: type[Model] | Callable[..., ModelSpec],
    features: Iterable[Any],
    mode: RunMode,
    params: Any,
    run_config: RunConfig | None,
) -> ModelSpec:
    """Build the graph of `model` in one mode, inside a build function.

    Args:
        model: a subclass of `Model`, or a function `(features, mode, params, run_config)` -> `ModelSpec` that gets the
            label as the last of its features. Its arguments go by these names, `run_config` may be left out.
        features: list of input values; the last one is the label in TRAIN and EVAL.
        mode, params, run_config: passed on.
    Returns:
        `ModelSpec` with predictions as a list; in EVAL its metrics have `loss`, the mean over all rows.
    Raises:
        UserError: `model` is neither class nor function; or what it gave is not what the mode needs: a scalar loss, an
            optimizer (TRAIN), a dict of metric objects (EVAL), predictions (PREDICT).
    """
    # Summaries belong to the training. A model that asks for them in every mode has no others.
    with contextlib.nullcontext() if mode == RunMode.TRAIN else summary.ignoring():
        spec = _spec_of(model, list(features), mode, params, run_config)
    if isinstance(spec.predictions, tuple) or graph.is_value(spec.predictions):
        one = graph.is_value(spec.predictions)
        spec = spec._replace(predictions=[spec.predictions] if one else list(spec.predictions))
    _check(spec, mode, _name(model))
    if mode == RunMode.EVAL:
        metrics = dict(spec.metrics or {})
        if 'loss' not in metrics:
            # Over all rows, or what `graph.set_loss_weight` says: batches of unequal size weigh as they do in training.
            metrics = {'loss': Mean(spec.loss, graph.building().loss_weight()), **metrics}
        spec = spec._replace(metrics=metrics)
    return spec


def _spec_of(model: Any, features: list[Any], mode: RunMode, params: Any, run_config: RunConfig | None) -> ModelSpec:
    if inspect.isclass(model) and issubclass(model, Model):
        return _spec_of_class(_made(model, params, mode, run_config), features, mode)
    if not callable(model) or inspect.isclass(model):
        raise UserError(
            f'model_class_or_model_fn: found {quoted(model)}, expected a subclass of '
            'propeller.train.Model or a function.'
        )
    spec = _called(model, features=features, mode=mode, params=params, run_config=run_config)
    if not isinstance(spec, ModelSpec):
        raise UserError(f'{_name(model)} returned {type(spec).__name__}, expected a ModelSpec.')
    return spec


def build_program(
    session: Any,
    name: str,
    dataset: Dataset,
    mode: RunMode,
    model: type[Model] | Callable[..., ModelSpec],
    params: Any,
    run_config: RunConfig,
) -> graph.Program:
    """The program of a model in one mode, for the batches of a data set.

    Args:
        session: `propeller.session.Session`.
        name: the data set's from here on; the inputs are called `{name}_placeholder_{i}`.
        dataset: its shapes and types are those of the inputs.
        mode, model, params, run_config: see `build_model_spec`.
    Raises:
        UserError: `dataset` is no data set; see `build_model_spec`.
    """
    if not isinstance(dataset, Dataset):
        raise UserError(f'The data set is a {type(dataset).__name__}, expected a propeller Dataset.')
    dataset.name = name
    training = mode == RunMode.TRAIN
    return session.build(
        dataset.feeds(),
        lambda *features: build_model_spec(model, features, mode, params, run_config),
        parts=(run_config.gradient_accumulation_steps or 1) if training else 1,
        loss_scale=LossScale() if training and session.precision == 'fp16' else None,
        exact=not training,
        inference=not training,
    )


def _made(model: Any, params: Any, mode: RunMode, run_config: Any) -> Model:
    """An instance of the class. The guide of 2019 has an `__init__` without the run's settings."""
    missing = sorted(model.__abstractmethods__)
    if missing:
        raise UserError(f'{_name(model)}: found no method {", ".join(missing)}, expected each method of a Model.')
    arguments = inspect.signature(model).parameters
    more = any(p.kind == p.VAR_POSITIONAL for p in arguments.values())
    if 'run_config' in arguments or any(p.kind == p.VAR_KEYWORD for p in arguments.values()):
        return model(params, mode, run_config=run_config)
    return model(params, mode, run_config) if more or len(arguments) > 2 else model(params, mode)


def _called(function: Any, **given: Any) -> Any:
    """What the function gives, called by the names of its arguments, or in this order where it has other names.

    The last ones may be left out.
    """
    arguments = inspect.signature(function).parameters
    if any(p.kind == p.VAR_KEYWORD for p in arguments.values()):
        return function(**given)
    if 'features' not in arguments:
        takes_all = any(p.kind == p.VAR_POSITIONAL for p in arguments.values())
        return function(*list(given.values())[: None if takes_all else len(arguments)])
    strange = [n for n, p in arguments.items() if n not in given and p.default is p.empty]
    if strange:
        raise UserError(
            f'{_name(function)}: found the argument {strange[0]}, expected some of {", ".join(given)}, by these names.'
        )
    return function(**{name: value for name, value in given.items() if name in arguments})


def _name(model: Any) -> str:
    return getattr(model, '__name__', None) or type(model).__name__


def _check(spec: ModelSpec, mode: RunMode, name: str) -> None:
    """Raises `UserError` where the mode needs what `spec` does not have."""
    where = f'{name} in {mode.name}'
    for value in spec.predictions or ():
        if not graph.is_value(value):
            raise UserError(f'{where}: found {quoted(value)} among the predictions, expected values of the graph.')
    if mode == RunMode.PREDICT:
        if not isinstance(spec.predictions, list) or not spec.predictions:
            raise UserError(f'{where}: found the predictions {quoted(spec.predictions)}, expected a list of values.')
        return
    _check_loss(spec.loss, where)
    if mode == RunMode.TRAIN and graph.building().update is None:
        raise UserError(
            f'{where}: found no optimizer, expected one: call propeller.minimize(loss, rate) in backward, or in the '
            'function that is the model.'
        )
    if mode == RunMode.EVAL and spec.metrics is not None:
        check_metrics(spec.metrics, where)
        for key, metric in spec.metrics.items():
            strange = [value for value in _listed(metric.tensor) if not graph.is_value(value)]
            if strange:
                raise UserError(f'{where}: metric {quoted(key)}: found {quoted(strange[0])}, expected graph values.')


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _check_loss(loss: Any, where: str) -> None:
    if not graph.is_value(loss):
        found = 'no loss' if loss is None else f'the loss {quoted(loss)}'
        raise UserError(f'{where}: found {found}, expected a scalar value of the graph: the mean over the batch.')
    if tuple(loss.shape) not in ((), (1,)):
        raise UserError(
            f'{where}: found a loss of shape {list(loss.shape)}, expected a scalar: () or (1,). '
            'Take its mean over the batch.'
        )


def _spec_of_class(model: Model, features: list[Any], mode: RunMode) -> ModelSpec:
    if mode != RunMode.PREDICT and len(features) < 2:
        raise UserError(
            f'{_name(type(model))} in {mode.name}: found elements of {len(features)} value, '
            'expected the inputs and, as the last one, the label.'
        )
    label = None if mode == RunMode.PREDICT else features.pop()
    predictions = model.forward(features)
    outputs = list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]
    inference = InferenceSpec(inputs=features, outputs=outputs)
    if mode == RunMode.PREDICT:
        return ModelSpec(predictions=outputs, mode=mode, inference_spec=inference)
    with graph.full_precision():
        loss = model.loss(predictions, label)
    if mode == RunMode.TRAIN:
        _check_loss(loss, f'{type(model).__name__} in {mode.name}')
        model.backward(loss)
        return ModelSpec(loss=loss, predictions=outputs, mode=mode)
    metrics = model.metrics(predictions, label)
    return ModelSpec(loss=loss, predictions=outputs, metrics=metrics, mode=mode, inference_spec=inference)
