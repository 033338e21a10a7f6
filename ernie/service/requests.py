"""Requests of texts as JSON objects, for `ZmqListener`: the fields are those of /v1/classify and its sisters.

    {"texts": ["...", ["...", "..."], {"text_a": "...", "text_b": "..."}]}      or one of them as "text"
    {"items": [{"question": "...", "context": "..."}]}                          or "question" and "context"

beside them `model`, `top_k`, `min_confidence`, `timeout`, `normalize`. The answer is
`{"model", "results", "tokens", "truncated", "seconds": {"tokenizing", "queue", "inference"}}`.
"""

import math

import numpy as np

from ernie.tasks.codec import Selection
from propeller.errors import did_you_mean, quoted
from propeller.service.errors import ServiceError

_IS_COUNT = (lambda value: type(value) is int and 1 <= value <= 1_000_000, 'a whole number from 1')
_IS_TEXT = (lambda value: isinstance(value, str), 'a text')
# Name -> (test of a value, what is expected).
_OPTIONS = {
    'model': _IS_TEXT,
    'top_k': _IS_COUNT,
    'min_confidence': (lambda value: type(value) in (int, float) and 0 <= value <= 1, 'a share from 0 to 1'),
    'timeout': (lambda value: type(value) in (int, float) and 0 < value <= 1e6, 'seconds, more than 0'),
    'normalize': (lambda value: isinstance(value, bool), 'true or false'),
}
_GIVEN = ('text', 'texts', 'items', 'question', 'context')
_EXPECTED = 'one of text, texts, items, or question and context'


async def answer(service, request):
    """The answer to a request.

    Args:
        service: `TextService`.
        request: dict.
    Returns:
        dict for JSON.
    Raises:
        ServiceError: the request cannot be used; see `TextService.run`.
    """
    for name, value in request.items():
        if name not in (*_OPTIONS, *_GIVEN):
            raise _invalid(name, f'no such field.{did_you_mean(name, (*_OPTIONS, *_GIVEN))}')
        if name in _OPTIONS and value is not None and not _OPTIONS[name][0](value):
            raise _invalid(name, f'found {quoted(value, 80)}, expected {_OPTIONS[name][1]}.')
    get = request.get
    for name in ('texts', 'items'):
        if isinstance(get(name), list):
            service.core.check_texts(len(get(name)))  # before a record is made of each
    found = await service.run(
        get('model'), records_of(request), Selection(get('top_k'), get('min_confidence')), get('timeout'),
        get('normalize'),
    )  # fmt: skip
    return {
        'model': found.model.name,
        'results': [as_json(result) for result in found.results],
        'tokens': found.tokens,
        'truncated': found.truncated,
        'seconds': {name: round(value, 6) for name, value in found.seconds._asdict().items()},
    }


def records_of(request):
    """The records of a request, list of dicts. Raises `ServiceError`."""
    given = {name: request[name] for name in _GIVEN if request.get(name) is not None}
    if given.keys() == {'question', 'context'}:
        return [given]
    if len(given) != 1 or given.keys() <= {'question', 'context'}:
        raise ServiceError('invalid', f'found {" and ".join(given) or "no text"}, expected {_EXPECTED}.')
    ((name, values),) = given.items()
    if name == 'text':
        return [_record(values, 'text')]
    if not isinstance(values, list):
        raise _invalid(name, f'found a {type(values).__name__}, expected a list.')
    return [_record(value, f'{name}[{place}]') for place, value in enumerate(values)]


def _record(value, place):
    if isinstance(value, str):
        return {'text_a': value}
    if isinstance(value, list) and len(value) == 2:
        return dict(zip(('text_a', 'text_b'), value, strict=True))
    if isinstance(value, dict):
        return {name: text for name, text in value.items() if text is not None}
    raise _invalid(place, f'found {quoted(value, 80)}, expected a text, a pair of texts, or an object.')


def as_json(result):
    """A result for JSON: of vectors lists of numbers. Raises `ServiceError`: one of them is not finite."""
    if not isinstance(result, np.ndarray):
        finite = _is_finite(result)
    elif result.ndim == 1:
        result = result.tolist()
        finite = math.isfinite(sum(result))  # of float32: too small for an infinity of its own
    else:
        finite, result = np.isfinite(result).all(), result.tolist()
    if not finite:
        raise ServiceError('internal', 'the model gave a number that is not finite.')
    return result


def _is_finite(value):
    if isinstance(value, dict | list):
        return all(map(_is_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _invalid(name, text):
    return ServiceError('invalid', f'{name}: {text}')
