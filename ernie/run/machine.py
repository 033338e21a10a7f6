"""What a run computes on and with, in a line each."""

import math
import os

from ernie.report.names import CURVES
from ernie.run.origin import origin_texts
from propeller.environment import usable_cores
from propeller.graph import cuda_devices
from propeller.log import RUN_LOG
from propeller.ops.choice import kernels
from propeller.train.record import METRICS_FILE

# Vector units of x86 processors, the widest first.
_UNITS = ('amx_bf16', 'avx512_bf16', 'avx512f', 'avx2', 'avx')


def device_text(args, world):
    """A line. args: settings with `use_cuda`, `precision`, `fused_ops`. world: `World`."""
    several = f'{world.size} processes, each with ' if world.size > 1 else ''
    if args.use_cuda:
        return f'{several}GPU, {args.precision}'
    name, units = processor()
    threads = os.environ.get('OMP_NUM_THREADS') or usable_cores()
    vectors = f' ({units})' if units else ''
    why = '' if cuda_devices() else ', no GPU'
    fault = 'switched off' if args.fused_ops == 'false' else kernels().why
    operators = f'plain operators: {fault}' if fault else 'fused operators'
    unit = 'thread' if str(threads) == '1' else 'threads'
    return f'{several}{threads} {unit} of {name}{vectors}{why}; {args.precision}, {operators}'


def processor(cpuinfo='/proc/cpuinfo'):
    """(name of the processor, its widest vector unit or '')."""
    try:
        with open(cpuinfo, encoding='utf-8', errors='replace') as f:
            pairs = [[part.strip() for part in line.split(':', 1)] for line in f if ':' in line]
    except OSError:
        return 'the processor', ''
    found = dict(reversed(pairs))
    flags = set(found.get('flags', '').split())
    name = ' '.join(found.get('model name', 'the processor').replace('(R)', '').replace('(TM)', '').split())
    return name.partition(' @')[0], next((unit for unit in _UNITS if unit in flags), '')


def model_text(source, program):
    """A line. source: `Source`. program: one of the model."""
    config = source.config
    count = sum(map(math.prod, program.parameters().values()))
    size = f'{count / 1e6:.1f} million' if count >= 1e6 else f'{count:,}'
    name, place = origin_texts(source)
    layers, hidden = config.get('num_hidden_layers', 0), config.hidden_size
    return f'{name}: {layers} layers of {hidden}, {size} parameters{", from " if place else ""}{place}'


def contents(folder):
    """What stands beside the report in the folder of a run, and the size of it all."""
    names = [name for name in (CURVES, METRICS_FILE, RUN_LOG) if os.path.exists(os.path.join(folder, name))]
    return f'{", ".join(names)}; {size_text(folder)} in all'


def size_text(*paths):
    """`131 MB`, what files take, and the files in folders."""
    size = sum(os.stat(file).st_size for path in paths for file in _files(path) if os.path.exists(file))
    for unit, bytes_of in (('GB', 1e9), ('MB', 1e6)):
        if size >= bytes_of:
            return f'{size / bytes_of:.3g} {unit}'
    return f'{size / 1e3:.3g} kB'


def _files(path):
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]
