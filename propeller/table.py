"""A table of names and what they stand for, loaded when it is asked for: adding something is one file and one line."""

import importlib
from collections import UserDict


class Table(UserDict):
    """dict name -> object. An entry may be given as `module:attribute`; that module is loaded at the first look-up.

    `list(table)` and `name in table` load nothing; `values` and `items` load all.
    """

    def __getitem__(self, name):
        entry = self.data[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(':')
            entry = self.data[name] = getattr(importlib.import_module(module), attribute)
        return entry
