"""The messages of features under the module name of 2019."""

from propeller.data.example import BytesList, Feature, FeatureList, FeatureLists, Features, FloatList, Int64List

__all__ = ['BytesList', 'Feature', 'FeatureList', 'FeatureLists', 'Features', 'FloatList', 'Int64List']
