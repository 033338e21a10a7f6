"""POST /v1/embeddings, as the OpenAI API has it. https://platform.openai.com/docs/api-reference/embeddings

Vectors have length 1, as those of that API.
"""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, WithJsonSchema

from ernie.service.http.bodies import dump, vector_texts
from ernie.service.http.calls import answered, check_count, choose, some_text_of
from ernie.service.http.schemas import MOST_TEXTS, Body, OpenAIError, Reply
from propeller.errors import quoted
from propeller.service.errors import ServiceError

_TEXT = {'type': 'string'}
_INPUT = {'anyOf': [_TEXT, {'type': 'array', 'items': _TEXT, 'minItems': 1} | MOST_TEXTS]}


class EmbeddingsRequest(Body):
    """The request of the OpenAI API. `user` is accepted and changes nothing, as there."""

    input: Annotated[Any, WithJsonSchema(_INPUT | {'description': 'A text, or a list of texts'})]
    model: str | None = None
    encoding_format: Literal['float', 'base64'] = 'float'
    dimensions: int | None = Field(default=None, ge=1, description='Nothing but the size that the model has')
    user: str | None = None

    def texts(self, service):
        if isinstance(self.input, str):
            return [some_text_of(self.input, 'input')]
        if not isinstance(self.input, list) or not self.input:
            message = f'input: found {quoted(self.input, 80)}, expected a text or a list of texts.'
            raise ServiceError('invalid', message)
        check_count(service, len(self.input))
        first = self.input[0]
        if isinstance(first, int) or isinstance(first, list) and first and isinstance(first[0], int):
            message = (
                'input: found token ids, expected texts: ids of another tokenizer mean nothing to this model. '
                'LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).'
            )
            raise ServiceError('invalid', message)
        return [some_text_of(text, f'input[{place}]') for place, text in enumerate(self.input)]


class Embedding(Reply):
    object: str
    index: int
    embedding: list[float] | str


class Usage(Reply):
    prompt_tokens: int
    total_tokens: int


class Embeddings(Reply):
    object: str
    data: list[Embedding]
    model: str
    usage: Usage


def add(routes):
    """Adds the route. routes: `ernie.service.http.routing.Routes`."""
    service = routes.service

    async def embeddings(body):
        model = choose(service, body.model, ('embed',))
        texts = body.texts(service)
        size = model.info['hidden_size']
        if body.dimensions not in (None, size):
            message = f'dimensions: found {body.dimensions}, expected {size}, the size that {model.name} has.'
            raise ServiceError('invalid', message)
        answer = await service.run(model.name, [{'text_a': text} for text in texts], normalize=True)
        total = sum(answer.tokens)
        fields = {'object': 'list', 'model': model.name, 'usage': {'prompt_tokens': total, 'total_tokens': total}}
        return answered(await _listed(fields, one_for_each(answer), body.encoding_format), answer.seconds)

    routes.post(
        '/v1/embeddings', embeddings, EmbeddingsRequest, Embeddings, OpenAIError, 'Vectors of texts, OpenAI API'
    )


def one_for_each(answer):
    """The vectors of a `TextAnswer`.

    Raises:
        ServiceError: the model gives one for each token.
    """
    if answer.results and answer.results[0].ndim != 1:
        message = f'{answer.model.name} is served with the vectors of all tokens; /v1/embed gives those.'
        raise ServiceError('invalid', message)
    return answer.results


async def _listed(fields, vectors, form):
    """The JSON text of the answer, bytes, with the vectors in it."""
    if form == 'base64':
        texts = [b'"%s"' % base64.b64encode(np.asarray(vector, '<f4')) for vector in vectors]
    else:
        texts = await vector_texts(vectors)
    entries = b','.join(b'{"object":"embedding","index":%d,"embedding":%s}' % pair for pair in enumerate(texts))
    return dump(fields)[:-1] + b',"data":[' + entries + b']}'
