"""A vocabulary for `FullTokenizer` out of the pieces of a sentencepiece encoder; each token is one row of its table.

Sentencepiece marks where words start (`\u2581new`), `FullTokenizer` where they go on (`##new`). A Chinese or a
punctuation character is always a token to `FullTokenizer`. Characters that the encoder's text normalization (NFKC)
folds together, such as `，` and `,`, share a row.
"""

import unicodedata

from ernie.tokenizers.text import basic_words, is_cjk, is_punctuation
from propeller.errors import UserError

WORD_START = '\u2581'
FIRST_SPECIALS = {'[PAD]': '<pad>', '[CLS]': '<s>', '[SEP]': '</s>', '[MASK]': '<mask>'}
UNKNOWN = {'[UNK]': '<unk>'}
CONTINUED = '##'
# Letters that Chinese text uses beside ideographs: Latin, Greek, Cyrillic, kana, bopomofo, half and full width forms.
_LETTERS = ((0x61, 0x7A), (0xDF, 0x24F), (0x370, 0x4FF), (0x3041, 0x30FF), (0x3105, 0x312F), (0xFF00, 0xFFEF))
# Beyond it a compatibility form (mathematical alphabets and the like) is not worth a row.
_LAST_FOLDED = 0xFFFF


def build_vocabulary(pieces, size):
    """Choose tokens and the rows of the word table that stand for them.

    In this order: special tokens; every usable single character; words and word parts of ASCII letters and digits in
    the order of the pieces, that is of their frequency, until `size` is reached; `[UNK]`.

    Args:
        pieces: list of str; the index of a piece is its row.
        size: number of tokens.

    Returns:
        (tokens, rows): list of str, the id of a token is its index; list of int, the same length.

    Raises:
        UserError: a special piece is missing, or there are fewer tokens than `size` or more characters than fit.
    """
    row_of = {}
    for row, piece in enumerate(pieces):
        row_of.setdefault(piece, row)
    chosen = special_rows(FIRST_SPECIALS, row_of)
    chosen |= character_rows(row_of, _is_usable)
    last = special_rows(UNKNOWN, row_of)
    room = size - len(last)
    if len(chosen) > room:
        raise UserError(f'{len(chosen)} characters do not fit into a vocabulary of {size} tokens.')
    for token, row in _word_rows(pieces):
        if len(chosen) == room:
            break
        chosen.setdefault(token, row)
    if len(chosen) < room:
        raise UserError(f'the pieces give {len(chosen) + len(last)} tokens, fewer than the {size} asked for.')
    chosen |= last
    return list(chosen), list(chosen.values())


def special_rows(names, row_of):
    """dict token -> row of special tokens. names: dict token -> piece. row_of: dict piece -> row.

    Raises:
        UserError: a piece is missing.
    """
    missing = [piece for piece in names.values() if piece not in row_of]
    if missing:
        raise UserError(f'the pieces lack {", ".join(missing)}.')
    return {token: row_of[piece] for token, piece in names.items()}


def character_rows(row_of, is_usable):
    """dict token -> row for all characters that a row stands for. is_usable: whether the tokenizer can give one."""
    own = {piece.removeprefix(WORD_START) or piece for piece in row_of}
    characters = {c for c in own if len(c) == 1}
    characters.update(chr(code) for code in range(0x80, _LAST_FOLDED + 1) if _is_folded(chr(code)))
    rows = {}
    for char in sorted(characters):
        if not is_usable(char):
            continue
        isolated = is_cjk(char) or is_punctuation(char)
        text = char if {char, WORD_START + char} & row_of.keys() else unicodedata.normalize('NFKC', char)
        inside, start = row_of.get(text), row_of.get(WORD_START + text)
        if inside is None and start is None:
            continue
        first, second = (inside, start) if isolated else (start, inside)
        rows[char] = second if first is None else first
        if not isolated:
            rows[CONTINUED + char] = start if inside is None else inside
    return rows


def _is_folded(char):
    return unicodedata.category(char)[0] in 'LNPS' and unicodedata.normalize('NFKC', char) != char


def _is_usable(char):
    """Whether `FullTokenizer` can give this character, and Chinese text has use for it."""
    if char == WORD_START or basic_words(char, True) != [char]:
        return False
    if is_cjk(char) or unicodedata.category(char)[0] in 'PSN':
        return True
    return unicodedata.category(char)[0] == 'L' and any(a <= ord(char) <= b for a, b in _LETTERS)


def _word_rows(pieces):
    """(token, row) of all pieces of two or more lower-case ASCII letters and digits."""
    for row, piece in enumerate(pieces):
        text = piece.removeprefix(WORD_START)
        if len(text) > 1 and text.isascii() and text.isalnum() and text == text.lower():
            yield (text if piece != text else CONTINUED + text), row
