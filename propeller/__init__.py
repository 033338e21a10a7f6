"""propeller: a small training engine on Paddle's static graph.

Users write `import propeller.paddle as propeller`. Importing this package never imports paddle; it only makes the
processor settings that must stand in the environment before paddle is loaded.
"""

from propeller.environment import prepare_cpu

__version__ = '0.2.0'

prepare_cpu()
