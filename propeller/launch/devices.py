"""Which devices the processes of a node get, and how many processes there are."""

from propeller.environment import usable_cores
from propeller.errors import UsageError
from propeller.launch import machine
from propeller.launch.plan import setting_of, split_gpus
from propeller.log import get_logger

log = get_logger(__name__)


def choose_devices(nproc, selected_gpus, arguments, environ, devices='/dev'):
    """Processes and GPUs of this node; what the user left open is chosen and logged.

    Args:
        nproc: processes; None: one per GPU, on a CPU one per usable core.
        selected_gpus: names of GPUs joined by commas; None: all.
        arguments: those of the script; `--use_cuda false` among them means the CPU.
        environ: the environment of the user.
        devices: folder of device files.

    Returns:
        (processes, per process the tuple of its GPUs, all visible GPUs); the last two are empty on a CPU.

    Raises:
        UsageError: a GPU is not there, or they cannot be shared equally.
    """
    visible = _usable_gpus(arguments, environ, devices)
    if not visible:
        if selected_gpus:
            log.info('--selected_gpus is of no use here: the processes run on the CPU')
        if nproc is None:
            nproc = usable_cores()
            log.debug('--nproc_per_node %d: one process per usable core', nproc)
        return nproc, (), ()
    gpus = _named(selected_gpus, visible) if selected_gpus else visible
    if nproc is None:
        nproc = len(gpus)
        log.debug('--nproc_per_node %d: one process per GPU', nproc)
    groups = split_gpus(gpus, nproc)
    if len(groups[0]) > 1:
        firsts = ', '.join(group[0] for group in groups)
        log.warning('a process computes on one GPU, the first of its share: only %s will be busy', firsts)
    return nproc, groups, tuple(visible)


def _usable_gpus(arguments, environ, devices):
    wanted = setting_of(arguments, 'use_cuda')
    if wanted is not None and wanted.lower() in ('false', 'f', '0', 'no', 'n', 'off'):
        return []
    gpus = machine.visible_gpus(environ, devices)
    if gpus and machine.paddle_is_for_cpu():
        log.warning('this machine has a GPU, but the installed paddlepaddle cannot use it: running on the CPU')
        gpus = []
    if not gpus and wanted is None:
        log.info('no GPU: --use_cuda false is added to the flags of the script')
    return gpus


def _named(selected_gpus, visible):
    names = [name.strip() for name in selected_gpus.split(',')]
    missing = [name for name in names if name not in visible]
    if missing:
        raise UsageError(
            f'--selected_gpus {selected_gpus}: no GPU {", ".join(missing)} here; there are {", ".join(visible)}.'
        )
    if len(set(names)) < len(names):
        raise UsageError(f'--selected_gpus {selected_gpus}: a GPU is named twice.')
    return names
