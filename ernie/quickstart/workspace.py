"""The quickstart's folder: which steps are done, with which settings; one process at a time."""

import contextlib
import fcntl
import json
import os
import shutil

from propeller.errors import UserError
from propeller.inputs import read_json
from propeller.storage.atomic import output_file
from propeller.storage.folders import recover

MARK = '.quickstart'


class Workspace:
    """A folder that only the quickstart writes into.

    A step is done when `.quickstart/<step>.json` holds its settings; the file is written last.

    Args:
        path: the folder; made if it does not exist.

    Raises:
        UserError: the folder holds other things, or another quickstart works in it.
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self._marks = os.path.join(self.path, MARK)
        if os.path.isdir(self.path) and os.listdir(self.path) and not os.path.isdir(self._marks):
            raise UserError(f'{self.path}: this folder holds other things. Name a new or empty one with --dir.')
        os.makedirs(self._marks, exist_ok=True)
        self._lock = open(os.path.join(self._marks, 'lock'), 'a', encoding='utf-8')  # noqa: SIM115 (held to the end)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise UserError(f'{self.path}: another quickstart is at work in this folder.') from None
        recover(self.path)

    def close(self):
        """Let other processes in."""
        self._lock.close()

    def join(self, *names):
        """Path inside the folder."""
        return os.path.join(self.path, *names)

    def is_done(self, step, settings):
        """Whether the step was finished with just these settings."""
        try:
            return read_json(self._mark(step)) == settings
        except UserError:
            return False

    def set_done(self, step, settings):
        """Write down that the step is finished."""
        with output_file(self._mark(step)) as f:
            json.dump(settings, f, indent=1, sort_keys=True)

    def forget(self, step):
        """The step counts as not done from now on."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark(step))

    def remove(self, *names):
        """Remove a folder that a step made, with all that is in it."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.join(*names))

    def _mark(self, step):
        return os.path.join(self._marks, f'{step}.json')
