"""From a request to the call of a model and back: what the routes of all protocols share."""

import asyncio
import concurrent.futures
import functools

from ernie.service.http.errors import HttpError, WrongTask, of_validation
from propeller.errors import one_of, quoted
from propeller.service.errors import ServiceError
from propeller.service.json_text import SMALL, parse

JSON = 'application/json'
CLASSIFYING = ('classify', 'multilabel', 'regression')
_ROUTES = dict.fromkeys(CLASSIFYING, '/v1/classify') | {'tag': '/v1/tag', 'answer': '/v1/answer', 'embed': '/v1/embed'}


_READER = concurrent.futures.ThreadPoolExecutor(1, 'read')  # one: each that computes keeps the event loop waiting


async def request_of(kind, visit, bounds):
    """The content of a request, checked.

    Args:
        kind: subclass of `pydantic.BaseModel`.
        visit: `Visit` with its body.
        bounds: `Bounds` of the body.
    Raises:
        ServiceError: it is not what it should be.
    """
    essence = visit.header(b'content-type').partition(b';')[0].strip().lower()
    if essence not in (b'application/json', b''):
        advice = "Send `Content-Type: application/json` (curl: --json '...', or -H 'Content-Type: application/json')."
        found = quoted(essence.decode('latin-1'), 60)
        raise HttpError(415, 'malformed', f'Content-Type: found {found}, expected application/json. {advice}')
    if visit.header(b'content-encoding') not in (b'identity', b''):
        raise HttpError(415, 'malformed', 'Content-Encoding: bodies are taken as they are, not compressed.')
    body, visit.body = visit.body, None  # while it waits, a request is in memory once
    if len(body) <= SMALL:
        return _read(kind, body, bounds)
    return await asyncio.get_running_loop().run_in_executor(_READER, _read, kind, body, bounds)


def _read(kind, body, bounds):
    from pydantic import ValidationError

    value = parse(body, bounds)
    if not isinstance(value, dict):
        raise ServiceError('invalid', f'the request: found {quoted(value, 80)}, expected a JSON object.')
    try:
        return kind.model_validate(value)
    except ValidationError as e:
        raise of_validation(e.errors(include_url=False), list(kind.model_fields)) from None


def choose(service, name, tasks):
    """The `TextModel` for a request.

    Args:
        service: `TextService`.
        name: of the model; None: the only one for these tasks.
        tasks: what the route is for.
    Raises:
        ServiceError: there is none, there are several, or it is for something else.
    """
    fit = [model for model in service.models.values() if model.task in tasks]
    if name is None:
        if len(fit) == 1:
            return fit[0]
        if not fit:
            served = ', '.join(f'{model.name} ({model.task})' for model in service.models.values())
            raise WrongTask(f'no model here is for {" or ".join(tasks)}; there is {served}.')
        names = ', '.join(model.name for model in fit)
        raise ServiceError('not_found', f'`model` is missing, and there are several: {names}.')
    if name not in service.models:
        raise ServiceError('not_found', f'model {quoted(name, 60)}: expected {one_of(name, service.models)}')
    model = service.models[name]
    if model not in fit:
        route = _ROUTES.get(model.task)
        advice = f' {route} is the route for it.' if route else ''
        raise WrongTask(f'model {name} is for {model.task}; this route is for {" or ".join(tasks)}.{advice}')
    return model


def check_count(service, count):
    """Refuse too many texts before anything is made of them. Raises `ServiceError`."""
    service.core.check_texts(count)


def text_of(value, place):
    """A text of a request. place: where it stands, for messages.

    Raises:
        ServiceError: it is none.
    """
    if not isinstance(value, str):
        raise ServiceError('invalid', f'{place}: found {quoted(value, 80)}, expected a text.')
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as e:
            message = f'{place}: character {e.start + 1} is half of a surrogate pair, which is no text.'
            raise ServiceError('invalid', message) from None
    return value


def some_text_of(value, place):
    """`text_of` for a text that may not be empty, where the record has another name for it than the request."""
    if not text_of(value, place).strip():
        raise ServiceError('invalid', f'{place}: found an empty text, expected some text.')
    return value


def record_of(value, place):
    """A text, a pair of texts (list) or an object with `text_a` and perhaps `text_b` as a record for `TextService`.

    Raises:
        ServiceError: it is none of these.
    """
    if isinstance(value, str):
        return {'text_a': text_of(value, place)}
    if isinstance(value, list) and len(value) == 2:
        return {name: text_of(part, f'{place}[{i}]') for i, (name, part) in enumerate(zip(_PAIR, value, strict=True))}
    if isinstance(value, dict) and 'text_a' in value and value.keys() <= set(_PAIR):
        given = {name: part for name, part in value.items() if part is not None}
        return {name: text_of(part, f'{place}.{name}') for name, part in given.items()}
    expected = 'a text, a pair [text, text] or an object with text_a and perhaps text_b'
    raise ServiceError('invalid', f'{place}: found {quoted(value, 80)}, expected {expected}.')


_PAIR = ('text_a', 'text_b')


def answered(body, seconds=None):
    """The response with a body of JSON.

    Args:
        body: bytes.
        seconds: None, or `TextSeconds`: told in headers.
    """
    headers = []
    if seconds is not None:
        headers = [
            (b'x-tokenize-seconds', b'%.6f' % seconds.tokenizing),
            (b'x-queue-seconds', b'%.6f' % seconds.queue),
            (b'x-inference-seconds', b'%.6f' % seconds.inference),
        ]
    headers += ((b'content-length', b'%d' % len(body)), (b'content-type', JSON.encode()))
    response = _response_class()()
    response.raw_headers, response.body = headers, body
    return response


@functools.cache
def _response_class():
    from starlette.responses import Response

    class Made(Response):
        """A response whose parts are made elsewhere."""

        def __init__(self):
            self.status_code, self.background = 200, None

    return Made
