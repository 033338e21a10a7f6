"""GLUE tables, as downloaded, to the TSV files that the classification reader takes.

The source columns are those of the GLUE benchmark's files (Wang et al. 2018). No cell is quoted in GLUE: a line is
split at tabs and nowhere else, so a lone quotation mark is a character of the text.
"""

import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from any folder, whether or not it is installed

from propeller.args import Parser  # noqa: E402
from propeller.errors import UserError, bad_input, one_line_errors  # noqa: E402
from propeller.storage.atomic import output_file, refuse_inputs  # noqa: E402

BINARY = {'0': '0', '1': '1'}
THREE_WAY = {'contradiction': '0', 'neutral': '1', 'entailment': '2'}
ENTAILMENT = {'not_entailment': '0', 'entailment': '1'}
UNKNOWN = '-1'
LISTED_LINES = 10


def similarity(text):
    """The STS-B score `text` if it is a number from 0 to 5, else None."""
    try:
        return text if 0 <= float(text) <= 5 and math.isfinite(float(text)) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Sheet:
    """How one kind of GLUE file becomes one of ours.

    Attributes:
        pick: output column -> 1-based source column, in output order.
        labels: label text -> id, or `similarity`; None for a test file, whose label column is filled with -1.
        width: number of source columns, when it must be exact; otherwise there must be as many as `pick` needs.
        header: whether the source's first line names its columns.
        drop: rows that carry no sample in the published files: '' none, 'width' those that have not `width` columns,
            'label' those without a label.
    """

    pick: dict
    labels: object = None
    width: int | None = None
    header: bool = True
    drop: str = ''

    @property
    def columns(self):
        """Names of the output columns."""
        return (*self.pick, *(() if self.labels else ('label',)))


def pair(text_a, text_b, label, labels, **options):
    return Sheet({'text_a': text_a, 'text_b': text_b, 'label': label}, labels, **options)


def pair_test(text_a, text_b, **options):
    return Sheet({'qid': 1, 'text_a': text_a, 'text_b': text_b}, **options)


COLA = Sheet({'label': 2, 'text_a': 4}, BINARY, header=False)
SST2 = Sheet({'label': 2, 'text_a': 1}, BINARY, width=2, drop='width')
SINGLE_TEST = Sheet({'qid': 1, 'text_a': 2}, width=2)
MRPC = pair(4, 5, 1, BINARY)
STSB = pair(8, 9, 10, similarity)
QQP = pair(4, 5, 6, BINARY, drop='label')
MNLI_TRAIN = pair(9, 10, 12, THREE_WAY, width=12)
MNLI_DEV = pair(9, 10, 16, THREE_WAY, width=16)
MNLI_TEST = pair_test(9, 10)
ENTAILED = pair(2, 3, 4, ENTAILMENT, width=4)
WNLI = pair(2, 3, 4, BINARY)
PLAIN_PAIR_TEST = pair_test(2, 3)
PAIR_AS_GIVEN = pair_test(2, 3, width=3)


def _three(folder, labelled, test):
    sheets = {'train.tsv': labelled, 'dev.tsv': labelled, 'test.tsv': test}
    return [(f'{folder}/{name}', f'{folder}/{name}', sheet) for name, sheet in sheets.items()]


# GLUE's folder -> (source, target, sheet) of each of its files.
TASKS = {
    'CoLA': _three('CoLA', COLA, SINGLE_TEST),
    'SST-2': _three('SST-2', SST2, SINGLE_TEST),
    'MRPC': _three('MRPC', MRPC, pair_test(4, 5)),
    'STS-B': _three('STS-B', STSB, pair_test(8, 9)),
    'QQP': _three('QQP', QQP, PAIR_AS_GIVEN),
    'MNLI': [
        ('MNLI/train.tsv', 'MNLI/train.tsv', MNLI_TRAIN),
        ('MNLI/dev_matched.tsv', 'MNLI/m/dev.tsv', MNLI_DEV),
        ('MNLI/dev_mismatched.tsv', 'MNLI/mm/dev.tsv', MNLI_DEV),
        ('MNLI/test_matched.tsv', 'MNLI/m/test.tsv', MNLI_TEST),
        ('MNLI/test_mismatched.tsv', 'MNLI/mm/test.tsv', MNLI_TEST),
    ],
    'QNLI': _three('QNLI', ENTAILED, PLAIN_PAIR_TEST),
    'RTE': _three('RTE', ENTAILED, PLAIN_PAIR_TEST),
    'WNLI': _three('WNLI', WNLI, PLAIN_PAIR_TEST),
    'diagnostic': [('diagnostic/diagnostic.tsv', 'MNLI/diagnostic.tsv', PAIR_AS_GIVEN)],
}


def read_rows(stream, path):
    """Yields (1-based line number, cells) of the lines of a binary stream; blank lines are no rows.

    Raises:
        UserError: a line is not UTF-8.
    """
    for number, raw in enumerate(stream, 1):
        try:
            line = raw.decode('utf-8-sig' if number == 1 else 'utf-8')
        except UnicodeDecodeError as e:
            raise bad_input(path, f'the byte 0x{raw[e.start]:02x}', 'UTF-8 text', number) from None
        line = line.removesuffix('\n').removesuffix('\r')
        if line:
            yield number, line.split('\t')


def convert(rows, sheet, path, left_out):
    """Yields the output rows, the header first.

    Args:
        rows: (line number, cells) pairs of the whole source file.
        sheet: the `Sheet` of the file.
        path: name of the file, for errors.
        left_out: list that takes the line numbers of the rows that `sheet.drop` leaves out.

    Raises:
        UserError: a row has too few (or not the exact number of) columns, or an unknown label.
    """
    yield list(sheet.columns)
    least = sheet.width or max(sheet.pick.values())
    rows = iter(rows)
    if sheet.header:
        next(rows, None)
    for number, cells in rows:
        fits = len(cells) == least if sheet.width else len(cells) >= least
        if (sheet.drop == 'width' and not fits) or (sheet.drop == 'label' and not ''.join(cells[least - 1 : least])):
            left_out.append(number)
            continue
        if not fits:
            raise bad_input(path, f'{len(cells)} columns', f'{"" if sheet.width else "at least "}{least}', number)
        out = {name: cells[column - 1] for name, column in sheet.pick.items()}
        out['label'] = _label(out['label'], sheet.labels, path, number) if sheet.labels else UNKNOWN
        yield [out[name] for name in sheet.columns]


def _label(text, labels, path, number):
    found = labels(text) if callable(labels) else labels.get(text)
    if found is None:
        expected = 'a number from 0 to 5' if callable(labels) else ' or '.join(labels)
        raise bad_input(path, f'the label {text!r}', expected, number)
    return found


def convert_file(source, target, sheet):
    """Writes `target` whole or not at all; returns (rows written, line numbers left out)."""
    left_out, count = [], -1
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, 'rb') as stream, output_file(target) as out:
        for cells in convert(read_rows(stream, source), sheet, source, left_out):
            out.write('\t'.join(cells) + '\n')
            count += 1
    return count, left_out


def convert_task(glue, out, files):
    """Converts the files of one task and prints a line for each."""
    for source, target, sheet in files:
        if not (glue / source).is_file():
            raise bad_input(glue / source, 'no file', 'a file of GLUE', advice='Fetch the task again.')
        count, left_out = convert_file(glue / source, out / target, sheet)
        print(f'{source} -> {out / target}: {count} rows', flush=True)
        if left_out:
            lines = ', '.join(map(str, left_out[:LISTED_LINES])) + (' ...' if len(left_out) > LISTED_LINES else '')
            why = f'not {sheet.width} columns' if sheet.drop == 'width' else 'no label'
            print(f'{source}: {len(left_out)} rows left out ({why}), lines {lines}', flush=True)


def run_filter(choose):
    """The program of a stdin-to-stdout filter.

    Args:
        choose: number of columns of the first row -> `Sheet`.
    """
    with one_line_errors():
        refuse_inputs('-', 'file', ['-'])
        rows = read_rows(sys.stdin.buffer, '<stdin>')
        first = next(rows, None)
        if first is None:
            raise bad_input('<stdin>', 'nothing', 'a GLUE file')
        with output_file('/dev/stdout') as out:
            for cells in convert(itertools.chain([first], rows), choose(len(first[1])), '<stdin>', []):
                out.write('\t'.join(cells) + '\n')


def main(argv=None):
    parser = Parser(prog='cvt.sh', description='Convert the GLUE folder for the task scripts.')
    parser.add_argument('glue_dir', type=Path, help='folder that holds CoLA/, SST-2/, MRPC/ ...')
    parser.add_argument('--out', type=Path, default=Path('glue_data_processed'), help='default: %(default)s')
    args = parser.parse_args(argv)
    if not args.glue_dir.is_dir():
        raise bad_input(args.glue_dir, 'no such folder', 'the folder that holds CoLA/, SST-2/, MRPC/ ...')
    present = [task for task in TASKS if (args.glue_dir / task).is_dir()]
    if not present:
        raise bad_input(args.glue_dir, 'none of the task folders', ', '.join(TASKS))
    # Before the first file is written: each is read after others are there.
    read = [args.glue_dir / source for task in present for source, _, _ in TASKS[task]]
    for task in present:
        for _, target, _ in TASKS[task]:
            refuse_inputs(args.out / target, '--out', read)
    for task, files in TASKS.items():
        if task in present:
            convert_task(args.glue_dir, args.out, files)
        else:
            print(f'{task}: no folder {args.glue_dir / task}, left out', flush=True)


if __name__ == '__main__':
    with one_line_errors():
        try:
            main()
        except OSError as e:
            raise UserError(f'{e.filename}: {e.strerror}') from e
