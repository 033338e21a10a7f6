"""The folder of a run as reports read it: records, settings, facts, scores and summaries, as far as they are there."""

import dataclasses
import os

from ernie.report import checks
from ernie.report.names import FACTS, REPORTS, TRAINING
from ernie.report.sets import read_summaries
from propeller.errors import UserError, bad_input
from propeller.inputs import read_json_object, read_yaml_mapping
from propeller.train.checkpoint import BEST
from propeller.train.record import METRICS_FILE, read_metrics
from propeller.train.state import checked

RUN_YAML, SCORES = 'run.yaml', 'metrics.json'
_NAMES = ('micro_f1', 'macro_f1', 'weighted_f1', 'corr', 'avg', 'f1', 'acc', 'matthews_corrcoef', 'pearson')


@dataclasses.dataclass
class RunFiles:
    """What is in the folder of a run.

    Attributes:
        folder: its path.
        program: what its run.yaml says, `finetune classification` or `pretrain`; ''.
        settings: dict of its run.yaml; {}.
        records: list of dicts of its metrics.jsonl; [].
        facts: dict of its facts.json; {}.
        scores: dict, what the best checkpoint scored on the first dev set; {}.
        summaries: dict name of a dev set -> dict, see `ernie.report.sets`.
        best: folder of the checkpoint that was scored; None where there is none.
        training: dict, the report of the training rows with `epoch` and `rows`; {}.
    """

    folder: str
    program: str = ''
    settings: dict = dataclasses.field(default_factory=dict)
    records: list = dataclasses.field(default_factory=list)
    facts: dict = dataclasses.field(default_factory=dict)
    scores: dict = dataclasses.field(default_factory=dict)
    summaries: dict = dataclasses.field(default_factory=dict)
    best: str | None = None
    training: dict = dataclasses.field(default_factory=dict)

    @property
    def reports(self):
        """Folder of the files about dev sets."""
        return os.path.join(self.folder, REPORTS)

    @property
    def step(self):
        """The last step that was recorded, None without records."""
        return max((r['step'] for r in self.records), default=None)

    @property
    def main(self):
        """(name, value) of the score that chose the best checkpoint; None where there is none."""
        return main_score(self.scores)


def read_run(folder):
    """The `RunFiles` of a folder.

    Raises:
        UserError: it is no folder of a run, or a file in it is broken.
    """
    if not os.path.isdir(folder):
        found = 'a file' if os.path.lexists(folder) else 'no such folder'
        raise bad_input(folder, found, 'the folder of a training (--checkpoints)')
    paths = {name: os.path.join(folder, name) for name in (RUN_YAML, METRICS_FILE, FACTS)}
    there = {name: path for name, path in paths.items() if os.path.isfile(path)}
    run = RunFiles(folder)
    run.summaries = read_summaries(run.reports)
    if not there and not run.summaries:
        advice = f'Did you mean {os.path.dirname(os.path.abspath(folder))}?' if _is_checkpoint(folder) else ''
        raise bad_input(folder, f'neither {RUN_YAML} nor {METRICS_FILE}', 'the folder of a training', advice=advice)
    if RUN_YAML in there:
        run.settings, _ = read_yaml_mapping(there[RUN_YAML], 'the settings of a run')
        run.settings.pop('version', None)
        run.program = str(run.settings.pop('program', ''))
    if METRICS_FILE in there:
        run.records = read_metrics(there[METRICS_FILE])
    if FACTS in there:
        run.facts = _checked(there[FACTS], 'the facts of a run', checks.FACTS)
    run.training = _training_report(os.path.join(run.reports, f'{TRAINING}.json'))
    best = os.path.join(folder, BEST)
    if os.path.isfile(os.path.join(best, SCORES)):
        run.best = best
        run.scores = _checked(os.path.join(run.best, SCORES), 'scores of a checkpoint', checks.SCORES)
    elif run.summaries:
        run.scores = scores_of(next(iter(run.summaries.values())))
    return run


def _checked(path, expected, fields):
    """A JSON object of a file whose fields are of their types."""
    values = read_json_object(path, expected, finite=False)
    try:
        return checked(values, fields, ())
    except UserError as e:
        raise UserError(f'{path}: {e}') from None


def _training_report(path):
    """The report of the training rows, which has more than those of dev sets; {} where there is none."""
    if not os.path.isfile(path):
        return {}
    report = read_json_object(path, 'a report of classes', limit=1 << 28)
    try:
        checked({**report, 'report': report}, checks.REPORT)
    except UserError as e:
        raise UserError(f'{path}: {e} Train again.') from None
    return report


def scores_of(summary):
    """The scores in a summary, in the form of a checkpoint's metrics.json."""
    return {'step': summary.get('step'), 'main_value': summary.get('main_value'), **summary['values']}


def _is_checkpoint(folder):
    return any(os.path.isfile(os.path.join(folder, name)) for name in ('labels.json', 'training_state.json'))


def main_score(scores):
    """(name, value) of the score that ranks checkpoints, from what an evaluation gave; None where it gave none."""
    value = scores.get('main_value')
    if not isinstance(value, int | float):
        return None
    return next(((name, value) for name in _NAMES if scores.get(name) == value), ('score', value))


def files_of(run, summary_name, end):
    """Path of a file about a dev set, None where it is not there."""
    path = os.path.join(run.reports, summary_name + end)
    return path if os.path.isfile(path) else None


def seconds_of(run):
    """Seconds of training, evaluation included, as far as records tell: breaks between two runs are left out."""
    if isinstance(run.facts.get('seconds'), int | float):
        return run.facts['seconds']
    times = sorted(r['time'] for r in run.records if isinstance(r.get('time'), int | float))
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    usual = 60 + 20 * (sorted(gaps)[len(gaps) // 2] if gaps else 0)
    return sum(gap for gap in gaps if gap <= usual)
