"""`Model`, the four methods that a user writes, and how a graph is built from them."""

import abc
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from propeller import graph
from propeller.errors import UserError
from propeller.train.metrics import Mean, Metrics
from propeller.types import InferenceSpec, ModelSpec, RunConfig, RunMode


class Model(abc.ABC):
    """A model for `Learner`. The graph is built by calling these methods, once per mode.

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
        """Append the optimizer. Called in TRAIN."""

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
            label as the last of its features.
        features: list of input values; the last one is the label in TRAIN and EVAL.
        mode, params, run_config: passed on.
    Raises:
        UserError: the loss is no scalar, a function gave no `ModelSpec`, `model` is neither class nor function.
    """
    if inspect.isclass(model) and issubclass(model, Model):
        spec = _spec_of_class(model(params, mode, run_config), list(features), mode)
    elif callable(model) and not inspect.isclass(model):
        spec = model(list(features), mode, params, run_config)
        if not isinstance(spec, ModelSpec):
            raise UserError(f'{model.__name__} returned {type(spec).__name__}, expected a ModelSpec.')
    else:
        raise UserError(f'{model!r} is neither a subclass of propeller.train.Model nor a function.')
    if mode != RunMode.PREDICT and tuple(spec.loss.shape) not in ((), (1,)):
        raise UserError(f'The loss has shape {list(spec.loss.shape)}, expected a scalar: () or (1,).')
    if mode == RunMode.EVAL and 'loss' not in (spec.metrics or {}):
        # Over all rows, or what `graph.set_loss_weight` says: batches of unequal size weigh as they do in training.
        loss = Mean(spec.loss, graph.building().loss_weight())
        spec = spec._replace(metrics={'loss': loss, **(spec.metrics or {})})
    return spec


def _spec_of_class(model, features, mode):
    label = None if mode == RunMode.PREDICT else features.pop()
    predictions = model.forward(features)
    outputs = list(predictions) if isinstance(predictions, (list, tuple)) else [predictions]
    inference = InferenceSpec(inputs=features, outputs=outputs)
    if mode == RunMode.PREDICT:
        return ModelSpec(predictions=outputs, mode=mode, inference_spec=inference)
    with graph.full_precision():
        loss = model.loss(predictions, label)
    if mode == RunMode.TRAIN:
        model.backward(loss)
        return ModelSpec(loss=loss, predictions=outputs, mode=mode)
    metrics = model.metrics(predictions, label)
    return ModelSpec(loss=loss, predictions=outputs, metrics=metrics, mode=mode, inference_spec=inference)
