"""Tokenizers: what all of them do, and the table of them by the name that model folders record."""

import abc
import hashlib
import json
import os
import re
import sys
from typing import NamedTuple

from ernie.tokenizers.vocabulary import load_vocab, vocabulary_bytes
from propeller.table import Table

VOCABULARY, TOKENIZER_CONFIG = 'vocab.txt', 'tokenizer_config.json'
_WORD = re.compile(r'\S+')

# Name in `tokenizer_config.json` and `--tokenizer` -> class, a `Tokenizer` of that name.
TOKENIZERS = Table(
    FullTokenizer='ernie.tokenization:FullTokenizer',
    CharTokenizer='ernie.tokenization:CharTokenizer',
    WordTokenizer='ernie.tokenizers.words:WordTokenizer',
    SubwordTokenizer='ernie.tokenizers.subword:SubwordTokenizer',
    SubwordCharTokenizer='ernie.tokenization:SubwordCharTokenizer',
)


class TokenizerSettings(NamedTuple):
    """What decides, beside the vocabulary, which ids a text becomes.

    Attributes:
        tokenizer: name of `TOKENIZERS`.
        do_lower_case: lower-case.
        strip_accents: leave out accents; None: as `do_lower_case`.
        tokenize_chinese_chars: each ideograph is a word.
    """

    tokenizer: str = 'FullTokenizer'
    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    def make(self, vocab_path, files=None):
        """The `Tokenizer` for a vocabulary file.

        files: what it needs beside that, where its class `needs_files`; None: it lies beside the vocabulary.
        """
        made = TOKENIZERS[self.tokenizer]
        given = {'files': files} if made.needs_files else {}
        return made.from_settings(vocab_path, self, **given)


class Tokenizer(abc.ABC):
    """Text -> ids of a vocabulary, without `[CLS]` and `[SEP]`.

    To add one: a subclass that has `encode_aligned`, and its line in `TOKENIZERS`. Model folders record its name and
    hold its files; readers, caches, tagging, export and prediction then work with it.

    Args:
        vocab_path: a file for `ernie.tokenizers.vocabulary.load_vocab`.
        do_lower_case: whether it lower-cases.

    Attributes:
        vocab: dict token -> id. inv_vocab: dict id -> token. vocab_path, do_lower_case: as given.
        cuts_ideographs: whether each ideograph is a word of its own, so that spaces beside it mean nothing.
        needs_files: whether `from_settings` takes `files`, what it needs beside the vocabulary.
        rule_modules: modules beside that of the class whose code decides which ids a text becomes.
    """

    cuts_ideographs = True
    needs_files = False
    rule_modules = ()

    def __init__(self, vocab_path, do_lower_case=True):
        self.vocab_path, self.do_lower_case = vocab_path, do_lower_case
        self.vocab = load_vocab(vocab_path)
        self.inv_vocab = {index: token for token, index in self.vocab.items()}

    @classmethod
    def from_settings(cls, vocab_path, settings):
        """The tokenizer for a vocabulary file and `TokenizerSettings`."""
        return cls(vocab_path, settings.do_lower_case)

    @property
    def settings(self):
        """The `TokenizerSettings` that it was made with."""
        return TokenizerSettings(type(self).__name__, self.do_lower_case)

    @abc.abstractmethod
    def encode_aligned(self, text):
        """The ids of a text (str) with the slice of it that each stands for: `ernie.tokenizers.alignment.Encoded`.

        Offsets count characters (code points) of `text`.
        """

    def encode(self, text):
        """The ids of a text: list of int."""
        return self.encode_aligned(text).ids

    def tokenize(self, text):
        """The tokens of a text: list of str."""
        return self.convert_ids_to_tokens(self.encode(text))

    def word_spans(self, text):
        """The words of a text, which tagging labels: list of (start, end), ascending. Here: at white space."""
        return [match.span() for match in _WORD.finditer(text)]

    def convert_tokens_to_ids(self, tokens):
        """Tokens -> list of ids. KeyError for a token that is not in the vocabulary."""
        return [self.vocab[token] for token in tokens]

    def convert_ids_to_tokens(self, ids):
        """Ids -> list of tokens. KeyError for an id that is not in the vocabulary."""
        return [self.inv_vocab[index] for index in ids]

    def config(self, longest):
        """What `tokenizer_config.json` says: a JSON-able dict. longest: tokens that the model reads at most."""
        return {
            'tokenizer_class': type(self).__name__,
            'do_lower_case': self.do_lower_case,
            'model_max_length': longest,
            # A folder with fewer is refused. A token with a carriage return may be lost in writing (`as_lines`).
            'vocab_tokens': sum('\r' not in token for token in self.vocab),
        }

    def config_file(self, longest):
        """`tokenizer_config.json` as bytes."""
        return (json.dumps(self.config(longest), indent=2, sort_keys=True) + '\n').encode()

    def files(self, longest):
        """Everything that a model folder must hold to have this tokenizer: dict file name, which may lie in a folder
        (`subword/...`), -> bytes. longest: see `config`.
        """
        return {VOCABULARY: vocabulary_bytes(self.vocab_path), TOKENIZER_CONFIG: self.config_file(longest)}

    def exported_files(self, longest):
        """The same for an export, in the form that programs in other languages read."""
        return self.files(longest)

    def fingerprint(self):
        """Hexadecimal digest of all that decides which ids a text becomes, its own code included: a key for caches."""
        digest = hashlib.sha256(json.dumps([*self.settings, sorted(self.vocab.items())]).encode())
        modules = dict.fromkeys([*(kind.__module__ for kind in type(self).__mro__), *self.rule_modules])
        for path in (getattr(sys.modules.get(name), '__file__', None) for name in modules):
            if path and os.path.isfile(path):
                with open(path, 'rb') as f:
                    digest.update(hashlib.file_digest(f, 'sha256').digest())
        return digest.hexdigest()
