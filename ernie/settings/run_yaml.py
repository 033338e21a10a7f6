"""run.yaml: all settings of a run in one file. Read by `--config`, written by every training into --checkpoints."""

import math
import os
import re
from collections.abc import Sequence
from typing import Any

from ernie.settings.base import Settings, groups
from ernie.settings.fields import Misfit, described
from propeller.errors import bad_input, did_you_mean, one_line, quoted
from propeller.inputs import read_yaml_mapping
from propeller.storage.atomic import output_file

FILE = 'run.yaml'
VERSION = 1
_FIRST_LINE = '# All settings of a training, written when it began.'
_ADVICE = '# Again: --config and another --checkpoints, from the same working folder: paths are as they were given.'
# Texts that are nothing else in YAML; all others are quoted.
_PLAIN = re.compile(r'(\./)?[A-Za-z_][\w./,*+-]*', re.ASCII)
_WORDS = ('y', 'n', 'yes', 'no', 'on', 'off', 'true', 'false', 'null')


def read_settings(path: str, settings: type[Settings], program: str | None = None) -> dict[str, Any]:
    """The settings in a file.

    Args:
        path: a YAML file: the name of a setting and its value a line; `version` and `program` perhaps.
        settings: the class whose settings they must be.
        program: what the file may say of its program; None: anything.
    Returns:
        dict name -> value, of the type of the setting.
    Raises:
        UserError: the file cannot be read, is of a newer version or of another program; a name is unknown, a value of
            another type or impossible. File and line are named.
    """
    values, lines = read_yaml_mapping(path, 'settings, a line each: `name: value`')
    version = values.pop('version', VERSION)
    if type(version) is not int or not 1 <= version <= VERSION:
        advice = 'It was written by a newer release of this suite.' if type(version) is int and version > 0 else ''
        raise bad_input(path, f'version {quoted(version)}', f'at most {VERSION}', lines['version'], advice)
    found = values.pop('program', program)
    if program and found != program:
        raise bad_input(path, f'settings of the program {quoted(found)}', f'those of {program!r}', lines['program'])
    known = described(settings)
    for name in values:
        if name not in known:
            advice = did_you_mean(str(name), known).strip() or '--help lists all flags.'
            raise bad_input(path, f'the unknown setting {quoted(name)}', 'the name of a flag', lines[name], advice)
        try:
            values[name] = known[name].fitting(values[name])
        except Misfit as e:
            raise bad_input(path, f'{name} {quoted(values[name])}', e.expected, lines[name], e.advice) from None
    return values


def write_settings(
    folder: str, settings: Settings, program: str, notes: Sequence[str] = (), left_out: Sequence[str] = ()
) -> None:
    """Write run.yaml: what `read_settings` makes the same settings of. Raises `UserError`.

    notes: further comments. left_out: names of settings that the run finds out itself.
    """
    lines = [
        _FIRST_LINE,
        _ADVICE,
        *(f'# {one_line(note)}' for note in notes),
        f'version: {VERSION}',
        f'program: {program}',
    ]
    known = described(type(settings))
    values = {name: known[name].fitting(value) for name, value in settings.recorded().items() if name not in left_out}
    for title, names in groups(type(settings)).items():
        lines += ['', f'# {title}', *(f'{name}: {_written(values[name])}' for name in names if name in values)]
    with output_file(os.path.join(folder, FILE)) as f:
        f.write('\n'.join(lines) + '\n')


def check_place(folder: str) -> None:
    """Raises `UserError`: the run.yaml in a folder is one that no training wrote, and would be lost."""
    path = os.path.join(folder, FILE)
    if not os.path.isfile(path):
        return
    with open(path, encoding='utf-8', errors='replace') as f:
        if f.readline(200).rstrip() != _FIRST_LINE:
            raise bad_input(
                path,
                'a file that no training wrote',
                'none, for this training will write its settings there',
                advice='Move it, or choose another --checkpoints.',
            )


def _written(value: Any) -> str:
    """A value as YAML."""
    if value is None:
        return 'null'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _WORDS):
        return '"' + ''.join(_escaped(c) for c in value) + '"'
    if isinstance(value, float) and not math.isfinite(value):
        return f'"{value}"'
    if isinstance(value, float) and '.' not in repr(value):
        return repr(value).replace('e', '.0e')  # YAML 1.1 takes 5e-05 for a text
    return str(value)


def _escaped(char: str) -> str:
    if char in '"\\':
        return f'\\{char}'
    return char if char.isprintable() else f'\\U{ord(char):08x}'
