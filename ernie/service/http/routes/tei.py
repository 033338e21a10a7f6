"""Routes of text-embeddings-inference that its clients use. https://huggingface.github.io/text-embeddings-inference/

`model` in a request, and `?model=` of /info, are of this server: they choose where several models are served. Texts
that are too long are cut at their end unless `truncate` is false.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, WithJsonSchema

from ernie.service.http.bodies import dump, dump_vectors
from ernie.service.http.calls import CLASSIFYING, answered, check_count, choose, record_of, text_of
from ernie.service.http.errors import WrongTask
from ernie.service.http.listener import most_connections
from ernie.service.http.routes.openai import one_for_each
from ernie.service.http.schemas import Body, Reply, TeiError
from propeller import __version__
from propeller.errors import quoted
from propeller.service.errors import ServiceError

_STRING = {'type': 'string'}
_STRINGS = {'type': 'array', 'items': _STRING}
_PREDICT = {
    'anyOf': [
        _STRING,
        _STRINGS | {'minItems': 1, 'maxItems': 2, 'description': 'A text or a pair'},
        {'type': 'array', 'items': _STRINGS | {'minItems': 1, 'maxItems': 2}, 'minItems': 1},
    ]
}
Inputs = Annotated[Any, WithJsonSchema({'anyOf': [_STRING, _STRINGS | {'minItems': 1}]})]
_KINDS = {'regression': 'reranker', 'classify': 'classifier', 'multilabel': 'classifier'}
_VALUE = 'value'  # the label of the number that a regression gives


class _Request(Body):
    model: str | None = None


class _Cutting(_Request):
    truncate: bool | None = Field(default=None, description='false: texts that are too long are refused')
    truncation_direction: Literal['Right', 'right'] = Field(default='Right', description='Texts are cut at their end')

    def check(self, answer):
        """Raises `ServiceError`: something was cut that may not be."""
        if self.truncate is False and any(answer.truncated):
            longest = answer.model.info['max_seq_len']
            message = f'text {answer.truncated.index(True) + 1} has more than {longest} tokens, and truncate is false.'
            raise ServiceError('too_large', message, {'name': 'max_seq_len', 'value': longest})


class EmbedTextsRequest(_Cutting):
    inputs: Inputs
    normalize: bool = True
    prompt_name: None = None


class PredictRequest(_Cutting):
    inputs: Annotated[Any, WithJsonSchema(_PREDICT)]
    raw_scores: Literal[False] = Field(default=False, description='Scores are probabilities, or values of a regression')


class RerankRequest(_Cutting):
    query: str
    texts: list[str]
    raw_scores: Literal[False] = False
    return_text: bool = False


class SimilarityInputs(Body):
    source_sentence: str
    sentences: list[str]


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
    service = routes.service

    async def vectors(body, texts, cutting, normalize):
        model = choose(service, body.model, ('embed',))
        answer = await service.run(model.name, [{'text_a': text} for text in texts], normalize=normalize)
        cutting.check(answer)
        return one_for_each(answer), answer.seconds

    async def embed(body):
        found, seconds = await vectors(body, _texts(service, body.inputs), body, body.normalize)
        return answered(dump_vectors(found), seconds)

    async def similarity(body):
        texts = [body.inputs.source_sentence, *body.inputs.sentences]
        check_count(service, len(texts))
        source, *others = (await vectors(body, texts, body.parameters or SimilarityParameters(), True))[0]
        return answered(dump([round(float(other @ source), 7) for other in others]))

    async def predict(body):
        model = choose(service, body.model, CLASSIFYING)
        records, is_batch = _records(service, body.inputs)
        answer = await service.run(model.name, records)
        body.check(answer)
        found = [_predictions(result) for result in answer.results]
        return answered(dump(found if is_batch else found[0]), answer.seconds)

    async def rerank(body):
        model = choose(service, body.model, CLASSIFYING)
        score_of = _scoring(model)
        check_count(service, len(body.texts))
        if not body.texts:
            raise ServiceError('invalid', 'texts: found an empty list, expected one text or more.')
        answer = await service.run(model.name, [{'text_a': body.query, 'text_b': text} for text in body.texts])
        body.check(answer)
        ranks = [{'index': i, 'score': score_of(result)} for i, result in enumerate(answer.results)]
        if body.return_text:
            ranks = [rank | {'text': text} for rank, text in zip(ranks, body.texts, strict=True)]
        return answered(dump(sorted(ranks, key=lambda rank: -rank['score'])), answer.seconds)

    async def tokenize(body):
        model = choose(service, body.model, {model.task for model in service.models.values()})
        texts = _texts(service, body.inputs)
        lengths = [len(text) + 1 for text in texts]
        most = service.core.limits.request_tokens
        if sum(lengths) > most:
            limit = {'name': 'request_tokens', 'value': most, 'found': sum(lengths)}
            message = f'{sum(lengths):,} characters in one request, where at most {most:,} are taken'
            raise ServiceError('too_large', f'{message} (--request_tokens).', limit)
        make = lambda place: _tokens(model.tokenizer, texts[place], body.add_special_tokens)  # noqa: E731
        return answered(dump(await service.each(make, lengths, admit=True)))

    async def info(model=None):
        chosen = choose(service, model, {model.task for model in service.models.values()})
        return answered(dump(_info(service, chosen)))

    routes.post('/embed', embed, EmbedTextsRequest, Vectors, TeiError, 'Vectors of texts')
    routes.post('/predict', predict, PredictRequest, Predictions, TeiError, 'Classes of texts or pairs')
    routes.post('/rerank', rerank, RerankRequest, Ranks, TeiError, 'Texts in the order of their fit to a query')
    routes.post('/similarity', similarity, SimilarityRequest, Similarities, TeiError, 'Cosines of sentences')
    routes.post('/tokenize', tokenize, TokenizeRequest, Tokens, TeiError, 'The tokens of texts')
    routes.get('/info', info, Info, TeiError, 'What a model is, and the limits', query=('model',))


def _texts(service, inputs):
    """A text or a list of texts as a list."""
    if isinstance(inputs, str):
        return [text_of(inputs, 'inputs')]
    if not isinstance(inputs, list) or not inputs:
        message = f'inputs: found {quoted(inputs, 80)}, expected a text or a list of texts.'
        raise ServiceError('invalid', message)
    check_count(service, len(inputs))
    if isinstance(inputs[0], int | list):
        raise ServiceError('invalid', 'inputs: found token ids, expected a text or a list of texts.')
    return [text_of(text, f'inputs[{place}]') for place, text in enumerate(inputs)]


def _records(service, inputs):
    """(list of records, whether they were given as a list of lists)."""
    if isinstance(inputs, list) and inputs and all(isinstance(value, list) for value in inputs):
        check_count(service, len(inputs))
        values = [value[0] if len(value) == 1 else value for value in inputs]
        return [record_of(value, f'inputs[{place}]') for place, value in enumerate(values)], True
    if isinstance(inputs, list) and not (1 <= len(inputs) <= 2 and all(isinstance(part, str) for part in inputs)):
        expected = 'a text, a pair [text, text] or a list of lists [[text], [text, text], ...]'
        raise ServiceError('invalid', f'inputs: found {quoted(inputs, 80)}, expected {expected}.')
    return [record_of(inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs, 'inputs')], False


def _predictions(result):
    if 'value' in result:
        return [{'score': result['value'], 'label': _VALUE}]
    ranked = sorted(result['probabilities'].items(), key=lambda pair: -pair[1])
    return [{'score': score, 'label': label} for label, score in ranked]


def _scoring(model):
    """The score of a result: the value of a regression, or the probability of the second of two classes."""
    if model.task == 'regression':
        return lambda result: result['value']
    labels = model.info['labels']
    if model.task == 'classify' and len(labels) == 2:
        return lambda result: result['probabilities'][labels[1]]
    found = f'{model.name} has {len(labels)} classes ({model.task})'
    raise WrongTask(f'{found}; a model that ranks has a number (regression), or two classes, of which the second fits.')


def _tokens(tokenizer, text, with_special):
    encoded = tokenizer.encode_aligned(text)
    tokens = [
        {'id': index, 'text': text[start:stop], 'special': False, 'start': start, 'stop': stop}
        for index, start, stop in zip(encoded.ids, encoded.starts, encoded.ends, strict=True)
    ]
    if not with_special:
        return tokens
    first, last = (
        {'id': tokenizer.vocab[name], 'text': name, 'special': True, 'start': None, 'stop': None}
        for name in ('[CLS]', '[SEP]')
    )
    return [first, *tokens, last]


def _info(service, model):
    limits, info = service.core.limits, model.info
    precision = {'fp32': 'float32', 'bf16': 'bfloat16', 'fp16': 'float16'}
    return {
        'model_id': model.name,
        'model_sha': None,
        'model_dtype': precision.get(info['precision'], info['precision']),
        'model_type': _kind(model),
        'max_concurrent_requests': most_connections(),
        'max_input_length': info['max_seq_len'],
        'max_batch_tokens': limits.batch_tokens,
        'max_batch_requests': limits.batch_rows,
        'max_client_batch_size': limits.max_texts,
        'auto_truncate': True,
        'tokenization_workers': service.threads,
        'version': __version__,
    }


def _kind(model):
    if model.task == 'embed':
        return {'embedding': {'pooling': model.pooling}}
    labels = [_VALUE] if model.task == 'regression' else model.info['labels'] or []
    names = {str(i): label for i, label in enumerate(labels)}
    classes = {'id2label': names, 'label2id': {label: i for i, label in enumerate(labels)}}
    return {_KINDS.get(model.task, model.task): classes}
