"""The flags that the fine-tuning programs share, frozen by `tests/ernie/test_flags.py`."""

from ernie.settings.finetune import FinetuneSettings
from ernie.settings.flags import SettingsParser


def build_parser(prog=None):
    """The parser. A file of --config may be for any of the tasks."""
    return SettingsParser(FinetuneSettings, prog=prog)
