"""The model card, README.md of the best checkpoint: what the model is, for people and for the Hugging Face hub."""

import os
import re

from ernie.report.loading import loading_code
from ernie.report.run_files import main_score

_PIPELINES = {
    'classification': 'text-classification',
    'sequence_labeling': 'token-classification',
    'mrc': 'question-answering',
}
# Our names of scores by those of the hub's metrics.
_METRICS = {
    'acc': 'accuracy',
    'f1': 'f1',
    'micro_f1': 'f1',
    'macro_f1': 'f1',
    'weighted_f1': 'f1',
    'precision': 'precision',
    'recall': 'recall',
    'matthews_corrcoef': 'matthews_correlation',
    'pearson': 'pearsonr',
    'spearman': 'spearmanr',
    'em': 'exact_match',
}
_KINDS = {
    'classify': 'one class for a text',
    'multilabel': 'any number of labels for a text',
    'regression': 'a number for a text',
    'sequence_labeling': 'entities in a text',
    'mrc': 'answers to questions, found in a text',
}
_UNITS = {'sequence_labeling': 'sentences', 'mrc': 'questions'}
_SETTINGS = (
    'learning_rate',
    'batch_size',
    'gradient_accumulation_steps',
    'epoch',
    'max_steps',
    'max_seq_len',
    'warmup_proportion',
    'weight_decay',
    'lr_scheduler',
    'optimizer',
    'random_seed',
    'precision',
)
_ORIGIN = ('name', 'source', 'weights', 'revision')
_MOST_CLASSES = 100


def model_card(facts, settings, scores, report=None, folder='best'):
    """The card as text.

    Args:
        facts: of `ernie.report.facts`.
        settings: dict of the run's settings.
        scores: dict, what the model scored on the first dev set (`metrics.json`).
        report: of `ernie.metrics.report`, or None.
        folder: where the checkpoint is, for the commands.
    """
    kind = facts.get('kind') or facts.get('task')
    about = _KINDS.get(kind, kind)
    parts = [
        f'---\n{_header(facts, scores)}---\n',
        f'# {_plain(os.path.basename(os.path.dirname(os.path.abspath(folder))))}\n',
        f'An ERNIE encoder, fine-tuned to give {about}. Trained with the ERNIE suite {facts.get("version", "")}.\n',
        _data(facts),
        _scores(scores, report, 'entities' if facts.get('task') == 'sequence_labeling' else 'rows'),
        _settings(settings),
        _loading(facts, folder),
        _limits(facts),
    ]
    return '\n'.join(filter(None, parts))


def _header(facts, scores):
    """What the hub reads: https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    fields = {}
    if facts.get('languages'):
        fields['language'] = list(facts['languages'])
    licence = licence_of(facts)
    if licence:
        fields['license'] = licence
    fields['tags'] = ['ernie']
    if facts.get('task') in _PIPELINES:
        fields['pipeline_tag'] = _PIPELINES[facts['task']]
    metrics = list(dict.fromkeys(_METRICS[name] for name in scores if name in _METRICS))
    if metrics:
        fields['metrics'] = metrics
    import yaml

    return yaml.safe_dump(fields, allow_unicode=True, sort_keys=False)


def licence_of(facts):
    """The licence of the base model by the hub's name, None where it is not known."""
    origin = facts.get('model', {}).get('origin', {})
    words = ' '.join(value for key, value in origin.items() if key in ('weights', 'license'))
    return next((name for name in ('mit', 'apache-2.0') if re.search(rf'\b{re.escape(name)}\b', words.lower())), None)


def _data(facts):
    train, lines, unit = facts.get('train', {}), ['## Data', ''], _UNITS.get(facts.get('task'), 'rows')
    if 'rows' in train:
        lines.append(f'- Training: {train["rows"]:,} {unit} of {_plain(os.path.basename(train["file"]))}')
    lines += [
        f'- Dev set: {dev["rows"]:,} {unit} of {_plain(os.path.basename(dev["file"]))}' for dev in facts.get('dev', ())
    ]
    classes = train.get('classes', ())
    if classes:
        counts = [(name, f'{count:,}') for name, count in classes[:_MOST_CLASSES]]
        lines += ['', *_table(('class', 'times in the training file'), counts)]
        if len(classes) > _MOST_CLASSES:
            lines += ['', f'and {len(classes) - _MOST_CLASSES} more classes (see labels.json).']
    return '\n'.join([*lines, '']) if len(lines) > 2 else ''


def _scores(scores, report, counted):
    values = {k: v for k, v in scores.items() if isinstance(v, float) and k not in ('elapsed', 'main_value')}
    if not values:
        return ''
    main = main_score(scores)
    step = f', at step {scores["step"]:,}' if isinstance(scores.get('step'), int) else ''
    chosen = f' Chosen by {main[0]}.' if main and main[0] != 'score' else ''
    of = _plain(os.path.basename(str(scores.get('file', 'the dev set'))))
    lines = ['## Scores', '', f'On {of}{step}.{chosen}', '']
    lines += _table(('score', 'value'), [(name, f'{value:.4f}') for name, value in values.items()])
    if report:
        rows = [
            (row['name'], *(f'{row[key]:.3f}' for key in ('precision', 'recall', 'f1')), f'{row["support"]:,}')
            for row in report['classes'][:_MOST_CLASSES]
        ]
        lines += ['', *_table(('class', 'precision', 'recall', 'F1', counted), rows)]
    return '\n'.join([*lines, ''])


def _settings(settings):
    rows = [(name, str(settings[name])) for name in _SETTINGS if settings.get(name) not in (None, '', 0)]
    return '\n'.join(['## Training', '', *_table(('setting', 'value'), rows), '']) if rows else ''


def _loading(facts, folder):
    lines = ['## Use', '']
    for text, language, code in loading_code(folder, facts):
        lines += [text, '', f'```{language}', code, '```', '']
    return '\n'.join(lines)


def _limits(facts):
    model = facts.get('model', {})
    origin = ', '.join(_plain(v) for key, v in model.get('origin', {}).items() if key in _ORIGIN)
    base = origin or _plain(_name_of_model(model.get('path')))
    train = facts.get('train', {})
    lines = ['## Base model and limits', '', f'- It started from: {base}']
    if not licence_of(facts):
        lines.append('- Licence: that of the base model and of the data; it is not known here.')
    if 'max_seq_len' in train:
        lines.append(f'- A text is read up to {train["max_seq_len"]} tokens; what is longer is cut or read in parts.')
    if facts.get('languages'):
        lines.append(f'- Trained on texts in: {", ".join(facts["languages"])}. Texts in other languages may go wrong.')
    lines.append(
        '- The scores are those of the dev set that chose this checkpoint; on new data they are a little lower.'
    )
    few = [name for name, count in train.get('classes', ()) if count < 10]
    if few:
        shown = ', '.join(map(_plain, few[:10])) + (', ...' if len(few) > 10 else '')
        lines.append(f'- Classes with fewer than 10 training examples: {shown}')
    return '\n'.join([*lines, ''])


def _name_of_model(path):
    """The folder's name; of a folder of parameters inside a model's, the model's."""
    if not path:
        return 'random values'
    parts = os.path.normpath(path).split(os.sep)
    return parts[-2] if parts[-1] == 'params' and len(parts) > 1 else parts[-1]


def _table(head, rows):
    """A table of Markdown: numbers to the right."""
    row = lambda cells: f'| {" | ".join(map(_plain, cells))} |'  # noqa: E731
    return [row(head), '|' + '---|' + '---:|' * (len(head) - 1), *map(row, rows)]


def _plain(text):
    """A text of the user's that stays text in Markdown."""
    text = ' '.join(str(text).split())
    text = text.replace('&', '&amp;').replace('<', '&lt;')
    return ''.join(f'\\{char}' if char in '\\`*_[]|#~$' else char for char in text)
