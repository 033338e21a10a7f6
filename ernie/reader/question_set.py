"""The questions of a SQuAD-form file as windows of token ids, with all that decoding needs to know of them."""

import os

import numpy as np

from ernie.reader.confusable import appearance, difference, find_alike
from ernie.reader.mrc import QuestionEncoder, locate_answer
from ernie.reader.questions import read_questions
from ernie.reader.rows import BadRows
from ernie.reader.squad_json import LineNumbers, refuse
from ernie.reader.text_keys import text_key
from ernie.reader.tokenized_set import TokenizedSet
from ernie.survey.dev_share import held_out, too_few_texts
from propeller.data.parallel import chunked, map_ordered
from propeller.errors import bad_input, quoted
from propeller.inputs import MAX_DATA_BYTES, read_text
from propeller.log import get_logger
from propeller.progress import progress

log = get_logger(__name__)


class QuestionSet:
    """The windows of the questions of one file. `len()` counts windows.

    Attributes:
        questions: list of `Question`.
        tokens: `TokenizedSet`, a row per window; `labels` [N, 2] int64 are the first and last position of the answer,
            None if none were made.
        windows: [N, 2] int64, first token in the document and number of tokens of each window.
        first_row: [Q + 1] int64, question q has the rows `first_row[q]` to `first_row[q + 1]`.
        starts, ends: [total] int32, the slice of its context for each token of the documents; None for training.
        first_token: [Q + 1] int64, the document of question q is `first_token[q]` to `first_token[q + 1]` of them.
        path: the file.
        bad_rows: None, or the `BadRows` of the file.
        about: dict, what is known of the file: `column_names`, dict role -> column, for records.
    """

    def __init__(self, questions, chunks, path='', bad_rows=None, about=None):
        self.about = about or {}
        self.questions, self.path, self.bad_rows = questions, path, bad_rows
        labels = _joined(chunks, 'labels', np.int64, 2)
        self.tokens = TokenizedSet(
            _joined(chunks, 'ids', np.int32),
            _offsets(_joined(chunks, 'lengths', np.int64)),
            _joined(chunks, 'split', np.int32),
            labels if len(labels) else None,
            path=path,
        )
        self.windows = _joined(chunks, 'windows', np.int64, 2)
        self.first_row = _offsets(_joined(chunks, 'counts', np.int64))
        self.starts, self.ends = _joined(chunks, 'starts', np.int32), _joined(chunks, 'ends', np.int32)
        self.first_token = _offsets(_joined(chunks, 'tokens', np.int64))

    def __len__(self):
        return len(self.tokens)

    @property
    def lengths(self):
        """[N] int64, tokens of each window."""
        return self.tokens.lengths

    @property
    def unanswerable(self):
        """Whether there are questions that their context does not answer."""
        return any(question.is_impossible for question in self.questions)

    @property
    def unscorable(self):
        """The first question that has no answer to compare with, and is not marked as unanswerable; or None."""
        return next((q for q in self.questions if not q.answers and not q.is_impossible), None)

    @property
    def keys(self):
        """[Q] int64, the `text_key` of each question and its context."""
        return np.array([text_key(question.question, question.context) for question in self.questions], np.int64)

    def padded(self, indices, pad_id=0):
        """`TokenizedSet.padded`."""
        return self.tokens.padded(indices, pad_id)

    @property
    def labels(self):
        """[N, 2] int64 or None, see `tokens`."""
        return self.tokens.labels

    def spans(self, q):
        """(starts, ends), [T] int32 each, of the document of question `q`."""
        part = slice(self.first_token[q], self.first_token[q + 1])
        return self.starts[part], self.ends[part]

    def rows_of(self, q):
        """range of the rows of question `q`."""
        return range(self.first_row[q], self.first_row[q + 1])


def _joined(chunks, name, dtype, width=None):
    arrays = [chunk[name] for chunk in chunks if len(chunk[name])]
    shape = (0,) if width is None else (0, width)
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.zeros(shape, dtype)


def _offsets(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


class MrcReader:
    """Reads files of questions, see `ernie.reader.questions`.

    Args:
        tokenizer, limits, simplify: see `QuestionEncoder`.
        skip_bad_rows: whether questions that cannot be used are left out and listed instead of an error.
        processes: processes that tokenize a large file; None is one a processor.

    Raises:
        UsageError: limits that cannot be.
    """

    def __init__(self, tokenizer, limits, simplify=None, *, skip_bad_rows=False, processes=None):
        limits.check()
        self.tokenizer, self.limits, self.simplify = tokenizer, limits, simplify
        self.skip_bad_rows, self.processes = skip_bad_rows, processes

    def read(self, path, training=False, columns=None, learnt=None):
        """The file as a `QuestionSet`.

        Args:
            path: the file.
            training: whether the windows get labels; each question must have an answer then, or be `is_impossible`.
            columns, learnt: see `ernie.reader.naming.Naming`.

        Raises:
            UserError: see `read_questions`; for training also an answer that its context does not hold.
        """
        path = os.fspath(path)
        bad_rows = BadRows(path) if self.skip_bad_rows else None
        questions, lines, names = read_questions(path, bad_rows, not training, columns, learnt)
        if training:
            questions = self._located(questions, path, bad_rows, lines)
        return self._encoded(questions, path, bad_rows, training, names)

    def read_divided(self, path, share, columns=None, learnt=None):
        """One file as two, (questions to train on, questions that are held out to evaluate with).

        The questions about a text stay together. Arguments and errors as for `held_out` and `read`.
        """
        path = os.fspath(path)
        bad_rows = BadRows(path) if self.skip_bad_rows else None
        questions, lines, names = read_questions(path, bad_rows, False, columns, learnt)
        as_read = {question.id: question for question in questions}
        questions = self._located(questions, path, bad_rows, lines)
        keys = {question.context: text_key(question.context) for question in questions}
        none = np.zeros(0, np.int64)
        held = held_out(np.array([keys[question.context] for question in questions], np.int64), none, none, share)
        if not held.any():
            raise too_few_texts(path, share)
        pairs = list(zip(questions, held, strict=True))
        rest = [question for question, out in pairs if not out]
        out = [as_read[question.id] for question, out in pairs if out]
        return self._encoded(rest, path, bad_rows, True, names), self._encoded(out, path, None, False, names)

    def _encoded(self, questions, path, bad_rows, training, names):
        encoder = QuestionEncoder(self.tokenizer, self.limits, training, self.simplify)
        chunks = []
        sized = chunked(questions, lambda q: len(q.context) + len(q.question))
        encoded = map_ordered(encoder, sized, self.processes)
        for chunk in progress(
            encoded, f'reading {os.path.basename(path)}', len(questions), 'questions', lambda c: len(c['counts'])
        ):
            chunks.append(chunk)
        result = QuestionSet(questions, chunks, path, bad_rows, {'column_names': names} if names else {})
        self._report(result, chunks, training)
        if not len(result):
            raise bad_input(path, 'no question that can be used', 'at least one')
        return result

    def _located(self, questions, path, bad_rows, lines=None):
        """The questions with their first answer at its right place; those without an answer are refused."""
        kept, moved, alike = [], 0, 0
        several = sum(len(question.answers) > 1 for question in questions)
        for question in questions:
            if question.is_impossible:
                kept.append(question)
                continue
            answer, start = question.answers[0] if question.answers else (None, None)
            at = locate_answer(question.context, answer, start) if answer else None
            if at is None and answer and (found := find_alike(question.context, answer, start or 0)):
                at, answer = found[0], question.context[slice(*found)]
                alike += 1
            if at is not None:
                moved += at != start
                kept.append(question._replace(answers=((answer, at),)))
                continue
            # What came through a FIFO cannot be read again.
            lines = lines or LineNumbers(read_text(path, MAX_DATA_BYTES) if os.path.isfile(path) else '')
            refuse(_answer_fault(question, answer, start), question, path, lines, bad_rows)
        if alike:
            what = '%s: %d answers are composed otherwise in their context (NFC, kinds of spaces): taken from there'
            log.debug(what, path, alike)
        if several:
            log.debug('%s: %d questions have several answers: training takes the first one of each', path, several)
        log.debug(
            '%s: %d answers located, %d of them not at their answer_start; %d could not be located',
            path,
            sum(bool(question.answers) for question in kept),
            moved,
            len(questions) - len(kept),
        )
        return kept

    def _report(self, result, chunks, training):
        path, limits = result.path, self.limits
        log.debug('%s: %d questions, %d windows', path, len(result.questions), len(result))
        for message in result.bad_rows.messages() if result.bad_rows else ():
            log.warning('skipped %s', message)
        long, no_tokens, no_window = (
            sum(chunk[name] for chunk in chunks) for name in ('long_questions', 'no_tokens', 'no_window')
        )
        if long:
            log.warning('%s: %d questions longer than %d tokens were cut', path, long, limits.max_query_length)
        if no_tokens:
            log.warning('%s: %d questions left out: their answer has no token', path, no_tokens)
        empty = [question.id for question in result.questions if not question.question.strip()]
        if empty:
            log.warning('%s: %d empty questions, the first of them %r', path, len(empty), empty[0])
        if training and no_window:
            log.warning(
                '%s: %d answers fit into no window of %d tokens and are not learned. A larger --max_seq_len helps, '
                'or a smaller --doc_stride than %d',
                *(path, no_window, limits.max_seq_len, limits.doc_stride),
            )


def _answer_fault(question, answer, start):
    if not answer:
        return question.bad_row(
            'no answer' if answer is None else 'an empty answer', 'an answer to learn, or "is_impossible": true'
        )
    place = find_alike(question.context, answer, start or 0, appearance)
    advice = ''
    if place:
        part = question.context[slice(*place)]
        advice = f'The context has {quoted(part)}: {difference(answer, part)}.'
    return question.bad_row(
        f'the answer {quoted(answer)}, which is not in its context', 'a part of the context', advice
    )
