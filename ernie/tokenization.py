"""Text -> sub-words -> ids: `FullTokenizer` for raw text, `CharTokenizer` for text cut at spaces."""

import abc
import re
from itertools import chain

from ernie.tokenizers import TOKENIZERS, Tokenizer, TokenizerSettings
from ernie.tokenizers.alignment import Encoded, Word, basic_words_aligned, slice_of, space_words_aligned
from ernie.tokenizers.text import (
    MAX_CHARS_PER_WORD,
    CharacterTable,
    NeedsContext,
    Rules,
    basic_words,
    convert_to_unicode,
    is_cjk,
    longest_matches,
)
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS, load_vocab

__all__ = [
    'SPECIAL_TOKENS',
    'TOKENIZERS',
    'BasicTokenizer',
    'CharTokenizer',
    'FullTokenizer',
    'SubwordCharTokenizer',
    'WordpieceTokenizer',
    'load_vocab',
    'tokenize_chinese_chars',
]

_CACHED_WORDS = 1 << 16
_WORD_START = '\u2581'


class BasicTokenizer:
    """Text -> words: cleaned, each ideograph and each punctuation character a word of its own.

    Args:
        do_lower_case: lower-case.
        strip_accents: leave out accents; None: where the text is lower-cased, as BERT and the 2019 suite do.
        tokenize_chinese_chars: whether ideographs are words of their own.
    """

    def __init__(self, do_lower_case=True, strip_accents=None, tokenize_chinese_chars=True):
        self.rules = Rules(do_lower_case, strip_accents, tokenize_chinese_chars)
        self._table = CharacterTable(*self.rules)

    def tokenize(self, text):
        """str, or bytes of UTF-8 -> list of words. White space alone gives none."""
        text = convert_to_unicode(text)
        try:
            return text.translate(self._table).split()
        except NeedsContext:
            return basic_words(text, *self.rules)


class WordpieceTokenizer:
    """Words -> pieces of the vocabulary by longest match from the left; `##` marks pieces inside a word.

    Args:
        vocab: container of pieces.
        unk_token: stands for a word with a part that is not in the vocabulary.
        max_input_chars_per_word: a longer word becomes `unk_token` as a whole.
    """

    def __init__(self, vocab, unk_token='[UNK]', max_input_chars_per_word=MAX_CHARS_PER_WORD):
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word
        self._longest = max(map(len, vocab), default=0)

    def tokenize(self, text):
        """Words with white space between -> list of pieces."""
        return [piece for word in convert_to_unicode(text).split() for piece in self.pieces(word)]

    def pieces(self, word):
        """One word -> list of its pieces."""
        return [piece for piece, _, _ in self.spans(word)]

    def spans(self, word):
        """One word -> list of (piece, start, end) in its characters."""
        spans = None
        if len(word) <= self.max_input_chars_per_word:
            spans = longest_matches(word, self.vocab, longest=self._longest)
        if spans is None:
            return [(self.unk_token, 0, len(word))]
        return [(word[start:end] if start == 0 else '##' + word[start:end], start, end) for start, end in spans]


class _MarkedPieces(WordpieceTokenizer):
    """The same where U+2581 marks the piece that begins a word, and nothing the others."""

    def spans(self, word):
        spans = None
        if len(word) <= self.max_input_chars_per_word:
            spans = longest_matches(word, self.vocab, _WORD_START, '', longest=self._longest)
        if spans is None:
            return [(self.unk_token, 0, len(word))]
        return [((_WORD_START if start == 0 else '') + word[start:end], start, end) for start, end in spans]


class _WordIds(dict):
    """Word -> ids of its pieces, made at the first look-up. Starts anew when full: words in use come back at once."""

    def __init__(self, vocab, wordpiece):
        super().__init__()
        self.vocab = vocab
        self.wordpiece = wordpiece

    def __missing__(self, word):
        ids = tuple(self.vocab[piece] for piece in self.wordpiece.pieces(word))
        if len(word) <= self.wordpiece.max_input_chars_per_word:
            if len(self) >= _CACHED_WORDS:
                self.clear()
            self[word] = ids
        return ids

    def __reduce__(self):
        return type(self), (self.vocab, self.wordpiece)


class _WordPieceTokenizer(Tokenizer):
    """Words, then pieces of them; the tokenizers differ in how `words` cuts a text.

    Args:
        vocab_file: a file for `load_vocab`.
        do_lower_case: for a vocabulary of lower-case pieces.

    Attributes:
        rules: `ernie.tokenizers.text.Rules` of its words.
    """

    rule_modules = ('ernie.tokenizers.text',)
    pieces_class = WordpieceTokenizer

    def __init__(self, vocab_file, do_lower_case=True):
        super().__init__(vocab_file, do_lower_case)
        self.rules = Rules(do_lower_case)
        self.wordpiece_tokenizer = self.pieces_class(self.vocab)
        self._ids = _WordIds(self.vocab, self.wordpiece_tokenizer)

    @property
    def settings(self):
        return TokenizerSettings(type(self).__name__, *self.rules)

    @property
    def cuts_ideographs(self):
        return self.rules.ideographs

    @abc.abstractmethod
    def words(self, text):
        """str, or bytes of UTF-8 -> list of words, before they are cut into pieces."""

    def tokenize(self, text):
        """str, or bytes of UTF-8 -> list of pieces, without `[CLS]` and `[SEP]`."""
        return [piece for word in self.words(text) for piece in self.wordpiece_tokenizer.pieces(word)]

    def encode(self, text):
        """`convert_tokens_to_ids(tokenize(text))`, but quick: words are cut once and remembered."""
        return list(chain.from_iterable(map(self._ids.__getitem__, self.words(text))))

    @abc.abstractmethod
    def aligned_words(self, text):
        """`words(text)` as a list of `ernie.tokenizers.alignment.Word`."""

    def encode_aligned(self, text):
        """`encode(text)` with the slice of the original text for each id: `ernie.tokenizers.alignment.Encoded`.

        Offsets count characters (code points) of `text`, a str.
        """
        encoded = Encoded([], [], [])
        for word in self.aligned_words(text):
            for piece, start, end in self.wordpiece_tokenizer.spans(word.text):
                first, last = slice_of(text, word.origins[start:end])
                encoded.ids.append(self.vocab[piece])
                encoded.starts.append(first)
                encoded.ends.append(last)
        return encoded

    def word_spans(self, text):
        return [slice_of(text, word.origins) for word in self.aligned_words(text)]


class FullTokenizer(_WordPieceTokenizer):
    """For raw text: `BasicTokenizer`, then `WordpieceTokenizer`.

    Special tokens inside a text are cut at their brackets like any other text: add them afterwards.

    Args:
        vocab_file: a file for `load_vocab`.
        do_lower_case, strip_accents, tokenize_chinese_chars: of `BasicTokenizer`.
    """

    def __init__(self, vocab_file, do_lower_case=True, strip_accents=None, tokenize_chinese_chars=True):
        super().__init__(vocab_file, do_lower_case)
        self.rules = Rules(do_lower_case, strip_accents, tokenize_chinese_chars)
        self.basic_tokenizer = BasicTokenizer(*self.rules)

    @classmethod
    def from_settings(cls, vocab_path, settings):
        return cls(vocab_path, *settings[1:])

    def config(self, longest):
        # Hugging Face's own form: its tokenizer of this name gives the same ids.
        special = {f'{token.strip("[]").lower()}_token': token for token in SPECIAL_TOKENS}
        rules = {'strip_accents': self.rules.strip, 'tokenize_chinese_chars': self.rules.ideographs}
        return {**super().config(longest), 'tokenizer_class': 'BertTokenizer', **rules, **special}

    def words(self, text):
        return self.basic_tokenizer.tokenize(text)

    def aligned_words(self, text):
        return basic_words_aligned(text, *self.rules)


class CharTokenizer(_WordPieceTokenizer):
    """For text already segmented by spaces: no cleaning, no accent stripping, no cut at ideographs or punctuation.

    A run of Chinese characters without spaces is one word, so its pieces after the first are looked up with `##`.
    """

    def words(self, text):
        text = convert_to_unicode(text)
        return (text.lower() if self.do_lower_case else text).split()

    def aligned_words(self, text):
        return space_words_aligned(text, self.do_lower_case)


class SubwordCharTokenizer(_WordPieceTokenizer):
    """Runs of ASCII letters and digits, and single characters, as pieces of ERNIE tiny's vocabulary, which marks word
    starts with U+2581: what `finetune_ner.py --use_sentence_piece_vocab` of 2019 does. For tagging, whose labels stand
    on characters: words of a dictionary would hide most of them.
    """

    pieces_class = _MarkedPieces
    _word = re.compile(r'[a-zA-Z0-9]+|\S')

    def words(self, text):
        text = convert_to_unicode(text)
        return self._word.findall(text.lower() if self.do_lower_case else text)

    def aligned_words(self, text):
        lowered, origins = text, list(range(len(text)))
        if self.do_lower_case:
            lowered, origins = text.lower(), [i for i, char in enumerate(text) for _ in char.lower()]
        return [Word(match[0], origins[match.start() : match.end()]) for match in self._word.finditer(lowered)]


def tokenize_chinese_chars(text):
    """Cuts a text at ideographs and white space (space, TAB, CR, LF, U+202F), each an item of its own.

    Other white space and punctuation do not cut.

    Returns:
        list of str; joined they are `text` again.
    """
    items, run = [], []
    for char in text:
        if not (char in ' \t\r\n\u202f' or is_cjk(char)):
            run.append(char)
            continue
        if run:
            items.append(''.join(run))
            run = []
        items.append(char)
    if run:
        items.append(''.join(run))
    return items
