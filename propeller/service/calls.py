"""What clients of arrays share: a call is cut into requests, and their answers are put together."""

import numpy as np

from propeller.errors import UserError, quoted
from propeller.service import slots
from propeller.service.errors import ServiceError


class InferenceError(ServiceError, RuntimeError):
    """A call that failed; its `code` says why. 2019's clients raised RuntimeError, which it is too."""

    @classmethod
    def of(cls, error):
        """The same error, as one of a call."""
        return cls(error.code, f'Client call failed: {error}', error.limit, error.retry_after)


def check_arrays(arrays):
    """Raises ValueError: nothing is given, or something that is no array."""
    if not arrays:
        raise UserError('expected arrays, found none.')
    for place, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise UserError(f'argument {place}: expected a numpy array, found {type(array).__name__}.')


def cut(arrays, batch_size):
    """The requests of a call: list of lists of arrays, of `batch_size` rows at most.

    Raises:
        ValueError: the arrays have not the same number of rows, or none.
    """
    check_arrays(arrays)
    counts = [len(array) if array.ndim else 0 for array in arrays]
    if len(set(counts)) > 1 or not counts[0]:
        raise UserError(f'expected arrays of one number of rows, found {", ".join(map(str, counts))}.')
    return [[array[at : at + batch_size] for array in arrays] for at in range(0, counts[0], batch_size)]


def check_model(name):
    """A name of a model, or None. Raises ValueError: it is none."""
    if name is not None and not (isinstance(name, str) and name.encode(errors='ignore').decode() == name != ''):
        raise UserError(f'model: found {quoted(name, 60)} ({type(name).__name__}), expected the name of a model.')
    return name


def encoded(arrays, timeout, token, model=None):
    """The message of a request. Raises `InferenceError`: a type that messages have not."""
    try:
        return slots.encode(arrays) + slots.encode_options(timeout, token, model)
    except UserError as e:
        raise InferenceError('invalid', f'Client call failed: {e}') from None


def decoded(content, model=None):
    """The arrays of an answer.

    Args:
        content: bytes.
        model: that the request named; None: it did not.
    Raises:
        InferenceError: it is an error, or no message, or of a server that does not know models by name.
    """
    try:
        arrays = slots.decode(content)
        heeded = model is None or slots.decode_options(content).get('model') == model
    except ServiceError as e:
        raise InferenceError.of(e) from None
    except UserError as e:
        raise InferenceError('malformed', f'Client call failed: the answer is no Slots message: {e}') from None
    if not heeded:
        text = f'Client call failed: the server knows no models by name, and {quoted(model, 60)} was asked for.'
        raise InferenceError('not_found', f'{text} Leave model out if it has that one only.')
    return arrays


def joined(answers):
    """One list of arrays of the answers of all requests, in order.

    Raises:
        InferenceError: they do not fit together.
    """
    try:
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]
    except ValueError as e:
        raise InferenceError('malformed', f'Client call failed: the answers do not fit together: {e}') from None


def silent(address, seconds, connected):
    """The error of a request that has no answer in time."""
    found = 'the server does not answer' if connected else 'no server takes connections there'
    text = f'Client call failed: no answer within {seconds:g} s: {found} ({address}).'
    return InferenceError('expired' if connected else 'unavailable', text)


def ended(address):
    """The error of a request whose connection ended."""
    text = f'Client call failed: the connection to {address} ended: the server went, or the message was too large.'
    return InferenceError('unavailable', text)


def refused(address):
    """The error of a connection that ended with the handshake."""
    text = (
        f'Client call failed: {address} does not take the keys of this client (server_key, client_key), or needs some.'
    )
    return InferenceError('unauthorized', text)
