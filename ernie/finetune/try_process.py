"""The process of one try: started, watched, ended at a time limit or when the search is interrupted."""

import os
import signal
import subprocess
import sys

from propeller.errors import Interrupted
from propeller.log import VARIABLE

WORDS = 'error.txt'
_GRACE = 600.0  # seconds for the update under way and the checkpoint, when a try is to end


def run_try(place, verb, flags, seconds=None, level=None):
    """Run `ernie.finetune.one_try`.

    Args:
        place: folder of the try.
        verb, flags: of `ernie finetune`.
        seconds: after so many it is asked to save and end; None: never.
        level: what is printed, where the user asks for no level; None: as always. The run.log of a try has all lines.
    Returns:
        (exit code, None where the time was over; its last words where it failed, else '').
    Raises:
        Interrupted: Ctrl-C or SIGTERM came, and the try has saved what it has.
    """
    words = os.path.join(place, WORDS)
    if os.path.exists(words):
        os.unlink(words)
    command = [sys.executable, '-m', 'ernie.finetune.one_try', words, verb, *flags]
    # In a group of its own: Ctrl-C reaches this process alone, which passes it on once.
    process = subprocess.Popen(command, process_group=0, env=_environment(level))
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return None, ''
    except BaseException:
        _end(process)
        raise Interrupted from None
    if code == 130:  # somebody else ended it
        raise Interrupted
    return code, _last_words(words, code) if code else ''


def _last_words(path, code):
    if os.path.isfile(path):
        with open(path, encoding='utf-8', errors='replace') as f:
            return f.read(2000)
    if code == -signal.SIGKILL:
        return 'killed by the system, most likely for want of memory'
    return f'ended by signal {-code}' if code < 0 else f'exit code {code}'


def _end(process):
    """Have a process save and end; kill it if it does not, or if Ctrl-C comes once more."""
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(_GRACE)
    except BaseException:
        process.kill()
        process.wait()
        raise


def _environment(level):
    """That of this process, with the place of this package: the working folder may be any."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = [root, *filter(None, [os.environ.get('PYTHONPATH')])]
    shown = {VARIABLE: level} if level and VARIABLE not in os.environ else {}
    return {**os.environ, **shown, 'PYTHONPATH': os.pathsep.join(paths)}
