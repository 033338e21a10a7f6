"""What is kept of the evaluation that gave the best checkpoint, for each dev set: the wrong rows and a summary."""

import json
import os

import numpy as np

from ernie.reader.dataset_folder import data_digest, is_regular
from ernie.report.checks import checked_summary
from ernie.report.names import ERRORS, ROWS, SUMMARY
from ernie.report.wrong_rows import write_wrong_rows
from propeller.errors import UserError
from propeller.inputs import read_json_object
from propeller.storage import open_tensors, write_safetensors
from propeller.storage.atomic import output_file
from propeller.storage.folders import make_folder


def write_set(folder, name, rows, texts, outcomes, facts):
    """Write `{name}.errors.tsv|jsonl`, `{name}.summary.json`, and `{name}.rows.safetensors`, what each row gave.

    Args:
        folder: of the reports; made if needed.
        name: of the set, see `ernie.run.evaluation.short_names`.
        rows: what the task has read; its `lines`, if it has any, are those of its rows.
        texts: see `write_wrong_rows`.
        outcomes: `Outcomes`, or None of a task that gives none: then the summary alone is written.
        facts: JSON-able dict, what else the summary has: `file`, `step`, `epoch`, `values`, `report` ...
    Raises:
        UserError: a file cannot be written.
    """
    make_folder(folder)
    stem = os.path.join(folder, name)
    lines = getattr(rows, 'lines', None)
    summary = {**facts, 'content': _digest(getattr(rows, 'path', None) or facts['file'])}
    if outcomes:
        write_wrong_rows(stem, outcomes, lines, texts)
        of_rows = {key: np.asarray(values) for key, values in outcomes.by_row.items()}
        write_safetensors(stem + ROWS, of_rows if lines is None else {'line': np.asarray(lines), **of_rows})
        summary |= {
            'kind': outcomes.kind,
            'unit': outcomes.unit,
            'count': outcomes.count,
            'wrong': outcomes.wrong,
            'entries': len(outcomes.places),
            'calibration': outcomes.calibration,
            'curves': outcomes.curves,
        }
    with output_file(stem + SUMMARY) as f:
        f.write(json.dumps(summary, ensure_ascii=False, indent=1) + '\n')


def _digest(path):
    """What tells the content of a file from others; None where it cannot be read twice."""
    return data_digest(path) if is_regular(path) else None


def read_summaries(folder):
    """The summaries in a folder of reports: dict name of the set -> dict, in the order of the evaluation.

    Raises:
        UserError: one of them is no summary.
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {}
    for file in sorted(name for name in names if name.endswith(SUMMARY)):
        path = os.path.join(folder, file)
        summary = read_json_object(path, 'the summary of an evaluation', limit=1 << 28, finite=False)
        try:
            found[file.removesuffix(SUMMARY)] = checked_summary(summary)
        except UserError as e:
            raise UserError(f'{path}: {e} Evaluate again.') from None
    return dict(sorted(found.items(), key=lambda item: item[1].get('place', 0)))


def read_rows(folder, name):
    """What each row of a set gave: dict name -> array; None where that is not kept, or is damaged."""
    try:
        tensors = open_tensors(os.path.join(folder, name + ROWS))
        arrays = {key: np.asarray(tensors[key]) for key in tensors}
    except UserError:
        return None
    count = {len(array) if array.ndim == 1 else -1 for array in arrays.values()}
    return arrays if len(count) == 1 and count.isdisjoint({-1, 0}) else None


def wrong_rows_text(folder, name, summary):
    """`reports/dev.errors.tsv (39 of 400)`, for the end of a run; None where nothing is listed."""
    if 'entries' not in summary:
        return None
    path, count = os.path.join(folder, name + ERRORS[0]), summary['count']
    unit = '' if summary['unit'] == 'rows' else f' {summary["unit"]}'
    if summary['wrong'] is None:
        return f'{path} (the {summary["entries"]:,} largest differences of {count:,}{unit})'
    return f'{path} ({summary["wrong"]:,} of {count:,}{unit})'
