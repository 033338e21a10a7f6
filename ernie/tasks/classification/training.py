"""Classification, regression and multi-label classification: reading, scores, prediction file."""

import itertools
import os
import time

import numpy as np

from ernie.decoding.classes import check_label_map, count_labels, label_names, warn_of_missing
from ernie.metrics.classification import check_metric, evaluate, format_dev_line, main_value
from ernie.metrics.outcomes import class_outcomes, column_name, multilabel_outcomes, regression_outcomes
from ernie.metrics.report import class_report, multilabel_report
from ernie.reader.again import rows_again
from ernie.reader.class_counts import counts_text
from ernie.reader.classify import ClassifyReader, load_label_map
from ernie.reader.columns import TEXTS, text_columns
from ernie.reader.fitting import text_rules
from ernie.reader.rows import BadRows
from ernie.reader.sentence_types import check_sentence_types
from ernie.reader.text_keys import text_key
from ernie.run.evaluation import Evaluated
from ernie.tasks.classification import KINDS, SPEC
from ernie.tasks.classification.codec import MULTILABEL_THRESHOLD
from ernie.tasks.training import Task
from propeller.args import split_list
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.folders import make_folder

log = get_logger(__name__)

DEFAULT_METRIC = {'classify': 'simple_accuracy', 'regression': 'pearson_and_spearman', 'multilabel': 'multilabel_f1'}


class ClassificationTask(Task):
    """`run_classifier`: one text or a pair per row."""

    spec = SPEC

    def __init__(self, args, config, tokenizer, saved, found=None):
        super().__init__(args, config, tokenizer, saved, found)
        self.kind = kind = _kind(args, saved.get('kind') or self.found.get('kind'))
        heads = {'is_classify': kind != 'regression', 'is_regression': kind == 'regression'}
        self.args = args = args.replace(**heads, is_multilabel=kind == 'multilabel')
        if self.kind == 'regression':
            self.loss_unit = 'squared error'
        self.label_map = self._label_map()
        self.num_labels = self._num_labels()
        self.label_names = label_names(self.label_map, self.num_labels)
        self.metric = args.metric
        if self.metric == 'simple_accuracy':  # the default stands for the task's own metric
            self.metric = DEFAULT_METRIC[self.kind]
        check_metric(self.metric, self.kind, self.num_labels)
        self.class_weights = self._class_weights()
        self.columns = saved.get('columns')
        self._columns_of = 'the checkpoint learnt from'
        if saved and not self.columns:
            log.info('the checkpoint does not say which columns it learnt from: text_b is read where a file has it')
        if args.for_cn and type(tokenizer).__name__ == 'CharTokenizer':
            log.warning('--tokenizer CharTokenizer cuts at spaces, and --for_cn true drops those next to ideographs')

    def _label_map(self):
        if self.kind == 'regression':
            return None
        path = self.args.label_map_config
        if path:
            label_map = load_label_map(path)
            check_label_map(label_map, path, self.saved)
            return label_map
        return (self.saved or self.found).get('label_map')

    def _num_labels(self):
        if self.kind == 'regression':
            if self.args.num_labels not in (None, 1):
                raise UsageError(f'--num_labels {self.args.num_labels}: regression has 1 output.')
            return 1
        where = self.args.label_map_config or ('the checkpoint' if self.saved else 'the training set')
        found = None if self.saved or self.label_map or self.args.num_labels else self.found.get('num_labels')
        return count_labels(self.args.num_labels, self.label_map, where, self.saved.get('num_labels') or found)

    def _class_weights(self):
        weights = self.args.class_weights
        if weights and self.kind == 'regression':
            raise UsageError('--class_weights: regression has no classes.')
        return _floats(weights, self.num_labels) if weights and weights != 'balanced' else None

    def prepare_training(self, rows):
        super().prepare_training(rows)
        if not self.columns:
            self.columns = [name for name in TEXTS if name in rows.about['columns']]
            self._columns_of = f'the training set {rows.path} has'
        log.debug('columns that the model learns from: %s', ', '.join(self.columns))
        counts = self._counts(rows)
        warn_of_missing(rows.path, self.label_names, counts)
        if not self.args.class_weights:
            return
        if self.args.class_weights == 'balanced':
            # A class that never occurs has no frequency; among several labels a huge weight would drown the others.
            balanced = len(rows) / (self.num_labels * np.maximum(counts, 1))
            self.class_weights = [float(w) for w in np.where(counts > 0, balanced, 1.0)]
        log.debug(
            'class weights: %s',
            ', '.join(f'{n} {w:.4g}' for n, w in zip(self.label_names, self.class_weights, strict=True)),
        )

    def _counts(self, rows):
        """[num_labels], rows of each class; for regression [1], all of them."""
        if self.kind == 'classify':
            return np.bincount(rows.labels, minlength=self.num_labels)
        return np.asarray(rows.labels).sum(axis=0) if self.kind == 'multilabel' else [len(rows)]

    def groups(self, rows):
        # The texts that one query was asked for stay together.
        keys, labels = np.asarray(rows.keys), np.asarray(rows.labels)
        if rows.qids is not None:
            queries, places = np.unique(rows.qids, return_inverse=True)
            keys = np.array([text_key(str(query)) for query in queries], np.int64)[places]
        if self.kind == 'regression':
            return keys, *np.zeros((2, 0), np.int64)
        pairs = labels.nonzero() if self.kind == 'multilabel' else (np.arange(len(rows)), labels)
        return keys, *pairs

    @property
    def measure(self):
        return self.metric.removeprefix('simple_')

    def classes_text(self, rows):
        if self.kind == 'regression':
            labels = np.asarray(rows.labels)
            return f'numbers from {labels.min():g} to {labels.max():g}, mean {labels.mean():.3g}'
        return counts_text(self.label_names, self._counts(rows))

    def first_rows(self, path, count):
        found = itertools.islice(self.reader(labelled=True).rows(path, BadRows(path)), count)
        texts = ([record.cells[name] for name in ('label', *TEXTS) if name in record.cells] for record in found)
        return [' | '.join(cells) for cells in texts]

    def head_hparams(self):
        return super().head_hparams() | {'class_weights': self.class_weights}

    def reader(self, labelled):
        """The `ClassifyReader` of this run."""
        args = self.args
        return ClassifyReader(
            self.tokenizer,
            args.max_seq_len,
            self.label_map,
            self.kind if labelled else 'predict',
            self.num_labels,
            **text_rules(vars(args)),
            skip_bad_rows=args.skip_bad_rows,
            cache=args.cache,
            **self.reading(),
        )

    def read(self, path, labelled):
        rows = self.reader(labelled).read(path)
        check_sentence_types(self.config, rows, path)
        fault = text_columns(self.columns).fault(rows.about['columns'], self._columns_of)
        if fault:
            found, expected, advice = fault
            raise bad_input(path, found, expected, line=1, advice=advice)
        if labelled and self.metric == 'acc_and_f1_and_mrr' and rows.qids is None:
            raise UserError(f'{path}: --metric {self.metric} needs a column qid.')
        return rows

    def describe(self):
        return {
            **super().describe(),
            'kind': self.kind,
            'num_labels': self.num_labels,
            'labels': self.label_names,
            'label_map': self.label_map,
            **text_rules(vars(self.args)),
        }

    def training_sums(self, rows, outputs):
        if self.kind != 'classify' or not self.args.metrics:
            return []
        right = outputs[0].argmax(-1) == np.asarray(self.training_rows.labels)[rows]
        return [int(right.sum()), len(rows)]

    def answers(self, rows, outputs):
        if self.kind != 'classify' or not self.args.metrics:
            return None
        return np.asarray(self.training_rows.labels)[rows], outputs[0].argmax(-1)

    def answers_report(self, answers):
        labels, predictions, counts = answers.T
        return class_report(labels, predictions, self.num_labels, self.label_names, counts)

    def epoch_values(self, values, report):
        if self.kind != 'classify' or not report:
            return values
        return {'loss': values['loss'], 'acc': report['accuracy'], 'f1': report['macro_avg']['f1']}

    def training_values(self, sums):
        return {'acc': float(sums[0] / sums[1])}

    def training_line(self, values, speed):
        if 'acc' in values:
            return f'ave loss: {values["loss"]:f}, ave acc: {values["acc"]:f}, speed: {speed:f} steps/s'
        return f'ave loss: {values["loss"]:f},  speed: {speed:f} steps/s'

    def evaluate(self, predictor, rows, path):
        started = time.monotonic()
        outputs, loss = predictor.collect(rows, labelled=True)
        elapsed = time.monotonic() - started
        values = evaluate(
            self.metric,
            outputs[:, 0] if self.kind == 'regression' else outputs,
            rows.labels,
            rows.qids,
            average_loss=loss,
            elapsed=elapsed,
            kind=self.kind,
            threshold=MULTILABEL_THRESHOLD,
        )
        line = format_dev_line(self.metric, values, self.kind)
        return Evaluated(values, line, *self._details(outputs, rows.labels))

    def _details(self, outputs, labels):
        """(report or None, `Outcomes`). outputs: [N, W] of the graph."""
        names = self.label_names
        if self.kind == 'regression':
            return None, regression_outcomes(labels, outputs[:, 0])
        if self.kind == 'multilabel':
            report = multilabel_report(labels, outputs >= MULTILABEL_THRESHOLD, names)
            return report, multilabel_outcomes(labels, outputs, names, MULTILABEL_THRESHOLD)
        report = class_report(labels, outputs.argmax(-1), self.num_labels, names)
        return report, class_outcomes(labels, outputs, names)

    def class_counts(self, rows):
        if self.kind == 'regression':
            return {}
        return dict(zip(self.label_names, self._counts(rows), strict=True))

    def texts(self, rows, wanted):
        names = self.column_names or {}
        for row, record in rows_again(self.reader(labelled=True), rows.path, rows.lines, wanted):
            yield (
                row,
                {column_name(names.get(role, role)): record.cells[role] for role in TEXTS if role in record.cells},
            )

    def main_value(self, values):
        return main_value(self.metric, values)

    def write_predictions(self, predicted, rows, path):
        make_folder(os.path.dirname(path))
        with output_file(path) as f:
            for i, output in enumerate(predicted):
                cells = [self._prediction(output), _array_text(output)]
                f.write('\t'.join(([str(rows.qids[i])] if rows.qids is not None else []) + cells) + '\n')

    def _prediction(self, output):
        """The class as a number (2019: `1.0`), the value of a regression, the classes of a multi-label row."""
        if self.kind == 'regression':
            return repr(float(output[0]))
        if self.kind == 'multilabel':
            return ','.join(str(i) for i in np.flatnonzero(output >= MULTILABEL_THRESHOLD))
        return repr(float(output.argmax()))


def _kind(args, saved):
    """The kind of task that the flags say; without them that of the checkpoint, if there is one."""
    if saved in KINDS and not args.given & {'is_classify', 'is_regression', 'is_multilabel'}:
        return saved
    is_classify = args.is_classify if args.gave('is_classify') else not args.is_regression
    if is_classify == args.is_regression:
        raise UsageError(
            f'--is_classify {args.is_classify} and --is_regression {args.is_regression}: exactly one must be true.'
        )
    if args.is_regression and args.is_multilabel:
        raise UsageError('--is_regression true and --is_multilabel true: give one.')
    kind = 'regression' if args.is_regression else 'multilabel' if args.is_multilabel else 'classify'
    if saved not in (None, kind):
        raise UsageError(f'the flags say {kind}, the checkpoint is of the kind {saved}: leave out --is_{kind}.')
    return kind


def _floats(text, count):
    try:
        values = [float(part) for part in split_list(text)]
    except ValueError:
        values = []
    if len(values) != count or not all(v > 0 for v in values):
        raise UsageError(f'--class_weights {text}: expected {count} numbers above 0 joined by commas, or "balanced".')
    return values


def _array_text(row):
    """`[0.01 0.99]` on one line, every number in full: 2019's text without its line breaks and ellipses."""
    return '[' + ' '.join(f'{value:.8g}' for value in row) + ']'
