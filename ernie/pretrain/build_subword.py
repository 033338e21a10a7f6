"""`python -m ernie.pretrain.build_subword`: a corpus -> the tokenizer of ERNIE tiny, and how it reads the corpus.

`python -m ernie.pretrain.word_list` writes its dictionary as plain text.
"""

import os
import sys
from dataclasses import MISSING, dataclass
from typing import Self

from ernie.pretrain.building.documents import Form, input_files, read_documents
from ernie.pretrain.building.figures import tell_figures
from ernie.pretrain.building.lexers import LEXERS, join_words
from ernie.pretrain.subword_model import subword_vocabulary, train_subword_model
from ernie.pretrain.vocabulary import by_frequency
from ernie.pretrain.word_counts import MAX_WORDS, WordCutter, count_corpus
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from ernie.tokenizers import VOCABULARY
from ernie.tokenizers.subword import SubwordCutter, SubwordTokenizer
from ernie.tokenizers.subword_files import FOLDER, MODEL, PLAIN, SubwordFiles
from ernie.tokenizers.word_list import MAX_WORD_CHARS, WordList, load_word_dict, words_as_text
from propeller.data.parallel import available_cpus
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.progress import progress
from propeller.storage.atomic import check_output
from propeller.storage.folders import whole_folder, write_files

_POSITIONS = 512


@dataclass(frozen=True, kw_only=True)
class SubwordCorpusSettings(Settings, title='corpus'):
    input: tuple[str, ...] = setting(MISSING, 'Text files, .gz, .jsonl, or folders of them.')
    text_field: str = setting('text', 'Field of a JSON line that holds the text.')
    held_out: int = setting(50, 'Every so manieth line is not learnt from but measured on; 0: none.', least=0)
    processes: int = setting(available_cpus(), 'Processes that count.', least=1)
    max_words: int = setting(MAX_WORDS, 'Distinct words in memory; past that the rarest are dropped.', least=1)


@dataclass(frozen=True, kw_only=True)
class SubwordEntrySettings(Settings, title='tokenizer'):
    output: str = setting('subword_model', f'Folder for {VOCABULARY} and {FOLDER}/; must not exist.')
    report: str = setting('', 'A JSON file for the figures that are printed.')
    size: int = setting(32000, 'Pieces of the sentencepiece model, at most.', least=8)
    lexer: str = setting(
        'rjieba', 'Finds the words of the dictionary; spaces: the text is segmented.', choices=LEXERS, listed=True
    )
    words: int = setting(100_000, 'Words of the dictionary, at most: the most frequent.', least=1)
    word_dict: str = setting('', 'A dictionary to take as it is, instead of --lexer: pickled, or one word a line.')
    min_count: int = setting(2, 'Rarer words are left out of the dictionary.', least=1)
    character_coverage: float = setting(0.9995, 'Share of the text that characters cover.', above=0, most=1)
    do_lower_case: bool = setting(True, 'Lower-case the parts of a text, after they were looked up.')


@dataclass(frozen=True, kw_only=True)
class SubwordBuildSettings(SubwordCorpusSettings, SubwordEntrySettings):
    """Makes the word dictionary, the sentencepiece model and the vocabulary of ERNIE tiny out of a corpus."""

    def checked(self) -> Self:
        settings = super().checked()
        if self.held_out == 1:
            raise UsageError('--held_out 1: every line would be held out, and none learnt from.')
        if not self.word_dict and self.lexer == 'none':
            raise UsageError('--lexer none finds no words. Give another one, or --word_dict.')
        if os.path.lexists(self.output):
            raise UserError(f'--output {self.output}: exists already. Give a folder that does not exist.')
        return settings


class _Parts:
    """A line to the parts that the tokenizer hands to sentencepiece; sent to other processes."""

    def __init__(self, words, lower):
        self.words, self.lower = words, lower

    def __call__(self, line):
        parts = [part for part in self.words.segment(line) if not part.isspace()]
        return [part.lower() for part in parts] if self.lower else parts


def _paragraphs(args, files, title):
    documents = read_documents(files, Form(text_field=args.text_field))
    lines = (paragraph for document in documents for paragraph in document.paragraphs)
    return progress(lines, title, unit='characters', count=len)


def _lines(args, files, title):
    """The texts, as the tokenizer will see such."""
    lines = _paragraphs(args, files, title)
    if LEXERS[args.lexer].segmented and not args.word_dict:  # without the spaces and tags that mark the words
        lexer = LEXERS[args.lexer]()
        lines = (join_words(words) if (words := lexer.words(line)) is not None else line for line in lines)
    return lines


def _dictionary(args, files):
    """The words of the dictionary, most frequent first or sorted."""
    if args.word_dict:
        return sorted(load_word_dict(args.word_dict))
    cut = WordCutter('CharTokenizer', False, args.lexer)
    lines = _paragraphs(args, files, 'counting words')
    counts = count_corpus(lines, cut, args.held_out, args.max_words, args.processes).words.counts
    fitting = {
        word: n for word, n in counts.items() if 2 <= len(word) <= MAX_WORD_CHARS and all(map(str.isalnum, word))
    }
    return by_frequency(fitting, args.min_count)[: args.words]


def build_subword(args):
    """Makes the folder.

    Args:
        args: `SubwordBuildSettings`.

    Returns:
        dict of figures; those of held-out lines are None where there are none.

    Raises:
        UserError: the corpus cannot be read or holds no word, a library is missing, or the folder cannot be written.
    """
    files = input_files(args.input)
    if args.report:
        check_output(args.report, '--report', files)
    words = WordList(_dictionary(args, files))
    if not words.words:
        raise UserError('the corpus gives no word for the dictionary: see --lexer, --min_count and --word_dict.')
    lines = _lines(args, files, 'counting parts')
    counts = count_corpus(lines, _Parts(words, args.do_lower_case), args.held_out, args.max_words, args.processes)
    if not counts.words.counts:
        raise UserError('the corpus holds no text, so there is nothing to make pieces of.')
    model = train_subword_model(counts.words.counts, args.size, args.character_coverage)
    try:
        with whole_folder(args.output) as work:
            write_files(work, {f'{FOLDER}/{MODEL}': model, f'{FOLDER}/{PLAIN}': words_as_text(words.words)})
            paths = SubwordFiles(*(os.path.join(work, FOLDER, name) for name in (MODEL, PLAIN)))
            cutter = SubwordCutter(paths.model, words.words)
            tokens = subword_vocabulary(cutter)
            write_files(work, {VOCABULARY: ''.join(f'{token}\n' for token in tokens).encode()})
            tokenizer = SubwordTokenizer(os.path.join(work, VOCABULARY), args.do_lower_case, paths)
            write_files(work, tokenizer.files(_POSITIONS))
            return {
                'words': len(words.words),
                'entries': len(tokens),
                'pieces': len(cutter.pieces),
                'lines': counts.lines,
                'held_out_lines': counts.held_out_lines,
                **_rates(tokenizer, counts.held_out_words.counts),
            }
    except FileExistsError:
        raise UserError(f'--output {args.output}: exists already. Give a folder that does not exist.') from None
    except OSError as e:
        raise UserError(f'{args.output}: cannot be written ({e.strerror or e}).') from None


def _rates(tokenizer, parts):
    """How the held-out lines are read: characters without spaces, pieces a character, share of [UNK]."""
    characters = sum(len(part) * count for part, count in parts.items())
    pieces = unknown = 0
    for part, count in parts.items():
        ids = tokenizer.encode(part)
        pieces += count * len(ids)
        unknown += count * ids.count(tokenizer.vocab['[UNK]'])
    if not pieces:
        return {'held_out_characters': characters, 'pieces_per_character': None, 'unknown_rate': None}
    rates = {'pieces_per_character': pieces / characters, 'unknown_rate': unknown / pieces}
    return {'held_out_characters': characters} | rates


def report_lines(figures, output):
    """The figures of `build_subword` as lines for people."""
    lines = [
        f'{output}: {figures["words"]} words, {figures["pieces"]} pieces, {figures["entries"]} entries in '
        f'{VOCABULARY}, from {figures["lines"]} lines'
    ]
    if figures['pieces_per_character'] is not None:
        lines.append(
            f'{figures["held_out_lines"]} held-out lines: {figures["pieces_per_character"]:.3f} pieces a character, '
            f'{100 * figures["unknown_rate"]:.3f} % of them [UNK]'
        )
    return lines


def main(argv=None, prog=None):
    """The program."""
    parser = SettingsParser(SubwordBuildSettings, 'build-subword', prog=prog or 'build_subword')
    args = parser.parse_args(argv).checked()
    tell_figures(build_subword(args), report_lines, args)


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
