"""`propeller.data` of 2019."""

from propeller.data.dataset import Dataset
from propeller.data.feature_column import (
    Column,
    FeatureColumns,
    LabelColumn,
    TextColumn,
    TextIDColumn,
    basic_tokenizer,
)

__all__ = ['Column', 'Dataset', 'FeatureColumns', 'LabelColumn', 'TextColumn', 'TextIDColumn', 'basic_tokenizer']
