"""`propeller.data` of 2019."""

from propeller.data.dataset import Dataset

__all__ = ['Dataset']
