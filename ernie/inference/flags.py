"""The flags of infer_classifyer.py, frozen by `tests/ernie/test_inference_flags.py`."""

from ernie.settings.flags import SettingsParser
from ernie.settings.predict import PredictSettings


def build_parser(prog=None):
    """The parser. A flag whose default is None takes what the checkpoint says."""
    return SettingsParser(PredictSettings, 'predict', prog=prog)
