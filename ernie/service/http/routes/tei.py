"""Routes of text-embeddings-inference that its clients use. https://huggingface.github.io/text-embeddings-inference/

`model` in a request, and `?model=` of /info, are of this server: they choose where several models are served. Texts
that are too long are cut at their end unless `truncate` is false.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, WithJsonSchema

from ernie.service.http.bodies import dump, vector_texts
from ernie.service.http.calls import CLASSIFYING, answered, check_count, choose, some_text_of
from ernie.service.http.routes.openai import one_for_each
from ernie.service.http.schemas import MOST_TEXTS, Body, Reply, Strings, TeiError
from ernie.service.http.tei_forms import (
    check_characters,
    info_of,
    predictions_of,
    records_of,
    scoring,
    texts_of,
    tokens_of,
)
from propeller.service.errors import ServiceError

_STRING = {'type': 'string'}
_STRINGS = {'type': 'array', 'items': _STRING}
_PREDICT = {
    'anyOf': [
        _STRING,
        _STRINGS | {'minItems': 1, 'maxItems': 2, 'description': 'A text or a pair'},
        {'type': 'array', 'items': _STRINGS | {'minItems': 1, 'maxItems': 2}, 'minItems': 1} | MOST_TEXTS,
    ]
}
Inputs = Annotated[Any, WithJsonSchema({'anyOf': [_STRING, _STRINGS | {'minItems': 1} | MOST_TEXTS]})]


class _Request(Body):
    model: str | None = None


class _Cutting(_Request):
    truncate: bool | None = Field(default=None, description='false: texts that are too long are refused')
    truncation_direction: Literal['Right', 'right'] = Field(default='Right', description='Texts are cut at their end')

    @property
    def may_cut(self):
        return self.truncate is not False


class EmbedTextsRequest(_Cutting):
    inputs: Inputs
    normalize: bool = True
    prompt_name: None = None


class PredictRequest(_Cutting):
    inputs: Annotated[Any, WithJsonSchema(_PREDICT)]
    raw_scores: Literal[False] = Field(default=False, description='Scores are probabilities, or values of a regression')


class RerankRequest(_Cutting):
    query: str
    texts: Strings
    raw_scores: Literal[False] = False
    return_text: bool = False


class SimilarityInputs(Body):
    source_sentence: str
    sentences: Strings


class SimilarityParameters(_Cutting):
    prompt_name: None = None


class SimilarityRequest(_Request):
    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizeRequest(_Request):
    inputs: Inputs
    add_special_tokens: bool = True
    prompt_name: None = None


class Vectors(RootModel[list[list[float]]]):
    """One for each text."""


class Prediction(Reply):
    score: float
    label: str


class Predictions(RootModel[list[Prediction] | list[list[Prediction]]]):
    """Of one text, or one list for each text; the most probable first."""


class Rank(Reply):
    index: int
    score: float
    text: str | None = None


class Ranks(RootModel[list[Rank]]):
    """The best first."""


class Similarities(RootModel[list[float]]):
    """One for each sentence."""


class SimpleToken(Reply):
    id: int
    text: str
    special: bool
    start: int | None = None
    stop: int | None = None


class Tokens(RootModel[list[list[SimpleToken]]]):
    """One list for each text."""


class Info(Reply):
    """max_batch_tokens: padding included. max_client_batch_size: texts of a request."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, Any]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str


def add(routes):
    """Adds the routes. routes: `ernie.service.http.routing.Routes`."""
    _add_vectors(routes)
    _add_scores(routes)
    _add_facts(routes)


def _add_vectors(routes):
    """/embed and /similarity."""
    service = routes.service

    async def vectors(body, texts, cutting, normalize, beside=0):
        model, records = choose(service, body.model, ('embed',)), [{'text_a': text} for text in texts]
        answer = await service.run(model.name, records, normalize=normalize, truncate=cutting.may_cut, beside=beside)
        return one_for_each(answer), answer.seconds

    async def embed(body):
        found, seconds = await vectors(body, texts_of(service, body.inputs, some_text_of), body, body.normalize)
        return answered(b'[' + b','.join(await vector_texts(found)) + b']', seconds)

    async def similarity(body):
        check_count(service, len(body.inputs.sentences))
        texts = [some_text_of(body.inputs.source_sentence, 'inputs.source_sentence')]
        texts += [some_text_of(text, f'inputs.sentences[{i}]') for i, text in enumerate(body.inputs.sentences)]
        found, seconds = await vectors(body, texts, body.parameters or SimilarityParameters(), True, beside=1)
        source, *others = found
        return answered(dump([round(float(other @ source), 7) for other in others]), seconds)

    routes.post('/embed', embed, EmbedTextsRequest, Vectors, TeiError, 'Vectors of texts')
    routes.post('/similarity', similarity, SimilarityRequest, Similarities, TeiError, 'Cosines of sentences')


def _add_scores(routes):
    """/predict and /rerank."""
    service = routes.service

    async def predict(body):
        model = choose(service, body.model, CLASSIFYING)
        records, is_batch = records_of(service, body.inputs)
        answer = await service.run(model.name, records, truncate=body.may_cut)
        found = [predictions_of(result) for result in answer.results]
        return answered(dump(found if is_batch else found[0]), answer.seconds)

    async def rerank(body):
        model = choose(service, body.model, CLASSIFYING)
        score_of = scoring(model)
        check_count(service, len(body.texts))
        if not body.texts:
            raise ServiceError('invalid', 'texts: found an empty list, expected one text or more.')
        query = some_text_of(body.query, 'query')
        records = [{'text_a': query, 'text_b': text} for text in body.texts]
        answer = await service.run(model.name, records, truncate=body.may_cut)
        ranks = [{'index': i, 'score': score_of(result)} for i, result in enumerate(answer.results)]
        if body.return_text:
            ranks = [rank | {'text': text} for rank, text in zip(ranks, body.texts, strict=True)]
        return answered(dump(sorted(ranks, key=lambda rank: -rank['score'])), answer.seconds)

    routes.post('/predict', predict, PredictRequest, Predictions, TeiError, 'Classes of texts or pairs')
    routes.post('/rerank', rerank, RerankRequest, Ranks, TeiError, 'Texts in the order of their fit to a query')


def _add_facts(routes):
    """/tokenize and /info."""
    service = routes.service

    def named(name):
        return choose(service, name, {model.task for model in service.models.values()})

    async def tokenize(body):
        model, texts = named(body.model), texts_of(service, body.inputs)
        sizes = [service.size_of({'text': text}, place, len(texts)) for place, text in enumerate(texts)]
        check_characters(service, sum(map(len, texts)))
        make = lambda place: tokens_of(model.tokenizer, texts[place], body.add_special_tokens)  # noqa: E731
        return answered(dump(await service.each(make, sizes, admit=True)))

    async def info(model=None):
        return answered(dump(info_of(service, named(model))))

    routes.post('/tokenize', tokenize, TokenizeRequest, Tokens, TeiError, 'The tokens of texts', computes=False)
    routes.get('/info', info, Info, TeiError, 'What a model is, and the limits', query=('model',))
