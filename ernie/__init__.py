"""ERNIE on the static graph: model, tokenizers, readers, tasks and checkpoint formats.

`ernie.load` opens a trained model, see `ernie.api`; it is imported when it is asked for.
"""

_PUBLIC = {'load': 'ernie.api'}


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return [*globals(), *_PUBLIC]
