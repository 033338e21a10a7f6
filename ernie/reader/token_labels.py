"""The labels of pieces and tokens in the set of a tagging file (`TokenizedSet`). numpy in, numpy out."""

import numpy as np

from ernie.decoding.scheme import split_label

IGNORED = -1  # label of what counts neither in the loss nor in the score
CUT = -2  # the same, of a [SEP] before which the rest of a row was cut off


def label_ids(entries, num_labels):
    """Entries of `token_labels` -> label ids, `IGNORED` where there is none."""
    return np.where(entries >= 0, entries % num_labels, IGNORED)


def token_starts(entries, num_labels):
    """Entries of `token_labels` -> bool, whether the piece begins a token."""
    return (entries >= 0) & (entries < num_labels)


def labels_of_tokens(rows, num_labels):
    """([M] label ids, [M] number of its row) of all tokens of a `TokenizedSet`, those that did not fit among them."""
    entries = np.asarray(rows.token_labels)
    starts = np.flatnonzero(token_starts(entries, num_labels))
    owners = np.concatenate(
        [np.searchsorted(rows.offsets, starts, side='right') - 1, np.repeat(np.arange(len(rows)), rows.cut)]
    )
    order = owners.argsort(kind='stable')  # what did not fit comes after what did
    return np.concatenate([entries[starts], rows.cut_labels])[order], owners[order]


def bare_beginnings(rows, label_map):
    """[n] the number of its row for each chunk that begins with `I-`, ascending.

    rows: `TokenizedSet`. label_map: dict label -> id.
    """
    labels, owners = labels_of_tokens(rows, len(label_map))
    kinds = {i: split_label(name) for name, i in label_map.items()}
    inside = np.array([kinds[i][0] == 'I' for i in range(len(kinds))])
    names = {kind: i for i, kind in enumerate(dict.fromkeys(kind for _, kind in kinds.values()))}
    kind = np.array([names[kinds[i][1]] for i in range(len(kinds))])[labels]
    goes_on = np.zeros(len(labels), bool)
    goes_on[1:] = (kind[1:] == kind[:-1]) & (owners[1:] == owners[:-1])
    return owners[inside[labels] & ~goes_on]
