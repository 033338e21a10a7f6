"""Data sets, batches and the thread that keeps them ready. numpy in, numpy out; nothing here needs paddle.

The names of 2019's `propeller.data` are found here too, each loaded when it is asked for.
"""

import importlib

_PLACES = {
    'Dataset': 'propeller.data.dataset',
    'Column': 'propeller.data.feature_column',
    'FeatureColumns': 'propeller.data.feature_column',
    'IdsColumn': 'propeller.data.feature_column',
    'LabelColumn': 'propeller.data.feature_column',
    'TextColumn': 'propeller.data.feature_column',
    'TextIDColumn': 'propeller.data.feature_column',
    'basic_tokenizer': 'propeller.data.feature_column',
}


def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__():
    return sorted([*globals(), *_PLACES])
