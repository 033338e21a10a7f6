"""Numbers and names of scores in words."""

SCORES = {
    'acc': 'accuracy',
    'f1': 'F1',
    'em': 'exact match (%)',
    'avg': 'mean of EM and F1 (%)',
    'ppl': 'perplexity',
    'mrr': 'mean reciprocal rank',
    'corr': 'mean of Pearson and Spearman',
    'micro_f1': 'micro F1',
    'macro_f1': 'macro F1',
    'weighted_f1': 'weighted F1',
    'subset_acc': 'share of rows with all labels right',
    'matthews_corrcoef': 'Matthews correlation',
}


def score_name(key):
    """The name of a score, of a loss or of a count for people. key: as in `metrics.jsonl`."""
    if key.endswith('_acc') and key not in SCORES:
        key = f'{key.removesuffix("_acc")} accuracy'
    return SCORES.get(key, 'rows' if key == 'data_num' else key.replace('_', ' '))


def duration(seconds):
    """Seconds as `3 h 5 min`, `2 min 7 s` or `9 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s' if minutes else f'{seconds} s'
