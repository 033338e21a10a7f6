"""Which pieces a vocabulary holds, in which order, and how well it reads a text. Pure functions."""

from itertools import islice

from ernie.pretrain.subword_training import train_sentencepiece, train_wordpiece
from ernie.tokenization import SPECIAL_TOKENS, WordpieceTokenizer
from propeller.storage.atomic import output_file

# As in the vocabulary that ERNIE 1.0 was published with: padding is 0, and the unknown token comes last.
FIRST_TOKENS = ('[PAD]', '[CLS]', '[SEP]', '[MASK]')
LAST_TOKENS = ('[UNK]',)
KINDS = ('characters', 'words', 'wordpiece', 'sentencepiece')
_TRAINERS = {'wordpiece': train_wordpiece, 'sentencepiece': train_sentencepiece}


def by_frequency(counts, min_count=1):
    """Keys of a mapping key -> count, most frequent first, equal counts by code point; rarer than `min_count` left out.

    Returns:
        list of str.
    """
    return sorted((key for key, count in counts.items() if count >= min_count), key=lambda key: (-counts[key], key))


def choose_alphabet(characters, coverage=1.0, min_count=1):
    """The most frequent characters that together make up the share `coverage` of all occurrences.

    Args:
        characters: mapping piece of one character (`c`, `##c`) -> count.
        coverage: above 0, at most 1.
        min_count: rarer ones are left out.

    Returns:
        list of str, most frequent first.
    """
    wanted, reached, alphabet = coverage * sum(characters.values()), 0, []
    for piece in by_frequency(characters, min_count):
        if reached >= wanted:
            break
        reached += characters[piece]
        if _is_entry(piece):
            alphabet.append(piece)
    return alphabet


def build_vocabulary(kind, counts, size, min_count=1, coverage=1.0):
    """The tokens of a vocabulary; the id of a token is its index.

    First `[PAD] [CLS] [SEP] [MASK]`, last `[UNK]`. Between them:

    characters: characters by frequency, as pieces `c` and `##c`.
    words: words by frequency.
    wordpiece, sentencepiece: characters by frequency, then pieces in the order of the trainer, made of the words that
        consist of these characters alone. `sentencepiece` is the unigram model, its pieces written as
        `FullTokenizer` reads them: `▁ab` as `ab`, `ab` as `##ab`.

    Args:
        kind: one of `KINDS`.
        counts: `ernie.pretrain.word_counts.CorpusCounts`.
        size: tokens in all, at most; there are fewer where the corpus does not give as many.
        min_count: what is rarer is left out.
        coverage: see `choose_alphabet`; not used for words.

    Returns:
        list of str.

    Raises:
        UserError: a library that is needed is not installed.
    """
    room = size - len(FIRST_TOKENS) - len(LAST_TOKENS)
    if kind == 'words':
        chosen = (word for word in by_frequency(counts.words.counts, min_count) if _is_entry(word, is_word=True))
    else:
        chosen = choose_alphabet(counts.characters, coverage, min_count)[:room]
        if kind in _TRAINERS and len(chosen) < room:
            words = _spelled_words(counts.words.counts, set(chosen))
            pieces = _TRAINERS[kind](words, chosen, room, min_count)
            chosen += [piece for piece in pieces if _is_entry(piece)]
    return [*FIRST_TOKENS, *islice(dict.fromkeys(chosen), room), *LAST_TOKENS]


def _spelled_words(counts, alphabet):
    """The words of two or more characters that the alphabet spells, as (word, count) in a fixed order."""
    return [
        (word, counts[word])
        for word in by_frequency(counts)
        if len(word) > 1
        and not word.startswith('##')
        and word[0] in alphabet
        and all('##' + char in alphabet for char in word[1:])
    ]


def _is_entry(token, is_word=False):
    """Whether a token can stand in a vocabulary file and is read there as what it is.

    A word that begins with `##` would be taken for the inside of another, and half a surrogate pair is no UTF-8.
    """
    if token in SPECIAL_TOKENS or any('\ud800' <= char <= '\udfff' for char in token):
        return False
    return not (is_word and token.startswith('##') and len(token) > 2)


def write_vocabulary(path, tokens):
    """Writes `token<TAB>id` lines, the whole file or nothing.

    Raises:
        UserError: the file cannot be written.
    """
    with output_file(path) as f:
        f.writelines(f'{token}\t{index}\n' for index, token in enumerate(tokens))


def reading_rates(tokens, words):
    """How a tokenizer with this vocabulary reads counted words.

    Args:
        tokens: container of tokens.
        words: mapping word -> count.

    Returns:
        dict: words, pieces (what they are cut into), unknown_words (words read as [UNK]), coverage (share of the words
        that are not), unknown_rate (share of the pieces that are [UNK]), pieces_per_word. The last three are None if
        there are no words.
    """
    wordpiece = WordpieceTokenizer(set(tokens))
    total = pieces = unknown = 0
    for word, count in words.items():
        cut = wordpiece.pieces(word)
        total += count
        pieces += count * len(cut)
        unknown += count * (cut == [wordpiece.unk_token])
    return {
        'words': total,
        'pieces': pieces,
        'unknown_words': unknown,
        'coverage': 1 - unknown / total if total else None,
        'unknown_rate': unknown / pieces if total else None,
        'pieces_per_word': pieces / total if total else None,
    }
