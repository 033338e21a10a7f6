"""Chunk labels (`B-PER`, `I-PER`, `O` ...) in the schemes IO, IOB, IOE and IOBES: chunks, labels of pieces, checks.

What a chunk is follows the field's scorer, seqeval. In IO and IOB every run counts, however it begins (its default
mode, that of conlleval and of the chunk operator of 2019); in IOE and IOBES only whole chunks do (its strict mode).
"""

from typing import NamedTuple

OUTSIDE = 'O'
NO_TYPE = '_'  # of a label that is a prefix only, such as B in word segmentation


class Scheme(NamedTuple):
    """How chunks are written in a scheme.

    prefixes: allowed ones. begin: those that may begin a chunk. inside: those that may go on with one. closed: those
    after which a chunk never goes on. end: those that a chunk must end with.
    """

    prefixes: str
    begin: str
    inside: str
    closed: str
    end: str


SCHEMES = {
    'IO': Scheme('I', begin='I', inside='I', closed='', end='I'),
    'IOB': Scheme('BI', begin='BI', inside='I', closed='', end='BI'),
    'IOE': Scheme('IE', begin='IE', inside='IE', closed='E', end='E'),
    'IOBES': Scheme('BIES', begin='BS', inside='IE', closed='ES', end='ES'),
}


class Chunk(NamedTuple):
    """A chunk: its type and the positions `start` to `end - 1`."""

    type: str
    start: int
    end: int


def split_label(label):
    """`B-PER` -> ('B', 'PER'); `O` -> ('O', ''); `B` alone -> ('B', '_')."""
    if label == OUTSIDE:
        return OUTSIDE, ''
    prefix, _, kind = label.partition('-')
    return prefix, kind or NO_TYPE


def join_label(prefix, label):
    """`label` with another prefix."""
    return prefix + label[1:]


def scheme_fault(labels, scheme):
    """(found, expected) of the first of some different label names that `scheme` does not know, or None."""
    prefixes = SCHEMES[scheme].prefixes
    for label in labels:
        if label != OUTSIDE and split_label(label)[0] not in tuple(prefixes):
            known = ', '.join(f'{prefix}-' for prefix in prefixes)
            return f'the label {label!r}', f'{OUTSIDE}, or a label that begins with {known} as in the scheme {scheme}'
    return None


def chunks(labels, scheme):
    """The chunks of a sequence, in order.

    Args:
        labels: list of label names, of one sequence.
        scheme: key of `SCHEMES`.
    """
    rules = SCHEMES[scheme]
    found, start, prefix, kind = [], None, OUTSIDE, ''
    for i, label in enumerate([*labels, OUTSIDE]):
        before, kind_before = prefix, kind
        prefix, kind = split_label(label)
        goes_on = kind == kind_before and prefix in rules.inside and before not in rules.closed
        if start is not None and not goes_on:
            if before in rules.end:
                found.append(Chunk(kind_before, start, i))
            start = None
        if start is None and prefix in rules.begin:
            start = i
    return found


def first_broken(labels, scheme):
    """Position of the first label that belongs to no whole chunk of `scheme`, None if there is none."""
    inside = {i for chunk in chunks(labels, scheme) for i in range(chunk.start, chunk.end)}
    return next((i for i, label in enumerate(labels) if label != OUTSIDE and i not in inside), None)


def piece_labels(label, count, known):
    """Labels of the `count` pieces of a token: O, I repeated; B, I ..; for S B, I .., E; for E I .., E.

    A label map that lacks one of them (a type that only has `B-`, say) has the token's own label repeated.

    Args:
        label: of the token.
        count: at least 1.
        known: container of the label names that exist.
    """
    prefix = split_label(label)[0]
    if count > 1 and prefix in ('B', 'S', 'E'):
        first = 'I' if prefix == 'E' else 'B'
        last = 'I' if prefix == 'B' else 'E'
        made = [join_label(p, label) for p in [first, *'I' * (count - 2), last]]
        if all(name in known for name in made):
            return made
    return [label] * count


def token_label(first, last, scheme):
    """The label of a token from those of its first and last piece: `piece_labels` backwards.

    The first piece gives the type and whether a chunk begins; the last piece whether it ends.
    """
    prefix = split_label(first)[0]
    if first == last or prefix == OUTSIDE or scheme in ('IO', 'IOB'):
        return first
    begins = prefix in ('B', 'S')
    ends = split_label(last)[0] in ('E', 'S') and split_label(last)[1] == split_label(first)[1]
    return join_label(('S' if ends else 'B') if begins else ('E' if ends else 'I'), first)
