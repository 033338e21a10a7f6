"""A try of a search as a process of its own: `python -m ernie.finetune.one_try FILE VERB [flags]`.

It trains as `ernie finetune VERB` does, ends with its parent, and leaves its last words in FILE when it fails: memory
that runs out, or a system that kills, ends this process and not the search.
"""

import contextlib
import os
import signal
import sys
import threading
import time

from ernie.programs import FINETUNE
from propeller.errors import one_line, one_line_errors

_LONGEST = 2000


class _LastLine:
    """Standard error, and what was the last line on it."""

    def __init__(self, stream):
        self._stream, self.line = stream, ''

    def write(self, text):
        self.line = next((line for line in reversed(str(text).splitlines()) if line.strip()), self.line)
        return self._stream.write(text)

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _end_with(parent):
    """Have SIGTERM sent to this process when its parent has gone, so that it saves what it has and ends."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main(argv):
    """Run. argv: the file, the verb, the flags."""
    path, verb, *flags = argv
    _end_with(os.getppid())
    sys.stderr = spoken = _LastLine(sys.stderr)
    failure = ''
    try:
        with one_line_errors():
            getattr(FINETUNE, verb).main(flags, prog=f'ernie finetune {verb}')
    except SystemExit as e:
        failure = spoken.line if e.code else ''
        raise
    except Exception as e:
        failure = f'{type(e).__name__}: {e}'
        raise
    finally:
        if failure:
            with contextlib.suppress(OSError), open(path, 'w', encoding='utf-8') as f:
                f.write(one_line(failure.removeprefix('error: '), _LONGEST))


if __name__ == '__main__':
    main(sys.argv[1:])
