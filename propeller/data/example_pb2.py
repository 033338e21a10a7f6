"""The messages of examples under the module name of 2019."""

from propeller.data.example import Example, SequenceExample

__all__ = ['Example', 'SequenceExample']
