"""Exported models in transformers: the same token ids on real texts, the same outputs.

    python -m benchmark.acceptance.huggingface_export CHECKPOINT ... --their_python VENV/bin/python [--their_python ...]

Each CHECKPOINT is converted to a Hugging Face folder. Each VENV, which has torch and transformers and need not have
Paddle, loads it with AutoTokenizer and the class that config.json names. Compared are the
ids of 1,000 texts from the files of --data, all that differ are printed, and for padded batches of 64 of them (pairs of
sentence types) the hidden states of all real tokens and the scores of the head. Exit code 1 when anything differs: ids
at all, outputs by more than 1e-5 of their largest value.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

import numpy as np

from benchmark import common
from propeller.errors import bad_input, one_line_errors

TOLERANCE = 1e-5
ROWS, BATCH, LONGEST, SHOWN, LINES = 64, 16, 128, 5, 2000


def texts_of(folder, count, seed=0):
    """`count` texts out of the cells and strings of the `.tsv` and `.json` files under a folder, of each as many."""
    rng, paths = random.Random(seed), []
    for place, _, names in sorted(os.walk(folder)):
        paths += [os.path.join(place, name) for name in sorted(names) if name.endswith(('.tsv', '.json'))]
    pools = [pool for path in paths if (pool := sorted(strings_of(path)))]
    for pool in pools:
        rng.shuffle(pool)
    texts = [pool[i] for i in range(max(map(len, pools), default=0)) for pool in pools if i < len(pool)][:count]
    if len(texts) < count:
        raise bad_input(folder, f'{len(texts)} texts', f'{count} (--texts) in .tsv and .json files')
    return texts


def strings_of(path):
    """The different texts of a file (of a table those of its first `LINES` lines), a set."""
    with open(path, encoding='utf-8', newline='\n') as f:
        if path.endswith('.tsv'):
            found = [cell for line in itertools.islice(f, LINES) for cell in line.rstrip('\n').split('\t')]
        else:
            found = []
            with contextlib.suppress(json.JSONDecodeError):  # of another kind than its name says
                _collect(json.load(f), found)
    return {text.replace('\x02', ' ') for text in found if len(text) > 3}


def _collect(value, found):
    if isinstance(value, str):
        found.append(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _collect(item, found)


def batches_of(ids, vocab, config):
    """Padded batches out of rows of token ids: lists of arrays as `ernie.inference.huggingface_check` takes them."""
    longest, batches = min(LONGEST, config.max_position_embeddings), []
    for start in range(0, min(ROWS, len(ids)), BATCH):
        rows = [[*row[: longest - 1], vocab['[SEP]']] if len(row) > longest else row for row in ids[start:][:BATCH]]
        shape = len(rows), max(map(len, rows))
        tokens, types = np.full(shape, vocab['[PAD]'], np.int64), np.zeros(shape, np.int64)
        mask, positions = np.zeros(shape, np.float32), np.tile(np.arange(shape[1]), (shape[0], 1))
        for i, row in enumerate(rows):
            tokens[i, : len(row)], mask[i, : len(row)] = row, 1
            types[i, len(row) // 2 : len(row)] = config.sentence_types > 1
        batches.append([tokens, types, positions, mask])
    return batches


def our_side(checkpoint, texts, folder):
    """Convert, and write what we compute to `folder`: the exported model, `texts.json`, `ours.npz`."""
    from ernie.checkpoint import open_model
    from ernie.checkpoint.convert import convert
    from ernie.checkpoint.tokenizer_settings import folder_tokenizer
    from ernie.config import ErnieConfig
    from ernie.inference.huggingface_check import outputs

    done = convert(checkpoint, os.path.join(folder, 'model'), 'huggingface')
    for line in (*done.checked, *done.notes):
        print(f'  {line}')
    model = open_model(checkpoint)
    tokenizer = folder_tokenizer(model.folder).settings.make(model.vocab_path)
    vocab, config = tokenizer.vocab, ErnieConfig(model.config)
    ids = [[vocab['[CLS]'], *tokenizer.encode(text), vocab['[SEP]']] for text in texts]
    arrays = {}
    batches = batches_of(ids, vocab, config)
    for number, (batch, found) in enumerate(zip(batches, outputs(model, config, batches), strict=True)):
        arrays |= {f'batch {number} {i}': array for i, array in enumerate(batch)}
        arrays |= {f'ours {number} {name}': array for name, array in found.items()}
    np.savez(os.path.join(folder, 'ours.npz'), **arrays)
    with open(os.path.join(folder, 'texts.json'), 'w', encoding='utf-8') as f:
        json.dump({'texts': texts, 'ids': ids}, f)
    return model


def their_side(folder):
    """Run in the other environment: load the model, compare, print, and return whether all is equal."""
    from ernie.checkpoint.huggingface_check import their_tokenizer
    from ernie.inference.huggingface_check import their_outputs

    with open(os.path.join(folder, 'texts.json'), encoding='utf-8') as f:
        stored = json.load(f)
    theirs, kind = their_tokenizer(os.path.join(folder, 'model'))
    pairs = zip(stored['texts'], stored['ids'], strict=True)
    other = [(text, ours, found) for text, ours in pairs if (found := theirs(text)) != ours]
    print(f'  {kind}: ids of {len(stored["texts"]) - len(other)} of {len(stored["texts"])} texts equal')
    for text, ours, found in other[:SHOWN]:
        at = next((i for i, pair in enumerate(zip(ours, found, strict=False)) if pair[0] != pair[1]), 0)
        print(f'    {text[:80]!r}: from token {at} on {ours[at : at + 6]}, there {found[at : at + 6]}')
    arrays, largest = np.load(os.path.join(folder, 'ours.npz')), {}
    count = sum(name.endswith(' 0') and name.startswith('batch') for name in arrays)
    batches = [[arrays[f'batch {number} {i}'] for i in range(4)] for number in range(count)]
    for number, found in enumerate(their_outputs(os.path.join(folder, 'model'), batches)):
        for name in found:
            if f'ours {number} {name}' in arrays:
                ours = arrays[f'ours {number} {name}']
                largest[name] = max(largest.get(name, 0), difference(ours, found[name], batches[number][3]))
    print(f'  {kind}: ' + ', '.join(f'{name} differ by {value:.1e}' for name, value in largest.items()))
    return not other and all(value <= TOLERANCE for value in largest.values())


def difference(ours, theirs, mask):
    """Largest difference over the real tokens, as a share of the largest value (or of 1, if that is larger)."""
    real = mask.astype(bool)
    ours, theirs = (x[real] if x.shape[:2] == real.shape else x for x in (ours, theirs))
    return float(np.abs(ours - theirs).max()) / max(1.0, float(np.abs(ours).max()))


def main(argv=None):
    """Compare and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoints', nargs='*', metavar='CHECKPOINT')
    parser.add_argument('--their_python', action='append', default=[], help='Python with torch and transformers')
    parser.add_argument('--data', default=os.environ.get('ERNIE_TEST_DATA'), help='folder of .tsv and .json files')
    parser.add_argument('--texts', type=int, default=1000, help='texts whose ids are compared')
    parser.add_argument('--their_side', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.their_side:
        return int(not their_side(args.their_side))
    if not args.data or not args.checkpoints:
        parser.error('give checkpoints and --data, or set ERNIE_TEST_DATA')
    for python in args.their_python:
        common.check_python(python, '--their_python')
    texts, equal = texts_of(args.data, args.texts), True
    for checkpoint in args.checkpoints:
        print(checkpoint, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            our_side(checkpoint, texts, folder)
            for python in args.their_python:
                command = [python, '-m', 'benchmark.acceptance.huggingface_export', '--their_side', folder]
                environment = os.environ | {'HF_HUB_OFFLINE': '1', 'HF_HUB_DISABLE_PROGRESS_BARS': '1'}
                done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
                if done.returncode not in (0, 1) or 'Traceback' in done.stderr:
                    sys.exit(f'{python} failed:\n{done.stderr}')
                equal &= done.returncode == 0
    print('all equal' if equal else 'NOT all equal')
    return int(not equal)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
