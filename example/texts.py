"""How the examples cut texts."""

import hashlib
import os

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.utils.data import CharTokenizer, WSSPTokenizer
from propeller.errors import UserError
from propeller.inputs import read_bytes

_MOST_BYTES = 1 << 28


class Cutter:
    """A tokenizer as a column calls it.

    Args:
        cut: function from a text (str) to its pieces.
        name: what it is called.
        parts: bytes that decide which pieces a text becomes.

    Attributes:
        digest: of `parts`; record files are made anew when it changes.
    """

    NOT_FINGERPRINTED = ('_cut',)

    def __init__(self, cut, name, *parts):
        self._cut, self.name = cut, name
        digest = hashlib.sha256()
        for part in parts:
            digest.update(hashlib.sha256(part).digest())
        self.digest = digest.hexdigest()

    def __call__(self, raw):
        """bytes of UTF-8 -> list of pieces. Raises `UserError` for other bytes."""
        try:
            return self._cut(raw.decode('utf-8'))
        except UnicodeDecodeError as e:
            raise UserError(f'byte 0x{raw[e.start]:02x} that is not UTF-8') from None


def make_cutter(args, vocab):
    """The `Cutter` that the flags ask for: ERNIE tiny's, that of the files beside the vocabulary, or 2019's.

    Raises:
        UsageError: one of the two files of ERNIE tiny is not given.
        UserError: a file cannot be used.
    """
    model, words = getattr(args, 'sentence_piece_model', None), getattr(args, 'word_dict', None)
    vocabulary = read_bytes(args.vocab_file, _MOST_BYTES, 'a vocabulary')
    found = folder_tokenizer(os.path.dirname(args.vocab_file) or '.').with_files(model, words)
    by_characters = getattr(args, 'use_sentence_piece_vocab', None)  # of the tagger alone
    if by_characters or (by_characters is not None and found.files):
        return Cutter(CharTokenizer(vocab, sentencepiece_style_vocab=True), 'CharTokenizer, U+2581', vocabulary)
    if found.files:
        cut = WSSPTokenizer(*found.files, lower=found.settings.do_lower_case)
        files = (read_bytes(path, _MOST_BYTES, "a file of ERNIE tiny's tokenizer") for path in found.files)
        return Cutter(cut, 'WSSPTokenizer', vocabulary, *files)
    if not found.said_by:
        return Cutter(CharTokenizer(vocab), 'CharTokenizer', vocabulary)
    settings = repr(tuple(found.settings))
    return Cutter(found.make(args.vocab_file).tokenize, settings, vocabulary)
