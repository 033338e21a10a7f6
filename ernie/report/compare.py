"""ernie compare: two or more runs beside each other, on the terminal and as a page with their curves."""

import csv
import os

from ernie.report import markup
from ernie.report.comparison import compare, short_names
from ernie.report.curves import comparison_picture
from ernie.report.run_files import read_run
from propeller.args import Parser
from propeller.errors import UsageError
from propeller.storage.atomic import check_output, check_writable, output_file

PAGE, CURVES, TABLE = 'compare.html', 'compare.png', 'compare.tsv'


def build_parser(prog=None):
    """The flags."""
    parser = Parser(
        prog=prog or 'ernie compare',
        description='Two or more runs beside each other: scores, steps, time, settings that differ, F1 by class, and '
        'whether they differ by more than chance on the same dev rows.',
    )
    parser.add_argument('runs', nargs='+', metavar='RUN', help='Folder of a run (--checkpoints).')
    parser.add_argument('--html', metavar='FILE', help='Also write it as a page, with the curves of all runs.')
    parser.add_argument('--output', metavar='FOLDER', help=f'Also write {PAGE}, {CURVES} and {TABLE} into a folder.')
    return parser


def main(argv=None, prog=None):
    """Compare the runs of a command line.

    Raises:
        UserError: a folder is not that of a run, or an output cannot be written.
    """
    args = build_parser(prog).parse_args(argv)
    if len({os.path.realpath(folder) for folder in args.runs}) < len(args.runs):
        raise UsageError('found the same run twice, expected different ones.')
    if len(args.runs) < 2:
        raise UsageError(f'found one run, {args.runs[0]}, expected two or more to compare.')
    if args.html:
        check_output(args.html, '--html')
    if args.output:
        check_writable(args.output, '--output')
    runs = [read_run(folder) for folder in args.runs]
    tables = compare(runs)
    print('\n\n'.join(filter(None, map(as_text, tables))))
    if args.html or args.output:
        _write(args, runs, tables)


def as_text(table):
    """A `Table` for the terminal."""
    from ernie.metrics.report import aligned

    lines = [table.title] if table.title else []
    if table.rows:
        lines += (
            ['', aligned([table.head, *table.rows]).rstrip('\n')] if lines else [aligned([table.head, *table.rows])]
        )
    return '\n'.join([*lines, *table.notes]).rstrip('\n')


def _write(args, runs, tables):
    names = short_names(runs)
    curves = comparison_picture([run.records for run in runs], names)
    title = f'{", ".join(names[:-1])} and {names[-1]}'
    parts = [markup.heading(f'Comparison of {title}', 1)]
    parts += [_section(table) for table in tables]
    about = 'Lines: training, smoothed without lag, and scores; dashed: loss of the dev set.'
    picture = markup.picture(curves, 'Learning curves of the runs')
    parts.append(markup.joined(markup.heading('Learning curves'), markup.note(about), picture))
    paths = [path for path in (args.html, args.output and os.path.join(args.output, PAGE)) if path]
    for path in paths:
        with output_file(path) as f:
            f.write(markup.page(f'{title}: comparison', parts))
    if args.output:
        _write_parts(args.output, curves, tables)


def _write_parts(folder, curves, tables):
    if curves:
        with output_file(os.path.join(folder, CURVES), binary=True) as f:
            f.write(curves)
    with output_file(os.path.join(folder, TABLE)) as f:
        rows = csv.writer(f, 'excel-tab', lineterminator='\n')
        for table in tables:
            rows.writerows([table.title, *row] for row in ([table.head] if table.rows else []) + table.rows)
            rows.writerows([table.title, note] for note in table.notes)


def _section(table):
    title = markup.heading(table.title[:1].upper() + table.title[1:]) if table.title else None
    body = markup.table(table.rows, tuple(table.head), sortable='class' in table.title) if table.rows else None
    return markup.joined(title, body, *(markup.tag('p', note) for note in table.notes))
