"""Whole words as tokens, for students of words: cut by a lexer, as the texts of the training were, or at spaces."""

import hashlib
import os
import pkgutil
import re

from ernie.tokenizers import TOKENIZER_CONFIG, Tokenizer
from ernie.tokenizers.alignment import Encoded
from ernie.tokenizers.text import is_cjk
from propeller.errors import bad_input, one_of
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

SPACES, LEXER = 'spaces', 'lexer'
_UNKNOWN = re.compile(r'\[UNK\]')
_WORD = re.compile(r'\S+')
_LONG = 6  # ideographs in a row that are hardly one word


class WordTokenizer(Tokenizer):
    """Words, each in the vocabulary or `[UNK]`. `[UNK]` in a text is the token.

    Args:
        vocab_path, do_lower_case: see `Tokenizer`.
        lexer: name of `ernie.pretrain.building.lexers.LEXERS` that cuts texts, `spaces` where they are cut already;
            None: what `lexer` of the `tokenizer_config.json` beside the vocabulary says, else `spaces`.

    Attributes:
        warns: whether it warns, once, of a text that nobody seems to have cut into words.

    Raises:
        UserError: the vocabulary cannot be read, the lexer is unknown or not installed.
    """

    cuts_ideographs = False

    def __init__(self, vocab_path, do_lower_case=True, lexer=None):
        super().__init__(vocab_path, do_lower_case)
        self.lexer = lexer or lexer_beside(vocab_path)
        self._lexer = None if self.lexer == SPACES else _lexers()[self.lexer]()
        self.warns = True

    def config(self, longest):
        return {**super().config(longest), LEXER: self.lexer}

    def fingerprint(self):
        return hashlib.sha256(f'{super().fingerprint()} {self.lexer}'.encode()).hexdigest()

    def word_spans(self, text):
        if self._lexer is None:
            return [match.span() for match in _WORD.finditer(text)]
        spans, start = [], 0
        for match in _UNKNOWN.finditer(text):
            spans += [*self._cut(text, start, match.start()), match.span()]
            start = match.end()
        return spans + self._cut(text, start, len(text))

    def _cut(self, text, start, end):
        """Spans of the words of a part of a text. White space apart, they are all of it."""
        spans = []
        for word in self._lexer.words(text[start:end]) if text[start:end].strip() else ():
            for piece in word.text.split():
                while start < end and text[start].isspace():
                    start += 1
                spans.append((start, min(start + len(piece), end)))
                start += len(piece)
        return spans

    def encode_aligned(self, text):
        spans, unknown = self.word_spans(text), self.vocab['[UNK]']
        words = (text[start:end] for start, end in spans)
        ids = [self.vocab.get(word.lower() if self.do_lower_case else word, unknown) for word in words]
        if self._lexer is None and self.warns:
            self._doubt(text, spans, ids, unknown)
        return Encoded(ids, [start for start, _ in spans], [end for _, end in spans])

    def _doubt(self, text, spans, ids, unknown):
        """Warn of a text that nobody seems to have cut into words."""
        if set(ids) == {unknown} and any(all(map(is_cjk, text[s : s + _LONG])) and e - s >= _LONG for s, e in spans):
            self.warns = False
            log.warning(
                '%s: this model reads words with spaces between them, and knows no word of a text without any: segment '
                'texts as those of its training were (distill/segment.py)',
                self.vocab_path,
            )


def _lexers():
    return pkgutil.resolve_name('ernie.pretrain.building.lexers:LEXERS')


def lexer_beside(vocab_path):
    """Name of the lexer that the `tokenizer_config.json` beside a vocabulary has; `spaces` where it has none.

    Raises:
        UserError: there is no such lexer.
    """
    path = os.path.join(os.path.dirname(os.fspath(vocab_path)), TOKENIZER_CONFIG)
    name = read_json_object(path).get(LEXER, SPACES) if os.path.lexists(path) else SPACES
    known = [known for known in _lexers() if known != 'none']
    if name not in known:
        raise bad_input(path, f'{LEXER} {name!r}', one_of(name, known).rstrip('.'))
    return name


def tokenizer_config(lexer):
    """The content of a `tokenizer_config.json` for texts that a lexer cut: a JSON-able dict."""
    return {'tokenizer_class': WordTokenizer.__name__, 'do_lower_case': True, LEXER: lexer}
