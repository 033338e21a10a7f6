"""Files that are either whole or not there. For folders see `propeller.storage.folders`."""

import contextlib
import os
import secrets

from propeller.errors import UserError
from propeller.storage.folders import TEMPORARY, sync


@contextlib.contextmanager
def replacing(path):
    """Gives the name of a file to write; it takes the place of `path` when the block ends, and vanishes if it fails.

    Raises:
        UserError: the file cannot be written; the text holds the reason.
    """
    folder, name = os.path.split(os.path.abspath(path))
    partial = os.path.join(folder, f'{TEMPORARY}{name}-{secrets.token_hex(4)}')
    try:
        with open(partial, 'xb') as f:
            mode = os.fstat(f.fileno()).st_mode
        yield partial
        # Some writers make the file anew, for the owner only.
        os.chmod(partial, mode & 0o777)
        sync(partial)
        os.replace(partial, path)
        sync(folder)
    except OSError as e:
        raise UserError(f'{path}: cannot be written ({e.strerror or e}).') from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(partial)
