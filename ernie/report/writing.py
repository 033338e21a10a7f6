"""What the trainers call: facts when a training begins, the card with the best checkpoint, the page at the end."""

import os

from ernie.report.card import model_card
from ernie.report.curves import curves_picture
from ernie.report.facts import write_facts
from ernie.report.names import CARD, CURVES, EVALUATION_PAGE, FACTS, PAGE, REPORTS
from ernie.report.page import write_page
from ernie.report.run_files import RunFiles, read_run, scores_of
from ernie.report.sets import read_summaries, wrong_rows_text
from propeller.errors import UserError
from propeller.inputs import read_json_object
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.train.record import METRICS_FILE

log = get_logger(__name__)

_MOST_SETS = 2


def earlier_seconds(folder):
    """Seconds that a training which resumes has taken before."""
    try:
        seconds = read_json_object(os.path.join(folder, FACTS), 'the facts of a run').get('seconds')
    except UserError:
        return 0
    return seconds if isinstance(seconds, int | float) else 0


def card_of_best(folder, facts, settings, evaluator):
    """dict file name -> bytes: the model card of the checkpoint that the newest evaluation makes the best.

    Args:
        folder: of the run.
        facts: of `run_facts`.
        settings: dict.
        evaluator: has `main`, (scores, report) of the first dev set.
    """
    scores, report = evaluator.main
    text = model_card(facts, settings, scores, report, os.path.join(folder, 'best'))
    return {CARD: text.encode()}


def write_training_report(folder, facts, loss_unit='nats'):
    """At the end of a training: facts, curves, pictures and page. Returns the path of the page.

    Raises:
        UserError: a file cannot be written.
    """
    write_facts(folder, facts)
    run = read_run(folder)
    curves = None
    if run.records:
        curves = curves_picture(run.records, loss_unit=loss_unit, best_step=run.scores.get('step'))
    else:
        log.warning('no learning curves: nothing is recorded yet')
    if curves is not None:
        with output_file(os.path.join(folder, CURVES), binary=True) as f:
            f.write(curves)
    path = os.path.join(folder, PAGE)
    write_page(run, path, curves)
    return path


def renew_training_report(folder):
    """The page of a folder to which the files of a run were copied, as a search does. Returns its path."""
    try:
        facts = read_json_object(os.path.join(folder, FACTS), 'the facts of a run')
    except UserError:
        facts = {}
    return write_training_report(folder, facts)


def renew_card(folder, facts, settings, place):
    """The model card in a folder to which a best checkpoint was copied, as a search does.

    Args:
        folder: with the files of the checkpoint.
        facts: path of the facts of its run; without them nothing is done.
        settings: dict.
        place: path of the checkpoint that the card speaks of.
    """
    if not os.path.isfile(facts):
        return
    found, expected = [], 'what a training left'
    for path in (facts, os.path.join(folder, 'metrics.json'), os.path.join(folder, 'report.json')):
        found.append(read_json_object(path, expected, finite=False) if os.path.isfile(path) else None)
    known, scores, report = found
    with output_file(os.path.join(folder, CARD)) as f:
        f.write(model_card(known, settings, scores or {}, report, place))


def write_evaluation_report(folder, facts, settings, model, names):
    """After an evaluation alone: pictures and page. Returns the path of the page; that of a training there stays.

    Args:
        folder: where the reports are.
        facts, settings: dicts.
        model: folder of the checkpoint.
        names: of the sets that were scored.
    """
    found = read_summaries(os.path.join(folder, REPORTS))
    summaries = {name: found[name] for name in names if name in found}
    if not summaries:
        return None
    scores = scores_of(next(iter(summaries.values())))
    run = RunFiles(folder, 'evaluation', settings, [], facts, scores, summaries, model)
    path = os.path.join(folder, EVALUATION_PAGE if os.path.isfile(os.path.join(folder, METRICS_FILE)) else PAGE)
    write_page(run, path)
    return path


def end_pairs(folder, page, beside=''):
    """Pairs for the end of a run: the page, and the wrong rows of the first dev sets.

    Args:
        folder: of the run.
        page: its path, or None.
        beside: what else is in the folder.
    """
    pairs = [('report', f'{page} (beside it {beside})' if beside else page)] if page else []
    reports, key = os.path.join(folder, REPORTS), 'wrong rows'
    for name, summary in list(read_summaries(reports).items())[:_MOST_SETS]:
        text = wrong_rows_text(reports, name, summary)
        if text:
            pairs.append((key, text))
            key = ''
    return pairs
