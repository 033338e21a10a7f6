"""Sequence labelling: reading, scores, prediction file."""

import itertools
import os
import time

import numpy as np

from ernie.decoding.classes import check_label_map, count_labels, label_names, warn_of_missing
from ernie.decoding.crf import WEIGHTS
from ernie.decoding.labels import best_labels, label_probabilities, token_labels
from ernie.decoding.scheme import OUTSIDE, split_label
from ernie.metrics.chunk import ChunkScores
from ernie.metrics.chunk_errors import ChunkOutcomes
from ernie.metrics.report import score_row
from ernie.reader.again import rows_again
from ernie.reader.class_counts import counts_text
from ernie.reader.dataset_folder import is_regular, is_there
from ernie.reader.rows import BadRows
from ernie.reader.sequence_label import SequenceLabelReader, load_tag_map
from ernie.reader.token_labels import IGNORED, label_ids, labels_of_tokens, token_starts
from ernie.run.evaluation import Evaluated
from ernie.tasks.sequence_labeling import SPEC
from ernie.tasks.training import Task
from ernie.tokenizers.token_cut import AS_TOKENIZER, TokenCut
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger
from propeller.storage.atomic import output_file
from propeller.storage.folders import make_folder

log = get_logger(__name__)


class SequenceLabelingTask(Task):
    """`run_sequence_labeling`: a label for each token of a sentence."""

    spec = SPEC
    last_step_name = 'final'
    columns = ('text_a',)

    def __init__(self, args, config, tokenizer, saved, found=None):
        super().__init__(args, config, tokenizer, saved, found)
        if args.metric != 'simple_accuracy':
            log.warning('--metric %s has no effect: sequence labelling is scored by the F1 of chunks', args.metric)
        self.scheme = self._scheme()
        self.use_crf = args.use_crf
        if saved.get('use_crf', self.use_crf) != self.use_crf:
            kind = 'without' if self.use_crf else 'with'
            raise UsageError(f'--use_crf {self.use_crf}: found a checkpoint {kind} a CRF; leave it out.')
        self.label_map = self._label_map()
        where = args.label_map_config or ('the checkpoint' if saved.get('label_map') else 'the training set')
        self.num_labels = count_labels(args.num_labels, self.label_map, where, saved.get('num_labels'))
        self.label_names = label_names(self.label_map, self.num_labels)
        self.types = list(dict.fromkeys(split_label(name)[1] for name in self.label_names if name != OUTSIDE))
        self.label_shares = None
        self.token_cut = TokenCut.from_json(saved['token_cut']) if 'token_cut' in saved else None

    def _scheme(self):
        given = self.args.chunk_scheme
        saved = self.saved.get('chunk_scheme', given)
        if not self.saved and self.found.get('scheme') and not self.args.gave('chunk_scheme'):
            return self.found['scheme']
        if saved != given:
            raise UsageError(f'--chunk_scheme {given}: found a checkpoint with {saved}; leave it out.')
        return given

    def _label_map(self):
        path, saved = self.args.label_map_config, self.saved.get('label_map')
        if not path and not saved and self.found.get('label_map'):
            return self.found['label_map']
        if not path and not saved:
            raise UsageError(
                '--label_map_config is missing: a JSON file of label -> id, e.g. {"B-PER": 0, "I-PER": 1, "O": 2}.'
            )
        if not path:
            return saved
        label_map = load_tag_map(path, self.scheme)
        check_label_map(label_map, path, self.saved)
        return label_map

    def head_hparams(self):
        return super().head_hparams() | {'label_shares': self.label_shares}

    def reader(self, labelled):
        """The `SequenceLabelReader` of this run."""
        args = self.args
        return SequenceLabelReader(
            self.tokenizer,
            args.max_seq_len,
            self.label_map,
            self.scheme,
            labelled,
            cut=AS_TOKENIZER if labelled or not self.token_cut else self.token_cut,
            skip_bad_rows=args.skip_bad_rows,
            cache=args.cache,
            **self.reading(),
        )

    def read(self, path, labelled):
        if not labelled and is_there(path) and not is_regular(path):
            raise bad_input(path, 'no regular file', 'one: it is read a second time for its tokens')
        return self.reader(labelled).read(path)

    def groups(self, rows):
        labels, owners = labels_of_tokens(rows, self.num_labels)
        types = {kind: i for i, kind in enumerate(self.types)}
        kinds = np.array([types.get(split_label(name)[1], -1) for name in self.label_names])[labels]
        return np.asarray(rows.keys), owners[kinds >= 0], kinds[kinds >= 0]

    def label_array(self, rows, indices):
        """[B, T] int64, the label of each piece, `IGNORED` where it does not count in the loss."""
        entries = rows.padded_labels(indices, IGNORED)
        labels = label_ids(entries, self.num_labels)
        if self.use_crf or self.scheme not in ('IO', 'IOB'):
            return labels
        # Where the first piece alone decides what a token is, the many pieces of rare words would only drown the rest.
        return np.where(token_starts(entries, self.num_labels), labels, IGNORED)

    def describe(self):
        return {
            **super().describe(),
            'num_labels': self.num_labels,
            'labels': self.label_names,
            'label_map': self.label_map,
            'chunk_scheme': self.scheme,
            'use_crf': self.use_crf,
            **({'token_cut': self.token_cut.to_json()} if self.token_cut else {}),
        }

    def prepare_training(self, rows):
        super().prepare_training(rows)
        self._learn_cut(rows)
        counts = np.array([*self.class_counts(rows).values()])
        warn_of_missing(rows.path, self.label_names, counts)
        self.label_shares = ((counts + 1) / (counts.sum() + self.num_labels)).tolist()  # none of them 0

    @property
    def measure(self):
        return 'f1'

    def count_text(self, rows):
        return f'{len(rows):,} sentences'

    def classes_text(self, rows):
        entries, of_type = np.asarray(rows.token_labels), dict.fromkeys([*self.types, ''], 0)
        counts = np.bincount(entries[token_starts(entries, self.num_labels)], minlength=self.num_labels)
        for name, count in zip(self.label_names, counts, strict=True):
            of_type[split_label(name)[1]] += int(count)
        return f'{counts_text([kind or OUTSIDE for kind in of_type], of_type.values())} tokens ({self.scheme})'

    def first_rows(self, path, count):
        found = itertools.islice(self.reader(labelled=True).rows(path, BadRows(path)), count)
        return [' '.join(map('/'.join, zip(row.tokens, row.labels, strict=True))) for row in found]

    def _learn_cut(self, rows):
        """How the tokens of the training set were cut: raw text will be cut the same way."""
        cut, remark = TokenCut.from_json(rows.about['token_cut']), rows.about['token_cut_remark']
        before, self.token_cut = self.token_cut, cut
        log.debug('%s: raw text will be cut as its tokens are: %s%s', rows.path, cut, remark and f' ({remark})')
        if before and before.rule != cut.rule:
            log.warning('%s: the tokens of the checkpoint were cut differently: %s', rows.path, before)

    # ------------------------------------------------------------ from scores of pieces to labels of tokens

    def _decode(self, outputs, entries):
        """(label ids of pieces [B, T - 2], arguments of `label_probabilities`). entries: of `token_labels`, [B, T]."""
        lengths = (entries >= 0).sum(1)
        # Pieces stand after [CLS]; the last column is [SEP] or padding.
        arguments = outputs[0][:, 1:-1], lengths
        weights = outputs[1] if self.use_crf else None
        return best_labels(*arguments, weights), (arguments, weights)

    def _token_labels(self, ids, entries):
        """Label names of the tokens of one row, and where their first pieces stand. ids, entries: [T], of pieces."""
        first = np.flatnonzero(token_starts(entries, self.num_labels))
        # A token ends before the next one, or with the last piece.
        last = np.append(first[1:], np.count_nonzero(entries >= 0)) - 1
        return token_labels(ids, first, last[: len(first)], self.label_names, self.scheme), first

    def _score(self, scores, outputs, rows, indices, outcomes=None):
        """Adds the rows of a batch to `ChunkScores`. Tokens that did not fit are `O`, as in the prediction file.

        outcomes: `ChunkOutcomes` that take them too, or None.
        """
        entries = rows.padded_labels(indices, IGNORED)
        ids, (arguments, weights) = self._decode(outputs, entries)
        sure = ids if outcomes is None else label_probabilities(*arguments, ids, weights)
        entries = entries[:, 1:-1]
        true = label_ids(entries, self.num_labels)
        for predicted, labels, row, i, probabilities in zip(ids, true, entries, indices, sure, strict=True):
            beyond = [self.label_names[label] for label in rows.labels_cut_off(i)]
            names, first = self._token_labels(predicted, row)
            predicted = names + [OUTSIDE] * len(beyond)
            labels = self._token_labels(labels, row)[0] + beyond
            scores.add(labels, predicted)
            if outcomes is not None:
                outcomes.add(i, labels, predicted, np.append(probabilities[first], np.zeros(len(beyond))))

    # ------------------------------------------------------------ training, evaluation, prediction

    def training_sums(self, rows, outputs):
        if not self.args.metrics:
            return []
        scores = ChunkScores(self.scheme)
        self._score(scores, outputs, self.training_rows, rows)
        return scores.counts()

    def training_values(self, sums):
        return _without_support(score_row(*map(int, sums)))

    def training_line(self, values, speed):
        scores = ''.join(f'{key}: {values[key]:f}, ' for key in ('f1', 'precision', 'recall') if key in values)
        return f'loss: {values["loss"]:f}, {scores}speed: {speed:f} steps/s'

    def evaluate(self, predictor, rows, path):
        started = time.monotonic()
        scores, total, pieces = ChunkScores(self.scheme, self.types), 0.0, 0
        outcomes = ChunkOutcomes(self.scheme, len(rows))
        for indices, outputs, loss in predictor.batches(rows, labelled=True):
            self._score(scores, outputs, rows, indices, outcomes)
            counted = int((self.label_array(rows, indices) >= 0).sum())
            total, pieces = total + loss * counted, pieces + counted
        values = {'loss': total / max(pieces, 1), **_without_support(scores.micro())}
        values |= {'data_num': len(rows), 'elapsed': time.monotonic() - started}
        line = '[dev evaluation] f1: {f1:f}, precision: {precision:f}, recall: {recall:f}, elapsed time: {elapsed:f} s'
        return Evaluated(values, line.format(**values), scores.report(), outcomes.outcomes())

    def predictions_of(self, outputs, constants):
        weights = [np.asarray(constants[WEIGHTS], np.float64)] if self.use_crf else []
        return [*outputs, *weights]

    def class_counts(self, rows):
        """Of tokens, by label."""
        entries = np.asarray(rows.token_labels)
        counts = np.bincount(entries[token_starts(entries, self.num_labels)], minlength=self.num_labels)
        return dict(zip(self.label_names, counts, strict=True))

    def texts(self, rows, wanted):
        for row, sentence in rows_again(self.reader(labelled=True), rows.path, rows.lines, wanted):
            yield row, {'tokens': sentence.tokens}

    def main_value(self, values):
        return values['f1']

    def predict(self, predictor, rows):
        """-> list, by row, of (labels of its tokens, their probabilities); `O` and 0 for tokens that did not fit."""
        results = [None] * len(rows)
        for indices, outputs, _ in predictor.batches(rows, labelled=False):
            entries = rows.padded_labels(indices, IGNORED)
            ids, (arguments, weights) = self._decode(outputs, entries)
            probabilities = label_probabilities(*arguments, ids, weights)
            for i, row_ids, row_entries, row in zip(indices, ids, entries[:, 1:-1], probabilities, strict=True):
                labels, first = self._token_labels(row_ids, row_entries)
                beyond = int(rows.cut[i])
                results[i] = labels + [OUTSIDE] * beyond, np.append(row[first], np.zeros(beyond))
        return results

    def write_predictions(self, predicted, rows, path):
        make_folder(os.path.dirname(path))
        with output_file(path) as f:
            written = 0
            for tokens, (labels, probabilities) in zip(self._tokens(rows), predicted, strict=False):
                numbers = ' '.join(f'{p:.5f}' for p in probabilities)
                f.write(f'{" ".join(tokens)}\t{" ".join(labels)}\t{numbers}\n')
                written += len(tokens) == len(labels)
            if written != len(rows):
                raise bad_input(rows.path, 'a file that changed since it was read', 'one that stays')

    def _tokens(self, rows):
        """The tokens of each row as the file has them, without white space inside: one for each label.

        One of nothing but white space is written as what the model read for it.
        """
        reader, lines = self.reader(labelled=False), set(rows.lines.tolist())
        for row in reader.rows(rows.path, rows.bad_rows and type(rows.bad_rows)(rows.path)):
            if row.line in lines:
                yield [''.join(token.split()) or '[UNK]' for token in row.tokens]


def _without_support(row):
    return {key: value for key, value in row.items() if key != 'support'}
