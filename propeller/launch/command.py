"""The launcher's command line: [its own flags] script.py [flags of the script], or -m MODULE in place of the script."""

import os
import sys

from propeller import environment
from propeller.args import ArgumentGroup, Parser
from propeller.errors import UsageError, did_you_mean, one_line_errors
from propeller.launch.devices import choose_devices
from propeller.launch.job import Settings, run_job
from propeller.launch.plan import check_program, model_path, node_of, parse_address, parse_nodes
from propeller.log import get_logger


def build_parser(split_log_path='log', prog=None):
    """The launcher's own flags; those of the script are none of its business."""
    parser = Parser(
        prog=prog or os.path.basename(sys.argv[0]),
        usage='%(prog)s [flags of the launcher] (script.py | -m MODULE) [flags of the script]',
        allow_abbrev=False,
    )
    add = ArgumentGroup(parser, 'launch', 'What to start where. The launcher must be started on every node.').add_arg
    add('node_ips', str, '127.0.0.1', 'Addresses of all nodes, joined by commas, in the same order everywhere.')
    add('node_id', int, None, 'Index of this node in --node_ips. Left out: that of --current_node_ip.')
    add('print_config', bool, True, 'Log the plan.')
    add('current_node_ip', str, None, 'Address of this node, as in --node_ips. Left out: that of --node_id.')
    add('split_log_path', str, split_log_path, 'Folder of the logs, one per process; empty: all on the console.')
    add('log_prefix', str, '', 'Put before the names of the logs.')
    add('nproc_per_node', int, None, 'Processes on each node. Left out: one per GPU; without a GPU, one per core.')
    add('selected_gpus', str, None, 'GPUs to share equally among the processes. Left out: all.')
    add('master', str, None, 'ADDRESS:PORT on node 0 where processes meet, launchers one port below. '
        'Left out: address of node 0 and --start_port.')  # fmt: skip
    add('start_port', int, 6170, 'Port of the first process of each node; the others count up.')
    add('peer_timeout', float, 60, 'Seconds after which a silent node is given up.')
    add('elastic_restarts', int, 0, 'After a failure, begin again from the last checkpoint at most so many times.')
    return parser


def split_arguments(parser, argv):
    """`argv` cut at the script: (flags of the launcher, script or '-m', what follows). `UsageError`: unknown flag."""
    known = [option for action in parser._actions for option in action.option_strings]
    i = 0
    while i < len(argv) and argv[i].startswith('-') and argv[i] != '-m':
        name, equals, _ = argv[i].partition('=')
        if name in ('-h', '--help'):
            parser.parse_args(['--help'])
        if name not in known:
            hint = did_you_mean(name, known) or ' Flags of the script stand behind its name.'
            raise UsageError(f'{name}: unknown flag of the launcher.{hint} --help lists all flags.')
        if not equals and i + 1 >= len(argv):
            raise UsageError(f'{name}: no value is given.')
        i += 1 if equals else 2
    if i >= len(argv):
        raise UsageError('no script is given. --help lists all flags.')
    return argv[:i], argv[i], argv[i + 1 :]


def read_settings(argv, environ, split_log_path='log', prog=None, commands=None):
    """The `propeller.launch.job.Settings` of a command line.

    Args:
        argv: arguments of the launcher, script and script's arguments included.
        environ: the environment of the user; it tells which GPUs are visible.
        split_log_path: the default of that flag.
        prog: name of the program for --help; None: the file's.
        commands: words that may stand in place of a script, each with the module that has it as a command:
            {'pretrain': 'ernie'} makes `pretrain ...` mean `-m ernie pretrain ...`.

    Raises:
        UsageError: the flags cannot be, or there is no such script.
    """
    parser = build_parser(split_log_path, prog)
    own, script, arguments = split_arguments(parser, list(argv))
    args = parser.parse_args(own)
    if commands and script in commands:
        script, arguments = '-m', [commands[script], script, *arguments]
    check_program(script, arguments, commands or {})
    node_ips = parse_nodes(args.node_ips)
    if args.master is not None:
        parse_address('--master', args.master)
    _check_numbers(args)
    node_id = node_of(node_ips, args.node_id, args.current_node_ip)
    nproc, gpu_groups, visible_gpus = choose_devices(args.nproc_per_node, args.selected_gpus, arguments, environ)
    return Settings(
        node_ips=node_ips,
        node_id=node_id,
        nproc=nproc,
        start_port=args.start_port,
        master=args.master,
        gpu_groups=gpu_groups,
        visible_gpus=visible_gpus,
        log_folder=args.split_log_path,
        log_prefix=args.log_prefix,
        peer_timeout=args.peer_timeout,
        elastic_restarts=args.elastic_restarts,
        print_config=args.print_config,
        script=script,
        arguments=tuple(arguments),
    )


def _check_numbers(args):
    limits = {
        'nproc_per_node': (1, 4096),
        'start_port': (2, 65535),
        'peer_timeout': (1, 86400),
        'elastic_restarts': (0, 10**6),
    }
    for name, (low, high) in limits.items():
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            raise UsageError(f'--{name} {value:g}: expected {low} to {high}.')
    if args.start_port + (args.nproc_per_node or 1) - 1 > 65535:
        raise UsageError(f'--start_port {args.start_port}: ports end at 65535, and each process needs one.')


def main(argv, environ=None, split_log_path='log', prog=None, commands=None):
    """Run the job of a command line; see `read_settings`. environ: None for what the user has set.

    Returns:
        the exit code.
    """
    environ = environment.of_user if environ is None else environ
    settings = read_settings(argv, environ, split_log_path, prog, commands)
    path = model_path(settings.arguments)
    if path is not None:
        get_logger('propeller.launch').debug('init model: %s', path)
    return run_job(settings, environ)


def program(split_log_path='log'):
    """`main` with its errors as one line each. Returns the exit code."""
    with one_line_errors():
        return main(sys.argv[1:], split_log_path=split_log_path)
