"""The Open Inference Protocol, version 2. https://github.com/kserve/open-inference-protocol

Texts come as BYTES: `text_a`, for pairs `text_b` too, or `question` and `context`. Token ids come as INT64
`input_ids` [N, T] with their special tokens, `token_type_ids` and `attention_mask` beside them where they are not all
0 and 1; models whose results are made of the text itself do not take them.
"""

from typing import Annotated, Any

from pydantic import FailFast, Field

from ernie.service.http.bodies import dump
from ernie.service.http.calls import answered, choose
from ernie.service.http.oip_tensors import input_tensors, output_of, output_tensors, run_ids, run_texts, wanted
from ernie.service.http.schemas import Body, OipError, Reply
from propeller import __version__
from propeller.service.errors import ServiceError


class RequestInput(Body):
    name: str
    shape: Annotated[list[int], FailFast()] = Field(max_length=8)
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class RequestOutput(Body):
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(Body):
    """`parameters` change nothing here."""

    inputs: list[RequestInput] = Field(min_length=1, max_length=8)
    outputs: list[RequestOutput] | None = Field(default=None, max_length=8)
    id: str | None = None
    parameters: dict[str, Any] | None = None


class ResponseOutput(Reply):
    name: str
    shape: list[int]
    datatype: str
    data: list[float | str]


class InferResponse(Reply):
    model_name: str
    id: str | None = None
    outputs: list[ResponseOutput]


class Tensor(Reply):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Reply):
    name: str
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ServerMetadata(Reply):
    name: str
    version: str
    extensions: list[str]


class Live(Reply):
    live: bool


class Ready(Reply):
    ready: bool


class ModelReady(Reply):
    name: str
    ready: bool


def add(routes):
    """Adds the routes. routes: `ernie.service.http.routing.Routes`."""
    service = routes.service
    core = service.core

    def named(name):
        return choose(service, name, {model.task for model in service.models.values()})

    def readiness(fields):
        response = answered(dump(fields | {'ready': core.ready}))
        if not core.ready:
            response.status_code = 503
            response.headers['Retry-After'] = '5'
        return response

    async def live():
        return answered(dump({'live': True}))

    async def ready():
        return readiness({})

    async def server():
        return answered(dump({'name': 'ernie', 'version': __version__, 'extensions': []}))

    async def metadata(model):
        chosen = named(model)
        fields = {'name': chosen.name, 'platform': f'ernie_{chosen.info["engine"]}'}
        return answered(dump(fields | {'inputs': input_tensors(chosen), 'outputs': output_tensors(chosen)}))

    async def model_ready(model):
        return readiness({'name': named(model).name})

    async def infer(body, model):
        chosen = named(model)
        names = wanted(body.outputs, chosen)
        tensors = {tensor.name: tensor for tensor in body.inputs}
        if len(tensors) < len(body.inputs):
            raise ServiceError('invalid', 'inputs: two of them have one name.')
        run = run_ids if 'input_ids' in tensors else run_texts
        results, seconds = await run(service, chosen, tensors)
        outputs = [output_of(name, chosen, results) for name in names]
        fields = {'model_name': chosen.name} | ({} if body.id is None else {'id': body.id})
        return answered(dump(fields)[:-1] + b',"outputs":[' + b','.join(outputs) + b']}', seconds)

    routes.get('/v2/health/live', live, Live, OipError, 'Whether the process answers', is_open=True)
    routes.get('/v2/health/ready', ready, Ready, OipError, 'Whether requests are taken', is_open=True)
    routes.get('/v2', server, ServerMetadata, OipError, 'What this server is')
    routes.get('/v2/models/{model}', metadata, ModelMetadata, OipError, 'The inputs and outputs of a model')
    routes.get('/v2/models/{model}/ready', model_ready, ModelReady, OipError, 'Whether a model is ready')
    routes.post('/v2/models/{model}/infer', infer, InferRequest, InferResponse, OipError, 'The outputs of a model')
