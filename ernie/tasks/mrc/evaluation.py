"""Evaluation of reading comprehension: one dev file, one test file, answers as JSON in the folder of checkpoints."""

import logging
import os

from ernie.run.evaluation import Evaluated, Evaluator, short_names
from propeller.args import split_list
from propeller.log import get_logger

log = get_logger(__name__)

FINAL_LINES = {'dev': 'Final validation result:', 'test': 'Final test result:'}


class MrcEvaluator(Evaluator):
    """Answers both files; both are scored if they hold answers. Phases: `{step}_dev`, `{step}_test`; after the last
    step `dev`, `test`.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.sets = []  # (name of the phase, path, `QuestionSet`, whether it is scored)
        self.newest = []  # what `_report` takes, of the newest evaluation

    def read_sets(self):
        """Read both files; a dev file without answers is refused."""
        args = self.args
        wanted = (
            ('dev', 'do_val', args.do_val, args.dev_set, 'evaluate'),
            ('test', 'do_test', args.do_test, args.test_set, 'predict'),
        )
        for name, flag, wish, paths, verb in wanted:
            if wish and name == 'dev' and self.held_out:
                self.sets.append((name, *self.held_out, True))
                continue
            if wish and not paths:
                log.warning('--%s true without --%s_set: nothing to %s', flag, name, verb)
            for path in split_list(paths) if wish else ():
                rows = self.task.read(path, labelled=False)
                if name == 'dev':
                    self.task.check_scorable(rows, path)
                self.sets.append((name, path, rows, not rows.unscorable))
        self.names = short_names([path for _, path, _, _ in self.sets])
        if not args.do_train:
            self.task.prepare_evaluation(rows for _, _, rows, _ in self.sets)

    def scored_sets(self):
        return [(path, rows) for _, path, rows, scored in self.sets if scored]

    def any_program(self):
        return self.predictor.program(labelled=False)

    def run(self, epoch, step, last=False):
        """Answer and score. Returns the main value of the dev set, or None."""
        main, self.newest, self.found = None, [], {}
        for name, path, rows, scored in self.sets:
            answered = self.task.answer(self.predictor, rows)
            evaluated = self.task.scored(rows, answered) if scored else Evaluated(None, None)
            values, line, *_ = evaluated
            self.newest.append((name, answered, line, rows))
            if scored:
                self.note(path, rows, step, epoch, evaluated)
                recorded = {key: value for key, value in values.items() if key != 'questions'}
                self.record(name, step, epoch, {**recorded, 'file': path}, tag=f'{name}/{self.names[path]}')
            if name == 'dev':
                main = self.task.main_value(values)
                self.main = {'file': path, 'step': step, 'epoch': epoch, **values, 'main_value': main}, None
        self._report('' if last else f'{step}_', self.level(step, last))
        return main

    def name_last(self):
        """The evaluation before was the last one: its answers are the final ones too."""
        self._report('', logging.INFO)

    def _report(self, prefix, level):
        for name, answered, line, rows in self.newest:
            if not prefix:
                log.debug(FINAL_LINES[name])
            phase = prefix + name
            if self.writes:
                self.task.write_predictions(answered, rows, os.path.join(self.args.checkpoints, phase))
            if line:
                log.log(level, '[%s evaluation] %s', phase, line)
