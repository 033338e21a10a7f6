"""The verb `ernie serve`: models behind HTTP and ZeroMQ."""

import contextlib
import errno
import json
import os
import shlex
import socket
import sys

from ernie.inference.engines import ENGINES
from ernie.run.blocks import show
from ernie.service.arrays import ArrayService
from ernie.service.models import EMBED
from ernie.service.open import named_models, open_models
from ernie.service.requests import answer
from ernie.service.text import TextService
from propeller.errors import UserError
from propeller.launch.machine import visible_gpus
from propeller.log import get_logger
from propeller.optional import optional_package
from propeller.service.core import ServiceCore
from propeller.service.front import serve
from propeller.service.security import Security, read_token
from propeller.service.sizing import sized

log = get_logger(__name__)

# Seconds after which the event loop has its turn again where a thread tokenizes; Python's own 5 ms are felt.
SWITCH = 0.0005
_EXAMPLE = {'text_a': '今天天气很好', 'question': '总部在哪里?', 'context': '百度的总部在北京。'}


def serve_models(args):
    """Serve until SIGTERM or Ctrl-C.

    Args:
        args: `ServeSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    args = args.checked()
    security = Security(
        read_token(args.auth_token, args.auth_token_file, of_server=True), args.curve_secret_key, args.curve_client_keys
    )
    named_models(args.models)  # what is wrong with the names is known first
    _check_places(args)
    service, sizing = open_service(args)
    models, limits = list(service.models.values()), service.core.limits
    listeners = open_listeners(args, service, limits, security)
    run(service, listeners, args.drain_timeout, lambda: _tell(args, models, listeners, sizing, limits, security))


def open_service(args):
    """(`TextService` over a core that is not started, its `Sizing`).

    What is not exported yet is exported. args: `ServeSettings`, checked.

    Raises:
        UserError: a model cannot be had or opened.
    """
    models = open_models(
        named_models(args.models),
        args.engine,
        args.precision,
        pooling=args.pooling,
        layer=args.layer,
        normalize=args.normalize,
        task=args.task,
        use_cuda=args.use_cuda,
        keep=args.save_inference_model_path,
        **args.given,
    )
    sizing = sizing_of(models, args.workers, args.cpu_threads, args.use_cuda)
    core = ServiceCore(models, args.limits(), sizing.settings())
    return TextService(core, args.tokenizer_threads, args.max_chars), sizing


def run(service, listeners, drain_timeout, when_ready):
    """`propeller.service.front.serve` for a `TextService`, whose threads leave the event loop its turns."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        serve(service.core, listeners, drain_timeout, when_ready)
    finally:
        sys.setswitchinterval(before)
        service.close()


def open_listeners(args, service, limits, security):
    """The `Listener`s that the settings ask for."""
    listeners = []
    if args.http_port is not None:
        from ernie.service.http.app import create_app
        from ernie.service.http.listener import HttpListener

        listeners.append(HttpListener(create_app(service, security, limits), args.host, args.http_port))
    if args.port is not None:
        from propeller.service.zmq_listener import ZmqListener

        arrays = ArrayService(service.core)
        listeners.append(
            ZmqListener(
                *(arrays.run, args.host, args.port, limits, security),
                text_handler=lambda request: answer(service, request),
                refused=service.core.refused,
                admit=service.core.check_any,
            )
        )
    return listeners


def sizing_of(models, workers=None, threads=None, use_cuda=None):
    """The `Sizing` for models, which get its threads.

    Args:
        models: list of `TextModel`.
        workers, threads: what the user says; None: nothing.
        use_cuda: see `open_models`.
    """
    gpu = use_cuda is not False and any(ENGINES[model.info['engine']].may_use_gpu() for model in models)
    sizing = sized([model.path for model in models], workers, threads, visible_gpus(os.environ) if gpu else ())
    for model in models:
        model.arguments['threads'] = sizing.threads
    return sizing


def _check_places(args):
    """What would be found out only after the export otherwise."""
    if args.http_port is not None:
        for package in ('fastapi', 'uvicorn', 'httptools', 'pydantic', 'prometheus_client'):
            optional_package(package, '--http_port', package.replace('_', '-'))
    if args.port is not None:
        optional_package('zmq', '--port', 'pyzmq')
    for flag in ('http_port', 'port'):
        if getattr(args, flag):
            check_port(args.host, getattr(args, flag), flag)


def check_port(host, port, flag='port'):
    """Raises `UserError`: the port is taken, or may not be used. The listener that binds it has the last word."""
    host = '0.0.0.0' if host in ('', '*') else host
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as e:
        raise UserError(f'--host {host}: no address of this machine ({e.strerror or e}).') from None
    with contextlib.closing(socket.socket(family, kind)) as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
            one.listen(1)
        except OSError as e:
            if e.errno == errno.EADDRNOTAVAIL:
                raise UserError(f'--host {host}: no address of this machine.') from None
            raise UserError(
                f'--{flag} {port}: cannot be used on {host} ({e.strerror or e}). Give another one.'
            ) from None


def _tell(args, models, listeners, sizing, limits, security):
    """The block at the start, after the addresses."""
    pairs = [('model' if place == 0 else '', about(model)) for place, model in enumerate(models)]
    pairs += [
        ('workers', str(sizing)),
        (
            'limits',
            f'a request: {limits.max_texts:,} texts, {limits.request_tokens:,} tokens, {limits.timeout:g} s; '
            f'waiting: {limits.queue_tokens:,} tokens',
        ),
    ]
    show([*pairs, ('try', (example(models[0], listeners, security.token is not None, len(models) > 1),))])
    _warn(args, security)


def _warn(args, security):
    """Says what is open to others."""
    if args.host not in ('127.0.0.1', 'localhost', '::1') and security.token is None:
        log.warning('%s: other machines can ask, and no --auth_token is given', args.host)
    if args.curve_secret_key and args.http_port is not None:
        log.warning('--curve_secret_key is for ZeroMQ alone: HTTP is neither encrypted nor asks for keys')


def about(model):
    """A line about a model."""
    info = model.info
    if model.task == EMBED:
        pooling = 'all tokens' if info['pooling'] == 'none' else info['pooling']
        what = f'vectors of {info["hidden_size"]} numbers ({pooling}, layer {info["layer"]})'
    else:
        what = model.task + (f', {len(info["labels"])} labels' if info['labels'] else '')
    return f'{model.name}: {what}; {info["max_seq_len"]} tokens; {info["engine"]} {info["precision"]}'


def example(model, listeners, with_token, several=False):
    """A command to type next."""
    address = next((one.address for one in listeners if one.address.startswith('http')), None)
    if address is None:
        return _python_call(model, listeners[0].address.removeprefix('tcp://'), with_token, several)
    route, body = request_of(model)
    token = ' -H "Authorization: Bearer TOKEN"' if with_token else ''
    content = json.dumps(body, ensure_ascii=False)
    return f"curl {address}{route}{token} -H 'Content-Type: application/json' -d {shlex.quote(content)}"


def _python_call(model, address, with_token, several):
    """The same for a server without HTTP."""
    host, _, port = address.rpartition(':')
    body = request_of(model)[1]
    given = {name: value for name, value in body.items() if name != 'model'}
    given = given.get('text', given)
    values = json.dumps(given, ensure_ascii=False)
    values = f'({values[1:-1]})' if isinstance(given, list) else values  # a pair
    name = (f', model="{model.name}"' if several else '') + (', auth_token="TOKEN"' if with_token else '')
    lines = (
        'from ernie.service.client import TextClient',
        f'print(TextClient("{host}", {port}{name})({values}))',
    )
    return f'python -c {shlex.quote("; ".join(lines))}'


def request_of(model):
    """(route, body) of a request that suits a model."""
    route = {'tag': '/v1/tag', 'answer': '/v1/answer', 'embed': '/v1/embed'}.get(model.task, '/v1/classify')
    if model.task == 'answer':
        return route, {name: _EXAMPLE[name] for name in ('question', 'context')} | {'model': model.name}
    text = _EXAMPLE['text_a']
    pair = 'text_b' in model.columns.required
    return route, {'model': model.name, 'text': [text, text] if pair else text}
