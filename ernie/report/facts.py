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

_SAMPLE = 200  # rows whose pieces tell in which script the texts are
# The scripts that one language alone is written in.
_LANGUAGES = {'han': 'zh', 'hangul': 'ko', 'kana': 'ja', 'thai': 'th', 'greek': 'el', 'hebrew': 'he'}


def run_facts(args, task, source, rows, dev_sets):
    """The facts of a fine-tuning run as a JSON-able dict.

    Args:
        args: its settings.
        task: `Task`, after `prepare_training`.
        source: `Source` of the model that training starts from.
        rows: training rows; None for an evaluation alone.
        dev_sets: list of (path, rows).
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
        facts['languages'] = _languages(task.tokenizer, rows)
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


def _languages(tokenizer, rows):
    """Codes of the languages that the training texts show to be, as far as their scripts tell."""
    names = {index: piece for piece, index in tokenizer.vocab.items()}
    tokens = getattr(rows, 'tokens', rows)
    if not hasattr(tokens, 'row'):
        return []
    pieces = (names.get(int(i), '') for r in range(min(len(tokens), _SAMPLE)) for i in tokens.row(r)[0])
    writing = writing_of(itertools.filterfalse(lambda piece: piece.startswith('['), pieces))
    found = [_LANGUAGES[script] for script, share in writing.shares.items() if script in _LANGUAGES and share > 0.2]
    if 'ja' in found and 'zh' in found:
        found.remove('zh')
    return found or (['en'] if writing.is_english else [])


def write_facts(folder, facts):
    """Write the facts of a run. Raises `UserError`."""
    with output_file(os.path.join(folder, FACTS)) as f:
        f.write(json.dumps(facts, ensure_ascii=False, indent=1) + '\n')
