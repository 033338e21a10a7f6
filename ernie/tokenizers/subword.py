"""The tokenizer of ERNIE tiny: segmentation by a word list, then sentencepiece."""

import os

from propeller.errors import UserError, bad_input, quoted
from propeller.storage import restricted_pickle

MAX_WORD_CHARS = 5


def segment(text, words, max_chars=MAX_WORD_CHARS):
    """Forward maximum matching: at each position the longest listed word, else the single character.

    Args:
        text: str.
        words: container of str.
        max_chars: words longer than this are never tried.

    Returns:
        list of str; joined they are `text` again.
    """
    parts, start = [], 0
    while start < len(text):
        for end in range(min(len(text), start + max_chars), start + 1, -1):
            if text[start:end] in words:
                break
        else:
            end = start + 1
        parts.append(text[start:end])
        start = end
    return parts


def load_word_dict(path):
    """Reads ERNIE tiny's word list, a pickled container of str, without running anything that stands in the file.

    Returns:
        frozenset of str (of the keys, if the container is a dict).

    Raises:
        UserError: the file holds anything but a container of str.
    """
    content = restricted_pickle.load(path)
    if not isinstance(content, (set, frozenset, list, tuple, dict)):
        raise bad_input(path, f'a pickled {type(content).__name__}', 'a pickled set of words')
    stranger = next((word for word in content if not isinstance(word, str)), None)
    if stranger is not None:
        raise bad_input(path, f'the entry {quoted(stranger)}', 'words (str) only')
    return frozenset(content)


def _load_sentencepiece(path):
    try:
        import sentencepiece
    except ImportError as e:
        raise UserError(
            'ERNIE tiny needs the sentencepiece library, which is not installed. Run: pip install sentencepiece'
        ) from e
    expected = 'a sentencepiece model (subword/spm_cased_simp_sampled.model of ERNIE tiny)'
    if not os.path.isfile(path):
        raise bad_input(path, 'no such file', expected)
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as e:
        raise bad_input(path, 'content that sentencepiece cannot read', expected) from e


class WSSPTokenizer:
    """Word segmentation, lower case, sentencepiece: text -> pieces, to be looked up in ERNIE tiny's `vocab.txt`.

    Args:
        sp_model: path of the sentencepiece model.
        word_dict: path of the pickled word list; not read without `ws`.
        ws: segment by the word list; otherwise at spaces.
        lower: lower-case the words, after they were looked up.

    Raises:
        UserError: sentencepiece is not installed; a file is missing or is not what it should be.
    """

    def __init__(self, sp_model, word_dict, ws=True, lower=True):
        self.ws = ws
        self.lower = lower
        self.words = load_word_dict(word_dict) if ws else frozenset()
        self.sp_model = _load_sentencepiece(sp_model)

    def __call__(self, text):
        """UTF-8 bytes (or str) -> list of pieces. UnicodeDecodeError for bytes that are not UTF-8."""
        if isinstance(text, bytes):
            text = text.decode('utf-8')
        parts = [part for part in segment(text, self.words) if part != ' '] if self.ws else text.split(' ')
        words = ' '.join(part.lower() if self.lower else part for part in parts)
        return self.sp_model.encode(words, out_type=str)
