"""What the start of a run says of its data: rows, columns, classes, lengths, the first rows."""

import os

import numpy as np

from ernie.reader.dataset_folder import is_regular

_FIRST = 3


def data_pairs(run, rows):
    """List of (key, text). run: `FineTuning`. rows: of the training set."""
    task, first = run.task, run.task.first_rows(run.args.train_set, _FIRST) if is_regular(run.args.train_set) else []
    return [
        ('data', _data(run, rows)),
        ('classes', task.classes_text(rows)),
        ('lengths', _lengths(rows, run.args.max_seq_len)),
        *(('first rows' if number == 0 else '', text) for number, text in enumerate(first)),
    ]


def _data(run, rows):
    bad = len(getattr(rows, 'bad_rows', None) or ())
    skipped = f' ({bad:,} cannot be used)' if bad else ''
    names = [name for name in run.task.column_texts() if name]
    dev = [f'{os.path.basename(path)}: {run.task.count_text(of)}' for path, of in run.evaluator.scored_sets()]
    parts = [
        f'{os.path.basename(run.args.train_set)}: {run.task.count_text(rows)}{skipped}',
        f'columns {", ".join(names)}' if names else '',
        f'dev set {", ".join(dev)}' if dev else 'no dev set',
    ]
    return '; '.join(filter(None, parts))


def _lengths(rows, most):
    """Tokens of the rows before they are cut; where the rows do not say what was cut, as the model reads them."""
    cut = getattr(rows, 'cut', None)
    lengths = np.asarray(rows.lengths) + (0 if cut is None else np.asarray(cut))
    half, long = np.percentile(lengths, (50, 95), method='higher')
    text = f'median {half:,} tokens, 95 % up to {long:,}, longest {lengths.max():,}'
    share = 0 if cut is None else np.count_nonzero(cut) / len(lengths)
    return f'{text}; {percent(share)} cut at {most} (max_seq_len)' if share else f'{text}; none cut'


def percent(share):
    """`3.2 %`; a share that is not 0 is never written as 0."""
    return f'{100 * share:.1f} %' if share >= 0.001 else 'less than 0.1 %'
