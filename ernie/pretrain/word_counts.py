"""How often words and characters occur in a corpus: as a stream, in several processes, with bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

from ernie.pretrain.building.lexers import LEXERS, join_words
from ernie.pretrain.building.units import HALF_WIDTH
from ernie.tokenization import BasicTokenizer
from ernie.tokenizers.text import MAX_CHARS_PER_WORD
from propeller.data.parallel import chunked, map_ordered

MAX_WORDS = 2_000_000  # some 300 MB


class WordCutter:
    """Text -> words, as `FullTokenizer` or `CharTokenizer` cut it before they look at a vocabulary.

    Args:
        tokenizer: 'FullTokenizer' or 'CharTokenizer'.
        do_lower_case: as in the tokenizer.
        lexer: a name of `ernie.pretrain.building.lexers.LEXERS`. With one that makes words, `CharTokenizer` is given
            spaces between them; `FullTokenizer`, which cuts Chinese text at every character, the text without tags.
        half_width: make full-width letters and digits those of ASCII first.

    Raises:
        UserError: the lexer is not installed.
    """

    def __init__(self, tokenizer='FullTokenizer', do_lower_case=True, lexer='none', half_width=False):
        self.tokenizer, self.do_lower_case, self.half_width = tokenizer, do_lower_case, half_width
        self._lexer = LEXERS[lexer]()
        self._basic = BasicTokenizer(do_lower_case)

    def __call__(self, text):
        if self.half_width:
            text = text.translate(HALF_WIDTH)
        full = self.tokenizer == 'FullTokenizer'
        if self._lexer.segmented or not full:
            words = self._lexer.words(text)
            if words is not None:
                text = join_words(words) if full else ' '.join(word.text for word in words)
        if full:
            return self._basic.tokenize(text)
        return (text.lower() if self.do_lower_case else text).split()


class BoundedCounter:
    """Counts keys; past `limit` of them the rarest are dropped.

    Lossy counting: `shortfall` is what a count may lack at most, 0 as long as nothing was dropped.

    Args:
        limit: keys kept, at least 1.
    """

    def __init__(self, limit=MAX_WORDS):
        self.limit = limit
        self.counts = Counter()
        self.shortfall = 0

    def update(self, counts):
        """Add a mapping key -> count."""
        self.counts.update(counts)
        if len(self.counts) > self.limit:
            self._drop_rare()

    def _drop_rare(self):
        """Drops all keys up to the smallest count that leaves a quarter of the room free: it pays only in bulk."""
        sizes = Counter(self.counts.values())
        left, threshold = len(self.counts), 0
        while left > 0.75 * self.limit:
            threshold = min(size for size in sizes if size > threshold)
            left -= sizes[threshold]
        self.counts = Counter({key: count for key, count in self.counts.items() if count > threshold})
        self.shortfall += threshold


@dataclass
class CorpusCounts:
    """What `count_corpus` found.

    Attributes:
        lines, held_out_lines: lines that were counted, and those kept apart.
        characters: exact Counter of the pieces of one character: `c` at the start of a word, `##c` inside.
        words, held_out_words: `BoundedCounter` of the words of both kinds of lines.
        too_long: words longer than a tokenizer looks at (100 characters): it reads them as [UNK], and they are not
            counted.
    """

    words: BoundedCounter
    held_out_words: BoundedCounter
    characters: Counter = field(default_factory=Counter)
    lines: int = 0
    held_out_lines: int = 0
    too_long: int = 0


class _ChunkCounter:
    """Counts the words of a chunk of (is held out, line); sent to other processes."""

    def __init__(self, cut):
        self.cut = cut

    def __call__(self, chunk):
        words = (Counter(), Counter())
        for held_out, line in chunk:
            words[held_out].update(self.cut(line))
        held_out_lines = sum(held_out for held_out, _ in chunk)
        return (*words, len(chunk) - held_out_lines, held_out_lines)


def character_pieces(words):
    """Counter of words -> Counter of their characters, those after the first with `##` before them."""
    pieces = Counter()
    for word, count in words.items():
        pieces[word[0]] += count
        for char in word[1:]:
            pieces['##' + char] += count
    return pieces


def count_corpus(lines, cut, hold_out=0, max_words=MAX_WORDS, processes=1):
    """Counts a stream of lines. The result does not depend on the number of processes.

    Args:
        lines: iterable of str.
        cut: `WordCutter`.
        hold_out: every so manieth line is kept apart, to measure on; 0 for none.
        max_words: distinct words kept in memory (see `BoundedCounter`).
        processes: workers besides this process; below 2 it works alone.

    Returns:
        `CorpusCounts`.
    """
    found = CorpusCounts(BoundedCounter(max_words), BoundedCounter(max_words))
    marked = ((bool(hold_out) and i % hold_out == 0, line) for i, line in enumerate(lines, start=1))
    chunks = chunked(marked, size_of=lambda item: len(item[1]))
    for words, held_out_words, counted, held_out in map_ordered(_ChunkCounter(cut), chunks, processes):
        for long in [word for word in words if len(word) > MAX_CHARS_PER_WORD]:
            found.too_long += words.pop(long)
        found.characters.update(character_pieces(words))
        found.words.update(words)
        found.held_out_words.update(held_out_words)
        found.lines += counted
        found.held_out_lines += held_out
    return found
