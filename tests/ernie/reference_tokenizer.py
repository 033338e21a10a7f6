"""The tokenization rules written down one after the other, as slowly as they read: the oracle of the tokenizer tests.

Shares no code with `ernie`. `FullTokenizer` and `CharTokenizer` of `ernie.tokenization`, as functions.
"""

import functools
import unicodedata

# The pieces that the golden texts meet in the Chinese vocabulary, which holds neither `]` nor `%`.
PIECES = (
    '[PAD] [CLS] [SEP] [MASK] '
    '[ cl ##s i have 今 天 很 热 ##天 ##很 ##热 abc 中 国 ##国 pad ##d ##le ##20 ##19 12 . 5 e ar ##ger a b ab r [UNK]'
)
SMALL_VOCAB = PIECES.split()

# Measured with the 2019 suite and its Chinese vocabulary. Columns: text; FullTokenizer and CharTokenizer of
# ernie.tokenization; CharTokenizer and SpaceTokenizer of ernie.utils.data.
GOLDEN = [
    ('', '', '', '', ''),
    ('   ', '', '', '', '[UNK] [UNK] [UNK] [UNK]'),
    ('[CLS]i have', '[ cl ##s [UNK] i have', '[UNK] have', '[ cl ##s [UNK] i have', '[UNK] have'),
    ('今天很热', '今 天 很 热', '今 ##天 ##很 ##热', '今 天 很 热', '[UNK]'),
    ('今天很热 abc', '今 天 很 热 abc', '今 ##天 ##很 ##热 abc', '今 天 很 热 abc', '[UNK] abc'),
    (
        '中国 Paddle2019',
        '中 国 pad ##d ##le ##20 ##19',
        '中 ##国 pad ##d ##le ##20 ##19',
        '中 国 pad ##d ##le ##20 ##19',
        '[UNK] [UNK]',
    ),
    ('12.5%', '12 . 5 [UNK]', '[UNK]', '12 . 5 [UNK]', '[UNK]'),
    ('é', 'e', '[UNK]', '[UNK]', '[UNK]'),
    ('Ärger', 'ar ##ger', '[UNK]', '[UNK] r ##ger', '[UNK]'),
    ('a\u3000b', 'a b', 'a b', 'a b', '[UNK]'),
    ('a\u200bb', 'ab', '[UNK]', 'a [UNK] b', '[UNK]'),
    ('\U0001f600', '[UNK]', '[UNK]', '[UNK]', '[UNK]'),
    ('a' * 101, '[UNK]', '[UNK]', '[UNK]', '[UNK]'),
]


@functools.cache
def category(char):
    return unicodedata.category(char)


def clean_text(text):
    output = ''
    for char in text:
        if char in '\t\n\r ':
            output += ' '
        elif ord(char) == 0 or ord(char) == 0xFFFD or category(char)[0] == 'C':
            continue
        elif category(char) == 'Zs':
            output += ' '
        else:
            output += char
    return output


@functools.cache
def is_chinese(char):
    cp = ord(char)
    return (
        (cp >= 0x4E00 and cp <= 0x9FFF)
        or (cp >= 0x3400 and cp <= 0x4DBF)
        or (cp >= 0x20000 and cp <= 0x2A6DF)
        or (cp >= 0x2A700 and cp <= 0x2B73F)
        or (cp >= 0x2B740 and cp <= 0x2B81F)
        or (cp >= 0x2B820 and cp <= 0x2CEAF)
        or (cp >= 0xF900 and cp <= 0xFAFF)
        or (cp >= 0x2F800 and cp <= 0x2FA1F)
    )


def isolate_chinese(text):
    output = ''
    for char in text:
        output += ' ' + char + ' ' if is_chinese(char) else char
    return output


def strip_accents(token):
    output = ''
    for char in unicodedata.normalize('NFD', token):
        if category(char) != 'Mn':
            output += char
    return output


ASCII_PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'


def split_punctuation(token):
    parts = ['']
    for char in token:
        if char in ASCII_PUNCTUATION or category(char)[0] == 'P':
            parts += [char, '']
        else:
            parts[-1] += char
    return [part for part in parts if part]


def basic_tokenize(text, do_lower_case=True):
    tokens = []
    for token in isolate_chinese(clean_text(text)).split():
        if do_lower_case:
            token = strip_accents(token.lower())
        tokens += split_punctuation(token)
    return ' '.join(tokens).split()


def wordpiece_tokenize(text, vocab, unk_token='[UNK]', max_chars=100):
    output = []
    for token in text.split():
        if len(token) > max_chars:
            output.append(unk_token)
            continue
        start, pieces = 0, []
        while start < len(token):
            end = len(token)
            while end > start:
                piece = token[start:end] if start == 0 else '##' + token[start:end]
                if piece in vocab:
                    break
                end -= 1
            if end == start:
                pieces = [unk_token]
                break
            pieces.append(piece)
            start = end
        output += pieces
    return output


def full_tokenize(text, vocab, do_lower_case=True):
    return wordpiece_tokenize(' '.join(basic_tokenize(text, do_lower_case)), vocab)


def char_tokenize(text, vocab, do_lower_case=True):
    output = []
    for part in (text.lower() if do_lower_case else text).split(' '):
        output += wordpiece_tokenize(part, vocab)
    return output
