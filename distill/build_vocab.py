"""Makes a student's word list out of segmented texts: a word a line, the most frequent first."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dataclasses import MISSING, dataclass
from typing import Self

from distill.augment import write_lines
from ernie.distill.augmenting import FIRST_WORDS, student_vocabulary
from ernie.distill.segmented import SEGMENTERS
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from ernie.tokenizers import TOKENIZER_CONFIG
from ernie.tokenizers.words import tokenizer_config
from propeller.errors import UsageError, one_line_errors
from propeller.log import console
from propeller.storage.atomic import check_output

MOST = 35_000  # rows of the student's word table


@dataclass(frozen=True, kw_only=True)
class WordListSettings(Settings, title='word list'):
    """Makes the vocab.txt of a student: entry 0 is [PAD], then [UNK], [CLS], [SEP], [MASK], then words."""

    input: tuple[str, ...] = setting(MISSING, 'Files of segmented text, or - for standard input.')
    column: str = setting('1', 'Column of the text: its number, or its name where the first line has names.')
    output: str = setting(MISSING, 'The file to write.')
    size: int = setting(MOST, 'Most entries.', least=len(FIRST_WORDS) + 1, most=MOST)
    min_count: int = setting(1, 'What is rarer is left out.', least=1)
    lexer: str = setting(
        '',
        'How the texts were cut, for tokenizer_config.json beside the word list: students then take raw text.',
        choices=('', *SEGMENTERS),
    )
    do_lower_case: bool = setting(True, 'Lower-case words, as the student does.')

    def checked(self) -> Self:
        settings = super().checked()
        check_output(self.output, '--output', self.input)
        if self.lexer and not self.do_lower_case:
            raise UsageError('--lexer: found --do_lower_case false, expected true, as students read.')
        return settings


def build_parser():
    """The flags."""
    return SettingsParser(WordListSettings, 'word list', prog='build_vocab.py')


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser().parse_args(argv).checked()
    words = student_vocabulary(args.input, args.column, args.size, args.min_count, args.do_lower_case)
    write_lines(args.output, words)
    if args.lexer:
        write_lines(
            os.path.join(os.path.dirname(args.output), TOKENIZER_CONFIG), [json.dumps(tokenizer_config(args.lexer))]
        )
    print(f'{args.output}: {len(words)} entries', file=sys.stderr)


if __name__ == '__main__':
    with one_line_errors(), console():
        main()
