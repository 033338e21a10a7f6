"""Command-line flags as the 2019 programs had them: booleans are values, `--help` shows every default."""

import argparse
import sys

from propeller.errors import UsageError, did_you_mean

_TRUE = {'true', 't', '1', 'yes', 'y', 'on'}
_FALSE = {'false', 'f', '0', 'no', 'n', 'off'}
_NO_FLAG = '\0'  # before what stands behind `--`, until it is parsed; no argument of a program can have it


def boolean(text):
    """`true`, `t`, `1` ... -> True; `false`, `f`, `0` ... -> False; anything else is an error."""
    word = str(text).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise argparse.ArgumentTypeError(f'found {text!r}, expected true or false')


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line; abbreviations of flags are understood, as the published scripts need."""

    mixed = False  # whether an argument without a name was added to a group

    def parse_args(self, args=None, namespace=None):
        """The values of the flags. Raises `UsageError`; for an unknown flag it names the nearest one.

        Flags may stand between arguments without a name, and all behind `--` are such.
        """
        if self.mixed:
            found, unknown = self._parse_mixed(sys.argv[1:] if args is None else list(args), namespace)
        else:
            found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            name, known = unknown[0].partition('=')[0], [o for a in self._actions for o in a.option_strings]
            self.error(f'unrecognized arguments: {" ".join(unknown)}', did_you_mean(name, known))
        return found

    def _parse_mixed(self, args, namespace):
        if '--' in args:
            place = args.index('--')
            args = [*args[:place], *(_NO_FLAG + arg for arg in args[place + 1 :])]
        found, unknown = self.parse_known_intermixed_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if not action.option_strings and isinstance(value, str | list):
                plain = [part.removeprefix(_NO_FLAG) for part in ([value] if isinstance(value, str) else value)]
                setattr(found, action.dest, plain if isinstance(value, list) else plain[0])
        return found, [arg.removeprefix(_NO_FLAG) for arg in unknown]

    def _check_value(self, action, value):
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as e:
            names = [choice for choice in action.choices or () if isinstance(choice, str)]
            e.message += f'.{did_you_mean(str(value), names)}'.removesuffix('.')
            raise

    def error(self, message, advice=''):
        end = '' if message.endswith('?') else '.'  # an advice of `_check_value`
        raise UsageError(f'{message}{end}{advice} --help lists all flags.')


class ArgumentGroup:
    """A titled group of flags: `group.add_arg('epoch', int, 3, 'Epochs.')`."""

    def __init__(self, parser, title, description=''):
        self._parser, self._group = parser, parser.add_argument_group(title, description)

    def add_arg(self, name, type, default, help, also=None, **kwargs):  # noqa: A002
        """Add `--name`. A `bool` takes a value (true/false). also: a further name."""
        convert = boolean if type is bool else type
        text = help if default in (None, '') else f'{help} Default: {default}.'
        kwargs.setdefault('metavar', 'BOOL' if type is bool else type.__name__.upper())
        names = [f'--{word}' for word in (also, name) if word]
        self._group.add_argument(*names, dest=name, type=convert, default=default, help=text, **kwargs)

    def add_positional(self, name, help, nargs, default, metavar):  # noqa: A002
        """Add an argument without a name; it may be left out."""
        self._parser.mixed = True
        self._group.add_argument(name, nargs=nargs, default=default, metavar=metavar, help=help)

    def add_switch(self, name, help):  # noqa: A002
        """Add `--name`, which takes no value."""
        self._group.add_argument(f'--{name}', action='store_true', help=help)


def settings_lines(title, values):
    """Lines of a settings block: a header, `key: value` sorted by key, 48 dashes."""
    return [f'-----------  {title} -----------', *(f'{k}: {values[k]}' for k in sorted(values)), '-' * 48]


def print_arguments(args, log):
    """Log all flags with their values."""
    values = {name: value for name, value in vars(args).items() if name != 'given'}
    for line in settings_lines('Configuration Arguments', values):
        log.debug(line)


def split_list(text):
    """`a,b` -> ['a', 'b']; None or '' -> []."""
    return [part.strip() for part in text.split(',') if part.strip()] if text else []
