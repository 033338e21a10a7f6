"""What the OpenAPI page says of the routes; requests and answers are declared beside their routes."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field

SCHEMAS = '#/components/schemas/{model}'
# Of a list of texts: how many there may be is known with the limits of a server, by which `with_limits` replaces it.
MOST_TEXTS = {'maxItems': 'max_texts'}
# Errors of lists end with the first: of two million values that are no texts, all of them would take 8 s and 2 GB.
Strings = Annotated[list[str], FailFast(), Field(json_schema_extra=MOST_TEXTS)]


class Body(BaseModel):
    """Requests: no type is converted to another, no unknown name passed over."""

    model_config = ConfigDict(strict=True, extra='forbid', allow_inf_nan=False)


class Reply(BaseModel):
    """Answers, for the OpenAPI page alone: they are not checked again."""


class Limit(Reply):
    name: str
    value: float
    found: float | None = None


class ErrorFields(Reply):
    code: str
    message: str
    limit: Limit | None = None
    retry_after: float | None = None


class Error(Reply):
    """code: malformed, unauthorized, not_found, too_large, invalid, overloaded, internal, unavailable or expired."""

    error: ErrorFields


class OpenAIErrorFields(ErrorFields):
    type: str
    param: str | None = None


class OpenAIError(Reply):
    error: OpenAIErrorFields


class TeiError(Reply):
    error: str
    error_type: str
    limit: Limit | None = None
    retry_after: float | None = None


class OipError(Reply):
    error: str
    limit: Limit | None = None
    retry_after: float | None = None


_REASONS = {
    400: 'Not JSON in UTF-8',
    401: 'No valid token',
    404: 'No such route or model',
    405: 'Another method is taken here',
    408: 'The body did not come in time',
    413: 'Beyond a limit, which is named',
    415: 'Not application/json',
    422: 'Not what the route or the model takes',
    424: 'The model is for something else',
    429: 'The queue is full; Retry-After says when it may not be',
    500: 'A fault of the server',
    503: 'No worker answers, or the server is going down',
    504: 'Not computed in time',
}
_TIMED = {
    name: {'description': f'{text}, in seconds', 'schema': {'type': 'string'}}
    for name, text in (
        ('X-Queue-Seconds', 'Waited in the queue'),
        ('X-Tokenize-Seconds', 'Made into tokens'),
        ('X-Inference-Seconds', 'Computed'),
    )
}


def described_answers(reply, error, posts, timed=False):
    """The `responses` of a route for FastAPI.

    Args:
        reply: subclass of `Reply`; None: text.
        error: subclass of `Reply`, of errors.
        posts: whether the route takes a body.
        timed: whether its answers have the headers with times.
    """
    reasons = _REASONS if posts else {code: _REASONS[code] for code in (401, 404, 405, 500, 503)}
    if error is not TeiError:
        reasons = {code: text for code, text in reasons.items() if code != 424}
    answers = {code: {'description': text, 'content': _content(error)} for code, text in reasons.items()}
    content = _content(reply) if reply else {'text/plain': {'schema': {'type': 'string'}}}
    answer: dict[str, Any] = {'description': 'The answer', 'content': content}
    if timed:
        answer['headers'] = _TIMED
    return {200: answer} | answers


def described_body(kind):
    """The `openapi_extra` of a route that takes a body. kind: subclass of `Body`."""
    return {'requestBody': {'required': True, 'content': _content(kind)}}


def with_limits(schema, limits):
    """A part of a JSON schema with the numbers of `Limits` for their names.

    Args:
        schema: dict, list, or what stands in them.
        limits: `Limits`.
    """
    if isinstance(schema, list):
        return [with_limits(part, limits) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: getattr(limits, part) if name == 'maxItems' and isinstance(part, str) else with_limits(part, limits)
        for name, part in schema.items()
    }


def _content(kind):
    return {'application/json': {'schema': {'$ref': SCHEMAS.format(model=kind.__name__)}}}
