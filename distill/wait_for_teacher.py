"""Waits until a served teacher answers; ends with an error where its process has gone or the time is up."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dataclasses import MISSING, dataclass

from ernie.distill.online import wait_for_teacher
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.errors import one_line_errors
from propeller.log import console


@dataclass(frozen=True, kw_only=True)
class WaitSettings(Settings, title='teacher'):
    """Waits until a served teacher answers."""

    teacher_host: str = setting(MISSING, 'Its address, e.g. tcp://localhost:8113.')
    pid: int = setting(0, 'Process id of its server; 0: not known.', least=0)
    seconds: float = setting(300.0, 'How long to wait.', above=0)


def build_parser():
    """The flags."""
    return SettingsParser(WaitSettings, 'wait', prog='wait_for_teacher.py')


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser().parse_args(argv).checked()
    wait_for_teacher(args.teacher_host, args.seconds, args.pid)


if __name__ == '__main__':
    with one_line_errors(), console():
        main()
