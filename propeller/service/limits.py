"""What a server takes."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server. A row is one input of the model: a text, a pair, or a window of a long text.

    Attributes:
        max_texts: texts of a request.
        request_tokens: tokens of a request, over all its rows.
        queue_tokens: tokens of all that waits; what comes beyond is refused as 'overloaded'.
        batch_tokens: tokens of a batch, padding included. A single row may be longer.
        batch_rows: rows of a batch.
        window: rows from the head of the queue of which a batch is chosen.
        timeout: seconds that a request may take where it does not say.
        max_timeout: seconds that a request may ask for.
        message_bytes: bytes of a request.
        client_requests: requests that one ZeroMQ client may have under way.
        result_bytes: bytes of what the model gives for a request, which waits here until the last row is there.
    """

    max_texts: int = 1024
    request_tokens: int = 131_072
    queue_tokens: int = 262_144
    batch_tokens: int = 4096
    batch_rows: int = 64
    window: int = 256
    timeout: float = 30.0
    max_timeout: float = 600.0
    message_bytes: int = 16 << 20
    client_requests: int = 128
    result_bytes: int = 256 << 20

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f'{field.name}: found {getattr(self, field.name)}, expected a number above 0')
        if self.queue_tokens < self.request_tokens:
            raise ValueError(
                f'queue_tokens: found {self.queue_tokens}, expected at least request_tokens ({self.request_tokens})'
            )
