"""An encoder behind ZeroMQ, as in 2019: token ids and sentence types in, vectors out. Any model is taken.

    python ernie/service/encoder_server.py -m MODEL -p 8888 -v --encode_layer pooler

In: token ids and sentence types, int64 [N, T, 1]; positions and mask are made here. Out: float32 [N, H] of `pooler`,
[N, T, H] of a layer. With --text also JSON, `{"texts": ["..."]}`. Clients: `ernie.service.client`.
"""

import os
import sys

if not __package__ and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
    # Started as a file: its folder is no place for imports, that of the packages is.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import re

from ernie.inference.engines import ENGINES, PRECISIONS, check_engine
from ernie.inference.pooling import POOLINGS
from ernie.inference.vectors import NO_POOLING
from ernie.service.arrays import ArrayService
from ernie.service.open import name_of, open_models
from ernie.service.requests import answer
from ernie.service.text import TextService
from ernie.service.verb import about, check_port, run, sizing_of
from ernie.settings.predict import EMBEDDING
from propeller.args import Parser, boolean
from propeller.errors import UsageError, one_line_errors
from propeller.log import console, get_logger
from propeller.service.core import ServiceCore
from propeller.service.errors import ServiceError
from propeller.service.flags import add_limits, add_security, add_workers, check_workers, limits_of, security_of
from propeller.service.zmq_listener import ZmqListener

log = get_logger('ernie.service.encoder_server')

POOLER = 'pooler'
_LAYER = re.compile(r'layer(\d{1,3})')


def build_parser(prog=None):
    """The flags."""
    flags = Parser(prog=prog, description='An encoder behind ZeroMQ: tokens in, vectors out.')
    flags.add_argument(
        '-m', '--model_dir', required=True, help='A model, checkpoint, export for vectors, or a name of `ernie list`.'
    )
    flags.add_argument('-p', '--port', type=int, default=8888, help='Port to bind to; 0: a free one. Default: 8888.')
    flags.add_argument('-v', '--verbose', action='store_true', help='Print all lines of the log.')
    flags.add_argument(
        '--encode_layer',
        default=POOLER,
        help='pooler: the pooled output; layer1, layer2 ...: the vectors of all tokens of that layer. Default: pooler.',
    )
    flags.add_argument(
        '--pooling', choices=POOLINGS, help='Vectors of texts made of that layer, instead of those of all tokens.'
    )
    flags.add_argument('--normalize', type=boolean, default=False, help='Scale vectors of texts to length 1.')
    flags.add_argument(
        '--text', action='store_true', help='The server tokenizes too: JSON requests {"texts": [...]} are taken.'
    )
    flags.add_argument('--engine', choices=list(ENGINES), help='What runs the model. Default: what reads it.')
    flags.add_argument('--precision', choices=PRECISIONS, help='Default: that of the model.')
    add_workers(flags)
    flags.add_argument('--max_seq_len', type=int, help='With --text: longest input in tokens.')
    add_limits(flags)
    add_security(flags)
    return flags


def layer_of(text, pooling=None):
    """(pooling, layer) of `--encode_layer`; layer None: the last.

    Raises:
        UsageError: it is none.
    """
    if text == POOLER:
        return (pooling or 'pooled'), None
    match = _LAYER.fullmatch(text)
    if not match or not int(match[1]):
        raise UsageError(f'--encode_layer {text}: expected {POOLER}, or layer1 to the last layer of the model.')
    return (pooling or NO_POOLING), int(match[1])


def main(argv=None, prog=None):
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: anything the user can mend.
    """
    args = build_parser(prog).parse_args(argv)
    check_workers(args)
    with console('debug' if args.verbose else None):
        _serve(args)


def _serve(args):
    pooling, layer = layer_of(args.encode_layer, args.pooling)
    check_engine(args.engine, args.precision, False)
    limits, security = limits_of(args), security_of(args)
    if args.port:
        check_port(args.host, args.port)
    model = _opened(args, pooling, layer)
    sizing = sizing_of([model], args.workers, args.threads)
    core = ServiceCore([model], limits, sizing.settings())
    service = TextService(core)
    text = (lambda request: answer(service, request)) if args.text else _no_texts
    handler, admit = ArrayService(core).run, core.check_any
    listener = ZmqListener(handler, args.host, args.port, limits, security, text, admit=admit)

    def ready():
        log.info('%s', about(model))
        log.info('workers: %s', sizing)
        log.info('propeller server listent on port %d', listener.bound_port)

    run(service, [listener], args.drain_timeout, ready)


async def _no_texts(request):
    raise ServiceError('not_found', 'this server takes arrays (Slots), no JSON: start it with --text for that.')


def _opened(args, pooling, layer):
    """The `TextModel`."""
    try:
        (model,) = open_models(
            [(name_of(args.model_dir), args.model_dir)],
            args.engine,
            args.precision,
            pooling=pooling,
            layer=layer,
            normalize=args.normalize,
            task=EMBEDDING,
            max_seq_len=args.max_seq_len,
        )
    except UsageError as e:
        if not str(e).startswith(f'--layer {layer}'):
            raise
        what = f'--encode_layer {args.encode_layer}: {args.model_dir} has no such layer'
        raise UsageError(f'{what}. ernie inspect {args.model_dir} tells how many it has.') from None
    return model


if __name__ == '__main__':
    with one_line_errors():
        main()
