"""GPUs, network interfaces and kind of paddle of this machine, found without importing paddle (it takes seconds)."""

import fcntl
import importlib.metadata
import os
import re
import socket
import struct
import subprocess

_SIOCGIFADDR = 0x8915  # linux/sockios.h


def visible_gpus(environ, devices='/dev'):
    """Names of the GPUs that a program started with `environ` may use, as in CUDA_VISIBLE_DEVICES: ['0', '1'].

    Args:
        environ: the environment.
        devices: folder of the device files nvidia0, nvidia1 ...; without any of them `nvidia-smi -L` is asked.
    """
    visible = environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None and visible != 'all':
        names = [name.strip() for name in visible.split(',')]
        # CUDA stops reading at the first name that is none, by custom -1.
        good = next((i for i, name in enumerate(names) if name in ('', '-1')), len(names))
        return names[:good] if _physical_gpus(environ, devices) else []
    return _physical_gpus(environ, devices)


def _physical_gpus(environ, devices):
    try:
        numbers = [int(m[1]) for m in map(re.compile(r'nvidia(\d+)').fullmatch, os.listdir(devices)) if m]
    except OSError:
        numbers = []
    return [str(i) for i in sorted(numbers)] or _listed_gpus(environ)


def _listed_gpus(environ):
    try:
        run = subprocess.run(['nvidia-smi', '-L'], env=environ, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r'^GPU (\d+):', run.stdout, re.MULTILINE)


def paddle_is_for_cpu():
    """Whether the installed paddle is the package without GPU support; False when it was installed in another way."""
    return is_installed('paddlepaddle') and not is_installed('paddlepaddle-gpu')


def is_installed(name):
    """Whether a distribution of this name is installed."""
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def interface_of(host):
    """Name of the network interface that has the address of `host`, or None where that cannot be told (not Linux)."""
    try:
        address = socket.gethostbyname(host)
        names = [name for _, name in socket.if_nameindex()]
    except OSError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in names:
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack('256s', name.encode()[:15]))
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    # All of 127.0.0.0/8 belongs to the loopback interface, which reports 127.0.0.1 only.
    return 'lo' if address.startswith('127.') and 'lo' in names else None
