"""Flags that all servers share: limits, and who may ask."""

import dataclasses
import re

from propeller.errors import UsageError
from propeller.service.limits import Limits
from propeller.service.security import TOKEN_VARIABLE, Security, read_token
from propeller.service.sizing import MOST

# What the flags of workers mean, of all servers.
WORKERS = (
    'Processes that compute, each with the models in its memory. Left out: one for each GPU; without a GPU as many as '
    f'cores and free memory allow, {MOST} at most.'
)
THREADS = 'Threads of each worker. Left out: the cores, shared out among the workers.'
DRAIN, DRAIN_TIMEOUT = 'Seconds for what was admitted, after SIGTERM or Ctrl-C.', 30.0


def add_limits(parser):
    """Add a flag for each field of `Limits`."""
    group = parser.add_argument_group('limits')
    texts = dict(re.findall(r'^ +(\w+): (.*?)[.;]?(?=\n +\w+: |\n\s*$)', Limits.__doc__, re.M | re.S))
    for field in dataclasses.fields(Limits):
        text = ' '.join(texts[field.name].split())
        group.add_argument(
            f'--{field.name}',
            type=field.type,
            default=field.default,
            metavar=field.type.__name__.upper(),
            help=f'{text[:1].upper()}{text[1:]}. Default: %(default)s.',
        )


def limits_of(arguments):
    """The `Limits` that flags say.

    Raises:
        UsageError: one of them cannot be.
    """
    try:
        return Limits(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)})
    except ValueError as e:
        raise UsageError(f'--{e}.') from None


def add_security(parser):
    """Add the flags of `Security`."""
    group = parser.add_argument_group('who may ask')
    group.add_argument(
        '--host', default='127.0.0.1', help='Address to bind to; 0.0.0.0 lets other machines in. Default: %(default)s.'
    )
    group.add_argument(
        '--auth_token',
        help='What each request must show. Users of this machine see it in the list of processes: '
        f'--auth_token_file or the variable {TOKEN_VARIABLE} keep it to themselves.',
    )
    group.add_argument('--auth_token_file', metavar='FILE', help='File that holds the token.')
    group.add_argument(
        '--curve_secret_key',
        metavar='FILE',
        help="The server's keys (NAME.key_secret of zmq.auth.create_certificates): ZeroMQ is encrypted then.",
    )
    group.add_argument(
        '--curve_client_keys',
        metavar='FOLDER',
        help='Public keys (NAME.key) of the clients that are let in. Default: any that knows the key of the server.',
    )


def security_of(arguments):
    """The `Security` that flags say. Raises `UserError`."""
    token = read_token(arguments.auth_token, arguments.auth_token_file, of_server=True)
    return Security(token, arguments.curve_secret_key, arguments.curve_client_keys)


def add_workers(parser):
    """Add the flags of workers, and of the end."""
    parser.add_argument('--workers', type=int, help=WORKERS)
    parser.add_argument('--threads', type=int, help=THREADS)
    parser.add_argument(
        '--drain_timeout', type=float, default=DRAIN_TIMEOUT, help=f'{DRAIN} Default: %(default)s.', metavar='SECONDS'
    )


def check_workers(args):
    """Raises `UsageError`: `--workers` or `--threads` is below 1, or `--drain_timeout` below 0."""
    for name, least in (('workers', 1), ('threads', 1), ('drain_timeout', 0)):
        value = getattr(args, name)
        if value is not None and not value >= least:
            raise UsageError(f'--{name}: found {value:g}, expected {least} or more.')
