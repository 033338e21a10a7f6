"""The lines of PaddleHub: `[2019-11-20 12:00:00,000] [    INFO] - message`."""

import logging
import sys

from propeller.log import SafeFormatter, get_logger, shows

FORMAT = '[%(asctime)s] [%(levelname)8s] - %(message)s'
log = get_logger('ernie.hub')


class _Lines(logging.Handler):
    """Lines in that form on standard error; the others of the package keep theirs."""

    def __init__(self):
        super().__init__()
        self.setFormatter(SafeFormatter(FORMAT))

    def emit(self, record):
        try:
            if shows(record.levelno):
                sys.stderr.write(f'{self.format(record)}\n')
                sys.stderr.flush()
        except Exception:
            self.handleError(record)


if not log.handlers:
    log.addHandler(_Lines())
    log.propagate = False
