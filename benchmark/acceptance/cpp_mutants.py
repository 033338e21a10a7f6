"""Changed files of tokenizers for the library of `inference/`, under sanitizers: each is read, or refused in one line.

    python -m benchmark.acceptance.cpp_mutants [--count 3000] [--seed 0] [--sanitize address,undefined]

The files are those of ERNIE tiny's tokenizer (sentencepiece model with rules of normalisation, word dictionary), of one
for words, and the vocabulary and `tokenizer_config.json` of both, changed at random, one of them at a time. What is
read must give the same ids with offsets and without, of texts of all kinds. Exit code 1 where something else happens;
the first report of a sanitizer ends the run.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmark.acceptance.cpp_tokenizers import strings
from benchmark.acceptance.mutations import mutate_bytes, mutate_json
from benchmark.acceptance.sanitizers import preloaded
from benchmark.acceptance.sentencepiece_files import rules_of, write_subword
from benchmark.cpp import CppTokenizer, build, load_library
from ernie.tokenizers.subword_files import OFFICIAL_MODEL, PLAIN_WORDS
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS
from propeller.errors import UserError, one_line_errors

CONFIG, VOCABULARY = 'tokenizer_config.json', 'vocab.txt'
_TOKENS = [*SPECIAL_TOKENS, *'▁abcdefghij今天好美中国人。', '▁a', '▁今', '今天', 'aΣ', 'İ']


def write_folder(folder, words):
    """A tokenizer for words, or of ERNIE tiny, in a folder. Returns the names of its files."""
    (folder / VOCABULARY).write_text('\n'.join(_TOKENS) + '\n', encoding='utf-8', newline='\n')
    if words:
        (folder / CONFIG).write_text('{"tokenizer_class": "WordTokenizer", "do_lower_case": true, "lexer": "spaces"}')
        return [VOCABULARY, CONFIG]
    write_subword(folder, rules=rules_of())
    (folder / 'labels.json').unlink()
    return [OFFICIAL_MODEL, OFFICIAL_MODEL, OFFICIAL_MODEL, PLAIN_WORDS, VOCABULARY, CONFIG]


def outcome(library, folder, texts):
    """'read', 'refused', or what is wrong (anything else)."""
    try:
        with CppTokenizer(library, folder) as tokenizer:
            for text in texts:
                if not isinstance(tokenizer.encode_aligned(text).ids, list):
                    return f'no ids of {text!r}'
    except UserError as e:
        said = str(e)
        return 'refused' if 0 < len(said) < 1000 and '\n' not in said else f'this is said: {said!r}'
    return 'read'


def run(library, count, seed):
    """dict outcome -> how often it came."""
    draw, counts = random.Random(seed), {}
    texts = ['', 'aab a', '今天好美中国人。', 'Σa aΣ\u3000b', 'a' * 300, *strings(6, seed=3)]
    for number in range(count):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            path = folder / draw.choice(write_folder(folder, words=number % 5 == 0))
            change = mutate_json if path.name == CONFIG and draw.random() < 0.7 else mutate_bytes
            path.write_bytes(change(path.read_bytes(), draw))
            found = outcome(library, folder, texts)
        if found not in ('read', 'refused'):
            print(f'{number}: {path.name}: {found[:500]}', flush=True)
        key = found if found in ('read', 'refused') else 'wrong'
        counts[key] = counts.get(key, 0) + 1
    return counts


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=3000, help='folders (%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the changes (%(default)s)')
    parser.add_argument('--sanitize', default='address,undefined', help="'' for none (%(default)s)")
    args = parser.parse_args(argv)
    folder = build(*([f'-DERNIE_SANITIZE={args.sanitize}'] if args.sanitize else []), target='ernie')
    if args.sanitize and 'LD_PRELOAD' not in os.environ:
        environ = {
            'LD_PRELOAD': preloaded(os.environ.get('CXX', 'c++')),
            'ASAN_OPTIONS': 'detect_leaks=0:alloc_dealloc_mismatch=0:allocator_may_return_null=1',
            'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
            'TBB_ENABLE_SANITIZERS': '1',
        }
        command = [sys.executable, '-m', 'benchmark.acceptance.cpp_mutants', *(sys.argv[1:] if argv is None else argv)]
        return subprocess.run(command, env=os.environ | environ).returncode
    counts = run(load_library(folder), args.count, args.seed)
    print(f'{args.count} folders: ' + ', '.join(f'{counts[name]} {name}' for name in sorted(counts)))
    return 1 if 'wrong' in counts else 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
