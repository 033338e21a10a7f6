"""The routes of this server itself: /v1/classify, /v1/tag, /v1/answer, /v1/embed and the list of models."""

from typing import Annotated, Any

from pydantic import FailFast, Field, WithJsonSchema, model_validator

from ernie.service.http.bodies import dump, joined, vector_texts
from ernie.service.http.calls import CLASSIFYING, answered, check_count, choose, record_of, text_of
from ernie.service.http.schemas import MOST_TEXTS, Body, Error, OpenAIError, Reply
from ernie.tasks.codec import Selection
from propeller.service.errors import ServiceError

_TEXT = {'type': 'string', 'examples': ['快递晚了三天']}
_RECORD = {
    'anyOf': [
        _TEXT,
        {'type': 'array', 'items': {'type': 'string'}, 'minItems': 2, 'maxItems': 2},
        {
            'type': 'object',
            'properties': {'text_a': {'type': 'string'}, 'text_b': {'type': 'string'}},
            'required': ['text_a'],
            'additionalProperties': False,
        },
    ]
}
OneText = Annotated[Any, WithJsonSchema(_RECORD | {'description': 'One text, or one pair of texts'})]
Texts = Annotated[
    Any,
    WithJsonSchema(
        {'type': 'array', 'items': _RECORD, 'description': 'Texts, pairs of texts, or objects'} | MOST_TEXTS
    ),
]
Name = Annotated[
    str | None, Field(default=None, description='Of the model; may be left out where only one model is for this route')
]
Timeout = Annotated[float | None, Field(default=None, ge=0.001, le=1e6, description='Seconds that it may take at most')]


class TextsRequest(Body):
    """Either `text` or `texts`."""

    model: Name
    text: OneText = None
    texts: Texts = None
    timeout: Timeout

    def records(self, service):
        """The texts as records for `TextService`.

        Raises:
            ServiceError: they are none, or too many.
        """
        given = [name for name in ('text', 'texts') if getattr(self, name) is not None]
        if len(given) != 1:
            found = 'both' if given else 'neither'
            raise ServiceError('invalid', f'the request: found {found} of text and texts, expected one of them.')
        if given == ['text']:
            return [record_of(self.text, 'text')]
        if not isinstance(self.texts, list):
            raise ServiceError('invalid', 'texts: expected a list. One text alone is given as `text`.')
        check_count(service, len(self.texts))
        return [record_of(value, f'texts[{place}]') for place, value in enumerate(self.texts)]


class SelectingRequest(Body):
    top_k: int | None = Field(default=None, ge=1, le=1_000_000, description='So many of the most probable alone')
    min_confidence: float | None = Field(default=None, ge=0, le=1, description='Answers below it are held back')

    def selection(self):
        return Selection(self.top_k, self.min_confidence)


class ClassifyRequest(TextsRequest, SelectingRequest):
    pass


class TagRequest(TextsRequest):
    min_confidence: float | None = Field(default=None, ge=0, le=1, description='Entities below it are left out')

    def selection(self):
        return Selection(None, self.min_confidence)


class EmbedRequest(TextsRequest):
    normalize: bool | None = Field(default=None, description='Whether they get length 1; else as the model does')

    def selection(self):
        return Selection()


class Item(Body):
    question: str
    context: str


class AnswerRequest(SelectingRequest):
    """Either `question` and `context`, or `items`."""

    model: Name
    question: str | None = None
    context: str | None = None
    items: Annotated[list[Item] | None, FailFast(), Field(json_schema_extra=MOST_TEXTS)] = None
    timeout: Timeout

    @model_validator(mode='after')
    def _is_one(self):
        single = self.question is not None, self.context is not None
        if single not in ((True, True), (False, False)) or single[0] == (self.items is not None):
            raise ValueError('expected either question and context, or items')
        return self

    def records(self, service):
        if self.items is None:
            return [{'question': text_of(self.question, 'question'), 'context': text_of(self.context, 'context')}]
        check_count(service, len(self.items))
        return [{'question': item.question, 'context': item.context} for item in self.items]


class ClassifyResult(Reply):
    """`label` of classes, `labels` of several at once, `value` of a regression."""

    label: str | None = None
    labels: list[str] | None = None
    value: float | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None


class Entity(Reply):
    type: str
    text: str
    start: int
    end: int
    confidence: float


class TagResult(Reply):
    text: str
    entities: list[Entity]


class Span(Reply):
    text: str
    start: int | None = None
    end: int | None = None
    probability: float


class AnswerResult(Reply):
    answer: str | None = None
    start: int | None = None
    end: int | None = None
    probability: float
    n_best: list[Span]


class _Answers(Reply):
    model: str
    tokens: list[int] = Field(description='Of each text')
    truncated: list[bool] = Field(description='Whether a text was longer than the model reads')


class ClassifyAnswers(_Answers):
    results: list[ClassifyResult]


class TagAnswers(_Answers):
    results: list[TagResult]


class AnswerAnswers(_Answers):
    results: list[AnswerResult]


class EmbedAnswers(_Answers):
    results: list[list[float]]


class ModelEntry(Reply):
    id: str
    object: str
    created: int
    owned_by: str
    task: str
    info: dict[str, Any]


class ModelList(Reply):
    object: str
    data: list[ModelEntry]


def add(routes):
    """Adds the routes. routes: `ernie.service.http.routing.Routes`."""
    service = routes.service

    async def run(body, tasks, **options):
        model, selection = choose(service, body.model, tasks), body.selection()
        records = body.records(service)
        model.check_selection(selection)
        return await service.run(model.name, records, selection, body.timeout, **options)

    async def results(body, tasks):
        answer = await run(body, tasks)
        fields = {
            'model': answer.model.name,
            'results': answer.results,
            'tokens': answer.tokens,
            'truncated': answer.truncated,
        }
        return answered(dump(fields), answer.seconds)

    async def classify(body):
        return await results(body, CLASSIFYING)

    async def tag(body):
        return await results(body, ('tag',))

    async def answer(body):
        return await results(body, ('answer',))

    async def embed(body):
        answer = await run(body, ('embed',), normalize=body.normalize)
        fields = {'model': answer.model.name, 'tokens': answer.tokens, 'truncated': answer.truncated}
        vectors = b'[' + b','.join(await vector_texts(answer.results)) + b']'
        return answered(joined(fields, 'results', vectors), answer.seconds)

    def entry(model):
        fields = {'id': model.name, 'object': 'model', 'created': 0, 'owned_by': 'ernie'}
        return fields | {'task': model.task, 'info': model.info}

    async def models():
        return answered(dump({'object': 'list', 'data': [entry(model) for model in service.models.values()]}))

    async def one_model(model):
        return answered(dump(entry(choose(service, model, {one.task for one in service.models.values()}))))

    routes.post('/v1/classify', classify, ClassifyRequest, ClassifyAnswers, Error, 'Classes, or the number, of texts')
    routes.post('/v1/tag', tag, TagRequest, TagAnswers, Error, 'Entities of texts')
    routes.post('/v1/answer', answer, AnswerRequest, AnswerAnswers, Error, 'Answers to questions, from their contexts')
    routes.post('/v1/embed', embed, EmbedRequest, EmbedAnswers, Error, 'Vectors of texts')
    routes.get('/v1/models', models, ModelList, OpenAIError, 'The models of this server')
    routes.get('/v1/models/{model}', one_model, ModelEntry, OpenAIError, 'One of the models')
