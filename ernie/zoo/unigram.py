"""How sentencepiece's unigram model cuts a word: the pieces whose log probabilities sum highest."""

import math
import unicodedata

WORD_START = '\u2581'
# As in sentencepiece: a character without a piece costs so much more than the least likely piece.
_UNKNOWN_COST = 10.0


class Unigram:
    """Pieces with their log probabilities.

    Args:
        pieces: list of str. scores: their natural log probabilities, of the same length.
    """

    def __init__(self, pieces, scores):
        self.score_of = {}
        for piece, score in zip(pieces, scores, strict=True):
            self.score_of.setdefault(piece, float(score))
        self._longest = max(map(len, self.score_of))
        self._unknown = min(self.score_of.values()) - _UNKNOWN_COST

    def cut(self, text):
        """The pieces of a text, a list of str; spaces start words, a character without a piece stands for itself."""
        words = unicodedata.normalize('NFKC', text).split()
        return self.cut_word(''.join(WORD_START + word for word in words)) if words else []

    def cut_word(self, text):
        """The pieces of a text in which word starts are marked: the Viterbi path."""
        best, back = [0.0] + [-math.inf] * len(text), [0] * (len(text) + 1)
        for start in range(len(text)):
            for end in range(start + 1, min(start + self._longest, len(text)) + 1):
                score = self.score_of.get(text[start:end], self._unknown if end == start + 1 else None)
                if score is not None and best[start] + score > best[end]:
                    best[end], back[end] = best[start] + score, start
        pieces, end = [], len(text)
        while end:
            pieces.append(text[back[end] : end])
            end = back[end]
        return pieces[::-1]
