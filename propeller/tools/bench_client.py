"""`python -m propeller.tools.bench_client ADDRESS`: puts a load on a server and prints latencies, rates and errors.

The load is closed (`--clients N`, each sends its next request when it has its answer) or open (`--rate R` requests a
second come whatever the server does, as those of many users do). Latencies of an open load count from the moment when
a request was due: a server that stands still for a second is seen in all requests of that second. A closed load shows
what a server can do at most; its latencies do not show what users wait.

    bench_client http://127.0.0.1:8080/v1/embed --texts FILE --body '{"texts": ["{line}"]}' --clients 32
    bench_client tcp://127.0.0.1:8888 --texts FILE --body '{"texts": ["{line}"]}' --rate 200
    bench_client tcp://127.0.0.1:8888 --arrays ids.npy types.npy --rows 1
"""

import argparse
import asyncio
import json
import sys

from propeller.args import Parser
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.inputs import read_text
from propeller.service import slots
from propeller.service.security import TOKEN_VARIABLE, read_token
from propeller.storage.atomic import output_file
from propeller.tools.load import result
from propeller.tools.load.arrivals import KINDS, arrivals
from propeller.tools.load.bodies import Rows, Template, read_arrays, read_lines
from propeller.tools.load.connections import HttpTarget, ZmqTarget
from propeller.tools.load.drive import Load, Plan

_IN_FLIGHT = 1000


def parser():
    """All flags."""
    flags = Parser(
        prog='python -m propeller.tools.bench_client',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument('address', help='http://HOST:PORT/PATH, https://..., or tcp://HOST:PORT of ZeroMQ.')
    what = flags.add_argument_group('what is sent')
    what.add_argument(
        '--body',
        help='A request: {line} is the next line of --texts, escaped for JSON (write quotes around it); {lines} is a '
        'JSON array of the next --rows lines. @FILE: the content of a file. Without it and --arrays: a GET.',
    )
    what.add_argument('--texts', metavar='FILE', help='One text per line; after the last comes the first.')
    what.add_argument('--arrays', nargs='+', metavar='FILE.npy', help='Arrays of the 2019 message, instead of --body.')
    what.add_argument('--rows', type=int, default=1, help='Lines of {lines}, rows of --arrays. Default: %(default)s.')
    what.add_argument('--header', action='append', default=[], help="'Name: value', of HTTP; may be repeated.")
    what.add_argument('--method', help='Of HTTP. Default: POST, or GET without a body.')
    what.add_argument('--auth_token', help=f'Token of the server. Default: that of ${TOKEN_VARIABLE}.')
    what.add_argument('--auth_token_file', metavar='FILE', help='File with it.')
    what.add_argument('--server_key', help='Public CURVE key of a ZeroMQ server, or the file NAME.key that holds it.')
    when = flags.add_argument_group('when')
    when.add_argument(
        '--clients',
        type=int,
        help=f'Clients of a closed load (default: 1); with --rate, the most requests at once (default: {_IN_FLIGHT}).',
    )
    when.add_argument('--rate', type=float, help='Requests a second: an open load.')
    when.add_argument('--arrivals', choices=KINDS, default='poisson', help='Of --rate. Default: %(default)s.')
    when.add_argument('--seed', type=int, default=0, help='Of the arrivals. Default: %(default)s.')
    when.add_argument('--duration', type=float, help='Seconds (default: 10).')
    when.add_argument('--requests', type=int, help='So many requests, instead of --duration.')
    when.add_argument('--warmup', type=float, default=1.0, help='Seconds before that, left out. Default: %(default)s.')
    when.add_argument('--timeout', type=float, default=30.0, help='Seconds for a request. Default: %(default)s.')
    out = flags.add_argument_group('what is told')
    out.add_argument(
        '--tokens_field',
        default='tokens',
        help='Field of the answers that says their tokens, a number or a list (OpenAI: total_tokens). Default: '
        '%(default)s.',
    )
    out.add_argument('--json', action='store_true', help='Print one line of JSON.')
    out.add_argument('--output', metavar='FILE', help='Write the JSON to a file as well.')
    return flags


def plan_of(args):
    """The `Plan` of the flags.

    Raises:
        UsageError: flags that cannot be.
    """
    for name in ('rows', 'clients', 'rate', 'duration', 'requests', 'timeout'):
        value = getattr(args, name)
        if value is not None and not 0 < value < float('inf'):
            raise UsageError(f'--{name}: found {value}, expected a number above 0.')
    if not 0 <= args.warmup < float('inf'):
        raise UsageError(f'--warmup: found {args.warmup}, expected a number of 0 or more.')
    if args.duration and args.requests:
        raise UsageError('--duration and --requests: expected one of them.')
    due = arrivals(args.arrivals, args.rate, args.seed) if args.rate else None
    clients = args.clients or (_IN_FLIGHT if args.rate else 1)
    duration = None if args.requests else args.duration or 10.0
    return Plan(due, clients, args.warmup, duration, args.requests, args.timeout)


def bodies_of(args, token=None):
    """Function number -> bytes, with its `texts`. token: of a ZeroMQ server, which every message shows.

    Raises:
        UserError: a file cannot be used, or flags cannot be.
    """
    if args.arrays:
        if args.body or args.texts:
            raise UsageError('--arrays: expected without --body and --texts.')
        return Rows(read_arrays(args.arrays), args.rows, slots.encode_options(token=token) if token else b'')
    body = args.body or ''
    if body.startswith('@'):
        body = read_text(body[1:], 1 << 24, 'the template of a request')
    if token and body.lstrip().startswith('{'):
        rest = body.lstrip()[1:].lstrip()
        body = f'{{"token": {json.dumps(token)}{"" if rest.startswith("}") else ", "}{rest}'
    return Template(body, read_lines(args.texts) if args.texts else (), args.rows)


def target_of(args, token):
    """`HttpTarget` or `ZmqTarget`. Raises `UserError`: the address is none, or nobody listens there."""
    if is_zmq(args.address):
        return ZmqTarget(args.address, args.server_key)
    headers = [*args.header, *([f'Authorization: Bearer {token}'] if token else [])]
    target = HttpTarget(args.address, args.method, headers)
    target.check()
    return target


def is_zmq(address):
    """Whether this is an address of ZeroMQ."""
    return address.startswith(('tcp://', 'ipc://'))


def measure(target, bodies, plan, tokens_field='tokens', on_answer=None):
    """Put the load on the server -> dict, see `propeller.tools.load.result.summary`.

    Raises:
        UserError: no request was answered.
    """
    load = Load(target, bodies, plan, tokens_field, on_answer)
    records = asyncio.run(load.run())
    return result.summary(records, plan, bodies.texts, load.processor_seconds)


def main(argv=None):
    """Run one load; returns the exit code."""
    args = parser().parse_args(argv)
    plan, token = plan_of(args), read_token(args.auth_token, args.auth_token_file)
    bodies = bodies_of(args, token if is_zmq(args.address) else None)
    loop = {'loop': 'open', 'rate': args.rate, 'arrivals': args.arrivals} if args.rate else {'loop': 'closed'}
    found = measure(target_of(args, token), bodies, plan, args.tokens_field)
    about = {'address': args.address, **loop, 'clients': plan.clients, 'texts_of_a_request': bodies.texts or None}
    found = about | found
    text = json.dumps(found)
    if args.output:
        with output_file(args.output) as f:
            f.write(text + '\n')
    print(text if args.json else '\n'.join(result.lines(found)))
    if not found['requests']['answered']:
        said = found['error_messages']
        reasons = ', '.join(f'{code}: {said[code]}' if code in said else code for code in found['errors'])
        reasons = reasons or 'none was sent'
        raise UserError(f'{args.address}: no request was answered ({reasons}).')
    return 0


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
