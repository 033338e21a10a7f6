"""The tokenizers of `inference/` against Python's: the same ids and the same offsets.

    python -m benchmark.acceptance.cpp_tokenizers [--data FOLDER] [--strings 1000000] [--subword FOLDER ...]

Builds the library, and compares all settings of `FullTokenizer`, `CharTokenizer`, `SubwordCharTokenizer` and
`WordTokenizer`, and `SubwordTokenizer` with models of several kinds:

- every code point, alone and among letters, with a vocabulary that tells all characters apart (for subwords most
  ideographs and syllables, which are alike, with one model of four);
- strings drawn at random, of letters of all scripts, marks, white space, control characters and capital sigmas;
- every text of the .tsv files, and every text of the .json files, below `--data`, with the vocabularies there and with
  the folders of `--subword`.

Prints a line for each with the number of differences; exit code 1 if there is one. `--tokenizers` names some of them.
"""

import argparse
import io
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
from ernie.tokenizers.subword import SubwordTokenizer
from ernie.tokenizers.subword_files import MODEL, PLAIN, SubwordFiles
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS
from ernie.tokenizers.words import SPACES, WordTokenizer
from propeller.errors import one_line_errors
from propeller.optional import optional_package

CODES = 0x110000
PARTS = (
    *('今天', '𠮷', '\u2f800', '\uf900', 'New York', 'paddle', "don't", '3.50', 'ÄÖ', 'e\u0301', 'o\u0302\u0323', 'İ'),
    *('Σ', 'ΑΣ', 'Σ\u0301', "Σ'", 'ς', 'ß', '한국어', '\u1112\u1161', 'ひらがな', 'が', '👩\u200d💻', '🇨🇳', '❤\ufe0f'),
    *('\u2028', '\u2029', '\x85', '\x1c', '\u3000', '\xa0', '\x00', '\ufffd', '\t', '\r\n', ' ', '  ', '，', '。'),
    *('²', 'ﬁ', '\u0344', '\u0f71\u0f72', '\u09be', '\u0b57', '\u302e', '\U0001d165', 'नमस्ते', 'العَرَبِيَّة', '“'),
    *('\u200b', '\ufeff', '##', '▁', '[CLS]', '<br />'),
)

# Kinds of sentencepiece models, by what is done to a text before it is cut, and how what has no piece is told.
MODELS = {
    'unigram': {},
    'bpe': {'model_type': 'bpe', 'normalization_rule_name': 'nfkc_cf'},
    'bytes': {'byte_fallback': True},
    'identity': {'normalization_rule_name': 'identity', 'remove_extra_whitespaces': False},
    'suffix': {'treat_whitespace_as_suffix': True},
}


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
        words = WordTokenizer(str(vocabulary), lower, SPACES)
        words.warns = False
        yield words


def subword_tokenizers(folder):
    """Yields a `SubwordTokenizer` for each of `MODELS`, made of random strings, its files in a folder.

    The vocabulary lacks some pieces, and has a token that the model does not know.
    """
    trainer = optional_package('sentencepiece', 'a comparison').SentencePieceTrainer
    draw = random.Random(7)
    some = [*PARTS * 4, *map(chr, range(0x20, 0x180)), *map(chr, range(0x4E00, 0x9FFF, 61)), ' ', ' ']
    texts = [' '.join(''.join(draw.choices(some, k=12)).replace('\0', ' ').split()) for _ in range(5000)]
    words = {text[at : at + draw.randrange(2, 7)] for text in texts for at in range(0, len(text), 5)}
    for number, (name, options) in enumerate(MODELS.items()):
        place, model = Path(folder) / name, io.BytesIO()
        place.mkdir()
        trainer.train(sentence_iterator=iter(texts), model_writer=model, vocab_size=2500, hard_vocab_limit=False,
                      character_coverage=0.995, minloglevel=2, **options)  # fmt: skip
        (place / MODEL).write_bytes(model.getvalue())
        (place / PLAIN).write_text(''.join(f'{word}\n' for word in sorted(words)), encoding='utf-8', newline='\n')
        pieces = optional_package('sentencepiece', 'a comparison').SentencePieceProcessor(model_proto=model.getvalue())
        kept = [pieces.id_to_piece(i) for i in range(3, len(pieces)) if i % 17]
        tokens = dict.fromkeys([*SPECIAL_TOKENS, *kept, '龘', '\u2581龘'])
        (place / 'vocab.txt').write_text('\n'.join(tokens) + '\n', encoding='utf-8', newline='\n')
        yield SubwordTokenizer(place / 'vocab.txt', number % 2 == 0, SubwordFiles(place / MODEL, place / PLAIN))


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
    parser.add_argument('--subword', nargs='*', default=[], help='folders with vocab.txt and subword/')
    names = [kind.__name__ for kind in (FullTokenizer, CharTokenizer, SubwordCharTokenizer, WordTokenizer)]
    names.append(SubwordTokenizer.__name__)
    parser.add_argument('--tokenizers', nargs='*', default=names, choices=names, help='those that are compared')
    args = parser.parse_args(argv)
    library, wrong = load_library(build(target='ernie')), 0

    def compare(what, tokenizer, texts):
        nonlocal wrong
        started = time.monotonic()
        count, differ, first = differences(library, tokenizer, texts)
        wrong += differ
        rules = ', '.join(f'{name} {value}' for name, value in tokenizer.settings._asdict().items())
        if isinstance(tokenizer, SubwordTokenizer):
            rules += f', {Path(tokenizer.vocab_path).parent.name}'
        seconds = time.monotonic() - started
        print(f'{what}: {count} texts, {differ} differ ({rules}; {seconds:.0f} s)', *first, flush=True)

    given = [SubwordTokenizer(Path(folder) / 'vocab.txt') for folder in args.subword]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = list(tokenizers(telling_vocabulary(folder / 'vocab.txt')))
        if SubwordTokenizer.__name__ in args.tokenizers:
            made += subword_tokenizers(folder)
        made = [tokenizer for tokenizer in [*made, *given] if type(tokenizer).__name__ in args.tokenizers]
        for number, tokenizer in enumerate(made):
            # Subwords take ten times as long: all code points with the usual model, one in 101 of those that are alike
            # with the others.
            is_other = isinstance(tokenizer, SubwordTokenizer) and Path(tokenizer.vocab_path).parent.name != 'unigram'
            compare('code points', tokenizer, code_points(every=101 if is_other else 1))
            share = range(args.strings)[number :: len(made)]
            compare('random strings', tokenizer, strings(len(share), seed=number))
    for vocabulary in sorted(Path(args.data).rglob('vocab*.txt')) if args.data else ():
        for kind in (FullTokenizer, CharTokenizer, WordTokenizer):
            if kind.__name__ in args.tokenizers:
                compare(f'texts below {args.data}, {vocabulary.name}', kind(str(vocabulary)), texts_below(args.data))
    for tokenizer in given if args.data else ():
        compare(f'texts below {args.data}', tokenizer, texts_below(args.data))
    return 1 if wrong else 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
