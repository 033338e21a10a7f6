"""Evaluation of the dev sets and prediction of the test sets, during training, after it, or alone."""

import json
import logging
import math
import os
from typing import NamedTuple

from ernie.metrics.report import format_report, write_report
from ernie.reader.dataset_folder import data_digest, is_regular
from ernie.report.names import TRAINING
from ernie.report.sets import write_set
from ernie.run.predictor import Predictor
from propeller.args import split_list
from propeller.log import get_logger
from propeller.storage.atomic import is_stream, move_file
from propeller.storage.folders import make_folder
from propeller.train.checkpoint import RUN

SCORES_FILE = 'metrics.json'

log = get_logger(__name__)


class Evaluated(NamedTuple):
    """What `Task.evaluate` gives; the last two may be left out.

    values: dict of numbers. line: for the log, without its tail. report: of `ernie.metrics.report`, or None. outcomes:
    `ernie.metrics.outcomes.Outcomes`, from which wrong rows and pictures are made, or None.
    """

    values: dict
    line: str
    report: dict | None = None
    outcomes: object = None


class Evaluator:
    """The dev and test sets of a run.

    Args:
        args: the flags.
        session: `propeller.session.Session`.
        task: `Task`.
        record: see `propeller.train.record.Records.append`; called for each scored set.
        report_folder: where the per-class reports go.
    """

    def __init__(self, args, session, task, record, report_folder):
        self.args, self.task, self.record, self.report_folder = args, task, record, report_folder
        self.writes = session.world.is_main_process
        self.predictor = Predictor(session, task, args.predict_batch_size or args.batch_size, args.in_tokens)
        self.dev_sets, self.test_sets, self.names = [], [], {}
        self.diagnostic = self.main = self.identity = None
        self.held_out = None  # (name, rows) of the training file that are evaluated: `--dev_share`
        self.found = {}  # name of each set -> what `write_set` takes, of the newest evaluation
        self.kept = None  # `Outcomes` of the evaluation that is kept, of the first dev set
        self.shown_every, self.shown_step = 0, 0  # steps between two evaluations whose scores the console shows
        self.written = []  # (path to predict, beginning of the name, file) of the newest predictions

    def read_sets(self):
        """Read every file that will be needed, so that a bad one is found before the training."""
        args = self.args
        if args.do_val and not args.dev_set and not self.held_out:
            log.warning('--do_val true without --dev_set: nothing to evaluate')
        if args.do_test and not args.test_set:
            log.warning('--do_test true without --test_set: nothing to predict')
        if args.do_val:
            self.dev_sets = [(path, self.task.read(path, labelled=True)) for path in split_list(args.dev_set)]
            self.dev_sets = [self.held_out] if self.held_out else self.dev_sets
            self.names = short_names([path for path, _ in self.dev_sets])
        if args.do_test:
            names = zip(split_list(args.test_set), split_list(args.test_save), strict=False)
            self.test_sets = [(path, save, self.task.read(path, labelled=False)) for path, save in names]
        if args.diagnostic:
            self.diagnostic = self.task.read(args.diagnostic, labelled=False)

    def scored_sets(self):
        """list of (path, rows) of the sets that are scored."""
        return self.dev_sets

    def measure(self):
        """What the main value is, a text: the score, and by its content the first dev set; None without one."""
        sets = self.scored_sets()
        if not sets:
            return None
        path = sets[0][1].path
        return f'{self.task.measure} on the dev set {data_digest(path)[:12] if is_regular(path) else path}'

    def all_sets(self):
        """The rows of all sets that are scored or predicted: list."""
        diagnostic = [self.diagnostic] if self.diagnostic is not None else []
        return [*(rows for _, rows in self.dev_sets), *(rows for *_, rows in self.test_sets), *diagnostic]

    def any_program(self):
        """A program of the task without optimizer, for loading parameters."""
        return self.predictor.program(labelled=bool(self.dev_sets))

    def run(self, epoch, step, last=False):
        """Score all dev sets and predict all test sets. Returns the main value of the first dev set, NaN if the model
        computes no numbers; None without a dev set.

        last: whether this is the evaluation after the last step, which some tasks call by a name.
        """
        self.found, level = {}, self.level(step, last)
        main, name = None, self.task.last_step_name if last and self.task.last_step_name else step
        for path, rows in self.dev_sets:
            log.debug('validation result of dataset %s:', path)
            self.predictor.lost = False
            evaluated = Evaluated(*self.task.evaluate(self.predictor, rows, path))
            values, line, report, _ = evaluated
            log.log(level, '%s, file: %s, epoch: %d, steps: %s', line, path, epoch, name)
            recorded = {k: v for k, v in values.items() if k not in ('data_num', 'elapsed')}
            self.record('dev', step, epoch, {**recorded, 'file': path}, tag=f'dev/{self.names[path]}')
            if report and self.writes:
                make_folder(self.report_folder)
                write_report(os.path.join(self.report_folder, self.names[path]), report)
            self.note(path, rows, step, epoch, evaluated)
            if main is None:
                # A model that computes no numbers may be right by chance: its first class is as good as any.
                main = math.nan if self.predictor.lost else self.task.main_value(values)
                self.main = {'file': path, 'step': step, 'epoch': epoch, **values, 'main_value': main}, report
        self.written = []
        for path, save, rows in self.test_sets:
            target = save if is_stream(save) else f'{save}.{epoch}.{name}'
            log.debug('testing %s, save to %s', path, target)
            self._write(rows, target)
            self.written.append((path, f'{save}.{epoch}', target))
        return main

    def level(self, step, last):
        """Of the lines of an evaluation: those that follow another one soon are for the log file."""
        if not last and step < self.shown_step + self.shown_every:
            return logging.DEBUG
        self.shown_step = step
        return logging.INFO

    def main_loss(self):
        """The loss on the first dev set in the newest evaluation; None where there is none."""
        loss = self.main[0].get('loss') if self.main else None
        return loss if loss is not None and math.isfinite(loss) else None

    def _write(self, rows, path):
        predicted = self.task.predict(self.predictor, rows)
        if self.writes:
            self.task.write_predictions(predicted, rows, path)

    def name_last(self):
        """The evaluation before was the last one: rename its predictions, where the task has a name for it."""
        for path, beginning, target in self.written if self.task.last_step_name else ():
            if is_stream(target):
                continue
            final = f'{beginning}.{self.task.last_step_name}'
            if self.writes:
                move_file(target, final)
            log.debug('testing %s, saved to %s', path, final)

    def files(self):
        """dict file name -> bytes for a checkpoint: the newest scores and report of the first dev set."""
        if self.main is None:
            return {}
        values, report = self.main
        values = {RUN: self.identity, **values} if self.identity else values
        files = {SCORES_FILE: _json(_finite(values))}
        if report:
            files |= {'report.json': _json(report), 'report.txt': format_report(report).encode()}
        return files

    def note(self, path, rows, step, epoch, evaluated):
        """Keep what was found in a set until it is known whether it is the best. evaluated: `Evaluated`."""
        if not self.writes:
            return
        values, _, report, outcomes = evaluated
        facts = {
            'file': path,
            'place': len(self.found),
            RUN: self.identity,
            'step': step,
            'epoch': epoch,
            'values': _finite(values),
            'main_value': _finite({'value': self.task.main_value(values)})['value'],
            'report': report,
        }
        self.found[self.names[path]] = rows, lambda wanted: self.task.texts(rows, wanted), outcomes, facts

    def keep(self):
        """The newest evaluation is the one to keep: write its wrong rows and summaries."""
        for number, (name, found) in enumerate(self.found.items()):
            write_set(self.report_folder, name, *found)
            if number == 0:
                self.kept = found[2]

    def diagnose(self):
        """Predict the --diagnostic file, if there is one, with the parameters as they are."""
        if self.diagnostic is None:
            return
        log.debug('Final diagnostic')
        self._write(self.diagnostic, self.args.diagnostic_save)
        log.debug('Done final diagnostic, saving to %s', self.args.diagnostic_save)


def held_name(path):
    """What the rows of a training file that are held out are called, in the place of a path."""
    return f'{os.path.splitext(os.path.basename(os.path.normpath(path)))[0]}_dev'


def short_names(paths):
    """dict path -> a name for its report: the file's without ending; with the folder's before it where two files share
    a name (MNLI has `m/dev.tsv` and `mm/dev.tsv`) or it is that of the training rows' report; with a number after it
    where that is not enough.
    """
    paths = list(dict.fromkeys(paths))
    plain = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    doubled = {name for name in plain if [TRAINING, *plain].count(name) > 1}
    longer = [
        f'{os.path.basename(os.path.dirname(os.path.abspath(path)))}_{name}' if name in doubled else name
        for path, name in zip(paths, plain, strict=True)
    ]
    numbered = [f'{name}_{i}' if longer.count(name) > 1 else name for i, name in enumerate(longer, start=1)]
    return dict(zip(paths, numbered, strict=True))


def _finite(values):
    """JSON has no NaN: null, as in the records."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _json(value):
    return (json.dumps(value, ensure_ascii=False, indent=1) + '\n').encode()
