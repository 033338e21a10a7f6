"""Addresses, devices, threads, environment and arguments of the processes, and the checks of flags about them."""

import dataclasses
import importlib.machinery
import itertools
import math
import os
import sys

from propeller.errors import UsageError, UserError
from propeller.inputs import read_yaml_mapping

# What a process learns of its job: its name, the same for all starts; whether --resume is the launcher's doing alone.
JOB, RESUME_ADDED = 'PROPELLER_JOB', 'PROPELLER_RESUME_ADDED'
# What the launcher learns of a process: the exit code of one that lost another one, or the network to it.
LOST_PEER = 75  # EX_TEMPFAIL


@dataclasses.dataclass(frozen=True)
class Plan:
    """The job as one node sees it.

    Attributes:
        node_ips: addresses of all nodes.
        node_id: index of this node in it.
        nproc: processes on each node.
        ports: one per process; the same on every node.
        master: `address:port` where rank 0 keeps the store through which the processes find each other.
        gpu_groups: per process of this node the names of its GPUs; empty on a CPU.
        visible_gpus: what this node's programs see, in CUDA's order.
    """

    node_ips: tuple
    node_id: int
    nproc: int
    ports: tuple
    master: str
    gpu_groups: tuple = ()
    visible_gpus: tuple = ()

    @property
    def current_ip(self):
        return self.node_ips[self.node_id]

    @property
    def endpoints(self):
        """`address:port` of every rank, in order."""
        return [f'{ip}:{port}' for ip in self.node_ips for port in self.ports]

    def rank(self, local_rank):
        return self.node_id * self.nproc + local_rank

    def describe(self):
        """The plan in the words of 2019."""
        return (
            f'all_trainer_endpoints: {self.endpoints}, node_id: {self.node_id}, current_ip: {self.current_ip}, '
            f'num_nodes: {len(self.node_ips)}, node_ips: {list(self.node_ips)}, '
            f'gpus_per_proc: {len(self.gpu_groups[0]) if self.gpu_groups else 0}, '
            f'selected_gpus_per_proc: {[list(group) for group in self.gpu_groups]}, nranks: {len(self.endpoints)}'
        )


def split_gpus(gpus, nproc):
    """Equal consecutive groups of `gpus`, one per process. A `UsageError` when that does not come out even."""
    size, rest = divmod(len(gpus), nproc)
    if rest or not size:
        raise UsageError(
            f'--nproc_per_node {nproc}: {len(gpus)} GPUs ({",".join(gpus)}) cannot be shared equally among {nproc} '
            f'processes. Name the GPUs to use with --selected_gpus, one per process.'
        )
    return tuple(tuple(gpus[i : i + size]) for i in range(0, len(gpus), size))


def parse_address(flag, text):
    """(host, port) of `HOST:PORT`. Raises `UsageError`, naming the flag."""
    host, _, port = text.rpartition(':')
    if not host or ':' in host or not port.isdecimal() or not 2 <= int(port) <= 65535:
        raise UsageError(f'{flag} {text}: expected ADDRESS:PORT with a port from 2 to 65535.')
    return host, int(port)


def parse_nodes(text):
    """The addresses of `--node_ips`. Raises `UsageError`."""
    node_ips = tuple(ip.strip() for ip in text.split(','))
    if '' in node_ips or any(':' in ip or ' ' in ip for ip in node_ips):
        raise UsageError(f'--node_ips {text}: expected addresses without ports, joined by commas.')
    if len(set(node_ips)) < len(node_ips):
        raise UsageError(
            f'--node_ips {text}: an address is there twice. Several processes of a node: --nproc_per_node.'
        )
    return node_ips


def node_of(node_ips, node_id, current_node_ip):
    """Index of this node, from `--node_id` (None: not given) and `--current_node_ip` (None: not given).

    Raises:
        UsageError: neither tells, or they contradict each other or `node_ips`.
    """
    if current_node_ip is not None and current_node_ip not in node_ips:
        raise UsageError(f'--current_node_ip {current_node_ip}: not in --node_ips {",".join(node_ips)}.')
    if node_id is None:
        if current_node_ip is None and len(node_ips) > 1:
            raise UsageError(f'{len(node_ips)} nodes: --node_id or --current_node_ip must say which one this is.')
        return node_ips.index(current_node_ip) if current_node_ip is not None else 0
    if not 0 <= node_id < len(node_ips):
        raise UsageError(
            f'--node_id {node_id}: --node_ips names {len(node_ips)} nodes, so it is 0 to {len(node_ips) - 1}.'
        )
    if current_node_ip is not None and node_ips[node_id] != current_node_ip:
        raise UsageError(
            f'--node_id {node_id} is {node_ips[node_id]} in --node_ips, but --current_node_ip is {current_node_ip}.'
        )
    return node_id


def environment(plan, local_rank, environ, cores, peer_timeout, interface=None):
    """The environment of a process: `environ` with the variables of Paddle's own launcher, and ours.

    Args:
        plan: the job.
        local_rank: index of the process on this node.
        environ: what the user has set.
        cores: usable cores of this node, which its processes share.
        peer_timeout: seconds after which a silent peer is given up.
        interface: network interface for gloo where the user has not named one; None: gloo looks itself.
    """
    endpoints, rank = plan.endpoints, plan.rank(local_rank)
    result = dict(environ)
    # Paddle prefers these two, which other systems set, to PADDLE_MASTER.
    for name in ('MASTER_ADDR', 'MASTER_PORT', 'FLAGS_selected_gpus'):
        result.pop(name, None)
    result |= {
        'PADDLE_TRAINER_ID': str(rank),
        'PADDLE_TRAINERS_NUM': str(len(endpoints)),
        'PADDLE_CURRENT_ENDPOINT': endpoints[rank],
        'PADDLE_TRAINER_ENDPOINTS': ','.join(endpoints),
        'PADDLE_NODES_NUM': str(len(plan.node_ips)),
        'PADDLE_NNODES': str(len(plan.node_ips)),
        'PADDLE_GLOBAL_SIZE': str(len(endpoints)),
        'PADDLE_GLOBAL_RANK': str(rank),
        'PADDLE_LOCAL_SIZE': str(plan.nproc),
        'PADDLE_LOCAL_RANK': str(local_rank),
        'PADDLE_RANK_IN_NODE': str(local_rank),
        'PADDLE_MASTER': plan.master,
        'PADDLE_LAUNCH_TIMEOUT': str(math.ceil(peer_timeout)),
        'PADDLE_DISTRI_BACKEND': 'nccl' if plan.gpu_groups else 'gloo',
    }
    result.setdefault('OMP_NUM_THREADS', str(max(1, cores // plan.nproc)))
    if plan.gpu_groups:
        # Paddle counts within the visible GPUs, whatever their names are.
        result['FLAGS_selected_gpus'] = ','.join(
            str(plan.visible_gpus.index(name)) for name in plan.gpu_groups[local_rank]
        )
    elif interface:
        result.setdefault('GLOO_SOCKET_IFNAME', interface)
    return result


def flag_value(arguments, name):
    """The value that counts of `--name` among a script's arguments, the last one; None if it is not given."""
    value = None
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=''):
        if argument == f'--{name}':
            value = following
        elif argument.startswith(f'--{name}='):
            value = argument.partition('=')[2]
    return value


def setting_of(arguments, name):
    """The same, also where it stands in a YAML file that is given as `--config`, which the script reads itself."""
    value, config = flag_value(arguments, name), flag_value(arguments, 'config')
    if value is not None or not config:
        return value
    try:
        value = read_yaml_mapping(config)[0].get(name)
    except UserError:  # the script will say it, or --config is something else to it
        return None
    return None if value is None else str(value)


def script_arguments(arguments, on_gpu, restarted):
    """The arguments a process gets: the user's, and what they leave open about distribution, device and resuming."""
    result = list(arguments)
    if flag_value(arguments, 'is_distributed') is None:
        result += ['--is_distributed', 'true']
    if not on_gpu and setting_of(arguments, 'use_cuda') is None:
        result += ['--use_cuda', 'false']
    # Appended even where the user said otherwise: the last one counts.
    return result + ['--resume', 'true'] if restarted else result


def job_environment(name, arguments, restarted):
    """What `propeller.train.run_folder` reads in the environment of a process.

    Args:
        name: of the job, the same for all its starts.
        arguments: of the script, as the user gave them.
        restarted: whether this start follows a failure.
    """
    asked = (flag_value(arguments, 'resume') or '').lower() in ('true', 't', '1', 'yes', 'y', 'on')
    return {JOB: name, RESUME_ADDED: 'true' if restarted and not asked else ''}


def model_path(arguments):
    """The folder that training starts from, by the script's arguments; None if it is not given."""
    return setting_of(arguments, 'init_checkpoint') or setting_of(arguments, 'init_pretraining_params')


def check_program(script, arguments, commands=()):
    """A `UsageError` if the script is not there, or the module that stands behind `-m`.

    commands: words that may stand in place of a script, for the message.
    """
    if script == '-m':
        if not arguments:
            raise UsageError('-m: no module is given.')
        package = arguments[0].partition('.')[0]
        if not importlib.machinery.PathFinder.find_spec(package, [os.getcwd(), *sys.path]):
            raise UsageError(f'-m {arguments[0]}: no module {package} is installed, or in this folder.')
    elif not os.path.isfile(script):
        words = f', {", ".join(commands)}' if commands else ''
        raise UsageError(
            f'{script}: no such script. It (or -m MODULE{words}) stands behind the flags of the launcher, '
            'before its own flags.'
        )
