"""What TensorFlow wrote and computed: tests/ernie/golden/tensorflow, by `benchmark/acceptance/tensorflow_golden.py`."""

import json
import math
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / 'golden' / 'tensorflow'


def arrays_of(folder):
    """dict name -> array of what a checkpoint in a folder there holds."""
    with np.load(GOLDEN / 'expected.npz') as kept:
        content, about = kept[folder].tobytes(), json.loads(str(kept[f'{folder}_names']))
    arrays, at = {}, 0
    for name, dtype, shape in about:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(content, dtype, count, at).reshape(shape)
        at += arrays[name].nbytes
    return arrays


def outputs():
    """dict name -> array: inputs of the model in `pretrained`, and what it makes of them."""
    with np.load(GOLDEN / 'expected.npz') as kept:
        return {name: kept[name] for name in ('ids', 'types', 'mask', 'layers', 'pooled', 'words', 'order')}
