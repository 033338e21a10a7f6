"""propeller: a small training engine on Paddle's static graph.

Users write `import propeller.paddle as propeller`. Importing this package never imports paddle; it only makes the
processor settings that must stand in the environment before paddle is loaded. The names of 2019 (`propeller.HParams`
and its like) are looked up when they are used.
"""

import importlib
from typing import Any

from propeller.environment import prepare_cpu

__version__ = '0.2.0'

_HOME = {
    **dict.fromkeys(
        ('HParams', 'InferenceSpec', 'ModelSpec', 'ProgramPair', 'RunConfig', 'RunMode'), 'propeller.types'
    ),
    **dict.fromkeys(('StopException', 'SummaryRecord', 'WarmStartSetting'), 'propeller.types'),
    **dict.fromkeys(('ArgumentParser', 'parse_file', 'parse_hparam', 'parse_runconfig'), 'propeller.config'),
}

prepare_cpu()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
