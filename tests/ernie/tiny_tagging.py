"""Small sentences whose entities a 2-layer model can learn: characters of a few kinds, with labels by the scheme."""

import contextlib
import io
import json

import numpy as np

from ernie.decoding.scheme import SCHEMES
from tests.ernie.tiny_model import BAD, FILLING, GOOD, SETTINGS, Ran, flags

KINDS = {'PER': GOOD, 'LOC': BAD}


def label_map(scheme='IOB'):
    """dict label -> id; `O` is not the last one."""
    names = [f'{prefix}-{kind}' for kind in KINDS for prefix in SCHEMES[scheme].prefixes]
    return {name: i for i, name in enumerate([names[0], 'O', *names[1:]])}


def write_map(path, scheme='IOB'):
    """The label map as a file; returns the path as text."""
    path.write_text(json.dumps(label_map(scheme)), encoding='utf-8')
    return str(path)


def labels_of(kind, length, scheme):
    """Labels of one entity."""
    prefixes = {
        'IO': 'I' * length,
        'IOB': 'B' + 'I' * (length - 1),
        'IOE': 'I' * (length - 1) + 'E',
        'IOBES': 'S' if length == 1 else 'B' + 'I' * (length - 2) + 'E',
    }[scheme]
    return [f'{prefix}-{kind}' for prefix in prefixes]


def sentences(count, seed, scheme='IOB', most=12):
    """`count` pairs (tokens, labels): filling with entities of 1 to 3 characters between."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        tokens, labels = [], []
        while len(tokens) < rng.integers(1, most):
            filling = rng.choice(list(FILLING), rng.integers(1, 4)).tolist()
            kind = str(rng.choice(list(KINDS)))
            # The first character tells that it is the first: two layers cannot count.
            first, others = str(rng.choice(list(KINDS[kind][:2]))), list(KINDS[kind][2:])
            entity = [first, *rng.choice(others, rng.integers(0, 3)).tolist()]
            tokens += [*filling, *entity]
            labels += ['O'] * len(filling) + labels_of(kind, len(entity), scheme)
        rows.append((tokens, labels))
    return rows


def write_rows(path, rows, separator='\x02', columns=('text_a', 'label')):
    """A TSV file of the pairs; returns the path as text."""
    cells = {'text_a': lambda row: separator.join(row[0]), 'label': lambda row: separator.join(row[1])}
    lines = ['\t'.join(columns), *('\t'.join(cells[c](row) for c in columns) for row in rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8', newline='\n')
    return str(path)


def write_conll(path, rows):
    """The same as a CoNLL file."""
    blocks = [''.join(f'{token} {label}\n' for token, label in zip(*row, strict=True)) for row in rows]
    path.write_text('\n'.join(blocks), encoding='utf-8')
    return str(path)


def run(**values):
    """`run_sequence_labeling.main` in this process with `SETTINGS` and these flags. Returns `Ran`."""
    import run_sequence_labeling

    with contextlib.redirect_stderr(io.StringIO()) as log, contextlib.redirect_stdout(io.StringIO()) as out:
        run_sequence_labeling.main(flags(**(SETTINGS | values)))
    return Ran(log.getvalue(), out.getvalue())
