"""The tokenizer of ERNIE tiny: segmentation by a word dictionary, lower case, sentencepiece."""

import hashlib
import json
import math
import re
from itertools import accumulate, chain

from ernie.tokenizers import Tokenizer
from ernie.tokenizers.alignment import Encoded
from ernie.tokenizers.subword_files import OFFICIAL_MODEL, find_files
from ernie.tokenizers.word_list import WordList, load_word_dict
from propeller.errors import UsageError, UserError, bad_input
from propeller.inputs import read_bytes

WORD_START = '\u2581'
MAX_MODEL_BYTES = 1 << 27
_CACHED_PARTS = 1 << 17
_UNKNOWN_COSTS = 10.0  # sentencepiece: a character without a piece scores so much less than the least likely piece
_SHORT = 512  # characters
_MOST_A_CHARACTER = 64.0  # of a score
_ROUNDING = 2.0**-22  # of float32, twice
_SURROGATE = re.compile('[\ud800-\udfff]')
_BYTE = re.compile('<0x([0-9A-F]{2})>')
_EXPECTED = f'a sentencepiece model ({OFFICIAL_MODEL} of ERNIE tiny)'


class SubwordCutter:
    """A text to pieces: parts of the dictionary, lower-cased one by one, joined by spaces, cut by sentencepiece.

    A part is cut once and remembered. That is exact where no piece goes across a space and where rounding cannot change
    which cut is the best: sentencepiece sums float32 scores from the beginning of the text, so a part whose second best
    cut is nearly as good is cut inside its whole text, each time.

    Args:
        model_path: the sentencepiece model.
        words: `WordList`; None: the parts are those between spaces.
        lower: lower-case the parts, after they were looked up.
        value: function of a piece (str), which gives what is returned for it.

    Raises:
        UserError: sentencepiece is not installed; the file is missing or no such model.
    """

    def __init__(self, model_path, words, lower=True, value=str):
        self.model_path, self.words, self.lower = model_path, words, lower
        self.model = _load_sentencepiece(model_path)
        self._value, self._known, self._facts = value, {}, {}
        try:
            pieces = self.model.id_to_piece(list(range(len(self.model))))
        except UnicodeDecodeError as e:
            raise bad_input(model_path, 'a piece that is not UTF-8', _EXPECTED) from e
        self.pieces = [piece for i, piece in enumerate(pieces) if self._is_plain(i)]
        self._separate = self._cuts_at_spaces(set(pieces))
        self._unknown = min(map(self.model.get_score, range(len(pieces)))) - _UNKNOWN_COSTS
        self._scored = self._separate and self._has_second_best()

    def _is_plain(self, index):
        return not (self.model.is_control(index) or self.model.is_unknown(index) or self.model.is_byte(index))

    def _cuts_at_spaces(self, pieces):
        crosses = any(WORD_START in piece[1:] for piece in pieces)
        return not crosses and WORD_START in pieces and self._normalized(' x  y ')[0] == f'{WORD_START}x{WORD_START}y'

    def _has_second_best(self):
        """Whether the model chooses by sums of scores (unigram); the others apply rules, which never round."""
        try:
            self.model.nbest_encode('x', nbest_size=2, out_type=str)
        except RuntimeError:
            return False
        return True

    def _normalized(self, text):
        return self.model.normalize(text, with_offsets=True)

    def __getstate__(self):
        return self.__dict__ | {'_known': {}, '_facts': {}}

    def parts(self, text):
        """The parts of a text, before they are lower-cased: list of str."""
        return text.split(' ') if self.words is None else self.words.segment(text)

    def _joined(self, parts):
        if self.words is not None:
            parts = [part for part in parts if part != ' ']
        return _SURROGATE.sub('\ufffd', ' '.join([part.lower() for part in parts] if self.lower else parts))

    def __call__(self, text):
        """The values of the pieces of a text (str): list."""
        parts = self.parts(text)
        if not self._separate:
            return self._whole(parts)
        if len(text) > _SHORT and self._scored:
            return self._carefully(parts)
        try:
            return list(chain.from_iterable(map(self._known.__getitem__, parts)))
        except KeyError:
            found = [self._learn(part) for part in parts]
        return self._carefully(parts) if None in found else list(chain.from_iterable(found))

    def _whole(self, parts):
        return [self._value(piece) for piece in self.model.encode(self._joined(parts), out_type=str)]

    def _learn(self, part):
        """The values of a part, which `_known` then has; None, and it never has them: see `_carefully`."""
        try:
            return self._known[part]
        except KeyError:
            values, score, gap = self._facts_of(part)
        doubtful = gap < _ROUNDING * _MOST_A_CHARACTER * _SHORT or -score > _MOST_A_CHARACTER * len(part)
        if len(self._known) >= _CACHED_PARTS:
            self._known.clear()
        if doubtful:
            return None
        self._known[part] = values
        return values

    def _facts_of(self, part):
        """(values, score, by how much the second best cut is worse for each addition in it)."""
        found = self._facts.get(part)
        if found is None:
            if len(self._facts) >= _CACHED_PARTS:
                self._facts.clear()
            found = self._facts[part] = self._make_facts(part)
        return found

    def _make_facts(self, part):
        joined = self._joined([part])
        if not self._scored:
            return tuple(map(self._value, self.model.encode(joined, out_type=str))), 0.0, math.inf
        cuts = self.model.nbest_encode(joined, nbest_size=2, out_type=str) or [[]]
        values, scores = tuple(map(self._value, cuts[0])), [sum(map(self._score, cut)) for cut in cuts]
        if not all(map(math.isfinite, scores)):
            return values, -math.inf, 0.0
        additions = sum(map(len, cuts[0])) + 1
        return values, scores[0], (scores[0] - scores[1]) / additions if len(cuts) > 1 else math.inf

    def _score(self, piece):
        index = self.model.piece_to_id(piece)
        if self.model.is_byte(index):
            return math.nan
        return len(piece) * self._unknown if self.model.is_unknown(index) else self.model.get_score(index)

    def _carefully(self, parts):
        """The same where a text is long, or one of its parts has two cuts that are nearly as good as each other."""
        facts = [self._facts_of(part) for part in parts]
        largest = sum(abs(score) for _, score, _ in facts) + 64 * abs(self._unknown)
        if min(gap for _, _, gap in facts) < largest * _ROUNDING:
            return self._whole(parts)
        return list(chain.from_iterable(values for values, _, _ in facts))

    def aligned(self, text):
        """The same with the slice of `text` that each piece stands for: `Encoded`, whose `ids` are the values.

        A piece that only marks the beginning of a word stands for the first character of that word.
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
            if normalized[begin] == WORD_START and begin + 1 < len(normalized):
                begin, end = begin + 1, max(end, begin + 2)
            start, last = places[begin], max(places[begin], places[end] - 1)
            while last > start and origins[last] < 0:  # the space behind a part
                last -= 1
            encoded.ids.append(self._value(piece))
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
        return self._joined(parts), origins


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
        self.sums, self._unknown = self.subword.sums(), self.vocab['[UNK]']
        self._cut = SubwordCutter(self.subword.model, WordList(load_word_dict(self.subword.words)), do_lower_case,
                                  self._id)  # fmt: skip
        known = sum(piece in self.vocab for piece in self._cut.pieces)
        if 2 * known < len(self._cut.pieces):
            raise bad_input(
                self.subword.model,
                f'{known} of {len(self._cut.pieces)} pieces in {vocab_path}',
                'the sentencepiece model that belongs to this vocabulary',
            )

    @classmethod
    def from_settings(cls, vocab_path, settings, files=None):
        return cls(vocab_path, settings.do_lower_case, files)

    def _id(self, piece):
        return self.vocab.get(piece, self._unknown)

    def encode(self, text):
        return self._cut(text)

    def encode_aligned(self, text):
        return self._cut.aligned(text)

    def config(self, longest):
        return super().config(longest) | {'subword': self.sums}

    def files(self, longest):
        return super().files(longest) | self.subword.contents(self.sums)

    def fingerprint(self):
        return hashlib.sha256((super().fingerprint() + json.dumps(sorted(self.sums.values()))).encode()).hexdigest()


def _load_sentencepiece(path):
    try:
        import sentencepiece
    except ImportError as e:
        raise UserError(
            'ERNIE tiny needs the sentencepiece library, which is not installed. Run: pip install sentencepiece'
        ) from e
    content = read_bytes(path, MAX_MODEL_BYTES, _EXPECTED)
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=content) if content else None
        pieces = len(model) if content else 0
    except (RuntimeError, OSError, ValueError) as e:
        raise bad_input(path, 'content that sentencepiece cannot read', _EXPECTED) from e
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
        words = WordList(load_word_dict(word_dict)) if ws else None
        self.ws, self.lower = ws, lower
        self._cut = SubwordCutter(sp_model, words, lower)

    def __call__(self, text):
        """UTF-8 bytes (or str) -> list of pieces. UnicodeDecodeError for bytes that are not UTF-8."""
        return self._cut(text.decode('utf-8') if isinstance(text, bytes) else text)
