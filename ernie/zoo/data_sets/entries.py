"""What is known of a data set: where it is, how it is laid out, what its splits are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLASSIFY, PAIR, REGRESSION, TAG, READ = 'classify', 'pair', 'regression', 'tag', 'read'
SPLIT_WORDS = {'validation': 'dev', 'valid': 'dev', 'val': 'dev', 'training': 'train'}


@dataclass(frozen=True)
class File:
    """A file that a publisher has on the web.

    Attributes:
        url: its address.
        checksum: `sha256:` or `md5:` and hexadecimal digits, as published; '' where nobody says one.
        folder: where it is kept, below `archives/data_sets`.
    """

    url: str
    checksum: str = ''
    folder: str = ''

    @property
    def name(self) -> str:
        """Its own name."""
        return self.url.rpartition('/')[2]


@dataclass(frozen=True)
class Part:
    """Files from which some splits are made together.

    Attributes:
        files: `File`s, in the order in which they are read; () for what a user must bring.
        layout: of `ernie.zoo.data_sets.layouts`, which names the splits.
    """

    files: tuple[File, ...]
    layout: Any


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: our name for it.
        about: what it is, for `ernie list`.
        task: `CLASSIFY`: a class for a text; `PAIR`: for a pair of texts; `REGRESSION`: a number for a pair;
            `TAG`: a label for each token; `READ`: questions about texts.
        labels: the classes, or the labels of tokens, in the order of their ids; () where there are none.
        splits: dict name -> rows that the publisher counts; None where nobody does.
        parts: `Part`s.
        licence: in a few words, as the publisher says it; what is not said is said not to be.
        home: address of a page about it.
        terms: a sentence for who downloads it; '' where nothing is asked.
        other_names: names beside its own.
        variant_of: name of the data set of which it is another language; '' for all others.
        unlabelled: splits without labels.
    """

    name: str
    about: str
    task: str
    labels: tuple[str, ...]
    splits: Mapping[str, int | None]
    parts: tuple[Part, ...]
    licence: str
    home: str
    terms: str = ''
    other_names: tuple[str, ...] = ()
    variant_of: str = ''
    unlabelled: tuple[str, ...] = field(default=())

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    @property
    def ending(self) -> str:
        """Of the files of its splits."""
        return str(self.parts[0].layout.ending)

    @property
    def is_downloaded(self) -> bool:
        """Whether it has an address; else a user must bring it."""
        return all(part.files for part in self.parts)

    def part_of(self, split: str) -> Part:
        """The `Part` that makes a split."""
        return next(part for part in self.parts if split in part.layout.splits)

    def split_named(self, word: str) -> str | None:
        """The split that somebody means: `validation` is `dev`, `dev` of MNLI is `dev_matched`; None for no split."""
        lower = word.lower()
        first, _, rest = lower.partition('_')
        first = SPLIT_WORDS.get(first, first)
        name = f'{first}_{rest}' if rest else first
        if name in self.splits:
            return name
        return next((split for split in self.splits if not rest and split.startswith(f'{name}_')), None)
