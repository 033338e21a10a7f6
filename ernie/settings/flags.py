"""Command lines made from settings classes, with `--config FILE` for settings from a file; flags win over it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Any, Generic, TypeVar

from ernie.settings.base import GivenSettings, Settings, groups
from ernie.settings.fields import AUTO, Setting, described
from ernie.settings.run_yaml import read_settings
from propeller.args import ArgumentGroup, Parser
from propeller.errors import quoted
from propeller.versions import versions

S = TypeVar('S', bound=Settings)
_ABSENT = object()
_FILE = 'file of the command line'
_ALL = 'all'
_EPILOG = '--version, alone, prints the versions of ernie, Paddle and Python.'


def _or_auto(kind: type) -> Callable[[str], Any]:
    """What converts the text of a number that may be found out."""

    def convert(text: str) -> Any:
        try:
            return AUTO if text == AUTO else kind(text)
        except ValueError:
            what = 'a whole number' if kind is int else 'a number'
            raise argparse.ArgumentTypeError(f'found {quoted(text)}, expected {what}, or {AUTO}') from None

    return convert


def _add(group: ArgumentGroup, setting: Setting) -> None:
    name, default, kind, _, is_tuple, description = setting
    if description.positional:
        metavar = description.metavar or name.upper()
        group.add_positional(name, description.help, '*' if is_tuple else '?', _ABSENT, metavar)
        return
    options: dict[str, Any] = {'nargs': '+'} if is_tuple and not description.joined else {}
    if is_tuple and default is not MISSING:
        default = ','.join(default)
    if description.listed:
        options['choices'] = description.allowed()
    if description.switch == 'perhaps':
        options |= {'nargs': '?', 'const': True}
    text = description.help + (f' One of {", ".join(description.allowed())}.' if description.choices else '')
    text += ' Joined by commas.' if description.joined else ''
    text += f' "{AUTO}": found out.' if description.auto else ''
    if description.switch == 'always':
        group.add_switch(name, text)
    else:
        if description.short:
            options['also'] = description.short
        if description.auto:
            options['metavar'] = kind.__name__.upper()
        group.add_arg(
            name, _or_auto(kind) if description.auto else kind, None if default is MISSING else default, text, **options
        )


class SettingsParser(Parser, Generic[S]):
    """The flags of a settings class; what is parsed becomes one of its objects, not yet checked.

    Args:
        settings: the class.
        program: what a run.yaml calls the program; None: any.
    """

    def __init__(self, settings: type[S], program: str | None = None, **options: Any) -> None:
        about = (settings.__doc__ or '').splitlines()[0]
        options = {'description': about, 'epilog': _EPILOG, 'add_help': not settings.first_flags, **options}
        super().__init__(**options)
        self.settings, self._program = settings, program
        if settings.first_flags:
            words = 'The first flags to know; "all": every one.'
            self.add_argument('-h', '--help', action=_Help, nargs='?', metavar=_ALL.upper(), help=words)
        if settings.file_flag:
            words = f'The same as --{settings.file_flag}.'
            self.add_argument(_FILE, nargs='?', metavar='FILE', help=words)
        about = 'Settings from a file like the run.yaml that a training writes; flags win over it.'
        self.add_argument('--config', metavar='FILE', help=about)
        known = described(settings)
        for title, names in groups(settings).items():
            group = ArgumentGroup(self, title)
            for name in names:
                _add(group, known[name])

    def short_help(self) -> str:
        """The help of the first flags."""
        formatter = self._get_formatter()
        places = ' '.join(f'[{action.metavar}]' for action in self._actions if not action.option_strings)
        formatter.add_text(f'usage: {self.prog} {places} [flags]')
        formatter.add_text(self.description)
        formatter.start_section('flags')
        flags = {action.dest: action for action in self._actions}
        formatter.add_arguments([flags[name] for name in self.settings.first_flags if name in flags])
        formatter.end_section()
        formatter.add_text(f'{self.prog} --help {_ALL} lists all flags.')
        return formatter.format_help()

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> S:  # type: ignore[override]
        """The settings. Raises `UsageError`; `UserError` for a fault of the file of --config."""
        args = sys.argv[1:] if args is None else args
        if list(args) == ['--version']:  # no flag among the others, whose abbreviations stay what they are
            print(versions())
            self.exit()
        names = described(self.settings)
        absent = argparse.Namespace(**dict.fromkeys(names, _ABSENT))
        found = vars(super().parse_args(args, absent))
        values = {name: found[name] for name in names if found[name] is not _ABSENT}
        if found.get(_FILE) is not None:
            if self.settings.file_flag in values:
                self.error(f'found a file, {quoted(found[_FILE])}, and --{self.settings.file_flag}: give one')
            values[self.settings.file_flag] = found[_FILE]
        values |= {name: one.fitting(values[name]) for name, one in names.items() if one.is_tuple and name in values}
        if found['config']:
            values = read_settings(found['config'], self.settings, self._program) | values
        missing = [f'--{name}' for name, one in names.items() if one.default is MISSING and name not in values]
        if missing:
            self.error(f'the following arguments are required: {", ".join(missing)}')
        if issubclass(self.settings, GivenSettings):
            return self.settings(**values, given=frozenset(values))
        return self.settings(**values)


class _Help(argparse.Action):
    """`--help`: the first flags; `--help all`: every one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if values not in (None, _ALL):
            parser.error(f'--help {quoted(values)}: expected nothing more, or "{_ALL}"')
        print(parser.format_help() if values else parser.short_help(), end='')
        parser.exit()
