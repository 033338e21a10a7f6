"""ERNIE on the static graph: model, tokenizers, readers, tasks and checkpoint formats.

`ernie.load` opens a trained model, `ernie.finetune` trains one, see `ernie.api`; they are imported when asked for.
"""

_PUBLIC = {
    'load': 'ernie.api',
    'FinetuneSettings': 'ernie.settings.finetune',
    'OwnDataSettings': 'ernie.settings.finetune',
}


def __getattr__(name):
    import importlib

    if name == 'finetune':  # the package, which can be called
        return importlib.import_module('ernie.finetune')
    if name not in _PUBLIC:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return [*globals(), *_PUBLIC, 'finetune']
