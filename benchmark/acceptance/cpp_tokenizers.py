"""The tokenizers of `inference/` against Python's: the same ids and the same offsets.

    python -m benchmark.acceptance.cpp_tokenizers [--data FOLDER] [--strings 1000000]

Builds the library, and compares all settings of `FullTokenizer`, `CharTokenizer` and `SubwordCharTokenizer`:

- every code point, alone and among letters, with a vocabulary that tells all characters apart;
- strings drawn at random, of letters of all scripts, marks, white space, control characters and capital sigmas;
- every text of the .tsv files, and every text of the .json files, below FOLDER ($ERNIE_TEST_DATA), with the
  vocabularies there.

Prints a line for each with the number of differences; exit code 1 if there is one.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from benchmark.cpp import build, load_library, twin_of
from ernie.tokenization import CharTokenizer, FullTokenizer, SubwordCharTokenizer
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS
from propeller.errors import one_line_errors

CODES = 0x110000
PARTS = (
    *('今天', '𠮷', '\u2f800', '\uf900', 'New York', 'paddle', "don't", '3.50', 'ÄÖ', 'e\u0301', 'o\u0302\u0323', 'İ'),
    *('Σ', 'ΑΣ', 'Σ\u0301', "Σ'", 'ς', 'ß', '한국어', '\u1112\u1161', 'ひらがな', 'が', '👩\u200d💻', '🇨🇳', '❤\ufe0f'),
    *('\u2028', '\u2029', '\x85', '\x1c', '\u3000', '\xa0', '\x00', '\ufffd', '\t', '\r\n', ' ', '  ', '，', '。'),
    *('²', 'ﬁ', '\u0344', '\u0f71\u0f72', '\u09be', '\u0b57', '\u302e', '\U0001d165', 'नमस्ते', 'العَرَبِيَّة', '“'),
    *('\u200b', '\ufeff', '##', '▁', '[CLS]', '<br />'),
)


def telling_vocabulary(path, every=1):
    """Writes a vocabulary in which each character that Unicode has assigned has ids of its own.

    every: most ideographs and syllables are alike: of them one in so many.
    """
    tokens = [*SPECIAL_TOKENS, '▁▁', '##aa', 'bb']
    for code in range(33, CODES):
        is_many = 0x3400 <= code < 0xD800 or code >= 0x17000
        if (is_many and code % every) or unicodedata.category(chr(code)) in ('Cn', 'Cs', 'Co'):
            continue
        tokens += [chr(code), f'##{chr(code)}', f'▁{chr(code)}']
    kept = dict.fromkeys(token for token in tokens if token == token.strip() and token.split() == [token])
    path.write_text('\n'.join(kept) + '\n', encoding='utf-8', newline='\n')
    return path


def tokenizers(vocabulary):
    """Tokenizers of Python of all settings."""
    choices = (True, False)
    for lower in choices:
        for strip in (None, True, False):
            for ideographs in choices:
                yield FullTokenizer(str(vocabulary), lower, strip, ideographs)
        yield CharTokenizer(str(vocabulary), lower)
        if '▁' in (shared := CharTokenizer(str(vocabulary)).vocab) or '▁▁' in shared:
            yield SubwordCharTokenizer(str(vocabulary), lower)


def code_points(every=1):
    """Yields a text for each code point: it, alone and among letters, where a sigma asks what it is.

    every: most ideographs and syllables, and what nobody uses, are alike: of them one in so many.
    """
    for code in range(CODES):
        is_many = 0x3400 <= code < 0xF900 or code >= 0x17000
        if 0xD800 <= code < 0xE000 or (is_many and code % every):
            continue
        char = chr(code)
        yield f'{char} aΣ{char} b{char}Σ Ä{char}\u0323{char}b Σ{char}a'


def strings(count, seed=0):
    """Yields texts drawn at random."""
    draw = random.Random(seed)
    letters = [chr(code) for code in range(0x3000) if code not in (0x0D,)]
    for _ in range(count):
        parts = []
        for _ in range(draw.randrange(12)):
            kind = draw.random()
            if kind < 0.5:
                parts.append(draw.choice(PARTS))
            elif kind < 0.9:
                parts.append(''.join(draw.choices(letters, k=draw.randrange(1, 5))))
            else:
                code = draw.randrange(CODES)
                parts.append('' if 0xD800 <= code < 0xE000 else chr(code) * draw.choice((1, 1, 1, 2, 101)))
        yield ''.join(parts)


def texts_below(folder):
    """Yields the cells of the .tsv files and the texts in the .json files below a folder."""
    for path in sorted(Path(folder).rglob('*.tsv')):
        with open(path, encoding='utf-8', errors='ignore', newline='\n') as file:
            for line in file:
                yield from line.rstrip('\n').split('\t')
    for path in sorted(Path(folder).rglob('*.json')):
        yield from _leaves(json.loads(path.read_text(encoding='utf-8')))


def _leaves(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)


def differences(library, tokenizer, texts, shown=3):
    """(number of texts, of those whose ids or offsets differ, the first of these as repr)."""
    count, differ = 0, []
    with twin_of(library, tokenizer) as twin:
        for text in texts:
            count += 1
            expected, found = tokenizer.encode_aligned(text), twin.encode_aligned(text)
            if expected != found or tokenizer.encode(text) != found.ids:
                differ.append(text)
    return count, len(differ), [ascii(text)[:200] for text in differ[:shown]]


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default=os.environ.get('ERNIE_TEST_DATA'), help='folder of data sets')
    parser.add_argument('--strings', type=int, default=1_000_000, help='strings drawn at random (%(default)s)')
    args = parser.parse_args(argv)
    library, wrong = load_library(build(target='ernie')), 0

    def compare(what, tokenizer, texts):
        nonlocal wrong
        started = time.monotonic()
        count, differ, first = differences(library, tokenizer, texts)
        wrong += differ
        rules = ', '.join(f'{name} {value}' for name, value in tokenizer.settings._asdict().items())
        seconds = time.monotonic() - started
        print(f'{what}: {count} texts, {differ} differ ({rules}; {seconds:.0f} s)', *first, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        made = list(tokenizers(telling_vocabulary(Path(folder) / 'vocab.txt')))
        for number, tokenizer in enumerate(made):
            compare('code points', tokenizer, code_points())
            share = range(args.strings)[number :: len(made)]
            compare('random strings', tokenizer, strings(len(share), seed=number))
    for vocabulary in sorted(Path(args.data).rglob('vocab*.txt')) if args.data else ():
        for tokenizer in (FullTokenizer(str(vocabulary)), CharTokenizer(str(vocabulary))):
            compare(f'texts below {args.data}, {vocabulary.name}', tokenizer, texts_below(args.data))
    return 1 if wrong else 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
