"""Makes more texts out of texts, for a teacher to label: words masked, replaced, or fragments of the text."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dataclasses import MISSING, dataclass
from typing import Self

from ernie.distill.augmentation import Mixture
from ernie.distill.augmenting import augment_files
from ernie.distill.segmented import SEGMENTERS, TAGGERS
from ernie.distill.text_files import STDIN
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.data.parallel import available_cpus
from propeller.errors import UsageError, one_line_errors
from propeller.log import console
from propeller.storage.atomic import check_output, output_file

_D = Mixture._field_defaults


@dataclass(frozen=True, kw_only=True)
class TextSettings(Settings, title='texts'):
    input: tuple[str, ...] = setting(MISSING, 'Files of TAB-separated text, or - for standard input.')
    column: str = setting('1', 'Column of the text: its number, or its name where the first line has names.')
    lexer: str = setting(
        'jieba',
        'Cuts texts into words; spaces: they are cut already, word or word/pos.',
        choices=SEGMENTERS,
        listed=True,
    )
    output: str = setting(MISSING, 'The file to write, or - for standard output.')
    processes: int = setting(available_cpus(), 'Processes; what is written does not depend on it.', least=1)

    def check_files(self):
        """Raises `UserError`: the output cannot be written or is an input."""
        check_output(self.output, '--output', self.input)


@dataclass(frozen=True, kw_only=True)
class RuleSettings(Settings, title='rules'):
    tagger: str = setting('', f'Tags words that have no part of speech: one of {", ".join(TAGGERS)}.')
    copies: int = setting(10, 'New rows for each row.', least=1)
    seed: int = setting(1, 'Of all that is drawn.', least=0)
    noise_ratio: float = setting(_D['noise_ratio'], 'Share of rows with words that became [UNK].', least=0)
    pos_ratio: float = setting(_D['pos_ratio'], 'Share of rows with words replaced by their part of speech.', least=0)
    sample_ratio: float = setting(_D['sample_ratio'], 'Share of rows that are fragments of a row.', least=0)
    noise_probability: float = setting(_D['noise_probability'], 'Of each word to become [UNK].', least=0, most=1)
    pos_probability: float = setting(_D['pos_probability'], 'Of each word to be replaced.', least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class AugmentSettings(TextSettings, RuleSettings):
    """Makes rows `segmented text<TAB>text` out of texts: what a student and its teacher read."""

    def checked(self) -> Self:
        settings = super().checked()
        if not self.mixture().total() > 0:
            raise UsageError('--noise_ratio, --pos_ratio and --sample_ratio: found 0, expected one above 0.')
        if self.tagger and self.tagger not in TAGGERS:
            raise UsageError(f'--tagger {self.tagger}: expected one of {", ".join(TAGGERS)}.')
        self.check_files()
        return settings

    def mixture(self):
        """The `Mixture` that the flags say."""
        return Mixture(*(getattr(self, name) for name in Mixture._fields))


def build_parser():
    """The flags."""
    return SettingsParser(AugmentSettings, 'augment', prog='augment.py')


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser().parse_args(argv).checked()
    lines = augment_files(
        args.input, args.column, args.lexer, args.tagger, args.mixture(), args.copies, args.seed, args.processes
    )
    write_lines(args.output, lines)


def write_lines(path, lines):
    """Write lines to a file; `-` is standard output."""
    with output_file('/dev/stdout' if path == STDIN else path) as file:
        for line in lines:
            file.write(f'{line}\n')


if __name__ == '__main__':
    with one_line_errors(), console():
        main()
