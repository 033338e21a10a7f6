"""Sentences that no sample has room for, cut by length. The parts joined are the sentence: nothing is lost."""

import unicodedata

_CHUNK = 1 << 16  # characters that are tokenized at once
_LOOK_BACK = 1 << 10


def cut_text(text, tokenizer, longest, size):
    """A sentence -> its parts.

    Args:
        text: str.
        tokenizer: has `encode_aligned`.
        longest: tokens that a sentence may have as it is.
        size: tokens of a part at most; parts end at white space or punctuation if there is some in their second half,
            else at the end of a word, and inside of one only where it has more than `size` pieces.

    Returns:
        list of str; `[text]` if it is not too long.
    """
    if len(text) <= longest:  # a token has a character at least
        return [text]
    parts, start = [], 0
    while start < len(text):
        end = _chunk_end(text, start)
        chunk = text[start:end]
        starts, words = _token_starts(chunk, tokenizer)
        if start == 0 and end == len(text) and len(starts) <= longest:
            return [text]
        ends = [*_cuts(chunk, starts, words, size), len(chunk)]
        parts += [chunk[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        start = end
    return parts


def cut_words(words, count, longest, size):
    """The words of a sentence -> lists of words of at most `size` tokens; `[words]` if all have at most `longest`.

    Args:
        words: list.
        count: function: word -> its tokens.
    """
    counts = list(map(count, words))
    if sum(counts) <= longest:
        return [words]
    parts, room = [[]], size
    for word, tokens in zip(words, counts, strict=True):
        if parts[-1] and tokens > room:
            parts.append([])
            room = size
        parts[-1].append(word)
        room -= tokens
    return parts


def _chunk_end(text, start):
    """Where the next chunk ends: at white space if there is some near."""
    end = start + _CHUNK
    if end >= len(text):
        return len(text)
    for position in range(end, end - _LOOK_BACK, -1):
        if text[position].isspace():
            return position
    return end


def _token_starts(text, tokenizer):
    """Where tokens start, each place once, and whether a word starts there."""
    encoded = tokenizer.encode_aligned(text)
    starts, words = [], []
    for token, start in zip(tokenizer.convert_ids_to_tokens(encoded.ids), encoded.starts, strict=True):
        if not starts or start > starts[-1]:
            starts.append(start)
            words.append(not token.startswith('##'))
    return starts, words


def _cuts(text, starts, words, size):
    """Offsets at which a text is cut into parts of at most `size` tokens."""
    at = 0
    while len(starts) - at > size:
        second_half = range(at + size, at + size // 2, -1)
        after_break = (i for i in second_half if _is_break(text[starts[i] - 1]))
        between_words = (i for i in second_half if words[i])
        at = next(after_break, None) or next(between_words, None) or at + size
        yield starts[at]


def _is_break(char):
    return char.isspace() or unicodedata.category(char)[0] == 'P'
