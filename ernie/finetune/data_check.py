"""What is odd about the data of a training, said before it begins: a line each, with what to do."""

from ernie.survey.coverage import unread
from ernie.survey.duplicates import contradictions, shared
from ernie.survey.labels import alike, doubtful
from ernie.zoo.writing import default_encoder, writing_of
from propeller.log import get_logger

log = get_logger(__name__)

_FEW = 20  # rows


def check_data(survey, coverage, model, rows, sets):
    """Log what the user should look at.

    Args:
        survey: `Survey` of the training file, or None.
        coverage: `Coverage` of its sample, or None.
        model: what the user calls the model.
        rows: the rows that are trained on, as the task has read them.
        sets: list of (path, rows) that are scored.
    """
    path = rows.path
    if survey:
        if survey.remark:
            log.info('%s: %s', path, survey.remark)
        for sentence in filter(None, _about(survey, coverage, model)):
            log.warning('%s: %s', path, sentence)
    keys = getattr(rows, 'keys', None)
    if keys is None:
        return
    if getattr(rows, 'labels', None) is not None and len(rows.labels) == len(keys):
        _tell_contradictions(rows)
    for place, (name, others) in enumerate(sets):
        if place and getattr(others, 'path', None) == path:
            continue  # the training file itself, beside the set that chooses the best
        if getattr(others, 'keys', None) is not None and (count := shared(others.keys, keys)):
            log.warning(
                '%s: %d of %d texts are also in %s, so the score is too high. Take them out of one of the two',
                *(name, count, len(others.keys), path),
            )


def _about(survey, coverage, model):
    for role, count in survey.blank.items():
        column = survey.columns.get(role, role)
        yield f'{count} of {survey.rows} rows have no text in the column {column!r}. Fill it in, or leave them out.'
    if survey.rows < _FEW:
        yield f'only {survey.rows} rows. Some hundreds are what a model can learn from; add rows.'
    if survey.labels and survey.task == 'classification':
        yield from doubtful(survey.labels)
    elif survey.labels:
        yield from alike(survey.labels, 'label')
    if coverage:
        yield unread(coverage, model, default_encoder(writing_of(survey.texts())))


def _tell_contradictions(rows):
    count, lines = contradictions(rows)
    if count:
        log.warning(
            '%s: %d texts have different labels in different rows (lines %d and %d, say). A model cannot learn both; '
            'correct them',
            *(rows.path, count, *lines),
        )
