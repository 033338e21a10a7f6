"""What a client is told where it gets no result: a `ServiceError` in the form of each protocol."""

import math

from ernie.service.http.bodies import dump
from propeller.service.errors import ServiceError

OPENAI_ROUTES = ('/v1/embeddings', '/v1/models')
TEI_ROUTES = ('/embed', '/predict', '/rerank', '/similarity', '/tokenize', '/info')
_TEI_TYPES = {'overloaded': 'Overloaded', 'unavailable': 'Unhealthy', 'internal': 'Backend', 'expired': 'Backend'}
_OPENAI_TYPES = {
    'unauthorized': 'authentication_error',
    'overloaded': 'rate_limit_error',
    'internal': 'server_error',
    'unavailable': 'server_error',
    'expired': 'server_error',
}


class HttpError(ServiceError):
    """A `ServiceError` whose HTTP status is another than that of its code.

    Args:
        status: HTTP status.
        headers: dict of further headers of the answer.
    """

    def __init__(self, status, code, message, limit=None, headers=None):
        super().__init__(code, message, limit)
        self._status, self.headers = status, headers or {}

    @property
    def status(self):
        return self._status


class WrongTask(ServiceError):
    """The model exists, but is for something else."""

    def __init__(self, message):
        super().__init__('invalid', message)


def answer_to(error, path):
    """What is sent for an error: (status, dict of headers, bytes). path: of the request; protocols differ."""
    status, fields = error.status, error.to_dict()
    if path in OPENAI_ROUTES or path.startswith('/v1/models/'):
        kind = _OPENAI_TYPES.get(error.code, 'invalid_request_error')
        body = {'error': {'message': fields.pop('message'), 'type': kind, 'param': None} | fields}
    elif path in TEI_ROUTES:
        # 424 is that server's word for a model of another kind.
        status = 424 if isinstance(error, WrongTask) else status
        kind = 'Backend' if isinstance(error, WrongTask) else _TEI_TYPES.get(error.code, 'Validation')
        body = {'error': fields['message'], 'error_type': kind} | _limit(fields)
    elif path == '/v2' or path.startswith('/v2/'):
        body = {'error': fields['message']} | _limit(fields)
    else:
        body = {'error': fields}
    headers = {'Content-Type': 'application/json'} | getattr(error, 'headers', {})
    if error.retry_after is not None:
        headers['Retry-After'] = str(max(math.ceil(error.retry_after), 1))
    if status == 401:
        headers['WWW-Authenticate'] = 'Bearer'
    return status, headers, dump(body)


def _limit(fields):
    return {name: fields[name] for name in ('limit', 'retry_after') if name in fields}


def of_validation(errors, known):
    """The `ServiceError` of what pydantic says of a request.

    Args:
        errors: its list of errors.
        known: names of the fields that a request has.
    """
    from propeller.errors import did_you_mean, quoted

    error = errors[0]
    place = ''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in error['loc']).lstrip('.')
    place = quoted(place, 100)[1:-1] or 'the request'
    if error['type'] == 'extra_forbidden':
        name = str(error['loc'][-1])
        more = did_you_mean(name, known) if len(name) < 100 else ''
        return ServiceError('invalid', f'{place}: no such field here; there are {", ".join(known)}.{more}')
    if error['type'] == 'missing':
        return ServiceError('invalid', f'{place}: missing, but required.')
    if error['type'] == 'value_error':
        return ServiceError('invalid', f'{place}: {error["ctx"]["error"]}.')
    message = error['msg']
    return ServiceError('invalid', f'{place}: {message[:1].lower()}{message[1:]}, found {quoted(error["input"], 80)}.')
