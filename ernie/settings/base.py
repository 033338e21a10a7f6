"""What all settings classes have in common. A class is put together of groups, each with a title for --help."""

import dataclasses
from typing import Any, ClassVar, Self

from ernie.settings.fields import check_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a run. None of them ever changes: `replace` makes a copy with other values.

    A group's `title` heads its flags in --help and its lines in run.yaml. `flags`: names of those that are flags; None:
    all.
    """

    title: ClassVar[str] = ''
    flags: ClassVar[tuple[str, ...] | None] = None

    def replace(self, **values: Any) -> Self:
        """The same settings with other values; the user is still said to have given what was given."""
        return dataclasses.replace(self, **values)

    def checked(self) -> Self:
        """The settings as they are meant, 2019's names for things replaced by today's.

        Raises:
            UsageError: a value that cannot be, or values that contradict each other.
            UserError: a file that is not there.
        """
        check_fields(self)
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
        new.__dict__['_arguments'] = frozenset(values)
        return new

    def __post_init__(self) -> None:
        arguments = self.__dict__.pop('_arguments')
        if self.given is None:
            object.__setattr__(self, 'given', arguments)

    def gave(self, *names: str) -> bool:
        """Whether the user gave one of these settings."""
        return not (self.given or frozenset()).isdisjoint(names)
