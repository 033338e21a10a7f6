"""`TextService`: texts in, results out, over the core of a server. Texts are prepared and results read in threads."""

import asyncio
import concurrent.futures
import itertools
from typing import NamedTuple

from ernie.service.models import EMBED
from ernie.tasks.codec import EVERYTHING
from propeller.service.errors import ServiceError

MAX_CHARS = 200_000
# Characters that are handed to a thread at once; others get their turn then.
_SLICE = 20_000
# Going to a thread and back takes as long as tokenizing so many characters, and what is so short holds up nobody.
_SHORT = 256


class TextSeconds(NamedTuple):
    """Where the time of a request went: until its tokens were there, in the queue, in the workers."""

    tokenizing: float
    queue: float
    inference: float


class TextAnswer(NamedTuple):
    """Results of a request.

    Attributes:
        results: list in the order of the records: dicts for JSON; of 'embed' float32 [H].
        tokens: list of int, tokens of each record.
        truncated: list of bool, whether something of the record was left out because of its length.
        seconds: `TextSeconds`.
        model: `TextModel`.
    """

    results: list
    tokens: list
    truncated: list
    seconds: TextSeconds
    model: object


class TextService:
    """Models of a server as functions of texts. All calls come from the event loop of its core.

    Args:
        core: `ServiceCore` over `TextModel`s.
        threads: threads that tokenize.
        max_chars: characters of a text.
    Attributes:
        models: dict name -> `TextModel`.
        threads, max_chars: as given.
    """

    def __init__(self, core, threads=1, max_chars=MAX_CHARS):
        self.core, self.threads, self.max_chars = core, threads, max_chars
        self._threads = concurrent.futures.ThreadPoolExecutor(threads, 'tokenize')
        self._waiting = 0  # characters that wait for a thread, or are in one

    @property
    def models(self):
        return self.core.models

    async def run(self, name, records, selection=EVERYTHING, timeout=None, normalize=None, truncate=True, beside=0):
        """The results of records.

        A cancelled call is one whose client has gone: what is not done of it by then is dropped.

        Args:
            name: of the model; None: the only one there is.
            records: list of dicts as `ernie.load` takes them: `text_a`, `text_b`, or `question` and `context`.
            selection: `Selection`.
            timeout: seconds; None is that of the limits.
            normalize: of vectors: whether they get length 1; None: as the model's `normalize` says.
            truncate: whether what is longer than the model reads is cut; False: it is refused.
            beside: how many of the records the limit of texts does not count, as the one that others are compared with.
        Returns:
            `TextAnswer`.
        Raises:
            ServiceError: see `ServiceCore.submit`; 'invalid' for what the model cannot use, with the text's number;
                'too_large' for what may not be cut.
        """
        core, loop = self.core, asyncio.get_running_loop()
        began, model = loop.time(), core.model(name)
        texts = len(records) - beside
        core.check_texts(texts)
        model.check_selection(selection)
        if normalize is not None and model.task != EMBED:
            raise ServiceError('invalid', f'normalize: {model.name} ({model.task}) gives no vectors. Leave it out.')
        sizes = [self.size_of(record, place, len(records)) for place, record in enumerate(records)]
        core.check_open()
        timeout = core.seconds(timeout)
        core.check_room(len(records), timeout)
        encoded = await self._prepared(model, records, sizes, timeout)
        if not truncate:
            self._check_whole(model, encoded)
        tokenized = loop.time()
        rows = [row for one in encoded for row in one.rows]
        answer = await core.submit(model, rows, max(timeout - (tokenized - began), 1e-3), texts)
        outputs = _shared_out(answer.results, encoded)
        if model.task == EMBED:
            results = [model.vector(of_text, normalize) for (of_text,) in outputs]
        else:
            read = lambda place: model.decode(records[place], encoded[place], outputs[place], selection)  # noqa: E731
            results = await self.each(read, sizes)
        tokens, truncated = [one.tokens for one in encoded], [one.truncated for one in encoded]
        return TextAnswer(results, tokens, truncated, TextSeconds(tokenized - began, *answer.seconds), model)

    def size_of(self, record, place, count):
        """Characters of a record, and one for itself.

        Args:
            record: dict of texts.
            place, count: its place among so many, for messages.
        Raises:
            ServiceError: it is no dict, or a text has more than `max_chars`.
        """
        if not isinstance(record, dict):
            raise numbered(ServiceError('invalid', f'found a {type(record).__name__}, expected a text.'), place, count)
        sizes = [_length(value) for value in record.values()]
        if sizes and max(sizes) > self.max_chars:
            limit = {'name': 'max_chars', 'value': self.max_chars, 'found': max(sizes)}
            message = f'{max(sizes):,} characters, where at most {self.max_chars:,} are taken (--max_chars).'
            raise numbered(ServiceError('too_large', message, limit), place, count)
        return sum(sizes) + 1

    def close(self):
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _prepared(self, model, records, sizes, timeout):
        """`Encoded` of each record."""
        prepare = lambda place: _encoded(model, records, place)  # noqa: E731
        if sum(sizes) <= _SHORT:
            return [prepare(place) for place in range(len(records))]
        try:
            async with asyncio.timeout(timeout):
                return await self.each(prepare, sizes, admit=True)
        except TimeoutError:
            limit = {'name': 'timeout', 'value': timeout}
            error = ServiceError('expired', f'not computed within {timeout:g} s.', limit)
            raise self.core.refused(error) from None

    def _check_whole(self, model, encoded):
        """Raises `ServiceError`: something of a record was left out."""
        for place, one in enumerate(encoded):
            if one.truncated:
                longest = model.info['max_seq_len']
                message = f'found more than {longest} tokens, and truncate is false.'
                error = ServiceError('too_large', message, {'name': 'max_seq_len', 'value': longest})
                raise self.core.refused(numbered(error, place, len(encoded)))

    async def each(self, function, sizes, admit=False):
        """[function(0), function(1), ...]: a few short ones at once, all others in slices that threads take in turn.

        sizes: characters that each has to do with. admit: whether too much that waits is a reason to refuse it.
        """
        total, results = sum(sizes), []
        if total <= _SHORT:
            return [function(place) for place in range(len(sizes))]
        most = 4 * self.core.limits.queue_tokens
        if admit and self._waiting and self._waiting + total > most:
            limit = {'name': 'queue_tokens', 'value': self.core.limits.queue_tokens, 'found': self._waiting + total}
            message = f'{self._waiting:,} characters wait to be tokenized, of {most:,} (4 times --queue_tokens).'
            raise self.core.refused(ServiceError('overloaded', message, limit, 1))
        loop, given_up = asyncio.get_running_loop(), []
        self._waiting += total
        try:
            for places in _slices(sizes):
                work = lambda places=places: [None if given_up else function(place) for place in places]  # noqa: E731
                results += await loop.run_in_executor(self._threads, work)
        except BaseException:
            given_up.append(True)
            raise
        finally:
            self._waiting -= total
        return results


def numbered(error, place, count):
    """The error of a text, with its number where there are several."""
    if count == 1:
        return error
    return ServiceError(error.code, f'text {place + 1}: {error}', error.limit, error.retry_after)


def _encoded(model, records, place):
    try:
        return model.encode(records[place])
    except ServiceError as e:
        raise numbered(e, place, len(records)) from None


def _length(value):
    if isinstance(value, str | bytes):
        return len(value)
    return sum(map(_length, value)) if isinstance(value, list) else 0


def _slices(sizes):
    """Ranges of places, each of `_SLICE` characters or a single longer one."""
    first, size = 0, 0
    for place, more in enumerate(sizes):
        if place > first and size + more > _SLICE:
            yield range(first, place)
            first, size = place, 0
        size += more
    yield range(first, len(sizes))


def _shared_out(results, encoded):
    """For each of `encoded` the list of the results of its rows."""
    results = iter(results)
    return [list(itertools.islice(results, len(one.rows))) for one in encoded]
