"""Texts of users as cells of a TSV file."""

_ESCAPES = {'\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r'}
# What ends a line for some readers, Python's `str.splitlines` among them.
_ESCAPES |= {char: f'\\u{ord(char):04x}' for char in '\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029'}
_TABLE = str.maketrans(_ESCAPES)


def escape(text):
    """A text without TAB and line ends: `\\t`, `\\n`, `\\r`, `\\uXXXX` stand for them, and `\\\\` for the backslash."""
    return text.translate(_TABLE)
