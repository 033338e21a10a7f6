"""`python -m propeller.tools.start_server -m FOLDER -p PORT`: an exported model behind ZeroMQ, as in 2019.

Clients: `propeller.service.client.InferenceClient`, those of 2019, or any that writes its messages (docs/serving.md).
"""

from propeller.args import Parser, boolean
from propeller.errors import one_line_errors
from propeller.log import console
from propeller.service.flags import add_limits, add_security, add_workers, check_workers, limits_of, security_of
from propeller.service.server import InferenceServer


def parser():
    """All flags."""
    flags = Parser(prog='python -m propeller.tools.start_server', description=__doc__.partition('\n')[0])
    flags.add_argument(
        '-m', '--model_dir', required=True, help='Folder with model.json and model.pdiparams, as exporters write it.'
    )
    flags.add_argument('-p', '--port', type=int, required=True, help='Port to bind to; 0 takes one that is free.')
    flags.add_argument('-v', '--verbose', action='store_true', help='Log each request with its times.')
    add_workers(flags)
    flags.add_argument(
        '--bf16',
        type=boolean,
        default=False,
        metavar='BOOL',
        help='Compute matrix products in bfloat16, where the processor can. Default: %(default)s.',
    )
    add_limits(flags)
    add_security(flags)
    return flags


def main(argv=None):
    """Serve until SIGTERM or Ctrl-C."""
    arguments = parser().parse_args(argv)
    check_workers(arguments)
    with console('debug' if arguments.verbose else None):
        server = InferenceServer(
            arguments.model_dir,
            arguments.workers,
            host=arguments.host,
            threads=arguments.threads,
            bf16=arguments.bf16,
            limits=limits_of(arguments),
            security=security_of(arguments),
        )
        server.listen(
            arguments.port,
            when_ready=lambda address: print(f'ready {address}', flush=True),
            drain_timeout=arguments.drain_timeout,
        )


if __name__ == '__main__':
    with one_line_errors():
        main()
