"""The tokenizer of ERNIE tiny: segmentation by a word dictionary, lower case, sentencepiece."""

import hashlib
import json
import re
from itertools import accumulate

from ernie.tokenizers import Tokenizer
from ernie.tokenizers.alignment import Encoded
from ernie.tokenizers.subword_files import OFFICIAL_MODEL, WORDS, find_files
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS
from ernie.tokenizers.word_list import WordList, load_word_dict, words_sum
from propeller.errors import UsageError, bad_input, one_line
from propeller.inputs import read_bytes
from propeller.optional import optional_package

WORD_START = '\u2581'
MAX_MODEL_BYTES = 1 << 27
_SURROGATE = re.compile('[\ud800-\udfff]')
_BYTE = re.compile('<0x([0-9A-F]{2})>')
_EXPECTED = f'a sentencepiece model ({OFFICIAL_MODEL} of ERNIE tiny)'


class SubwordCutter:
    """A text to pieces: parts of the dictionary, lower-cased one by one, joined by spaces, cut by sentencepiece.

    Args:
        model_path: the sentencepiece model.
        words: iterable of str, the dictionary; None: the parts are those between spaces.
        lower: lower-case the parts, after they were looked up.

    Attributes:
        all_pieces: list of str, by their ids in the model. pieces: those that a text can become.

    Raises:
        UserError: sentencepiece is not installed; the file is missing or no such model.
    """

    def __init__(self, model_path, words, lower=True):
        self.lower, self.model = lower, _load_sentencepiece(model_path)
        try:
            self.all_pieces = self.model.id_to_piece(list(range(len(self.model))))
        except UnicodeDecodeError as e:
            raise bad_input(model_path, 'a piece that is not UTF-8', _EXPECTED) from e
        self.pieces = [piece for i, piece in enumerate(self.all_pieces) if self._is_plain(i)]
        marked = self.model.normalize('a')
        self._marks_ends = marked.endswith(WORD_START) and not marked.startswith(WORD_START)
        characters = {char for piece in self.pieces for char in piece}
        self.words = None if words is None else WordList(words, characters)

    def _is_plain(self, index):
        return not (self.model.is_control(index) or self.model.is_unknown(index) or self.model.is_byte(index))

    def _normalized(self, text):
        return self.model.normalize(text, with_offsets=True)

    def parts(self, text):
        """The parts of a text, before they are lower-cased: list of str. Halves of surrogate pairs become U+FFFD."""
        text = _SURROGATE.sub('\ufffd', text)
        return text.split(' ') if self.words is None else self.words.segment(text)

    def _joined(self, text):
        text = _SURROGATE.sub('\ufffd', text)
        if self.words is not None:
            return self.words.joined(text, self.lower)
        return ' '.join(map(str.lower, text.split(' '))) if self.lower else text

    def __call__(self, text):
        """The pieces of a text: list of str."""
        return self.model.encode(self._joined(text), out_type=str)

    def ids(self, text):
        """Their ids in the model: list of int. What has no piece is unknown there."""
        return self.model.encode(self._joined(text))

    def aligned(self, text):
        """The pieces with the slice of `text` that each stands for: `Encoded`, whose `ids` are the pieces.

        A piece that only marks the beginning of a word stands for the first character of that word; the end, for the
        last one.
        """
        joined, origins = self._joined_aligned(text)
        normalized, places = self._normalized(joined)
        encoded, at = Encoded([], [], []), 0
        for piece in self.model.encode(joined, out_type=str):
            begin, end = at, at + len(piece)
            byte = None if normalized.startswith(piece, at) else _BYTE.fullmatch(piece)
            if byte:  # of a character without a piece; the bytes after the first are 10xxxxxx
                begin, end = (at - 1, at) if 0x80 <= int(byte[1], 16) < 0xC0 else (at, at + 1)
            at = end
            if normalized[begin] == WORD_START:
                if self._marks_ends:
                    begin = max(begin - 1, 0)
                elif begin + 1 < len(normalized):
                    begin, end = begin + 1, max(end, begin + 2)
            start = min(places[begin], len(origins) - 1)  # a mark behind what the model left out has no character
            last = max(start, places[end] - 1)
            while last > start and origins[last] < 0:  # the space behind a part
                last -= 1
            encoded.ids.append(piece)
            first, behind = (i if i >= 0 else ~i for i in (origins[start], origins[last]))
            encoded.starts.append(first)
            encoded.ends.append(behind + 1)
        return encoded

    def _joined_aligned(self, text):
        """The joined parts, and for each of its characters the index in `text`; for the spaces that join `~` that
        of the next part.
        """
        origins, parts = [], self.parts(text)
        gap = 1 if self.words is None else 0
        starts = accumulate((len(part) + gap for part in parts), initial=0)
        for part, start in zip(parts, starts, strict=False):
            if self.words is not None and part == ' ':
                continue
            if origins:
                origins.append(~start)
            for i, char in enumerate(part, start=start):
                origins += [i] * (len(char.lower()) if self.lower else 1)
        return self._joined(text), origins


class SubwordTokenizer(Tokenizer):
    """ERNIE tiny's: `SubwordCutter`, its pieces looked up in `vocab.txt`; what is not there is `[UNK]`.

    Args:
        vocab_path: a file for `load_vocab`.
        do_lower_case: lower-case the words, after they were looked up in the dictionary.
        files: `SubwordFiles`; None: those in the folder `subword` beside the vocabulary.

    Raises:
        UsageError: there are none.
        UserError: one of them is missing, broken, or does not belong to the vocabulary.
    """

    cuts_ideographs = False
    needs_files = True
    rule_modules = ('ernie.tokenizers.word_list', 'ernie.tokenizers.subword_files')

    def __init__(self, vocab_path, do_lower_case=True, files=None):
        super().__init__(vocab_path, do_lower_case)
        self.subword = files or find_files(vocab_path)
        if self.subword is None:
            raise UsageError(
                f'--sentence_piece_model and --word_dict are missing, and no folder subword lies beside {vocab_path}.'
            )
        words, self._unknown = load_word_dict(self.subword.words), self.vocab['[UNK]']
        self.sums = {**self.subword.sums(), WORDS: words_sum(words)}
        self._cut = SubwordCutter(self.subword.model, words, do_lower_case)
        known = sum(piece in self.vocab for piece in self._cut.pieces)
        if 2 * known < len(self._cut.pieces):
            raise bad_input(
                self.subword.model,
                f'{known} of {len(self._cut.pieces)} pieces in {vocab_path}',
                'the sentencepiece model that belongs to this vocabulary',
            )
        self._table, self._by_pieces = self._ids(self._cut.all_pieces), self._has_unknown()
        self._table[self._cut.model.unk_id()] = self._unknown  # whatever the vocabulary has by its name

    @classmethod
    def from_settings(cls, vocab_path, settings, files=None):
        return cls(vocab_path, settings.do_lower_case, files)

    def _has_unknown(self):
        """Whether `vocab.txt` has a token for something that the model does not know."""
        tokens = sorted(self.vocab.keys() - {*self._cut.pieces, *SPECIAL_TOKENS})
        found = self._cut.model.encode([token.replace(WORD_START, ' ') for token in tokens], out_type=str)
        return any(token in pieces for token, pieces in zip(tokens, found, strict=True))

    def encode(self, text):
        found = self._cut.ids(text)
        if self._by_pieces and self._cut.model.unk_id() in found:
            return self._ids(self._cut(text))
        return [*map(self._table.__getitem__, found)]

    def encode_aligned(self, text):
        found = self._cut.aligned(text)
        return found._replace(ids=self._ids(found.ids))

    def _ids(self, pieces):
        return [self.vocab.get(piece, self._unknown) for piece in pieces]

    def config(self, longest):
        return super().config(longest) | {'subword': self.sums}

    def files(self, longest):
        return super().files(longest) | self.subword.contents(self.sums)

    def exported_files(self, longest):
        return super().files(longest) | self.subword.contents(self.sums, exported=True)

    def fingerprint(self):
        sums = [self.sums[name] for name in (OFFICIAL_MODEL, WORDS)]
        return hashlib.sha256(json.dumps([super().fingerprint(), *sums]).encode()).hexdigest()


def _load_sentencepiece(path):
    sentencepiece = optional_package('sentencepiece', 'the tokenizer of ERNIE tiny')
    content = read_bytes(path, MAX_MODEL_BYTES, _EXPECTED)
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=content) if content else None
        pieces = len(model) if content else 0
    except (RuntimeError, OSError, ValueError) as e:
        raise bad_input(path, f'content that sentencepiece cannot read ({one_line(e, 80)})', _EXPECTED) from e
    if not pieces:
        raise bad_input(path, 'an empty file', _EXPECTED)
    return model


class WSSPTokenizer:
    """`SubwordCutter` as a function from bytes to pieces, to be looked up in ERNIE tiny's `vocab.txt`.

    Args:
        sp_model: path of the sentencepiece model.
        word_dict: path of the word dictionary; not read without `ws`.
        ws: segment by the dictionary; otherwise at spaces.
        lower: lower-case the words, after they were looked up.

    Raises:
        UserError: sentencepiece is not installed; a file is missing or is not what it should be.
    """

    def __init__(self, sp_model, word_dict, ws=True, lower=True):
        self.ws, self.lower = ws, lower
        self._cut = SubwordCutter(sp_model, load_word_dict(word_dict) if ws else None, lower)

    def __call__(self, text):
        """UTF-8 bytes (or str) -> list of pieces. UnicodeDecodeError for bytes that are not UTF-8."""
        return self._cut(text.decode('utf-8') if isinstance(text, bytes) else text)
