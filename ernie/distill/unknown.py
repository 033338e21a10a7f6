"""Texts for a teacher in which `[UNK]` stands for the token, as augmentation writes it."""

from ernie.distill.segmented import UNKNOWN


def around_unknown(text, cut, unknown):
    """What `cut` makes of the parts of a text around each `[UNK]`, with `unknown` between them: a list."""
    first, *others = text.split(UNKNOWN)
    return [*cut(first), *(piece for part in others for piece in (unknown, *cut(part)))]


class UnknownKept:
    """A `Tokenizer` that reads `[UNK]` in a text as the token; all else is that of the tokenizer it is made of."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        if name == '_tokenizer':  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._tokenizer, name)

    def encode(self, text):
        """The ids of a text: list of int."""
        return around_unknown(text, self._tokenizer.encode, self._tokenizer.vocab[UNKNOWN])
