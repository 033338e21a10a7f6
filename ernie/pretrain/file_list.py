"""Lists of sample files: `path<TAB>word_mask_probability`, one file a line."""

import os
from typing import NamedTuple

from propeller.errors import bad_input, quoted
from propeller.inputs import MAX_JSON_BYTES, read_text


class ListedFile(NamedTuple):
    """A file of a list. word_probability: how likely it is that whole units are masked in it, not single tokens."""

    path: str
    word_probability: float


def read_file_list(path):
    """The files of a list, as `ListedFile`s in its order.

    A name that is not absolute belongs to the working directory; if there is no such file, to the folder of the list.

    Raises:
        UserError: the list cannot be read or is empty, a line is wrong, or a file is not there.
    """
    path = os.fspath(path)
    lines = read_text(path, MAX_JSON_BYTES, 'a list of sample files, one `path<TAB>probability` a line').split('\n')
    files = [_listed(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not files:
        raise bad_input(path, 'an empty list', 'a line `path<TAB>probability` for each file')
    return files


def _listed(path, number, line):
    name, separator, text = line.rstrip().partition('\t')
    if not separator:
        raise bad_input(path, quoted(line.strip()), 'a path, a TAB and a probability', number)
    try:
        probability = float(text)
    except ValueError:
        probability = -1.0
    if not 0 <= probability < float('inf'):
        expected = 'a probability: 0 masks single tokens, 1 or more masks whole units'
        raise bad_input(path, quoted(text), expected, number)
    candidates = [name, os.path.join(os.path.dirname(path), name)]
    found = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    if found is None:
        advice = f'Names belong to the working directory, {os.getcwd()}, or else to the folder of the list.'
        raise bad_input(path, f'{quoted(name)}, which is no file', 'the name of a sample file', number, advice)
    return ListedFile(found, probability)
