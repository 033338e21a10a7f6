"""Where each word of a tokenizer stands in the original text: the steps of `text`, character by character.

A `Word` carries, for each of its characters, the index of the original character that it came from. Spaces, capitals,
accents and dropped characters of the original stay countable, so that a token is a slice of the text the user gave.
"""

import unicodedata
from typing import NamedTuple

from ernie.tokenizers.text import Rules, is_cjk, is_dropped, is_punctuation, is_whitespace


class Word(NamedTuple):
    """A word as the vocabulary sees it, and for each of its characters the index in the original text."""

    text: str
    origins: list


class Encoded(NamedTuple):
    """Token ids, and for each the slice `text[start:end]` of the original that it stands for."""

    ids: list
    starts: list
    ends: list


def basic_words_aligned(text, *rules):
    """`ernie.tokenizers.text.basic_words` as a list of `Word`. rules: of `ernie.tokenizers.text.Rules`."""
    rules, words = Rules(*rules), []
    for run in _clean_runs(text, rules.ideographs):
        run = _lower(run) if rules.lower else run
        words += _split(_strip(run) if rules.strips else run, is_punctuation)
    return words


def space_words_aligned(text, lower):
    """Words between white space, lower-cased or as they are: a list of `Word`."""
    return _split(_lower(list(enumerate(text))) if lower else list(enumerate(text)))


def _clean_runs(text, ideographs):
    """Runs of (index, character) between spaces, ideographs on their own if asked, dropped characters left out."""
    run = []
    for i, char in enumerate(text):
        if is_dropped(char):
            continue
        # str.split also cuts at the separators of lines and paragraphs, which are neither spaces nor dropped.
        alone = ideographs and is_cjk(char)
        if run and (alone or is_whitespace(char) or char.isspace()):
            yield run
            run = []
        if alone:
            yield [(i, char)]
        elif not (is_whitespace(char) or char.isspace()):
            run.append((i, char))
    if run:
        yield run


def _lower(run):
    # A capital sigma is lower-cased by its place in the word, so the run goes as one; each part keeps its length.
    lowered, result, start = ''.join(char for _, char in run).lower(), [], 0
    for i, char in run:
        end = start + len(char.lower())
        result += ((i, c) for c in lowered[start:end])
        start = end
    return result


def _strip(run):
    """A run without accents: canonical decomposition of each character, canonical order, no non-spacing marks."""
    decomposed = [(i, part) for i, char in run for part in unicodedata.normalize('NFD', char)]
    result, marks = [], []
    for item in decomposed:
        if unicodedata.combining(item[1]):
            marks.append(item)
            continue
        result += _ordered(marks)
        marks = []
        result.append(item)
    result += _ordered(marks)
    return [item for item in result if unicodedata.category(item[1]) != 'Mn']


def _ordered(marks):
    """Canonical ordering (Unicode, section 3.11): by combining class, equal ones as they stood."""
    return sorted(marks, key=lambda item: unicodedata.combining(item[1])) if len(marks) > 1 else marks


def _split(run, alone=lambda char: False):
    """Words of a run: cut at white space and around characters that stand alone."""
    words, text, origins = [], [], []

    def close():
        if text:
            words.append(Word(''.join(text), origins.copy()))
            text.clear()
            origins.clear()

    for i, char in run:
        if char.isspace():
            close()
        elif alone(char):
            close()
            words.append(Word(char, [i]))
        else:
            text.append(char)
            origins.append(i)
    close()
    return words


def slice_of(text, origins):
    """(start, end) in `text` of characters that came from `origins`; combining marks after the last belong to it."""
    start, end = min(origins), max(origins) + 1
    while end < len(text) and unicodedata.category(text[end]) == 'Mn':
        end += 1
    return start, end
