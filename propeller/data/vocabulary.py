"""Vocabularies of columns: words in bytes with their ids."""

import os
from codecs import BOM_UTF8

from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import read_bytes
from propeller.log import get_logger

log = get_logger(__name__)

_MOST_BYTES = 1 << 28
_EXPECTED = 'a vocabulary of one entry a line'


def read_vocabulary(path):
    """A vocabulary file: one entry per line, whose id is the number of the line from 0. -> dict bytes -> int.

    A blank line is no entry and keeps its number. `entry<TAB>id` is taken where the id is that number. An entry that
    comes twice has its later id, as in 2019; a warning names both lines.

    Raises:
        UserError: it cannot be read, has no entry, or an id that is not the number of its line.
    """
    content = read_bytes(path, _MOST_BYTES, _EXPECTED)
    vocabulary = {}
    for index, line in enumerate(content.removeprefix(BOM_UTF8).removesuffix(b'\n').split(b'\n')):
        entry, tab, number = line.strip().partition(b'\t')
        if tab and number.strip() != str(index).encode():
            expected = f'one entry a line, or entry<TAB>{index}: ids are the numbers of the lines'
            raise bad_input(path, quoted(line), expected, line=index + 1)
        if not entry:
            continue
        if entry in vocabulary:
            log.warning('%s: %s on line %d and again on line %d: id %d holds',
                        path, _word(entry), vocabulary[entry] + 1, index + 1, index)  # fmt: skip
        vocabulary[entry] = index
    if not vocabulary:
        raise bad_input(path, 'an empty file', _EXPECTED)
    return vocabulary


def given_vocabulary(entries, source):
    """The same of a dict whose keys are bytes or str, which count as UTF-8.

    Args:
        entries: dict.
        source: what it is, for messages.
    Raises:
        UserError: it is no dict or has no entry, a key of another type, an id that is no int64, or two keys of the same
            bytes with different ids.
    """
    if not isinstance(entries, dict) or not entries:
        found = 'an empty dict' if isinstance(entries, dict) else f'a {type(entries).__name__}'
        raise UserError(f'{source}: found {found}, expected a dict word -> id.')
    vocabulary = {}
    for key, value in entries.items():
        entry = key.encode('utf-8', 'surrogatepass') if isinstance(key, str) else key
        if not isinstance(entry, bytes):
            raise UserError(f'{source}: found the key {quoted(key)}, expected words in bytes or str.')
        if vocabulary.setdefault(entry, value) != value:
            raise UserError(
                f'{source}: found {_word(entry)} twice, as bytes and as str, with the ids {quoted(vocabulary[entry])} '
                f'and {quoted(value)}, expected one.'
            )
        try:
            vocabulary[entry] = value.__index__()
        except AttributeError:
            raise UserError(f'{source}: found the id {quoted(value)} of {_word(entry)}, expected an int.') from None
        if not -(2**63) <= vocabulary[entry] < 2**63:
            raise UserError(f'{source}: found the id {quoted(value)} of {_word(entry)}, expected one of 64 bits.')
    return vocabulary


def column_vocabulary(name, vocab_dict, vocab_file):
    """(what a column's vocabulary is called in messages, dict bytes -> int); (None, None) for none.

    Raises:
        UserError: both are given, or the one that is given is wrong.
    """
    if vocab_dict is not None and vocab_file is not None:
        raise UserError(f'column {name}: found vocab_dict and vocab_file, expected one of them.')
    if vocab_file is not None:
        return os.fspath(vocab_file), read_vocabulary(vocab_file)
    if vocab_dict is not None:
        source = f'column {name}: vocab_dict'
        return source, given_vocabulary(vocab_dict, source)
    return None, None


def _word(entry):
    return quoted(entry.decode('utf-8', 'backslashreplace'))
