"""What is known of a run beside its settings and records: data and model, in `facts.json` beside the checkpoints."""

import itertools
import json
import os

import numpy as np

from ernie.checkpoint.sizes import parameter_count
from ernie.report.names import FACTS
from ernie.zoo.writing import writing_of
from propeller import __version__
from propeller.storage.atomic import output_file

_SAMPLE = 200  # rows that tell in which script the texts are
# The scripts that one language alone is written in.
_LANGUAGES = {'han': 'zh', 'hangul': 'ko', 'kana': 'ja', 'thai': 'th', 'greek': 'el', 'hebrew': 'he'}


def run_facts(args, task, source, rows, dev_sets, survey=None):
    """The facts of a fine-tuning run as a JSON-able dict.

    Args:
        args: its settings.
        task: `Task`, after `prepare_training`.
        source: `Source` of the model that training starts from.
        rows: training rows; None for an evaluation alone.
        dev_sets: list of (path, rows).
        survey: `Survey` of the training file, or None.
    """
    facts = {
        'version': __version__,
        'task': task.spec.name,
        'kind': getattr(task, 'kind', None),
        'columns': list(task.columns or ()),
        'model': _model_facts(args, source),
        'dev': [{'file': path, 'rows': rows_of(found)} for path, found in dev_sets],
    }
    if rows is not None:
        facts['train'] = _data_facts(args.train_set, task, rows)
        facts['languages'] = languages_of(survey.texts() if survey else _texts_of(task, rows))
    return facts


def pretraining_facts(args, source):
    """The facts of a pre-training as a JSON-able dict. args: its settings. source: as above."""
    return {'version': __version__, 'model': _model_facts(args, source), 'train': {'file': args.train_filelist}}


def rows_of(rows):
    """How many rows a user counts in a set: the questions of reading comprehension, not its windows."""
    return len(getattr(rows, 'questions', rows))


def _model_facts(args, source):
    path = args.init_checkpoint or args.init_pretraining_params
    config = source.config
    return {
        'path': path,
        'origin': {key: value for key, value in source.origin.items() if isinstance(value, str)},
        'parameters': parameter_count(config),
        'layers': config.get('num_hidden_layers'),
        'hidden': config.get('hidden_size'),
        'vocabulary': config.get('vocab_size'),
    }


def _data_facts(path, task, rows):
    lengths = np.asarray(rows.lengths)
    facts = {
        'file': path,
        'rows': rows_of(rows),
        'tokens_mean': float(f'{lengths.mean():.4g}'),
        'tokens_most': int(lengths.max()),
        'max_seq_len': task.args.max_seq_len,
    }
    cut = getattr(rows, 'cut', None)
    if cut is not None:
        facts['cut'] = int(np.count_nonzero(cut))
    counts = task.class_counts(rows)
    if counts:
        facts['classes'] = [[name, int(count)] for name, count in counts.items()]
    return facts


def _texts_of(task, rows):
    """Yields texts of the first training rows."""
    for _, cells in itertools.islice(task.texts(rows, range(min(rows_of(rows), _SAMPLE))), _SAMPLE):
        for cell in cells.values():
            yield ' '.join(cell) if isinstance(cell, list) else cell


def languages_of(texts):
    """Codes of the languages that texts show to be, as far as their scripts tell; Latin letters are of too many."""
    shares = writing_of(texts).shares
    found = [_LANGUAGES[script] for script, share in shares.items() if script in _LANGUAGES and share > 0.2]
    if 'ja' in found and 'zh' in found:
        found.remove('zh')
    return found


def write_facts(folder, facts):
    """Write the facts of a run. Raises `UserError`."""
    with output_file(os.path.join(folder, FACTS)) as f:
        f.write(json.dumps(facts, ensure_ascii=False, indent=1) + '\n')
