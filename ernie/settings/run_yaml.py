"""run.yaml: all settings of a run in one file. Read by `--config`, written by every training into --checkpoints."""

from typing import Any

from ernie.settings.base import Settings
from ernie.settings.fields import Misfit, described
from propeller.errors import bad_input, did_you_mean, quoted
from propeller.inputs import read_yaml_mapping

VERSION = 1
_OWN = ('version', 'program')


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
            raise bad_input(path, f'{name} {quoted(values[name])}', e.expected, lines[name]) from None
    return values
