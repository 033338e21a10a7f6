"""In which precision an exported model was made, and whether what a user asks for is that."""

import os

from ernie.inference.processor import other_processor, processor_flags
from ernie.run.exported import INFERENCE
from propeller.errors import UsageError
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

INT8, REPORT = 'int8', 'int8.json'
_REPORT = 'the report that an export in int8 writes'


def precision_to_open(precision, exported, path, quantizes=False):
    """The precision that an exported model is opened in.

    Args:
        precision: what was asked for; None: that of the model, fp32 where it has none.
        exported: content of `inference.json`; None of a model that is not exported yet.
        path: of the model, for messages.
        quantizes: `Engine.quantizes` of what opens it.
    Raises:
        UsageError: the model is of another one.
    """
    made = (exported or {}).get('precision')
    if made == INT8 and precision not in (None, INT8):
        raise UsageError(
            f'--precision {precision}: {path} was exported in int8. Leave it out, or export the model anew.'
        )
    if precision == INT8 and made != INT8 and not quantizes:
        found = f'{path} is exported in fp32' if exported else f'{path} is not exported'
        advice = 'Make it: ernie export MODEL --precision int8; or give --engine fused, which needs none.'
        raise UsageError(f'--precision int8: {found}. {advice}')
    return precision or made or 'fp32'


def precision_of_folder(precision, folder, quantizes=False):
    """The same for the folder of an exported model, whose description is read."""
    path = os.path.join(folder, INFERENCE)
    exported = read_json_object(path, 'what an export writes there') if os.path.isfile(path) else {'format': None}
    return precision_to_open(precision, exported, folder, quantizes)


def warn_of_processor(folder):
    """Say it where a model in int8 was measured on another kind of processor."""
    path = os.path.join(folder, REPORT)
    if not os.path.isfile(path):
        return
    measured = read_json_object(path, _REPORT).get('processor')
    text = other_processor(measured, processor_flags()) if isinstance(measured, dict) else ''
    if text:
        log.warning('%s: %s', folder, text)
