"""Reading comprehension: flags, reading, answers, scores."""

import json
import os
import time
from typing import NamedTuple

import numpy as np

from ernie.decoding.answers import DecodingRules, cutter, find_answers
from ernie.metrics.mrc import METRICS, answers_of, evaluate, question_scores
from ernie.metrics.outcomes import reading_outcomes
from ernie.reader.mrc import Limits
from ernie.reader.question_set import MrcReader
from ernie.reader.sentence_types import check_two_types
from ernie.reader.simplify import Simplifier
from ernie.run.evaluation import Evaluated
from ernie.tasks.mrc import SPEC
from ernie.tasks.mrc.evaluation import MrcEvaluator
from ernie.tasks.training import Task
from propeller.args import split_list
from propeller.errors import UsageError, bad_input, one_of
from propeller.log import get_logger
from propeller.progress import progress
from propeller.storage.atomic import output_file
from propeller.storage.folders import make_folder

log = get_logger(__name__)

DEFAULT_METRIC = 'cmrc'
RESULTS_PER_LINE = 1000
N_BEST_KEYS = ('text', 'probability', 'start_logit', 'end_logit')


class Answered(NamedTuple):
    """predictions: dict question id -> answer text. n_best: dict id -> list of dicts. seconds: time it took."""

    predictions: dict
    n_best: dict
    seconds: float


class MrcTask(Task):
    """`run_mrc`: questions whose answers are parts of a text."""

    spec = SPEC
    evaluator_class = MrcEvaluator
    columns = ('question', 'context')
    points = 1  # its scores are in percent

    @staticmethod
    def prepare_flags(args):
        if args.diagnostic or args.diagnostic_save:
            raise UsageError('--diagnostic: run_mrc.py has no such file; give it as --test_set.')
        for flag in ('dev_set', 'test_set'):
            if len(split_list(getattr(args, flag))) > 1:
                raise UsageError(f'--{flag} {getattr(args, flag)}: expected one file.')
        # All predictions go to --checkpoints; --test_save is the classifier's.
        return args.replace(test_save=os.path.join(args.checkpoints, 'test'))

    def __init__(self, args, config, tokenizer, saved, found=None):
        super().__init__(args, config, tokenizer, saved, found)
        self.metric = DEFAULT_METRIC if args.metric == 'simple_accuracy' else args.metric
        if self.metric not in METRICS:
            raise UsageError(f'--metric {args.metric}: expected {one_of(args.metric, METRICS)}')
        for flag in ('n_best_size', 'max_answer_length'):
            if getattr(args, flag) < 1:
                raise UsageError(f'--{flag} {getattr(args, flag)}: expected at least 1.')
        check_two_types(config)
        limits = Limits(args.max_seq_len, args.max_query_length, args.doc_stride)
        simplify = Simplifier() if args.to_simplified else None
        self.reader = MrcReader(tokenizer, limits, simplify, skip_bad_rows=args.skip_bad_rows)
        self.unanswerable = bool(saved.get('unanswerable', False))

    def read(self, path, labelled):
        """The windows of a file, with labels if they are to be learnt."""
        return self.reader.read(path, training=labelled, **self.reading())

    def read_divided(self, path, share):
        """As the base class has it; the questions about a text stay together."""
        return self.reader.read_divided(path, share, **self.reading())

    def prepare_training(self, rows):
        super().prepare_training(rows)
        self.unanswerable = self.unanswerable or rows.unanswerable

    def prepare_evaluation(self, sets):
        """Called with the files of an evaluation alone. 2019 did not note whether "no answer" can be."""
        if 'unanswerable' not in self.saved:
            self.unanswerable = any(rows.unanswerable for rows in sets)

    def read_scored(self, path):
        rows = self.read(path, labelled=False)
        self.check_scorable(rows, path)
        self.prepare_evaluation([rows])
        return rows

    @staticmethod
    def check_scorable(rows, path):
        """Raises `UserError`: a question has no answer to compare with."""
        missing = rows.unscorable
        if missing:
            found = f'question {missing.id!r} without answers'
            raise bad_input(path, found, 'at least one answer, or "is_impossible": true')

    def describe(self):
        args = self.args
        names = ('max_query_length', 'doc_stride', 'max_answer_length', 'n_best_size', 'null_score_diff_threshold')
        return {
            **super().describe(),
            **{name: getattr(args, name) for name in (*names, 'to_simplified')},
            'unanswerable': self.unanswerable,
            'metric': self.metric,
        }

    @property
    def measure(self):
        return f'mean of EM and F1 ({self.metric})'

    def column_texts(self):
        return []

    def count_text(self, rows):
        none = sum(question.is_impossible for question in rows.questions)
        without = f', {none:,} without an answer' if none else ''
        windows = f' ({len(rows):,} windows)' if rows is self.training_rows else ''
        return f'{len(rows.questions):,} questions{without}{windows}'

    def first_rows(self, path, count):
        questions = self.training_rows.questions[:count] if path == self.training_rows.path else ()
        return [' | '.join([question.question, *(text for text, _ in question.answers[:1])]) for question in questions]

    def texts(self, rows, wanted):
        for number in wanted:
            yield number, {'question': rows.questions[number].question}

    def main_value(self, values):
        return values['avg']

    def evaluate(self, predictor, rows, path):
        evaluated = self.scored(rows, self.answer(predictor, rows))
        return evaluated._replace(line=f'[dev evaluation] {evaluated.line}')

    def predict(self, predictor, rows):
        """-> `Answered`."""
        return self.answer(predictor, rows)

    # ------------------------------------------------------------ answers

    def rules(self):
        """`DecodingRules` of the flags. "No answer" is possible if the training had, or the checkpoint knows, such."""
        args = self.args
        return DecodingRules(
            args.n_best_size, args.max_answer_length, self.unanswerable, args.null_score_diff_threshold
        )

    def answer(self, predictor, rows):
        """Answer all questions of a `QuestionSet`: `Answered`."""
        started, rules = time.monotonic(), self.rules()
        logits = self._logits(predictor, rows)
        predictions, n_best = {}, {}
        for q, question in enumerate(progress(rows.questions, 'answering', len(rows.questions), 'questions')):
            first, end = rows.first_row[q : q + 2]
            split = int(rows.tokens.split[first])
            cut = cutter(question.context, *rows.spans(q))
            best, others = find_answers(rows.windows[first:end], logits[first:end], split, cut, rules)
            predictions[question.id] = best.text
            n_best[question.id] = [{key: getattr(answer, key) for key in N_BEST_KEYS} for answer in others]
        return Answered(predictions, n_best, time.monotonic() - started)

    def _logits(self, predictor, rows):
        """Per window (start [T], end [T]) float32 without padding."""
        logits, lengths, done = [None] * len(rows), rows.lengths, 0
        for indices, (start, end), _ in predictor.batches(rows, labelled=False):
            for i, row in enumerate(indices):
                logits[row] = np.stack([start[i, : lengths[row]], end[i, : lengths[row]]])
                done += 1
                if done % RESULTS_PER_LINE == 0:
                    log.debug('Processing example: %d', done)
        return logits

    def scored(self, rows, answered):
        """-> `Evaluated`, its log line without a prefix, for rows of which none is `unscorable`."""
        answers, found, n_best = answers_of(rows.questions), answered.predictions, answered.n_best
        scores = question_scores(self.metric, answers, found)
        values = evaluate(self.metric, answers, found, scores)
        line = (
            f'em: {values["em"]:f}, f1: {values["f1"]:f}, avg: {values["avg"]:f}, questions: {values["questions"]}, '
            f'elapsed time: {answered.seconds:f}'
        )
        # Of the text that was chosen, which need not be the first of the list (SQuAD 2.0).
        sure = [
            next((answer['probability'] for answer in n_best[q.id] if answer['text'] == found[q.id]), 0.0)
            for q in rows.questions
        ]
        outcomes = reading_outcomes(
            rows.questions, found, sure, [scores[q.id] for q in rows.questions], self.column_names
        )
        return Evaluated(values, line, None, outcomes)

    def write_predictions(self, answered, rows, path):
        """Write `{path}_predictions.json` and `{path}_nbest_predictions.json`."""
        make_folder(os.path.dirname(path))
        for what, name, content in (
            ('predictions', 'predictions', answered.predictions),
            ('nbest', 'nbest_predictions', answered.n_best),
        ):
            target = f'{path}_{name}.json'
            log.debug('Writing %s to: %s', what, target)
            with output_file(target) as f:
                f.write(json.dumps(content, indent=4) + '\n')
