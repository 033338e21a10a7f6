"""Sentences of a paragraph, by rules: one set for Chinese and Japanese punctuation, one for English.

Nothing is lost: the sentences joined are the paragraph again, but for white space between them.
"""

import re

from ernie.tokenizers.text import is_cjk

_CLOSERS = '”’』」）)】》〉］]〕'
_IDEOGRAPH = re.compile('[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\U00020000-\U0002fa1f]')
_LATIN_LETTER = re.compile('[A-Za-z\u00c0-\u024f]')

# The half-width marks end a sentence unless a letter or digit follows: `a?b=1`, `x;y`.
_CHINESE_END = re.compile(rf'(?:[。！？；｡]|…+|⋯+|\.{{3,}}|[!?;]+(?![A-Za-z0-9]))+[{re.escape(_CLOSERS)}]*')
_ENGLISH_END = re.compile(rf'(?:[.!?]+|[。！？])["\'{re.escape(_CLOSERS)}]*(?=\s)')
_OPENERS = '"\'“‘([{«—-*'


def _word_set(text):
    return frozenset(text.split())


# After these a name follows, so a period never ends the sentence.
_TITLES = _word_set(
    'mr mrs ms messrs dr prof rev hon st mt gen col maj capt lt sgt cpl cmdr adm gov sen rep pres supt atty '
    'ed eds vs v cf e.g i.e eg ie al viz approx'
)
# Abbreviations before a number only: `No. 7`, but `He said no. They left.`
_NUMBERED = _word_set('no nos vol vols fig figs eq eqs sec secs ch chap pp p art')
# These may stand at the end of a sentence: it ends there if a word follows that starts many sentences.
_ABBREVIATIONS = _word_set(
    'etc inc ltd co corp bros jr sr esq ph.d m.d b.a m.a d.c u.s u.s.a u.k u.n e.u a.m p.m a.d b.c ft oz lb est dept '
    'univ jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun ave blvd rd'
)
SENTENCE_STARTERS = _word_set(
    'the a an this that these those it he she we they i you his her their our its there here in on at by for from with '
    'after before when while if as but and or so however although though because since then thus yet nor not no all '
    'many most some such what who why how where to of during under over until one another each every both'
)


def language_of(paragraph):
    """`zh` when ideographs and kana outweigh Latin words (a word counted as five letters), otherwise `en`."""
    ideographs = len(_IDEOGRAPH.findall(paragraph))
    return 'zh' if ideographs and 5 * ideographs >= len(_LATIN_LETTER.findall(paragraph)) else 'en'


def split_sentences(paragraph, language=None):
    """str -> list of its sentences, without white space around them; none is empty.

    Args:
        paragraph: text without line breaks.
        language: `zh` or `en`; None decides by `language_of`.
    """
    ends = (_chinese_ends if (language or language_of(paragraph)) == 'zh' else _english_ends)(paragraph)
    sentences, start = [], 0
    for end in [*ends, len(paragraph)]:
        sentence = paragraph[start:end].strip()
        if sentence:
            sentences.append(sentence)
        start = end
    return sentences


def _chinese_ends(text):
    start = 0
    for match in _CHINESE_END.finditer(text):
        end = match.end()
        if end <= start:
            continue
        # A straight quote closes what an odd number of them before it left open.
        while end < len(text) and text[end] in '"\'' and text.count(text[end], start, end) % 2:
            end += 1
        yield end
        start = end


def _english_ends(text):
    start = 0
    for match in _ENGLISH_END.finditer(text):
        following = _rest(text, match.end())
        if following and _ends_sentence(text, start, match, following):
            yield match.end()
            start = match.end()


def _rest(text, start, characters=64):
    """The next characters of the text after white space: enough to see one word."""
    return text[start : start + characters].lstrip()


def _ends_sentence(text, start, match, following):
    first = following.lstrip(_OPENERS)[:1]
    if not (first.isupper() or first.isdigit() or (first and is_cjk(first))):
        return False
    marks = match.group().rstrip('"\'' + _CLOSERS)
    if marks != '.':
        return True
    before = text[start : match.start()]
    word = re.split(r'[\s("\'“‘\[—-]', before)[-1]
    lowered = word.lower()
    if lowered in _TITLES or (lowered in _NUMBERED and first.isdigit()):
        return False
    if lowered in _ABBREVIATIONS or _is_initials(word):
        next_word = re.match(r'\W*([A-Za-z]+)', following)
        # "J. The" is hardly an initial before a name, and "at 5 p.m. He" hardly one sentence.
        return bool(next_word) and len(next_word[1]) > 1 and next_word[1].lower() in SENTENCE_STARTERS
    return True


def _is_initials(word):
    """`J`, `J.R`, `U.S`: single capitals with periods between."""
    parts = word.split('.')
    return all(len(part) == 1 and part.isupper() for part in parts) and word != 'I'
