"""A table of names and what they stand for, loaded when it is asked for: adding something is one file and one line."""

import pkgutil
from collections import UserDict


class Table(UserDict):
    """dict name -> object. An entry may be given as `module:attribute`; that module is loaded at the first look-up.

    `list(table)` and `name in table` load nothing; `values` and `items` load all.
    """

    def __getitem__(self, name):
        entry = self.data[name]
        if isinstance(entry, str):
            entry = self.data[name] = pkgutil.resolve_name(entry)
        return entry

    def __contains__(self, name):
        return isinstance(name, str) and name in self.data  # what a file says may be a list, which cannot be looked up
