"""Plain data types that programs, models and the training loop share; loads no paddle."""

import enum
import json
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

from propeller.errors import UsageError, UserError, did_you_mean, quoted
from propeller.inputs import parse_json
from propeller.train.precision import PRECISIONS


class RunMode(enum.Enum):
    """What a graph is built for."""

    TRAIN = 1
    PREDICT = 2
    EVAL = 3


class StopException(Exception):
    """Raised inside the training loop when a hook asks to stop; the loop then ends cleanly."""


class UnknownSettingError(UsageError, TypeError):
    """A setting that nobody reads, most often a misspelt one. Also a `TypeError`, as for any unknown keyword."""


class HParams:
    """Hyper-parameters by name, as attributes (`h.batch_size`) and as items (`h['batch_size']`).

    A name that is also a method (`get`, `join`, ...) is reachable as an item only.
    """

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, '_values', values)

    def __getattr__(self, name: str) -> Any:
        # copy and pickle look attributes up before __init__ has run.
        values = self.__dict__.get('_values', {})
        if name not in values:
            raise AttributeError(f'HParams has no {name!r}; it has: {", ".join(sorted(values)) or "nothing"}')
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._values[name] = value

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise UserError(f'key({key}) not in HParams. It has: {", ".join(sorted(self._values)) or "nothing"}.')
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HParams) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f'HParams({", ".join(f"{k}={v!r}" for k, v in self._values.items())})'

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, '_values', dict(values))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where it is not set."""
        return self._values.get(key, default)

    def to_dict(self) -> dict[str, Any]:
        """A new dict of all values."""
        return dict(self._values)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """From a mapping whose keys are strings; a `UserError` for anything else."""
        if not isinstance(values, Mapping):
            raise UserError(f'hyper-parameters: found {type(values).__name__}, expected a dictionary.')
        for key in values:
            if not isinstance(key, str):
                raise UserError(f'hyper-parameters: found the key {quoted(key)}, expected a string.')
        result = cls()
        result._values.update(values)
        return result

    def to_json(self) -> str:
        """The values as a JSON object, in the order in which they were set."""
        return json.dumps(self._values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`; a `UserError` where `text` is not a JSON object."""
        return cls.from_dict(parse_json(text, 'hyper-parameters', finite=False))

    def join(self, other: 'HParams') -> Self:
        """Take over every value of `other` (it wins over an own one); returns self.

        Raises:
            UserError: `other` is no `HParams`.
        """
        if not isinstance(other, HParams):
            raise UserError(f'hyper-parameters: join: found {type(other).__name__}, expected HParams.')
        self._values.update(other._values)
        return self


class _RunConfigFields(NamedTuple):
    model_dir: str | None = None
    run_steps: int | None = None
    max_steps: int | None = None
    save_steps: int | None = None
    eval_steps: int | None = None
    eval_max_steps: int | None = None
    skip_steps: int | None = None
    log_steps: int | None = None
    max_ckpt: int | None = None
    gradient_accumulation_steps: int | None = None
    precision: str | None = None
    best_metric: str | None = None
    early_stop: int | None = None


class RunConfig(_RunConfigFields):
    """How long to train and how often to log, save and evaluate. Immutable; every field may be left out (None).

    "This run" counts from its start (`step`), "global" counts on over restarts (`gstep`).

    Attributes:
        model_dir: folder for checkpoints and histories.
        run_steps: stop after that many steps of this run; None: no limit.
        max_steps: stop at that global step; None: no limit.
        save_steps: save a checkpoint every so many global steps.
        eval_steps: evaluate every so many global steps.
        eval_max_steps: batches per evaluation at most; None: the whole set.
        skip_steps: neither log nor evaluate before this run has made more steps than that.
        log_steps: log every so many steps.
        max_ckpt: checkpoints to keep; the reader of the field keeps 10 when it is None.
        gradient_accumulation_steps: batches of one process for one step; 1 when it is None.
        precision: `fp32` (also when it is None), `bf16` or `fp16`, see `propeller.session.Session`.
        best_metric: `max NAME` or `min NAME`: `train_and_eval` keeps a checkpoint of the best result of that metric of
            the first evaluation set, as `model_dir/best`. None: it keeps none.
        early_stop: stop after so many evaluations without a better `best_metric`, which it needs. None: never.

    Raises:
        UnknownSettingError: an unknown field.
        UserError: a value that cannot be, with the field, what was found and what is allowed.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        unknown = sorted(set(settings) - set(cls._fields), key=str)
        if unknown:
            nearest = did_you_mean(str(unknown[0]), cls._fields)
            raise UnknownSettingError(
                f'run_config: unknown setting {", ".join(map(quoted, unknown))}; '
                f'known are {", ".join(cls._fields)}.{nearest}'
            )
        given = _RunConfigFields(*args, **settings)._asdict()
        config = super().__new__(cls, **{name: _checked_setting(name, value) for name, value in given.items()})
        if config.early_stop and not config.best_metric:
            raise UserError('run_config: early_stop: found no best_metric, expected one to judge evaluations by.')
        return config

    def _replace(self, /, **changes: Any) -> Self:
        """A copy with `changes`, checked like a new one."""
        return type(self)(**{**self._asdict(), **changes})


def _checked_setting(name, value):
    """The value of a `RunConfig` field in its own type, or a `UserError`."""
    if value is None:
        return None
    if name == 'model_dir':
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            raise UserError(f'run_config: model_dir: found {quoted(value)}, expected the path of a folder as a string.')
        return os.fspath(value)
    if name == 'precision':
        if value not in PRECISIONS:
            raise UserError(f'run_config: precision: found {quoted(value)}, expected one of {", ".join(PRECISIONS)}.')
        return value
    if name == 'best_metric':
        if not isinstance(value, str) or not re.fullmatch(r'(max|min) \S.*', value):
            raise UserError(f'run_config: best_metric: found {quoted(value)}, expected `max NAME` or `min NAME`.')
        return value
    least = 0 if name == 'skip_steps' else 1
    number = _whole_number(value)
    if number is None or number < least:
        raise UserError(
            f'run_config: {name}: found {quoted(value)}, expected a whole number of at least {least}'
            ' (or leave it out for the default).'
        )
    return number


def _whole_number(value):
    """`value` as an int where it is one, also when written as a float (`1e5`); otherwise None. True is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    try:
        return operator.index(value)
    except TypeError:
        return None


class _WarmStartFields(NamedTuple):
    predicate_fn: Callable[[Any], bool]
    from_dir: Any


class WarmStartSetting(_WarmStartFields):
    """Where first values of parameters come from.

    Attributes:
        predicate_fn: called with each parameter, which has `name`, `shape`, `dtype` and `persistable`; what is true
            loads it.
        from_dir: a checkpoint, a folder of variables of 2019, or a file of tensors; or such tensors, opened and perhaps
            renamed: `propeller.storage.Tensors`.
    """

    __slots__ = ()

    def __new__(cls, predicate_fn: Callable[[Any], bool], from_dir: str | os.PathLike[str] | Mapping[str, Any]) -> Self:
        if not callable(predicate_fn):
            raise UserError(f'WarmStartSetting: predicate_fn: found {predicate_fn!r}, expected a function.')
        if isinstance(from_dir, Mapping) and hasattr(from_dir, 'path'):
            return super().__new__(cls, predicate_fn, from_dir)
        if not isinstance(from_dir, str | os.PathLike) or not os.fspath(from_dir):
            raise UserError(f'WarmStartSetting: from_dir: found {quoted(from_dir)}, expected the path of a folder.')
        return super().__new__(cls, predicate_fn, os.fspath(from_dir))


class ProgramPair(NamedTuple):
    """A program and the one that makes the first values of its parameters."""

    train_program: Any
    startup_program: Any


class InferenceSpec(NamedTuple):
    """The signature of an exported model: lists of graph variables, in the order of feeding and fetching."""

    inputs: list
    outputs: list


class ModelSpec(NamedTuple):
    """What a model built for one `mode`; a field that the mode does not need is left out.

    Attributes:
        loss: scalar variable.
        predictions: list of variables.
        metrics: dict name -> metric object.
        mode: a `RunMode`.
        inference_spec: an `InferenceSpec`, or a dict of them.
        train_hooks: hooks of the training loop.
        eval_hooks: hooks of an evaluation.
    """

    loss: Any = None
    predictions: Any = None
    metrics: Any = None
    mode: RunMode | None = None
    inference_spec: Any = None
    train_hooks: tuple | list = ()
    eval_hooks: tuple | list = ()


class SummaryRecord(NamedTuple):
    """What a graph wants written at log steps: lists of (name, variable)."""

    scalar: list
    histogram: list
