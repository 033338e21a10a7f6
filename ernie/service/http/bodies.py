"""JSON of answers."""

import asyncio
import json

import numpy as np

from propeller.service.errors import ServiceError

_NUMBERS_AT_ONCE = 8192


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


async def vector_texts(vectors):
    """The JSON text of each of the vectors, list of bytes; the event loop has its turn after each millisecond or so.

    Args:
        vectors: list of float32 arrays.
    Raises:
        ServiceError: a number in them is not finite.
    """
    texts, numbers = [], 0
    for vector in vectors:
        if numbers > _NUMBERS_AT_ONCE:
            await asyncio.sleep(0)
            numbers = 0
        texts.append(dump_vectors([vector])[1:-1])
        numbers += vector.size
    return texts


def joined(fields, name, content):
    """The JSON text of a dict with one field more, whose text is there already, at its end.

    Args:
        fields: dict with one field at least.
        name: of the further field.
        content: bytes.
    """
    return dump(fields)[:-1] + b',' + dump(name) + b':' + content + b'}'
