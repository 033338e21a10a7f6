"""The flags of train.py, frozen by `tests/ernie/test_pretrain_flags.py`."""

from ernie.settings.flags import SettingsParser
from ernie.settings.pretrain import PretrainSettings


def build_parser(prog=None):
    """The parser."""
    return SettingsParser(PretrainSettings, 'pretrain', prog=prog)
