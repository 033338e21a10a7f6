"""ERNIE tiny's tokenizer: whether it equals its plain form on every line of files, and how long its rows are.

    python -m benchmark.subword_length MODEL FILE_OR_FOLDER ... --characters VOCAB

MODEL is a folder with `vocab.txt` and `subword/`, of the official download or of `ernie build-subword`. The texts of a
file are its lines; of `.tsv` and `.csv` files the cells, of `.json` files all strings, of `.parquet` files the columns
of strings. Each is compared with the plain form of 2019 (a loop over five lengths, then sentencepiece over the whole
text), with and without offsets. Files that are no text are named. Of tables with the columns text_a and text_b (or
premise and hypo) it also prints the tokens of a row beside those of `FullTokenizer` with the vocabulary VOCAB, where
each Chinese character is a token. Exit code 1 where a text differs.
"""

import argparse
import csv
import gzip
import json
import sys
from pathlib import Path

from ernie.reader.records import read_records
from ernie.tokenization import FullTokenizer
from ernie.tokenizers.subword import SubwordTokenizer
from ernie.tokenizers.word_list import load_word_dict
from propeller.errors import UserError, one_line_errors

_COLUMNS = ('text_a', 'text_b', 'premise', 'hypo')


def plain_parts(text, words):
    """Forward maximum matching in a window of five characters: the parts of a text, without the spaces."""
    parts, start = [], 0
    while start < len(text):
        for length in (5, 4, 3, 2, 1):
            part = text[start : start + length]
            if length == 1 or part in words:
                break
        parts.append(part)
        start += len(part)
    return [part for part in parts if part != ' ']


class PlainForm:
    """What 2019's `WSSPTokenizer` does, then the look-up in `vocab.txt`.

    Args:
        tokenizer: the `SubwordTokenizer` whose files it reads.
    """

    def __init__(self, tokenizer):
        import sentencepiece

        self.words = load_word_dict(tokenizer.subword.words)
        with open(tokenizer.vocab_path, encoding='utf-8', newline='\n') as f:
            self.vocab = {line.rstrip('\n').split('\t')[0]: index for index, line in enumerate(f)}
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.subword.model))

    def encode(self, text):
        """The ids of a text."""
        joined = ' '.join(part.lower() for part in plain_parts(text, self.words))
        return [self.vocab.get(piece, self.vocab['[UNK]']) for piece in self.model.encode(joined, out_type=str)]


def texts_of(path):
    """The texts of a file. path: `Path`. Raises UnicodeDecodeError: it is no text."""
    if path.suffix == '.parquet':
        from pyarrow import parquet, types

        for column in parquet.read_table(path).columns:
            if types.is_string(column.type) or types.is_large_string(column.type):
                yield from (text for text in column.to_pylist() if text is not None)
        return
    with (gzip.open if path.suffix == '.gz' else open)(path, 'rt', encoding='utf-8', newline='') as f:
        if path.suffix == '.json':
            yield from strings_of(json.load(f))
        elif path.suffix == '.csv':
            for cells in csv.reader(f):
                yield from cells
        else:
            for line in f:
                line = line.rstrip('\r\n')
                yield from line.split('\t') if path.suffix == '.tsv' else [line]


def strings_of(value):
    """All strings of a JSON value, names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_of(inner)


def compare(path, tokenizer, plain):
    """(texts, characters, texts that differ) of a file."""
    count = characters = different = 0
    for text in texts_of(path):
        count, characters, expected = count + 1, characters + len(text), plain.encode(text)
        different += not tokenizer.encode(text) == tokenizer.encode_aligned(text).ids == expected
    return count, characters, different


def rows_of(path):
    """The texts of each row of a table, list of lists; none where it has no column of text."""
    try:
        cells = [record.cells for record in read_records(path)]
    except UserError:
        return []
    return [texts for row in cells if (texts := [row[name] for name in _COLUMNS if name in row])]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('model', help='folder with vocab.txt and subword/')
    parser.add_argument('files', nargs='+', help='files of texts, or folders of them')
    parser.add_argument('--characters', help='vocabulary of FullTokenizer, to compare lengths with')
    flags = parser.parse_args(argv)
    tokenizer = SubwordTokenizer(f'{flags.model}/vocab.txt')
    plain, characters = PlainForm(tokenizer), FullTokenizer(flags.characters) if flags.characters else None
    total, named = [0, 0, 0], map(Path, flags.files)
    files = [path for given in named for path in (sorted(given.rglob('*')) if given.is_dir() else [given])]
    for path in (path for path in files if path.is_file()):
        try:
            found = compare(path, tokenizer, plain)
        except UnicodeDecodeError:
            print(f'{path}: no text')
            continue
        total = [a + b for a, b in zip(total, found, strict=True)]
        print('{}: {} texts, {} characters, {} differ from the plain form'.format(path, *found), flush=True)
        rows = rows_of(path) if characters else []
        if rows:
            ours, theirs = (sum(len(t.encode(text)) for row in rows for text in row) for t in (tokenizer, characters))
            print(
                f'  {len(rows)} rows: {ours / len(rows):.1f} tokens a row, by characters {theirs / len(rows):.1f}: '
                f'{100 * (1 - ours / theirs):+.1f} % shorter'
            )
    print('all: {} texts, {} characters, {} differ from the plain form'.format(*total))
    return int(total[2] > 0)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
