"""Command lines made from settings classes, with `--config FILE` for settings from a file; flags win over it."""

import argparse
from collections.abc import Sequence
from dataclasses import MISSING
from typing import Any, Generic, TypeVar

from ernie.settings.base import GivenSettings, Settings, groups
from ernie.settings.fields import Setting, described
from ernie.settings.run_yaml import read_settings
from propeller.args import ArgumentGroup, Parser

S = TypeVar('S', bound=Settings)
_ABSENT = object()


def _add(group: ArgumentGroup, setting: Setting) -> None:
    name, default, kind, _, is_tuple, description = setting
    options: dict[str, Any] = {'nargs': '+'} if is_tuple and not description.joined else {}
    if is_tuple and default is not MISSING:
        default = ','.join(default)
    if description.listed:
        options['choices'] = description.allowed()
    if description.switch == 'perhaps':
        options |= {'nargs': '?', 'const': True}
    text = description.help + (f' One of {", ".join(description.allowed())}.' if description.choices else '')
    text += ' Joined by commas.' if description.joined else ''
    if description.switch == 'always':
        group.add_switch(name, text)
    else:
        group.add_arg(name, kind, None if default is MISSING else default, text, **options)


class SettingsParser(Parser, Generic[S]):
    """The flags of a settings class; what is parsed becomes one of its objects, not yet checked.

    Args:
        settings: the class.
        program: what a run.yaml calls the program; None: any.
    """

    def __init__(self, settings: type[S], program: str | None = None, **options: Any) -> None:
        super().__init__(**{'description': (settings.__doc__ or '').splitlines()[0], **options})
        self._settings, self._program = settings, program
        about = 'Settings from a file like the run.yaml that a training writes; flags win over it.'
        self.add_argument('--config', metavar='FILE', help=about)
        known = described(settings)
        for title, names in groups(settings).items():
            group = ArgumentGroup(self, title)
            for name in names:
                _add(group, known[name])

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> S:  # type: ignore[override]
        """The settings. Raises `UsageError`; `UserError` for a fault of the file of --config."""
        names = described(self._settings)
        absent = argparse.Namespace(**dict.fromkeys(names, _ABSENT))
        found = vars(super().parse_args(args, absent))
        values = {name: found[name] for name in names if found[name] is not _ABSENT}
        values |= {name: one.fitting(values[name]) for name, one in names.items() if one.is_tuple and name in values}
        if found['config']:
            values = read_settings(found['config'], self._settings, self._program) | values
        missing = [f'--{name}' for name, one in names.items() if one.default is MISSING and name not in values]
        if missing:
            self.error(f'the following arguments are required: {", ".join(missing)}')
        if issubclass(self._settings, GivenSettings):
            return self._settings(**values, given=frozenset(values))
        return self._settings(**values)
