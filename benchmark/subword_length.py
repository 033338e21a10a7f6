"""ERNIE tiny's tokenizer: whether it equals its plain form on every line of files, and how long its rows are.

    python -m benchmark.subword_length MODEL FILE ... --characters VOCAB

MODEL is a folder with `vocab.txt` and `subword/`, of the official download or of `ernie build-subword`. Each line of a
file is a text, compared with the plain form of 2019 (a loop over five lengths, then sentencepiece over the whole text).
Of tables with the columns text_a and text_b (or premise and hypo) it also prints the tokens of a row beside those of
`FullTokenizer` with the vocabulary VOCAB, where each Chinese character is a token. Exit code 1 where a line differs.
"""

import argparse
import gzip
import sys

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

        self.words, self.vocab = load_word_dict(tokenizer.subword.words), tokenizer.vocab
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.subword.model))

    def encode(self, text):
        """The ids of a text."""
        joined = ' '.join(part.lower() for part in plain_parts(text, self.words))
        return [self.vocab.get(piece, self.vocab['[UNK]']) for piece in self.model.encode(joined, out_type=str)]


def lines_of(path):
    """The lines of a file, which may be packed with gzip."""
    with (gzip.open if path.endswith('.gz') else open)(path, 'rt', encoding='utf-8', errors='replace') as f:
        yield from (line.rstrip('\n') for line in f)


def compare(path, tokenizer, plain):
    """(lines, characters, lines that differ) of a file."""
    lines = characters = different = 0
    for line in lines_of(path):
        lines, characters = lines + 1, characters + len(line)
        different += tokenizer.encode(line) != plain.encode(line)
    return lines, characters, different


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
    parser.add_argument('files', nargs='+', help='files of texts')
    parser.add_argument('--characters', help='vocabulary of FullTokenizer, to compare lengths with')
    flags = parser.parse_args(argv)
    tokenizer = SubwordTokenizer(f'{flags.model}/vocab.txt')
    plain, characters = PlainForm(tokenizer), FullTokenizer(flags.characters) if flags.characters else None
    wrong = 0
    for path in flags.files:
        lines, size, different = compare(path, tokenizer, plain)
        wrong += different
        print(f'{path}: {lines} lines, {size} characters, {different} differ from the plain form', flush=True)
        rows = rows_of(path) if characters else []
        if rows:
            ours, theirs = (sum(len(t.encode(text)) for row in rows for text in row) for t in (tokenizer, characters))
            print(
                f'  {len(rows)} rows: {ours / len(rows):.1f} tokens a row, by characters {theirs / len(rows):.1f}: '
                f'{100 * (1 - ours / theirs):+.1f} % shorter'
            )
    return int(wrong > 0)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
