"""PaddleHub's way of 2019: `import ernie.hub as hub`. docs/hub.md.

What is here loads no paddle until something is trained or predicted.
"""

from ernie.hub import initializer, layers, nets
from ernie.hub.expressions import Program, Value, program_guard, switch_main_program
from ernie.hub.parameters import ParamAttr

__all__ = ['ParamAttr', 'Program', 'Value', 'initializer', 'layers', 'nets', 'program_guard', 'switch_main_program']
