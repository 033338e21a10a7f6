"""What two or more runs have in common and where they differ: tables of texts, from `RunFiles`."""

import os
from typing import NamedTuple

import numpy as np

from ernie.metrics.significance import LEVEL, RESAMPLES, McNemar, compare_rows
from ernie.report.run_files import seconds_of
from ernie.report.sets import read_rows
from ernie.report.words import duration

# Where a run writes and how it is started say nothing of its result.
_NOT_COMPARED = (
    'checkpoints',
    'log_dir',
    'test_save',
    'diagnostic_save',
    'resume',
    'overwrite_checkpoints',
    'log_level',
)


class Table(NamedTuple):
    """title: str. head: names of columns, the first is ''. rows: lists of texts. notes: lines below it."""

    title: str
    head: list
    rows: list
    notes: tuple = ()


def short_names(runs):
    """A name for each run: the folder's; the whole path where two folders share one."""
    plain = [os.path.basename(os.path.abspath(run.folder)) for run in runs]
    return [run.folder if plain.count(name) > 1 else name for run, name in zip(runs, plain, strict=True)]


def compare(runs):
    """The `Table`s of two or more `RunFiles`; the first is what the others are compared with."""
    names = short_names(runs)
    tables = [_overview(runs, names), _settings(runs, names)]
    first = runs[0]
    for name, summary in first.summaries.items():
        others = [(run, _same_set(run, summary)) for run in runs[1:]]
        if any(found for _, found in others):
            tables.append(_classes(names, name, summary, others))
        tables.append(_significance(names, first, name, summary, others))
    return [table for table in tables if table.rows or table.notes]


def _overview(runs, names):
    rows = []

    def add(what, values):
        if any(values):
            rows.append([what, *(value or '-' for value in values)])

    mains = {run.main[0] for run in runs if run.main}
    for main in sorted(mains):
        add(f'best {main}', [f'{run.main[1]:.4f}' if run.main and run.main[0] == main else '' for run in runs])
    keys = dict.fromkeys(k for run in runs for k, v in run.scores.items() if isinstance(v, float))
    for key in keys:
        if key not in ('main_value', 'elapsed') and mains != {key}:
            values = [run.scores.get(key) for run in runs]
            add(key, [f'{value:.4f}' if isinstance(value, int | float) else '' for value in values])
    steps = [run.scores.get('step') for run in runs]
    add('best at step', ['' if step is None else f'{step:,}' for step in steps])
    add('last step', ['' if run.step is None else f'{run.step:,}' for run in runs])
    add('last training loss', [_last_loss(run) for run in runs])
    seconds = [seconds_of(run) for run in runs]
    add('time', [duration(value) if value else '' for value in seconds])
    add('training rows', [f'{n:,}' if (n := run.facts.get('train', {}).get('rows')) else '' for run in runs])
    add('dev set', [os.path.basename(str(run.scores.get('file') or '')) for run in runs])
    return Table('', ['', *names], rows)


def _last_loss(run):
    losses = [r['loss'] for r in run.records if r['phase'] == 'train' and isinstance(r.get('loss'), int | float)]
    return f'{np.mean(losses[-10:]):.4f}' if losses else ''


def _settings(runs, names):
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = []
    for key in keys:
        values = [run.settings.get(key) for run in runs]
        if key not in _NOT_COMPARED and any(value != values[0] for value in values):
            rows.append([key, *('-' if value is None else str(value) for value in values)])
    same = 'All settings are the same.' if not rows and all(run.settings for run in runs) else ''
    return Table('settings that differ', ['', *names], rows, (same,) if same else ())


def _same_set(run, summary):
    """(name, summary) of the set of the same content in another run, None where there is none."""
    if not summary.get('content'):
        return None
    found = (item for item in run.summaries.items() if item[1].get('content') == summary['content'])
    return next(found, None)


def _classes(names, set_name, summary, others):
    """F1 of each class, and how it differs from that of the first run."""
    reports = [summary.get('report'), *(found and found[1].get('report') for _, found in others)]
    if not reports[0] or not any(reports[1:]):
        return Table('', [], [])
    of_run = [{row['name']: row['f1'] for row in report['classes']} if report else {} for report in reports]
    order = [row['name'] for row in reports[0]['classes']]
    support = {row['name']: row['support'] for row in reports[0]['classes']}
    rows = []
    for name in [*order, *(n for found in of_run[1:] for n in found if n not in support)]:
        first, cells = of_run[0].get(name), []
        for found in of_run[1:]:
            value = found.get(name)
            change = f' ({value - first:+.4f})' if value is not None and first is not None else ''
            cells.append('-' if value is None else f'{value:.4f}{change}')
        rows.append([name, f'{support.get(name, 0):,}', '-' if first is None else f'{first:.4f}', *cells])
    return Table(f'F1 by class, dev set {set_name}', ['', 'rows', *names], rows)


def _significance(names, first, set_name, summary, others):
    notes = []
    for name, (run, found) in zip(names[1:], others, strict=True):
        notes.append(f'{names[0]} and {name}: {_verdict(names[0], name, first, set_name, summary, run, found)}')
    return Table(f'the same rows, dev set {set_name}', [], [], tuple(notes))


def _verdict(a, b, first, set_name, summary, run, found):
    if not found:
        return 'no dev set of the same content: their scores are not of the same rows.'
    other_name, other = found
    mine, theirs = read_rows(first.reports, set_name), read_rows(run.reports, other_name)
    if mine is None or theirs is None or summary.get('kind') != other.get('kind'):
        return 'what each row gave is not kept in both: nothing can be said of chance.'
    for key in ('line', 'labelled') + (('true',) if summary['kind'] in ('classify', 'regression') else ()):
        if key in mine and not np.array_equal(mine[key], theirs.get(key)):
            return 'they were scored on other rows, or with other labels: nothing can be said of chance.'
    if any(len(mine[key]) != len(theirs.get(key, ())) for key in mine):
        return 'they were scored on other rows: nothing can be said of chance.'
    compared = compare_rows(summary['kind'], mine, theirs)
    if compared is None:
        return 'nothing can be said of chance for a task of this kind.'
    return _told(a, b, summary, *compared)


def _told(a, b, summary, score, result):
    rows = f'{summary["count"]:,} {summary["unit"]}'
    if isinstance(result, McNemar):
        text = (
            f'of the same {rows} {a} alone has {result.only_first:,} right, {b} alone {result.only_second:,}; '
            f"McNemar's exact test: p = {result.p:.2g}, "
        )
        return text + ('more than chance.' if result.p < LEVEL else 'may be chance.')
    text = (
        f'{score} of {b} less that of {a} on the same {rows}: {result.difference:+.4f}, 95 % interval '
        f'{result.low:+.4f} to {result.high:+.4f} ({RESAMPLES:,} bootstrap samples), '
    )
    return text + ('more than chance.' if result.low > 0 or result.high < 0 else 'may be chance.')
