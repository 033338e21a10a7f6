"""A `TextService` without models, for the tests of what stands on it: results are made of the texts themselves."""

import asyncio
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ernie.inference.pooling import unit_length
from ernie.service.text import TextService
from ernie.tasks.codec import EVERYTHING
from propeller.service.core import Answer, Observer, Seconds, ServiceCore
from propeller.service.errors import ServiceError, beyond
from propeller.service.limits import Limits

HIDDEN, LONGEST = 12, 16
SLOW, BROKEN, FULL, LATE, ENDED = 'slow', 'broken', 'full', 'late', 'ended'  # texts with a meaning


class TextSeconds(NamedTuple):
    tokenizing: float
    queue: float
    inference: float


class TextAnswer(NamedTuple):
    results: list
    tokens: list
    truncated: list
    seconds: TextSeconds
    model: object


class Tokenizer:
    """A token for each character, its code."""

    vocab = {'[CLS]': 0, '[SEP]': 1, '[UNK]': 2} | {chr(i): i for i in range(32, 127)}
    inv_vocab = {index: token for token, index in vocab.items()}

    def encode_aligned(self, text):
        ids = [self.vocab.get(character, 2) for character in text]
        return SimpleNamespace(ids=ids, starts=list(range(len(ids))), ends=list(range(1, len(ids) + 1)))


class Model:
    """Results of a task, of the lengths of texts."""

    def __init__(self, name, task, labels=('neg', 'pos')):
        self.name, self.task, self.tokenizer, self.normalize = name, task, Tokenizer(), False
        self.labels = list(labels) if task in ('classify', 'multilabel') else None
        self.pooling = 'mean' if task == 'embed' else None
        self.settings = {'max_seq_len': LONGEST}
        self.config = SimpleNamespace(vocab_size=128, sentence_types=2)
        self.info = {'task': task, 'max_seq_len': LONGEST, 'labels': self.labels, 'hidden_size': HIDDEN}
        self.info |= {'engine': 'predictor', 'precision': 'fp32', 'vocab_size': 128, 'pooling': self.pooling}

    def check_selection(self, selection):
        if selection.top_k is not None and self.task in ('tag', 'embed', 'regression'):
            raise ServiceError('invalid', f'top_k {selection.top_k}: this task has no classes to rank.')

    def vector_of(self, number):
        return np.cos(np.arange(HIDDEN) + number).astype(np.float32)

    def vector(self, outputs, normalize=None):
        return self.vector_of(int(outputs[0][0]))

    def result(self, record, number):
        if self.task == 'embed':
            return self.vector_of(number)
        if self.task in ('classify', 'multilabel'):
            p = round(1 / (1 + number), 4)
            probabilities = dict(zip(self.labels, [p] + [(1 - p) / (len(self.labels) - 1)] * 8, strict=False))
            best = max(probabilities, key=probabilities.get)
            chosen = {'label': best} if self.task == 'classify' else {'labels': [best]}
            return chosen | {'probabilities': probabilities}
        if self.task == 'regression':
            return {'value': float(number)}
        if self.task == 'tag':
            text = record['text_a']
            entity = {'type': 'PER', 'text': text[:2], 'start': 0, 'end': 2, 'confidence': 0.75}
            return {'text': text, 'entities': [entity]}
        best = {'start': 0, 'end': 2, 'probability': 0.5}
        span = {'text': record['context'][:2], 'start_logit': 1.0, 'end_logit': 2.0} | best
        return {'answer': record['context'][:2]} | best | {'n_best': [span]}

    def decode(self, record, encoded, outputs, selection=EVERYTHING):
        return self.result(record, int(outputs[0][0][0]))


class Core:
    def __init__(self, limits):
        self.limits, self.observer, self.ready, self.workers_up, self.queue_tokens = limits, Observer(), True, 2, 0
        self.wait = 0

    def check_texts(self, count):
        if count > self.limits.max_texts:
            raise self.refused(beyond('max_texts', count, self.limits.max_texts, 'texts'))

    refused = ServiceCore.refused

    def check_open(self):
        if not self.ready:
            raise self.refused(ServiceError('unavailable', 'the server is going down.', retry_after=1))

    def check_room(self, tokens, timeout=None):
        """`wait`: seconds that a new request would have to; None: there is no room, whatever it says."""
        most = ServiceCore.seconds(self, timeout) / 2
        if self.wait is None or self.wait > most:
            raise self.refused(ServiceError('overloaded', f'more than {most:g} s of work wait.', None, 2))

    async def submit(self, model, contents, timeout=None, texts=None):
        return Answer([[np.float32([len(row.ids)])] for row in contents], Seconds(0.001, 0.002))


class Service:
    """models: list of `Model`. computed: the records of requests that were computed to their end. pause: seconds of a
    text that is slow."""

    def __init__(self, models=None, limits=None):
        models = models or [
            Model('mood', 'classify'),
            Model('names', 'tag'),
            Model('reader', 'answer'),
            Model('vectors', 'embed'),
        ]
        self.models, self.core = {model.name: model for model in models}, Core(limits or Limits())
        self.threads, self.max_chars = 1, 40
        self.computed, self.begun, self.pause = [], 0, 5.0

    size_of = TextService.size_of

    async def each(self, function, sizes, admit=False):
        return [function(place) for place in range(len(sizes))]

    async def run(self, name, records, selection=EVERYTHING, timeout=None, normalize=None, truncate=True, beside=0):
        model, self.begun = self.models[name], self.begun + 1
        self.core.check_texts(len(records) - beside)
        texts = [''.join(record.values()) for record in records]
        for text in texts:
            if not text.strip():
                raise ServiceError('invalid', 'found an empty text as text_a, expected some text.')
        if BROKEN in texts:
            raise RuntimeError('a secret of the server')
        if ENDED in texts:
            raise asyncio.CancelledError
        if FULL in texts:
            limit = {'name': 'queue_tokens', 'value': 10, 'found': 11}
            raise ServiceError('overloaded', '10 tokens wait already, of 10 (--queue_tokens).', limit, 3)
        if LATE in texts:
            raise ServiceError('expired', 'not computed within 1 s.', {'name': 'timeout', 'value': timeout})
        if not truncate and max(map(len, texts)) + 2 > LONGEST:
            raise ServiceError('too_large', f'found more than {LONGEST} tokens, and truncate is false.')
        if SLOW in texts:
            await asyncio.sleep(self.pause)
        self.computed.extend(records)
        lengths = [min(len(text) + 2, LONGEST) for text in texts]
        results = [model.result(record, n) for record, n in zip(records, lengths, strict=True)]
        if model.task == 'embed' and results and normalize:
            results = list(unit_length(np.stack(results)))
        truncated = [len(text) + 2 > LONGEST for text in texts]
        return TextAnswer(results, lengths, truncated, TextSeconds(0.001, 0.002, 0.003), model)
