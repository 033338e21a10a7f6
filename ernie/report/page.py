"""report.html: one page of a run, with all that it needs inside."""

import itertools
import json
import os

from ernie.metrics.outcomes import OWN_COLUMNS
from ernie.report import markup
from ernie.report.curves import by_set, curves_picture
from ernie.report.loading import loading_code
from ernie.report.markup import Raw, cards, folded, heading, joined, note, table, tag
from ernie.report.names import ERRORS, PICTURES
from ernie.report.pictures import calibration_picture, confusion_picture, precision_recall_picture, values_picture
from ernie.report.run_files import seconds_of
from ernie.report.sets import read_rows
from ernie.report.words import duration, score_name
from propeller.inputs import open_regular
from propeller.storage.atomic import output_file

SHOWN_ROWS = 200
_LONGEST_TEXT = 400
_LONGEST_LINE = 1 << 22
# What the classes of a report have been counted in, and its accuracy and matrix, where these are not rows.
_COUNTED = {'tagging': ('entities', 'tokens')}
_AVERAGES = {'micro_avg': 'micro average', 'macro_avg': 'macro average', 'weighted_avg': 'weighted average'}


def write_page(run, path, curves=None):
    """Write the page of a run, and the pictures of its dev sets beside their other files.

    Args:
        run: `RunFiles`.
        path: the HTML file.
        curves: PNG of the learning curves, where it is drawn already.
    Raises:
        UserError: a file cannot be written.
    """
    name = os.path.basename(os.path.abspath(run.folder))
    parts = [heading(f'Report of {name}', 1), _subtitle(run), _headline(run), _data(run)]
    if curves or run.records:
        content = curves or curves_picture(run.records, best_step=run.scores.get('step'))
        about = 'Faint: each recorded value. Bold: the same, smoothed without lag.'
        about += ' Dotted: the best checkpoint.' if run.scores.get('step') is not None else ''
        parts.append(joined(heading('Learning curves'), note(about), markup.picture(content, 'Learning curves')))
    parts += [_set(run, key, summary) for key, summary in run.summaries.items()] or [_last_scores(run.records)]
    parts.append(_training_rows(run.training))
    parts += [_loading(run), _settings(run)]
    with output_file(path) as f:
        f.write(markup.page(f'{name}: report', parts))


def _subtitle(run):
    version = run.facts.get('version')
    words = [run.program or 'evaluation', run.facts.get('kind') or '', f'ernie {version}' if version else '']
    return note(', '.join(filter(None, words)))


def _headline(run):
    step, last = run.scores.get('step'), run.step
    found = []
    if run.main:
        found.append((f'{score_name(run.main[0])} of the best checkpoint', f'{run.main[1]:.4f}'))
    if step is not None:
        found.append(('best at step', f'{step:,} of {last:,}' if last else f'{step:,}'))
    elif last:
        found.append(('steps', f'{last:,}'))
    train = run.facts.get('train', {})
    found.append((f'training {_unit(run)}', f'{train["rows"]:,}' if 'rows' in train else ''))
    seconds = seconds_of(run)
    found.append(('time', duration(seconds) if seconds else ''))
    return cards(found)


def _unit(run):
    """What the user counts in this run: rows, sentences or questions."""
    return next(iter(run.summaries.values()), {}).get('unit', 'rows')


def _data(run):
    facts, model = run.facts, run.facts.get('model', {})
    train = facts.get('train', {})
    rows = [('training file', train.get('file')), (_unit(run), train.get('rows'))]
    if {'tokens_mean', 'tokens_most', 'max_seq_len'} <= train.keys():
        cut = f'; {train["cut"]:,} rows are longer than {train["max_seq_len"]}' if train.get('cut') else ''
        rows.append(('tokens a row', f'{train["tokens_mean"]:g} on average, at most {train["tokens_most"]:,}{cut}'))
    rows += [('dev set', f'{dev["file"]} ({dev["rows"]:,} {_unit(run)})') for dev in facts.get('dev', ())]
    origin = model.get('origin', {})
    rows.append(('starts from', ', '.join(filter(None, [model.get('path'), origin.get('name'), origin.get('source')]))))
    if model.get('parameters') and model.get('vocabulary'):
        sizes = f'{model.get("layers")} layers of width {model.get("hidden")}, vocabulary {model["vocabulary"]:,}'
        rows.append(('encoder', f'{model["parameters"] / 1e6:.1f} million parameters: {sizes}'))
    rows = [row for row in rows if row[1] not in (None, '')]
    if not rows:
        return Raw('')
    classes, parts = train.get('classes', ()), [heading('Data and model'), table(rows)]
    if classes:
        total = sum(count for _, count in classes) or 1
        counted = table(
            [(name, count, f'{count / total:.1%}') for name, count in classes],
            ('class', 'times in the training file', 'share'),
            sortable=True,
        )
        parts.append(folded(f'{len(classes)} classes and how often each is in the training file', counted))
    return joined(*parts)


def _last_scores(records):
    """What the last evaluation gave, where no summary has more: of a pre-training."""
    parts = []
    for name, found in by_set(records).items():
        scores = {key: value for key, value in found[-1].items() if key not in ('step', 'epoch', 'time')}
        parts += [heading(f'Last evaluation: {name}'), note(f'at step {found[-1]["step"]:,}'), _values(scores)]
    return joined(*parts)


def _values(scores):
    """Scores on a line. scores: dict; what is no number is left out, and the time that was taken."""
    found = {k: v for k, v in scores.items() if isinstance(v, int | float) and k != 'elapsed'}
    return table([found.values()], tuple(map(score_name, found)))


def _set(run, name, summary):
    """What was found in a dev set."""
    step = f' at step {summary["step"]:,}' if isinstance(summary.get('step'), int) else ''
    parts = [heading(f'Dev set {name}'), note(f'{summary["file"]}{step}'), _values(summary['values'])]
    report = summary.get('report')
    if report:
        counted, judged = _COUNTED.get(summary.get('kind'), ('rows', 'rows'))
        parts.append(_classes(report, counted, judged))
        parts.append(_pictured(run, name, 0, f'Confusion matrix of {judged}', confusion_picture, report))
    curves, trust = summary.get('curves'), summary.get('calibration')
    if curves:
        parts.append(_pictured(run, name, 1, 'Precision and recall', precision_recall_picture, curves))
    if trust and sum(trust['count']):
        parts.append(_pictured(run, name, 2, 'Calibration', calibration_picture, trust))
    if summary.get('kind') == 'regression' and (kept := read_rows(run.reports, name)):
        values = kept['true'], kept['predicted']
        parts.append(_pictured(run, name, 3, 'Values', values_picture, values))
    if 'entries' in summary:
        parts.append(_wrong_rows(run, name, summary))
    return joined(*parts)


def _training_rows(report):
    """The classes of the training rows, beside those of the dev sets."""
    if not report:
        return Raw('')
    about = f'The {report["rows"]:,} rows of epoch {report["epoch"]}, as they were answered while the model learnt: '
    about += 'each before the update that learnt from it, with dropout.'
    return joined(heading('Training rows'), note(about), _classes(report, 'rows', 'rows'))


def _classes(report, counted, judged):
    names = ('precision', 'recall', 'f1', 'support')
    rows = [(row['name'], *(row[key] for key in names)) for row in report['classes']]
    averages = [(text, *(report[key][k] for k in names)) for key, text in _AVERAGES.items() if key in report]
    return joined(
        heading('By class', 3),
        table(rows, ('class', 'precision', 'recall', 'F1', counted), sortable=True),
        table(averages, ('average', 'precision', 'recall', 'F1', counted)),
        note(f'Right: {report["accuracy"]:.2%} of the {judged}.'),
    )


def _pictured(run, name, number, title, draw, found):
    content = draw(found)
    if content is None:
        return Raw('')
    with output_file(os.path.join(run.reports, name + PICTURES[number]), binary=True) as f:
        f.write(content)
    return joined(heading(title, 3), markup.picture(content, f'{title}: {name}'))


def _wrong_rows(run, name, summary):
    wrong, count, unit = summary['wrong'], summary['count'], summary['unit']
    rows, path = read_entries(os.path.join(run.reports, name + ERRORS[1])), os.path.join('reports', name + ERRORS[0])
    if wrong is None:
        title, about = 'Largest differences', f'{len(rows):,} of {count:,} {unit}, the largest first.'
    else:
        title, about = (
            'Wrong rows',
            f'{wrong:,} of {count:,} {unit} are wrong. Those the model was surest of come first.',
        )
    if summary['entries'] > len(rows):
        about += f' The first {len(rows):,} of {summary["entries"]:,} are here.'
    parts = [heading(title, 3), note(f'{about} All of them: {path} (for a spreadsheet) and {name}{ERRORS[1]}.')]
    if rows:
        head = list(dict.fromkeys(key for row in rows for key in row))
        long = [c for c, key in enumerate(head) if key not in OWN_COLUMNS]
        cells = [[_cell(row.get(key, '')) for key in head] for row in rows]
        parts.append(table(cells, tuple(key.replace('_', ' ') for key in head), sortable=True, texts=long))
    return joined(*parts)


def _cell(value):
    if isinstance(value, list):
        value = ', '.join(map(str, value))
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return value[:_LONGEST_TEXT] + '…'
    return value


def read_entries(path, most=SHOWN_ROWS):
    """The first entries of a file of wrong rows; [] where there is none."""
    if not os.path.isfile(path):
        return []
    with open_regular(path) as f:
        lines = itertools.islice(iter(lambda: f.readline(_LONGEST_LINE), b''), most)
        return [entry for line in lines if isinstance(entry := _entry(line), dict)]


def _entry(line):
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _loading(run):
    labels = run.best and os.path.join(run.best, 'labels.json')
    if not labels or not os.path.isfile(labels):
        return Raw('')
    blocks = [joined(tag('p', text), markup.code(code)) for text, _, code in loading_code(run.best, run.facts)]
    return joined(heading('How to use the model'), *blocks)


def _settings(run):
    rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in run.settings.items() if value is not None]
    if not rows:
        return Raw('')
    return joined(heading('Settings'), folded('All settings of the run (run.yaml)', table(rows, ('setting', 'value'))))
