"""JSON of requests and answers."""

import json

import numpy as np

from propeller.errors import one_line
from propeller.service.errors import ServiceError

_DEEPEST = 32


def parse(body):
    """The value of a JSON text.

    Args:
        body: bytes.
    Raises:
        ServiceError: it is none: not UTF-8, not JSON, with NaN or Infinity, or nested more than 32 deep.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except UnicodeDecodeError as e:
        raise ServiceError('malformed', f'byte {e.start + 1} of the body is not UTF-8.') from None
    except RecursionError:
        raise ServiceError('malformed', f'JSON nested more than {_DEEPEST} deep.') from None
    except json.JSONDecodeError as e:
        where = f'line {e.lineno}, column {e.colno}'
        raise ServiceError('malformed', f'the body is not JSON ({where}: {one_line(e.msg, 100)}).') from None
    except ValueError as e:  # of `_refuse`, and of whole numbers with thousands of digits
        raise ServiceError('malformed', f'the body is not JSON ({one_line(e, 100)}).') from None
    if body.count(b'[') + body.count(b'{') > _DEEPEST and _is_deep(value):
        raise ServiceError('malformed', f'JSON nested more than {_DEEPEST} deep.')
    return value


def _refuse(name):
    raise ValueError(f'{name} is no JSON')


def _is_deep(value):
    level = [[value]]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


def dump(value):
    """The JSON text of a value, bytes.

    Raises:
        ServiceError: a number in it is not finite.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    except ValueError:
        raise ServiceError('internal', 'the model gave a number that is not finite.') from None
    return text.encode('utf-8', 'backslashreplace')


def dump_vectors(vectors):
    """The JSON text of a list of vectors, bytes; much faster than `dump`.

    Args:
        vectors: float32 [N, H], or a list of arrays.
    Raises:
        ServiceError: a number in them is not finite.
    """
    from pydantic_core import to_json

    if not all(np.isfinite(vector).all() for vector in vectors):
        raise ServiceError('internal', 'the model gave a number that is not finite.')
    return to_json([vector.tolist() for vector in vectors])


def joined(fields, name, content):
    """The JSON text of a dict with one field more, whose text is there already, at its end.

    Args:
        fields: dict with one field at least.
        name: of the further field.
        content: bytes.
    """
    return dump(fields)[:-1] + b',' + dump(name) + b':' + content + b'}'
