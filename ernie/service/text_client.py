"""Clients that send texts: the server tokenizes, and no vocabulary is needed here. JSON over ZeroMQ."""

import json

import numpy as np

from ernie.tasks.codec import Selection
from propeller.errors import UserError, quoted
from propeller.service import calls
from propeller.service.calls import InferenceError
from propeller.service.client import AsyncInferenceClient, InferenceClient
from propeller.service.errors import ServiceError


class TextClient(InferenceClient):
    """The models of `ernie serve --port`, or of `encoder_server.py --text`, as functions of texts.

    Args:
        host, port: of the server.
        model: its name; None: the only one that is served.
        batch_size: texts of a request.
        num_coroutine: requests under way at once.
        timeout: seconds after which a request without an answer fails, and the call with it.
        security: `auth_token`, `server_key`, `client_key`, see `InferenceClient`.
    """

    def __init__(
        self, host='localhost', port=8888, model=None, batch_size=32, num_coroutine=1, timeout=10.0, **security
    ):
        super().__init__(f'tcp://{host}:{port}', batch_size, num_coroutine, timeout, model=model, **security)

    def __call__(self, inputs, *, top_k=None, min_confidence=None, normalize=None, model=None):
        """The results of texts.

        Args:
            inputs: a text, a pair (tuple) or a record (dict with `text_a` and `text_b`, or `question` and
                `context`), or a list of them.
            top_k, min_confidence: see `ernie.load`.
            normalize: of vectors: whether they get length 1; None: as the server does.
            model: name of the model for this call; None: that of the client.
        Returns:
            as `ernie.load` gives it: a dict, for vectors float32 [H]; of a list a list of dicts, or float32 [N, H].
        Raises:
            ValueError: an input that is no text.
            InferenceError: a request failed.
        """
        options = Selection(top_k, min_confidence)._asdict() | {'normalize': normalize, 'model': model}
        return _results(inputs, self._ask(_messages(self, inputs, options), decoded))


class AsyncTextClient(AsyncInferenceClient):
    """`TextClient` for asyncio: `await client(texts)`. The arguments are the same."""

    def __init__(
        self, host='localhost', port=8888, model=None, batch_size=32, num_coroutine=1, timeout=10.0, **security
    ):
        super().__init__(f'tcp://{host}:{port}', batch_size, num_coroutine, timeout, model=model, **security)

    async def __call__(self, inputs, *, top_k=None, min_confidence=None, normalize=None, model=None):
        """See `TextClient.__call__`."""
        options = Selection(top_k, min_confidence)._asdict() | {'normalize': normalize, 'model': model}
        return _results(inputs, await self._ask(_messages(self, inputs, options), decoded))


def _messages(client, inputs, options):
    """The messages of a call, list of bytes."""
    values = inputs if isinstance(inputs, list) else [inputs]
    records = [_record(value, place) for place, value in enumerate(values, start=1)]
    options['model'] = client.model if options['model'] is None else calls.check_model(options['model'])
    options |= {'timeout': client.timeout, 'token': client._token}
    options = {name: value for name, value in options.items() if value is not None}
    size = client.batch_size
    return [_encoded({'texts': records[at : at + size], **options}) for at in range(0, len(records), size)]


def _record(value, place):
    if isinstance(value, tuple):
        value = list(value)
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts) or isinstance(value, list) and len(value) != 2:
        expected = 'a text, a pair (tuple of two), or a dict of texts'
        raise UserError(f'input {place}: found {quoted(value, 60)} ({type(value).__name__}), expected {expected}.')
    return value


def _encoded(request):
    try:
        return json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError('an input has half of a surrogate pair, expected texts.') from None


def decoded(content):
    """The results of an answer. Raises `InferenceError`: it is an error, or no message."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get('error'), dict):
        raise InferenceError.of(ServiceError.from_dict(answer['error']))
    if not isinstance(answer, dict) or not isinstance(answer.get('results'), list):
        return _other(content)
    return answer['results']


def _other(content):
    """An answer that is no JSON: a server that takes arrays alone says so in its own form."""
    calls.decoded(content)
    raise InferenceError('malformed', 'Client call failed: the answer is no JSON object with results.')


def _results(inputs, answers):
    results = [result for answer in answers for result in answer]
    if results and isinstance(results[0], list):
        results = (
            np.array(results, np.float32) if np.ndim(results[0]) == 1 else [np.array(r, np.float32) for r in results]
        )
    return results if isinstance(inputs, list) else results[0]
