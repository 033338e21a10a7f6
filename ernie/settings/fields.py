"""How a setting is described, once: its default, its help and what it may be."""

import os
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from propeller.args import split_list
from propeller.errors import did_you_mean

AUTO = 'auto'  # of a number that is found out: see `Description.auto`
Kind = type[bool] | type[int] | type[float] | type[str]
_WORDS: dict[Kind, str] = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}


@dataclass(frozen=True)
class Description:
    """What is known of a setting beside its name, type and default.

    Attributes:
        help: a sentence or two.
        least, above, most, below: bounds of a number.
        choices: the values that it may have, or a function that gives them.
        listed: whether the parser of flags refuses others itself.
        joined: whether it is a list, joined by commas in a flag. A tuple that is not takes several words.
        switch: the flag takes no value: 'always', or 'perhaps'.
        auto: whether it may be `AUTO`: the number is found out before the model is built.
        positional: whether it is given without its name, in the place that the fields have; a tuple takes what is left.
        short: a further name of its flag; ''.
        metavar: what stands for it in --help, where it is positional.
        of_start: whether it says how a run is started, not what the run is: run.yaml does not have it.
    """

    help: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    choices: Collection[str] | Callable[[], Collection[str]] | None = None
    listed: bool = False
    joined: bool = False
    switch: str | None = None
    auto: bool = False
    positional: bool = False
    short: str = ''
    metavar: str | None = None
    of_start: bool = False

    def allowed(self) -> tuple[str, ...]:
        """The choices; () where there are none."""
        return tuple(self.choices() if callable(self.choices) else self.choices or ())

    def expected(self) -> str:
        """What a number must be, in words."""
        share = 'a share ' if 1 in (self.most, self.below) else ''
        match self.least, self.above, self.most, self.below:
            case least, None, None, None:
                return f'at least {least}'
            case None, above, None, None:
                return f'a number above {above}'
            case None, above, None, below:
                return f'{share}between {above} and {below}'
            case None, above, most, None:
                return f'{share}above {above} and at most {most}'
            case least, _, most, below:
                return f'{share}from {least} to {f"below {below}" if most is None else most}'

    def fits(self, number: float) -> bool:
        """Whether a number is inside the bounds; NaN is not."""
        return (
            (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )


def setting(default: Any, help: str, **description: Any) -> Any:  # noqa: A002
    """A field of a settings class. default: `MISSING` where it must be given. description: of `Description`."""
    return field(default=default, metadata={'description': Description(help, **description)})


def changed(settings: type, name: str, default: Any, help: str | None = None, **others: Any) -> Any:  # noqa: A002
    """The same field of another class with another default, perhaps another help, and others of its description."""
    before = settings.__dataclass_fields__[name].metadata['description']  # type: ignore[attr-defined]
    return field(default=default, metadata={'description': replace(before, help=help or before.help, **others)})


class Misfit(ValueError):
    """A value that a setting cannot have. `expected`: what it can have, in words. advice: a sentence, or ''."""

    def __init__(self, expected: str, advice: str = '') -> None:
        super().__init__(expected)
        self.expected, self.advice = expected, advice


class Setting(NamedTuple):
    """One setting of a class. kind: for a tuple, that of its parts. optional: whether it may be None."""

    name: str
    default: Any
    kind: Kind
    optional: bool
    is_tuple: bool
    description: Description

    def fitting(self, value: Any) -> Any:
        """A value from run.yaml or Python as the setting has it: a list joined by commas, a whole number as a float.

        Raises:
            Misfit: it is of another type, outside of the bounds, or none of the choices.
        """
        if (value is None and self.optional) or (value == AUTO and self.description.auto):
            return value
        if self.is_tuple:
            return self._parts(value)
        if self.description.joined and isinstance(value, list | tuple):
            value = _joined(value)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if self.kind is float and (type(value) is int or value in ('inf', '-inf')):  # YAML has other words for these
            value = float(value)
        if type(value) is not self.kind:
            raise Misfit(_WORDS[self.kind] + (f', or {AUTO}' if self.description.auto else ''))
        choices = self.description.allowed()
        if choices and value not in choices:
            near = did_you_mean(value, choices) if isinstance(value, str) else ''
            raise Misfit(f'one of {", ".join(choices)}', near.strip())
        if isinstance(value, int | float) and not self.description.fits(value):
            raise Misfit(self.description.expected())
        return value

    def _parts(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str | os.PathLike):
            value = split_list(os.fspath(value)) if self.description.joined else [value]
        if not isinstance(value, list | tuple):
            raise Misfit(f'a list of {_WORDS[self.kind].removeprefix("a ")}s')
        return tuple(self._replace(is_tuple=False).fitting(part) for part in value)


def _joined(values: list[Any] | tuple[Any, ...]) -> str:
    parts = [str(value) for value in values if isinstance(value, str | int | float | os.PathLike)]
    if len(parts) < len(values):
        raise Misfit('a list of texts or numbers')
    if any(',' in part for part in parts):
        raise Misfit('a list whose parts have no comma')
    return ','.join(parts)


def described(settings: type) -> dict[str, Setting]:
    """dict name -> `Setting` of those of a class that may be flags; see `Settings.flags`."""
    only, hints, found = getattr(settings, 'flags', None), typing.get_type_hints(settings), {}
    for f in fields(settings):
        if 'description' in f.metadata and (only is None or f.name in only):
            hint, parts = hints[f.name], typing.get_args(hints[f.name]) or (hints[f.name],)
            kind = next(part for part in parts if part is not type(None))
            is_tuple, optional = typing.get_origin(hint) is tuple, type(None) in parts
            found[f.name] = Setting(f.name, f.default, kind, optional, is_tuple, f.metadata['description'])
    return found
