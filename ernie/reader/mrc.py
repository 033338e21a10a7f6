"""A question and its context -> token ids in windows, and the labels of the windows.

A window is `[CLS] question [SEP] part of the document [SEP]`. "Document" is the context as tokens.
"""

from typing import NamedTuple

import numpy as np

from ernie.reader.windows import cut_windows
from propeller.errors import UsageError

SPECIAL_TOKENS = 3  # [CLS], and [SEP] after the question and after the window


class Limits(NamedTuple):
    """Sizes in tokens. max_query_length: longer questions are cut. doc_stride: step between two windows."""

    max_seq_len: int = 512
    max_query_length: int = 64
    doc_stride: int = 128

    def check(self):
        """Raises UsageError for sizes that cannot be."""
        for name in ('max_query_length', 'doc_stride'):
            if getattr(self, name) < 1:
                raise UsageError(f'--{name} {getattr(self, name)}: expected at least 1.')
        if self.max_seq_len - self.max_query_length - SPECIAL_TOKENS < 1:
            raise UsageError(
                f'--max_query_length {self.max_query_length}: leaves no token for the document in --max_seq_len '
                f'{self.max_seq_len}; expected at most {self.max_seq_len - SPECIAL_TOKENS - 1}.'
            )


class Rows(NamedTuple):
    """The windows of one question: token ids of each, how many lead with type 0, (start, length) in the document."""

    ids: list
    split: int
    windows: list


def build_rows(question_ids, document_ids, limits, vocab):
    """The windows of a question as `Rows`. question_ids: cut here. limits: `Limits`. vocab: dict token -> id."""
    cls, sep = vocab['[CLS]'], vocab['[SEP]']
    question_ids = question_ids[: limits.max_query_length]
    room = limits.max_seq_len - len(question_ids) - SPECIAL_TOKENS
    windows = cut_windows(len(document_ids), room, limits.doc_stride)
    ids = [[cls, *question_ids, sep, *document_ids[start : start + size], sep] for start, size in windows]
    return Rows(ids, len(question_ids) + 2, windows)


def window_labels(span, rows):
    """For each window the positions (first, last) of the answer, or (0, 0), `[CLS]`, where it does not hold all of it.

    span: (first, last) token of the answer in the document, None for a question without an answer.
    """
    labels = []
    for start, size in rows.windows:
        inside = span is not None and start <= span[0] and span[1] < start + size
        labels.append((span[0] - start + rows.split, span[1] - start + rows.split) if inside else (0, 0))
    return labels


def locate_answer(context, text, start):
    """Where an answer stands in its context: at `start` if it does, else the occurrence that is nearest to it.

    Returns:
        the offset in characters; None when the context does not hold the text.
    """
    if start is not None and start >= 0 and text and context.startswith(text, start):
        return start
    found, at = [], context.find(text) if text else -1
    while at >= 0:
        found.append(at)
        at = context.find(text, at + 1)
    return min(found, key=lambda offset: abs(offset - (start or 0)), default=None)


class QuestionEncoder:
    """Chunks of `Question` -> arrays. Travels to the worker processes.

    Args:
        tokenizer: see `ernie.tokenization`.
        limits: `Limits`.
        training: whether labels are made, of the first answer. Its `answer_start` must be right (`locate_answer`).
        simplify: None, or a `Simplifier`.
    """

    def __init__(self, tokenizer, limits, training, simplify=None):
        self.tokenizer, self.limits, self.training, self.simplify = tokenizer, limits, training, simplify

    def __call__(self, questions):
        """-> dict: arrays `ids`, `lengths`, `split`, `windows`, `labels` of all windows of the chunk; `counts`, the
        windows of each question; `starts`, `ends`, `tokens` of the documents (not for training); and the numbers
        `long_questions`, `no_tokens`, `no_window`.
        """
        chunk = {name: [] for name in ('ids', 'lengths', 'split', 'windows', 'labels', 'counts')}
        chunk |= {'starts': [], 'ends': [], 'tokens': [], 'long_questions': 0, 'no_tokens': 0, 'no_window': 0}
        context = document = None
        for question in questions:
            text = self._simplified(question.question)
            ids = self.tokenizer.encode(text)
            chunk['long_questions'] += len(ids) > self.limits.max_query_length
            if self.training:
                self._add_training(chunk, question, ids)
                continue
            if question.context is not context:  # neighbours share their context
                context = question.context
                document = self.tokenizer.encode_aligned(self._simplified(context))
            self._add_rows(chunk, build_rows(ids, document.ids, self.limits, self.tokenizer.vocab))
            chunk['starts'] += document.starts
            chunk['ends'] += document.ends
            chunk['tokens'].append(len(document.ids))
        return {name: np.asarray(value) if isinstance(value, list) else value for name, value in chunk.items()}

    def _simplified(self, text):
        return self.simplify(text) if self.simplify else text

    def _add_training(self, chunk, question, ids):
        # The document in three pieces: a token never crosses the border of the answer, so its span is exact.
        context, span = self._simplified(question.context), None
        if question.answers:
            text, start = question.answers[0]
            pieces = (context[:start], context[start : start + len(text)], context[start + len(text) :])
            before, answer, after = map(self.tokenizer.encode, pieces)
            if not answer:
                chunk['no_tokens'] += 1
                chunk['counts'].append(0)
                return
            span = len(before), len(before) + len(answer) - 1
            document = [*before, *answer, *after]
        else:
            document = self.tokenizer.encode(context)
        rows = build_rows(ids, document, self.limits, self.tokenizer.vocab)
        labels = window_labels(span, rows)
        chunk['no_window'] += span is not None and all(label == (0, 0) for label in labels)
        self._add_rows(chunk, rows)
        chunk['labels'] += labels

    @staticmethod
    def _add_rows(chunk, rows):
        for ids in rows.ids:
            chunk['ids'] += ids
            chunk['lengths'].append(len(ids))
        chunk['split'] += [rows.split] * len(rows.ids)
        chunk['windows'] += rows.windows
        chunk['counts'].append(len(rows.ids))
