"""Names of the files that reports are made of."""

PAGE, EVALUATION_PAGE = 'report.html', 'evaluation.html'
FACTS, CURVES = 'facts.json', 'curves.png'
FILES = (PAGE, FACTS, CURVES)  # of a training, beside its checkpoints
OUTPUTS = (*FILES, EVALUATION_PAGE)
CARD = 'README.md'  # in the best checkpoint

# Below the folder of a run, for each dev set: its name and one of these ends.
REPORTS = 'reports'
ERRORS = ('.errors.tsv', '.errors.jsonl')
SUMMARY, ROWS = '.summary.json', '.rows.safetensors'
OF_SET = (*ERRORS, SUMMARY, ROWS)
PICTURES = ('.confusion.png', '.precision_recall.png', '.calibration.png', '.values.png')
_OF_CLASSES = ('.json', '.txt', '.confusion.tsv')
_ALL = (*_OF_CLASSES, *OF_SET, *PICTURES)


TRAINING = 'training'  # in the place of a dev set's name: of the training rows


def names_of_training():
    """Names of the files about the training rows, below the folder of the run."""
    return [f'{REPORTS}/{TRAINING}{end}' for end in _OF_CLASSES]


def names_of_set(name):
    """Names of the files about a dev set, below the folder of the run."""
    return [f'{REPORTS}/{name}{end}' for end in _ALL]
