"""What the sample builders share: settings, packing of sentences, truncation, assembly."""

import abc
from typing import NamedTuple

from ernie.pretrain.tasks.discourse_markers import RELATIONS
from ernie.pretrain.tasks.sample import Sample
from ernie.pretrain.tasks.task import NO_LABEL


class SpecialIds(NamedTuple):
    """Ids of `[CLS]`, `[SEP]` and `[UNK]`."""

    cls: int
    sep: int
    unk: int


class SampleSettings(NamedTuple):
    """How samples are made.

    tasks: names of the chosen tasks.
    max_seq_len: tokens of the longest sample, special tokens included.
    short_seq_prob: share of samples that are made for a shorter length, drawn uniformly.
    negative_share: share of pairs and dialogues with a replaced part.
    one_sentence_pairs: `next_sentence` from two single sentences, not from two runs of sentences.
    max_pieces: `sentence_reordering` cuts into 1 to so many pieces.
    random_share: share of `ir_relevance` samples with a title of another query.
    joint_masking: samples of all tasks are masked, not only those of `knowledge_masking` and of ERNIE 1.0.
    relations: dict relation -> list of its markers, the classes of `discourse_relation`.
    """

    tasks: tuple
    max_seq_len: int = 512
    short_seq_prob: float = 0.1
    negative_share: float = 0.5
    one_sentence_pairs: bool = False
    max_pieces: int = 3
    random_share: float = 1 / 3
    joint_masking: bool = False
    relations: dict = RELATIONS


class SampleBuilder(abc.ABC):
    """Makes the samples of one task, in the processes of the builder. It can be pickled.

    Args:
        task: the class of the task.
        sample_settings: a `SampleSettings`.
        tokenizer: a `FullTokenizer`.

    Attributes:
        source: kind of the items it takes: `documents` (lists of `building.units.Sentence`), `dialogues` (lists of
            turns, each a `Sentence`) or `queries` ((query, title, label), `Sentence`s and an int).
        published: whether it is of ERNIE 1.0, which masks the same samples.
        reads_capitals: whether it needs `Sentence.capitals`.
    """

    source = 'documents'
    published = False
    reads_capitals = False

    def __init__(self, task, sample_settings, tokenizer):
        self.name, self.task_id = task.name, task.id
        self.settings = sample_settings
        self.special = SpecialIds(*(tokenizer.vocab[token] for token in ('[CLS]', '[SEP]', '[UNK]')))
        masked = sample_settings.joint_masking or self.published
        self._common_labels = (
            {'knowledge_masking': None} if masked and 'knowledge_masking' in sample_settings.tasks else {}
        )

    @abc.abstractmethod
    def samples(self, items, rng, notes):
        """Yields the samples of a block of items, `Sample`s whose arrays are lists.

        Args:
            items: list of what `source` says.
            rng: random.Random.
            notes: collections.Counter that takes what was left out, by reason.
        """

    def is_needed(self):
        """Whether it makes samples of its own beside the other chosen tasks."""
        return True

    def classes(self):
        """Names of the classes, or their number, for the report; () where the settings do not decide on them."""
        return ()

    def content(self):
        """What the samples depend on beside the flags, for the manifest: dict name -> JSON-able value."""
        return {}

    def room(self, parts):
        """Tokens of text that fit beside `[CLS]` and a `[SEP]` after each of so many parts."""
        return self.settings.max_seq_len - 1 - parts

    def target(self, parts, rng):
        """Tokens of text that the next sample should have."""
        room = self.room(parts)
        if rng.random() < self.settings.short_seq_prob:
            return rng.randint(min(2, room), room)
        return room

    def sample(self, parts, types, label):
        """`[CLS]` and each part with a `[SEP]` -> `Sample`.

        Args:
            parts: list of (ids, segments).
            types: sentence type of each part.
            label: class, or for a token-level task one list of labels for each part.
        """
        ids, segments, sentence_types = [self.special.cls], [-1], [types[0]]
        for (part_ids, part_segments), kind in zip(parts, types, strict=True):
            ids += part_ids
            ids.append(self.special.sep)
            segments += part_segments
            segments.append(-1)
            sentence_types += [kind] * (len(part_ids) + 1)
        if isinstance(label, list):
            flat = [NO_LABEL]
            for part in label:
                flat += part
                flat.append(NO_LABEL)
            label = flat
        labels = self._common_labels | {self.name: label}
        return Sample(ids, sentence_types, list(range(len(ids))), segments, self.task_id, labels)


def joined(sentences):
    """Sentences -> (ids, segments) one after the other."""
    ids, segments = [], []
    for sentence in sentences:
        ids += sentence.ids
        segments += sentence.segments
    return ids, segments


def truncated(parts, room, notes):
    """Parts cut at their ends until they have `room` tokens together, always the longest; of equal ones the last.

    Args:
        parts: list of (ids, segments).

    Returns:
        list of the same form; a part keeps at least one token.
    """
    lengths = [len(ids) for ids, _ in parts]
    excess = sum(lengths) - room
    if excess <= 0:
        return parts
    notes['tokens cut off at the ends of samples'] += excess
    for _ in range(excess):
        longest = max(range(len(lengths)), key=lambda i: (lengths[i], i))
        lengths[longest] -= 1
    return [(ids[:n], segments[:n]) for (ids, segments), n in zip(parts, lengths, strict=True)]


def pack(sentences, next_target):
    """Runs of neighbouring sentences of at most `next_target()` tokens; a longer sentence is a run of its own.

    Yields:
        list of `Sentence`.
    """
    run, length, target = [], 0, next_target()
    for sentence in sentences:
        if run and length + len(sentence.ids) > target:
            yield run
            run, length, target = [], 0, next_target()
        run.append(sentence)
        length += len(sentence.ids)
    if run:
        yield run


def another(count, index, rng):
    """A random number below `count` that is not `index`; None if there is no other."""
    if count < 2:
        return None
    drawn = rng.randrange(count - 1)
    return drawn + (drawn >= index)


class Balance:
    """Chooses among classes so that all come equally often: the rarest that can be had, ties at random."""

    def __init__(self, classes):
        self.counts = dict.fromkeys(classes, 0)

    def choose(self, possible, rng):
        """One of the classes `possible`; it is counted."""
        least = min(self.counts[c] for c in possible)
        chosen = rng.choice([c for c in possible if self.counts[c] == least])
        self.counts[chosen] += 1
        return chosen
