"""Readers of PaddleHub: what makes a network's inputs of texts."""

from ernie.hub.reader.base import BaseReader
from ernie.hub.reader.pieces import ClassifyReader, SequenceLabelReader
from ernie.hub.reader.words import LACClassifyReader

__all__ = ['BaseReader', 'ClassifyReader', 'LACClassifyReader', 'SequenceLabelReader']
