"""What a server answers where it has no result: one error for all protocols."""

from propeller.errors import UserError

# Code -> HTTP status. Each is the server's word for one kind of failure; clients may go by it.
CODES = {
    'malformed': 400,  # no message of the protocol
    'unauthorized': 401,
    'not_found': 404,  # no such route or model
    'too_large': 413,  # beyond a limit; `limit` says which
    'invalid': 422,  # a message whose content the model cannot use
    'overloaded': 429,  # the queue is full; `retry_after` says when it may not be
    'internal': 500,
    'unavailable': 503,  # no worker answers, or the server is going down
    'expired': 504,  # not computed before its deadline
}


class ServiceError(UserError):
    """A request that has no result.

    Args:
        code: of `CODES`.
        message: one sentence: what was found, what is expected.
        limit: None, or dict with the `name` of the limit that was met, its `value`, and what was `found`.
        retry_after: None, or seconds after which the same request may succeed.

    Attributes:
        counted: whether an `Observer` was told of it.
        forms: None, or dict in which listeners keep what they made of it: the core raises it again and again.
    """

    counted, forms = False, None

    def __init__(self, code, message, limit=None, retry_after=None):
        super().__init__(message)
        assert code in CODES, code
        self.code, self.limit, self.retry_after = code, limit, retry_after

    @property
    def status(self):
        """HTTP status."""
        return CODES[self.code]

    def to_dict(self):
        """For JSON: `code`, `message`, and `limit` and `retry_after` where there are any."""
        optional = {'limit': self.limit, 'retry_after': self.retry_after}
        return {'code': self.code, 'message': str(self)} | {k: v for k, v in optional.items() if v is not None}

    @classmethod
    def from_dict(cls, fields):
        """The error that `to_dict` was made of. Codes that a newer server may have are 'internal' here."""
        code = fields.get('code')
        message, limit, retry_after = (fields.get(name) for name in ('message', 'limit', 'retry_after'))
        return cls(
            code if code in CODES else 'internal',
            message if isinstance(message, str) else 'the server gives no reason.',
            limit if isinstance(limit, dict) else None,
            retry_after if isinstance(retry_after, int | float) else None,
        )


def beyond(name, found, value, what):
    """The `ServiceError` of a limit. name: its flag, without dashes. what: what was counted, in the plural."""
    message = f'{found:,} {what} in one request, where at most {value:,} are taken (--{name}).'
    return ServiceError('too_large', message, {'name': name, 'value': value, 'found': found})
