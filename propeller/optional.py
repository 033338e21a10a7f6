"""Packages that few need: imported where they are used, with an error that says what to install."""

import importlib

from propeller.errors import UserError


def optional_package(module, asked_by, install=None):
    """Import a package that is not needed otherwise.

    Args:
        module: its name in Python.
        asked_by: the flag or feature that needs it.
        install: its name for pip, where that is another one.
    Raises:
        UserError: it is not installed; tells who needs it and how it is installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise UserError(
            f'{asked_by} needs the package {module} ({e}). Install it: pip install {install or module}'
        ) from e
