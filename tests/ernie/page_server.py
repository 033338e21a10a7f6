"""A server for the web page: the real application over models of all tasks that answer by rule."""

import asyncio
import contextlib
import math
import threading

import numpy as np

from ernie.service.http.app import create_app
from ernie.service.http.listener import HttpListener
from propeller.service.errors import ServiceError
from propeller.service.limits import Limits
from propeller.service.security import Security
from tests.ernie import fake_text_service

MANY = [f'意图{n}' for n in range(57)]
TOPICS = {'价格': 0.031, '服务': 0.973, '位置': 0.502, '卫生': 0.48, '早餐': 0.00012}
NAMES = {
    'PER': ('李彦宏', '邓小平', '福田赳夫', 'Angela Merkel', 'Tim Cook', '𠮷田', '王菲'),
    'LOC': ('北京', '海淀区', '日本', '东京', 'Berlin', '香港'),
    'ORG': ('百度', 'Apple'),
    'TIME': ('2000年', '1978年10月', 'Monday'),
}
ANSWERS = ('8848.86米', 'nine', '𠮷田町')
LONGEST = 96
SENTENCES = 8  # that the server takes at once
REFUSED = {
    '422': ServiceError('invalid', 'found <b>half</b> of a pair, expected a text.'),
    '429': ServiceError('overloaded', '262,000 tokens wait already, of 262,144 (--queue_tokens).', retry_after=3),
    '503': ServiceError('unavailable', 'no worker answers at the moment.', retry_after=5),
    '504': ServiceError('expired', 'not computed within 30 s.'),
}


class Model(fake_text_service.Model):
    def __init__(self, name, task, labels=None, columns=('text_a',), **info):
        super().__init__(name, task)
        self.info = {
            'task': task,
            'max_seq_len': LONGEST,
            'labels': labels,
            'columns': columns and list(columns),
        } | info
        self.labels = labels

    def result(self, record, number):
        text = ''.join(record.values())
        if self.task == 'embed':
            return vector(text)
        if self.task == 'tag':
            return tagged(text)
        if self.task == 'answer':
            return answered(record['context'])
        if self.task == 'regression':
            return {'value': 4.251374}
        if self.task == 'multilabel':
            return {'labels': [name for name, share in TOPICS.items() if share >= 0.5], 'probabilities': TOPICS}
        scores = [math.exp(3 * math.sin(1.7 * n + len(text))) for n in range(len(self.labels))]
        probabilities = {label: score / sum(scores) for label, score in zip(self.labels, scores, strict=True)}
        return {'label': max(probabilities, key=probabilities.get), 'probabilities': probabilities}


def tagged(text):
    entities = [
        {'type': kind, 'text': name, 'start': start, 'end': start + len(name), 'confidence': 0.9 + len(name) / 200}
        for kind, names in NAMES.items()
        for name in names
        if (start := text.find(name)) >= 0
    ]
    return {'text': text, 'entities': sorted(entities, key=lambda entity: entity['start'])}


def answered(context):
    found = next((name for name in ANSWERS if name in context), None)
    if found is None:
        return {'answer': '', 'start': None, 'end': None, 'probability': 0.91, 'n_best': []}
    start = context.index(found)
    place = {'start': start, 'end': start + len(found), 'probability': 0.87}
    other = {'text': context[:5], 'start': 0, 'end': 5, 'probability': 0.06}
    none = {'text': '', 'start': None, 'end': None, 'probability': 0.02}
    return {'answer': found} | place | {'n_best': [{'text': found} | place, other, none]}


def vector(text, width=384):
    """Counts of characters, hashed: texts of like characters are near."""
    found = np.zeros(width, np.float32)
    for character in text.lower():
        found[ord(character) * 2654435761 % width] += 1
    return found


def models():
    """A model for each task, with names that a server may give."""
    return [
        Model('点评', 'classify', ['好评', '差评', '中性'], engine='openvino', precision='bf16'),
        Model('intent', 'classify', MANY),
        Model('pairs', 'classify', ['different', 'same'], ('text_a', 'text_b')),
        Model('topics', 'multilabel', list(TOPICS), columns=None),
        Model('stars', 'regression'),
        Model('people', 'tag', sorted(NAMES)),
        Model('reader', 'answer', columns=('question', 'context')),
        Model('e5zh', 'embed', columns=None, hidden_size=384, pooling='mean', encoder='ernie'),
    ]


class Service(fake_text_service.Service):
    """asked: the records of all requests. Some texts are refused, by their names in `REFUSED`."""

    def __init__(self):
        super().__init__(models(), Limits(max_texts=SENTENCES))
        self.asked, self.pause = [], 60.0

    async def run(self, name, records, *settings, **more):
        self.asked += records
        if error := REFUSED.get(next(iter(records[0].values()))):
            raise error
        answer = await super().run(name, records, *settings, **more)
        lengths = [2 + sum(map(len, record.values())) for record in records]
        cut = [length > LONGEST for length in lengths]
        return answer._replace(tokens=[min(length, LONGEST) for length in lengths], truncated=cut)


@contextlib.contextmanager
def serving(service, token=None, port=0):
    """The application in a thread of its own. Yields its address."""
    loop, listener = asyncio.new_event_loop(), HttpListener(create_app(service, Security(token)), port=port)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    call = lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(30)  # noqa: E731
    call(listener.start())
    try:
        yield listener.address
    finally:
        call(listener.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
