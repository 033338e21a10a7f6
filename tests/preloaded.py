"""What the process loads from which `tests.processes.run` forks; with one thread for products."""

import importlib
import os

os.environ['OMP_NUM_THREADS'] = '1'
# propeller first: it makes the settings that must stand before Paddle is loaded.
for name in ('propeller', 'paddle', 'ernie.finetune.trainer', 'ernie.pretrain.trainer', 'matplotlib.figure'):
    importlib.import_module(name)
