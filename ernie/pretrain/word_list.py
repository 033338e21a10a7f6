"""`python -m ernie.pretrain.word_list`: ERNIE tiny's word dictionary as plain text, one word a line."""

import sys
from dataclasses import dataclass
from typing import Self

from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from ernie.tokenizers.word_list import load_word_dict, words_as_text
from propeller.errors import UsageError, one_line_errors
from propeller.storage.atomic import check_output, output_file


@dataclass(frozen=True, kw_only=True)
class WordListSettings(Settings, title='dictionary'):
    """Writes the word dictionary of ERNIE tiny as plain text, one word a line, sorted. Nothing in the file is run."""

    dictionary: str = setting('', 'The pickle of the official download, or a plain text.', positional=True)
    output: str = setting('-', 'The text file; "-": standard output.')

    def checked(self) -> Self:
        settings = super().checked()
        if not self.dictionary:
            raise UsageError('no dictionary is given. Expected: ernie word-list subword/dict.wordseg.pickle')
        return settings


def main(argv=None, prog=None):
    """The program."""
    parser = SettingsParser(WordListSettings, 'word-list', prog=prog or 'word_list')
    args = parser.parse_args(argv).checked()
    words = load_word_dict(args.dictionary)
    text = words_as_text(words, args.dictionary).decode()
    if args.output == '-':
        sys.stdout.write(text)
        return
    check_output(args.output, '--output', [args.dictionary])
    with output_file(args.output) as f:
        f.write(text)
    print(f'{args.output}: {text.count(chr(10))} words')


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
