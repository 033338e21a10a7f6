"""What all settings classes have in common. A class is put together of groups, each with a title for --help."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from ernie.settings.fields import Misfit, described
from propeller.errors import UsageError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run. None of them ever changes: `replace` makes a copy with other values.

    A group's `title` heads its flags in --help and its lines in run.yaml. `flags`: names of those that are flags; None:
    all. `first_flags`: those that --help lists where `--help all` lists all; (): --help lists all. `file_flag`: the one
    whose value may stand alone on a command line; '': none.
    """

    title: ClassVar[str] = ''
    flags: ClassVar[tuple[str, ...] | None] = None
    first_flags: ClassVar[tuple[str, ...]] = ()
    file_flag: ClassVar[str] = ''

    def __init_subclass__(cls, title: str = '') -> None:
        cls.title = title

    def __post_init__(self) -> None:
        found = {n: v for n, v in vars(self).items() if isinstance(v, list | tuple | os.PathLike)}
        if found:
            for name, value in self._fitted(found).items():
                object.__setattr__(self, name, value)

    def _fitted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as the settings have them. Raises `UsageError` that names the flag."""
        fitted = {}
        for name, one in described(type(self)).items():
            try:
                if name in values:
                    fitted[name] = one.fitting(values[name])
            except Misfit as e:
                flag = f'--{one.description.short}/--{name}' if one.description.short else f'--{name}'
                raise UsageError(f'{flag} {values[name]}: expected {e.expected}. {e.advice}'.rstrip()) from None
        return fitted

    def replace(self, **values: Any) -> Self:
        """The same settings with other values; the user is still said to have given what was given."""
        return dataclasses.replace(self, **values)

    def recorded(self) -> dict[str, Any]:
        """dict name -> value: what run.yaml has, all that a run can be done again from."""
        known = described(type(self))
        return {name: getattr(self, name) for name, one in known.items() if not one.description.of_start}

    def checked(self) -> Self:
        """The settings as they are meant, 2019's names for things replaced by today's.

        Raises:
            UsageError: a value that cannot be, or values that contradict each other.
            UserError: a file that is not there.
        """
        self._fitted(vars(self))
        return self


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenSettings(Settings):
    """Settings that know which of them the user gave.

    Attributes:
        given: names of the settings that the user gave, by a flag, in run.yaml or as an argument, whatever their
            values; a checkpoint may have other values for the others. Left out: the names of the arguments.
    """

    given: frozenset[str] | None = None

    def __new__(cls, *_: Any, **values: Any) -> Self:
        new = super().__new__(cls)
        if values:  # a copy is made without
            new.__dict__['_arguments'] = frozenset(values)
        return new

    def __post_init__(self) -> None:
        arguments = self.__dict__.pop('_arguments', frozenset())
        if self.given is None:
            object.__setattr__(self, 'given', arguments)
        super().__post_init__()

    def gave(self, *names: str) -> bool:
        """Whether the user gave one of these settings."""
        return not (self.given or frozenset()).isdisjoint(names)


def groups(settings: type[Settings]) -> dict[str, list[str]]:
    """dict title -> names of its settings, in the order of the classes that they come from."""
    found: dict[str, list[str]] = {}
    mro = [c for c in settings.__mro__ if issubclass(c, Settings)]
    for name in described(settings):
        first = next(c for c in reversed(mro) if name in vars(c).get('__annotations__', {}))
        found.setdefault(first.title, []).append(name)
    order = {c.title: place for place, c in reversed(list(enumerate(mro)))}
    return dict(sorted(found.items(), key=lambda item: order[item[0]]))
