"""Rows of tokens and labels, for finetune_ner.py: columns of its own, and the F1 of its chunks."""

import os

import numpy as np

import propeller.paddle as propeller
from example.command_line import LEAVE_OUT
from propeller.data.feature_column import BadValue
from propeller.errors import bad_input, quoted

SEPARATOR = b'\x02'


def items(cell):
    """The tokens or labels of a cell, bytes -> list of bytes. An empty cell has none."""
    return cell.split(SEPARATOR) if cell else []


class TokensColumn(propeller.data.IdsColumn):
    """Tokens as ids of their pieces; an id of a piece that continues a token is stored as `~id`, below 0.

    Args:
        name: see `propeller.data.Column`.
        vocab: dict piece -> id.
        cutter: function from bytes to pieces. A token that it makes nothing of is `[UNK]`, and has a label like others.
    """

    def __init__(self, name, vocab, cutter):
        super().__init__(name)
        self.vocab, self.cutter = vocab, cutter

    def ids(self, raw):
        unknown, ids = self.vocab['[UNK]'], []
        for token in items(raw):
            first, *others = (self.vocab.get(piece, unknown) for piece in self.cutter(token) or ['[UNK]'])
            ids += [first, *(~other for other in others)]
        return ids


class LabelsColumn(propeller.data.IdsColumn):
    """Labels as their places in `labels`, a list of str."""

    def __init__(self, name, labels):
        super().__init__(name)
        self.labels = {label.encode(): number for number, label in enumerate(labels)}

    def ids(self, raw):
        try:
            return [self.labels[label] for label in items(raw)]
        except KeyError as e:
            known, found = [label.decode() for label in self.labels], e.args[0].decode('utf-8', 'backslashreplace')
            expected = f'those of {", ".join(known)} with U+0002 between them'
            raise BadValue(self.name, f'the label {quoted(found)}', expected) from None


def check_rows(folder, most, skip=False):
    """Look for rows with more tokens than labels, or fewer, and for rows that are cut.

    Args:
        folder: of text files of `tokens<TAB>labels`.
        most: tokens that the model reads, `[CLS]` and `[SEP]` included.
        skip: count such rows instead of refusing them.
    Returns:
        how many there are.
    Raises:
        UserError: names file and line.
    """
    bad = long = 0
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []  # the reader says what is wrong with it
    for path in (os.path.join(folder, name) for name in names if not name.startswith('.')):
        for line, raw in enumerate(propeller.data.Dataset.from_file(path), 1):
            cells = raw.rstrip(b'\r\n').split(b'\t')
            if len(cells) != 2:
                continue
            tokens, labels = (len(items(cell)) for cell in cells)
            long += tokens > most - 2
            if tokens != labels:
                bad += 1
                if not skip:
                    advice = f'Tokens and labels are joined by U+0002. {LEAVE_OUT}'
                    found, expected = f'{tokens} tokens and {labels} labels', 'one label for each token'
                    raise bad_input(path, found, expected, line=line, advice=advice)
    if bad:
        propeller.log.warning('%s: %d rows without one label for each token are left out', folder, bad)
    if long:
        what = '%s: %d rows have more than %d tokens: those beyond are neither learnt nor scored'
        propeller.log.warning(what, folder, long, most - 2)
    return bad


def same_count(packed, labels):
    """Whether a row has a label for each token. packed: of a `TokensColumn`."""
    return np.count_nonzero(packed >= 0) == len(labels)


def tagged(packed, labels, most, cls, sep):
    """A row as the model reads it, with one label for each token.

    Args:
        packed: [N] of a `TokensColumn`.
        labels: [tokens] ids, or None.
        most: length to cut to.
        cls, sep: ids.
    Returns:
        token ids [T], sentence types [T], T, all int64; and the labels [T], -1 where a piece has none of its own.
    """
    starts = packed >= 0
    ids = np.array([cls, *np.where(starts, packed, ~packed)[: most - 2], sep], np.int64)
    own = np.full(len(packed), -1, np.int64)
    own[starts] = -1 if labels is None else labels
    length = np.array(len(ids), np.int64)
    return ids, np.zeros_like(ids), length, np.array([-1, *own[: most - 2], -1], np.int64)


class TokenChunkF1(propeller.metrics.ChunkF1):
    """`ChunkF1` over the tokens of each row: where the label is negative, nothing counts."""

    def update(self, args):
        label, pred, _ = args
        label = label.reshape(pred.shape)
        counts = label >= 0
        tokens = counts.sum(1)
        place = np.arange(tokens.max(initial=0) + 2)
        inside = (place >= 1) & (place <= tokens[:, None])
        rows = np.full((2, *inside.shape), self.num_label - 1)
        rows[0][inside], rows[1][inside] = label[counts], pred[counts]
        super().update([*rows, tokens + 2])
