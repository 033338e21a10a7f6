"""`python -m ernie.pretrain.build_vocab`: a corpus -> a vocabulary, and how well it reads the corpus."""

import json
import os
import sys

from ernie.pretrain.building.documents import Form, input_files, read_documents
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
from ernie.reader.parallel import available_cpus
from propeller.args import ArgumentGroup, Parser
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.progress import progress
from propeller.storage.atomic import check_output, is_stream, output_file

_FEWEST = len(FIRST_TOKENS) + len(LAST_TOKENS) + 1


def build_parser(prog=None):
    """The flags."""
    parser = Parser(prog=prog or 'build_vocab', description='Makes a vocabulary (token<TAB>id a line) out of a corpus.')
    add = ArgumentGroup(parser, 'corpus', 'What is read.').add_arg
    add('input', str, None, 'Text files, .gz, .jsonl, or folders of them.', nargs='+', required=True)
    add('text_field', str, 'text', 'Field of a JSON line that holds the text.')
    add('half_width', bool, False, 'Make full-width letters and digits those of ASCII.')
    add('held_out', int, 50, 'Every so manieth line is not counted but measured on; 0: none.')
    add('processes', int, available_cpus(), 'Processes that count.')
    add('max_words', int, MAX_WORDS, 'Distinct words kept in memory; past that the rarest are dropped, and it is said.')
    add = ArgumentGroup(parser, 'vocabulary', 'What is written.').add_arg
    add('output', str, 'vocab.txt', 'The vocabulary file.')
    add('report', str, '', 'A JSON file for the figures that are printed.')
    add('size', int, 18000, 'Entries, special tokens included; fewer where the corpus does not give as many.')
    add('kind', str, 'characters', 'Entries besides the special tokens.', choices=KINDS)
    add('min_count', int, 2, 'What is rarer is left out.')
    add('character_coverage', float, 1.0, 'The most frequent characters up to this share of the text (not for words).')
    add = ArgumentGroup(parser, 'tokenizer', 'Who will read text with the vocabulary.').add_arg
    add('tokenizer', str, 'FullTokenizer', 'How text is cut into words.', choices=('FullTokenizer', 'CharTokenizer'))
    add('do_lower_case', bool, True, 'Lower-case; FullTokenizer strips accents as well.')
    add('lexer', str, 'none', 'Makes words for CharTokenizer; spaces: the text is segmented, word or word/pos.',
        choices=tuple(LEXERS))  # fmt: skip
    return parser


def parse(argv=None, prog=None):
    """Parsed and checked flags.

    Raises:
        UsageError: a flag is unknown or its value impossible; the text names it.
    """
    args = build_parser(prog).parse_args(argv)
    least = {'size': _FEWEST, 'min_count': 1, 'held_out': 0, 'processes': 1, 'max_words': 1}
    for name, value in least.items():
        if getattr(args, name) < value:
            raise UsageError(f'--{name} {getattr(args, name)}: must be at least {value}.')
    if args.held_out == 1:
        raise UsageError('--held_out 1: every line would be held out, and none counted.')
    if not 0 < args.character_coverage <= 1:
        raise UsageError(f'--character_coverage {args.character_coverage}: must be above 0 and at most 1.')
    if args.tokenizer == 'FullTokenizer' and args.lexer != 'none' and not LEXERS[args.lexer].segmented:
        raise UsageError(f'--lexer {args.lexer}: FullTokenizer cuts Chinese text at every character; it goes with '
                         '--tokenizer CharTokenizer.')  # fmt: skip
    if args.report and os.path.realpath(args.output) == os.path.realpath(args.report) and not is_stream(args.output):
        raise UsageError(f'--output {args.output} and --report {args.report}: one file.')
    for path in filter(None, (args.output, args.report)):
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise UsageError(f'{path}: there is no folder {folder}. Make it first.')
    return args


def build_vocab(args):
    """Counts the corpus and writes the vocabulary.

    Args:
        args: from `parse`.

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
    figures = build_vocab(args)
    print('\n'.join(report_lines(figures, args.output)))
    if args.report:
        with output_file(args.report) as f:
            json.dump(figures, f, indent=1, ensure_ascii=False)


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
