"""`python -m ernie.pretrain.build_vocab`: a corpus -> a vocabulary, and how well it reads the corpus."""

import os
import sys
from dataclasses import MISSING, dataclass
from typing import Self

from ernie.pretrain.building.documents import Form, input_files, read_documents
from ernie.pretrain.building.figures import tell_figures
from ernie.pretrain.building.lexers import LEXERS
from ernie.pretrain.vocabulary import (
    FIRST_TOKENS,
    KINDS,
    LAST_TOKENS,
    build_vocabulary,
    reading_rates,
    write_vocabulary,
)
from ernie.pretrain.word_counts import MAX_WORDS, WordCutter, count_corpus
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.data.parallel import available_cpus
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.progress import progress
from propeller.storage.atomic import check_output, is_stream

_FEWEST = len(FIRST_TOKENS) + len(LAST_TOKENS) + 1


@dataclass(frozen=True, kw_only=True)
class CorpusSettings(Settings, title='corpus'):
    input: tuple[str, ...] = setting(MISSING, 'Text files, .gz, .jsonl, or folders of them.')
    text_field: str = setting('text', 'Field of a JSON line that holds the text.')
    half_width: bool = setting(False, 'Make full-width letters and digits those of ASCII.')
    held_out: int = setting(50, 'Every so manieth line is not counted but measured on; 0: none.', least=0)
    processes: int = setting(available_cpus(), 'Processes that count.', least=1)
    max_words: int = setting(MAX_WORDS, 'Distinct words in memory; past that the rarest are dropped.', least=1)


@dataclass(frozen=True, kw_only=True)
class EntrySettings(Settings, title='vocabulary'):
    output: str = setting('vocab.txt', 'The vocabulary file.')
    report: str = setting('', 'A JSON file for the figures that are printed.')
    size: int = setting(
        18000, 'Entries, special tokens included; fewer where the corpus has not as many.', least=_FEWEST
    )
    kind: str = setting('characters', 'Entries besides the special tokens.', choices=KINDS, listed=True)
    min_count: int = setting(2, 'What is rarer is left out.', least=1)
    character_coverage: float = setting(1.0, 'Share of the text that characters cover.', above=0, most=1)


@dataclass(frozen=True, kw_only=True)
class WordSettings(Settings, title='tokenizer'):
    tokenizer: str = setting(
        'FullTokenizer', 'How text is cut into words.', choices=('FullTokenizer', 'CharTokenizer'), listed=True
    )
    do_lower_case: bool = setting(True, 'Lower-case; FullTokenizer strips accents as well.')
    lexer: str = setting(
        'none',
        'Makes words for CharTokenizer; spaces: the text is segmented, word or word/pos.',
        choices=LEXERS,
        listed=True,
    )


@dataclass(frozen=True, kw_only=True)
class VocabularySettings(CorpusSettings, EntrySettings, WordSettings):
    """Makes a vocabulary (token<TAB>id a line) out of a corpus."""

    def checked(self) -> Self:
        settings = super().checked()
        if self.held_out == 1:
            raise UsageError('--held_out 1: every line would be held out, and none counted.')
        if self.tokenizer == 'FullTokenizer' and self.lexer != 'none' and not LEXERS[self.lexer].segmented:
            raise UsageError(f'--lexer {self.lexer}: FullTokenizer cuts Chinese text at every character; it goes with '
                             '--tokenizer CharTokenizer.')  # fmt: skip
        same = os.path.realpath(self.output) == os.path.realpath(self.report)
        if self.report and same and not is_stream(self.output):
            raise UsageError(f'--output {self.output} and --report {self.report}: one file.')
        for path in filter(None, (self.output, self.report)):
            folder = os.path.dirname(os.path.abspath(path))
            if not os.path.isdir(folder):
                raise UsageError(f'{path}: there is no folder {folder}. Make it first.')
        return settings


def parse(argv=None, prog=None):
    """The checked `VocabularySettings` of flags. Raises `UsageError`: a flag is unknown or its value impossible."""
    return SettingsParser(VocabularySettings, 'build-vocab', prog=prog or 'build_vocab').parse_args(argv).checked()


def build_vocab(args):
    """Counts the corpus and writes the vocabulary.

    Args:
        args: `VocabularySettings`.

    Returns:
        dict of figures; `counted` and `held_out` are those of `ernie.pretrain.vocabulary.reading_rates`, None where
        words were dropped: those that are left are not typical.

    Raises:
        UserError: the corpus cannot be read or holds no word, a library is missing, or the file cannot be written.
    """
    files = input_files(args.input)
    check_output(args.output, '--output', files)
    if args.report:
        check_output(args.report, '--report', files)
    cut = WordCutter(args.tokenizer, args.do_lower_case, args.lexer, args.half_width)
    documents = read_documents(files, Form(text_field=args.text_field))
    lines = (paragraph for document in documents for paragraph in document.paragraphs)
    lines = progress(lines, 'counting words', unit='characters', count=len)
    counts = count_corpus(lines, cut, args.held_out, args.max_words, args.processes)
    if not counts.characters:
        raise UserError('the corpus holds no words, so there is nothing to make a vocabulary of.')
    tokens = build_vocabulary(args.kind, counts, args.size, args.min_count, args.character_coverage)
    write_vocabulary(args.output, tokens)
    inside = sum(token.startswith('##') and len(token) > 2 for token in tokens)
    return {
        'kind': args.kind,
        'tokenizer': args.tokenizer,
        'entries': len(tokens),
        'entries_asked_for': args.size,
        'entries_inside_words': inside,
        'lines': counts.lines,
        'held_out_lines': counts.held_out_lines,
        'characters': counts.characters.total(),
        'distinct_characters': len({piece[-1] for piece in counts.characters}),
        'distinct_words': len(counts.words.counts),
        'words_too_long': counts.too_long,
        'counts_short_by_at_most': counts.words.shortfall,
        'counted': _rates(tokens, counts.words),
        'held_out': _rates(tokens, counts.held_out_words),
    }


def _rates(tokens, words):
    return None if words.shortfall else reading_rates(tokens, words.counts)


def report_lines(figures, output):
    """The figures of `build_vocab` as lines for people."""
    lines = [
        f'{output}: {figures["entries"]} entries ({figures["kind"]}), {figures["entries_inside_words"]} of them ##',
        f'counted: {figures["lines"]} lines, {figures["characters"]} characters, {figures["distinct_characters"]} '
        f'distinct; {figures["distinct_words"]} distinct words',
    ]
    if figures['entries'] < figures['entries_asked_for']:
        lines.append(f'the corpus gives fewer entries than the {figures["entries_asked_for"]} asked for')
    if figures['counts_short_by_at_most']:
        lines.append(
            'rare words were dropped to stay within --max_words: counts of words may be too low by up to '
            f'{figures["counts_short_by_at_most"]}'
        )
    if figures['words_too_long']:
        lines.append(f'not counted: {figures["words_too_long"]} words of more than 100 characters')
    for name, title in (('counted', 'counted lines'), ('held_out', f'{figures["held_out_lines"]} held-out lines')):
        rates = figures[name]
        if rates and rates['words']:
            lines.append(
                f'{title}: {100 * rates["coverage"]:.3f} % of the words are covered, '
                f'{100 * rates["unknown_rate"]:.3f} % of the pieces are [UNK], '
                f'{rates["pieces_per_word"]:.3f} pieces a word'
            )
    return lines


def main(argv=None, prog=None):
    """The program."""
    args = parse(argv, prog)
    tell_figures(build_vocab(args), report_lines, args)


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
