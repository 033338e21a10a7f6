"""Starts the processes of a data-parallel job: finetune_launch.py [its own flags] script.py [flags of the script]."""

import difflib
import os
import sys


def build_parser(split_log_path='log'):
    """The launcher's own flags; those of the script are none of its business."""
    from ernie.utils.args import ArgumentGroup, Parser

    parser = Parser(
        prog=os.path.basename(sys.argv[0]),
        usage='%(prog)s [flags of the launcher] script.py [flags of the script]',
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
    """`argv` cut at the script: (flags of the launcher, script, its arguments). `UsageError` names an unknown flag."""
    from propeller.errors import UsageError

    known = [option for action in parser._actions for option in action.option_strings]
    i = 0
    while i < len(argv) and argv[i].startswith('-'):
        name, equals, _ = argv[i].partition('=')
        if name in ('-h', '--help'):
            parser.parse_args(['--help'])
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f' Did you mean {near[0]}?' if near else ' Flags of the script stand behind its name.'
            raise UsageError(f'{name}: unknown flag of the launcher.{hint} --help lists all flags.')
        if not equals and i + 1 >= len(argv):
            raise UsageError(f'{name}: no value is given.')
        i += 1 if equals else 2
    if i >= len(argv):
        raise UsageError('no script is given. --help lists all flags.')
    return argv[:i], argv[i], argv[i + 1 :]


def read_settings(argv, environ, split_log_path='log'):
    """The `propeller.launch.job.Settings` of a command line; a `UsageError` where it cannot be.

    Args:
        argv: arguments of the launcher, script and script's arguments included.
        environ: the environment of the user; it tells which GPUs are visible.
        split_log_path: the default of that flag.
    """
    from propeller.launch.devices import choose_devices
    from propeller.launch.job import Settings
    from propeller.launch.plan import check_script, node_of, parse_address, parse_nodes

    parser = build_parser(split_log_path)
    own, script, arguments = split_arguments(parser, list(argv))
    args = parser.parse_args(own)
    check_script(script)
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
    from propeller.errors import UsageError

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


def main(argv, environ, split_log_path='log'):
    """Run the job of the command line `argv` in the environment `environ`. Returns the exit code."""
    from propeller.launch.job import run_job
    from propeller.launch.plan import model_path
    from propeller.log import get_logger

    settings = read_settings(argv, environ, split_log_path)
    path = model_path(settings.arguments)
    if path is not None:
        get_logger('propeller.launch').info('init model: %s', path)
    return run_job(settings, environ)


def program(split_log_path='log'):
    """`main` with its errors as one line each. Returns the exit code."""
    environ = dict(os.environ)  # before the import of `propeller` chooses the number of threads
    from propeller.errors import one_line_errors

    with one_line_errors():
        return main(sys.argv[1:], environ, split_log_path)


if __name__ == '__main__':
    sys.exit(program())
