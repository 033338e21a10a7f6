"""`propeller.data` of 2019."""

import sys

from propeller.data import dataset, feature_column
from propeller.data.dataset import Dataset
from propeller.data.feature_column import (
    Column,
    FeatureColumns,
    IdsColumn,
    LabelColumn,
    TextColumn,
    TextIDColumn,
    basic_tokenizer,
)

__all__ = [
    'Column',
    'Dataset',
    'FeatureColumns',
    'IdsColumn',
    'LabelColumn',
    'TextColumn',
    'TextIDColumn',
    'basic_tokenizer',
]

# `from propeller.paddle.data.functional import Dataset`, as the folder of 2019 allowed it.
sys.modules[f'{__name__}.functional'] = dataset
sys.modules[f'{__name__}.feature_column'] = feature_column
