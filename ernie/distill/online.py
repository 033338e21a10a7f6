"""A teacher behind a server: asked for batches, again where it does not answer, and given up with a plain error."""

import os
import time

import numpy as np

from propeller.errors import UserError, quoted
from propeller.log import get_logger
from propeller.service.client import InferenceClient, InferenceError

log = get_logger(__name__)

# Another try may succeed: the server was starting, restarting or busy.
_AGAIN = ('unavailable', 'expired', 'overloaded', 'internal')
_LONGEST_WAIT = 30.0
_PROBE_SECONDS, _PAUSE = 2.0, 0.2
OUTPUTS = ('logits', 'probabilities')


class ServedTeacher:
    """Logits of a classifier that `start_server` serves.

    Args:
        address: `tcp://HOST:PORT`.
        num_label: its classes.
        outputs: of `OUTPUTS`: what the served model gives.
        batch_size, num_coroutine, timeout: see `InferenceClient`.
        retries: how often a call that failed is made again, after 1, 2, 4 ... seconds.
    """

    def __init__(
        self, address, num_label, outputs='logits', batch_size=64, num_coroutine=1, timeout=60.0, retries=5, wait=1.0
    ):
        self.address, self.num_label, self.outputs = address, num_label, outputs
        self.retries, self.wait = retries, wait
        self._client = InferenceClient(address, batch_size, num_coroutine, timeout)

    def __call__(self, *arrays):
        """Arrays of B rows, in the order of the model's inputs -> float32 [B, C], logits.

        Raises:
            UserError: the server does not answer, refuses, or gives something else.
        """
        return self._checked(self._ask(arrays), len(arrays[0]))

    def _ask(self, arrays):
        for tried in range(self.retries + 1):
            try:
                return self._client(*arrays)
            except InferenceError as e:
                if e.code == 'invalid':
                    raise UserError(
                        f'--teacher_host {self.address}: the served model does not take token ids and sentence types '
                        f'({e}) Serve the export of a training of example/finetune_classifier.py (best/inference), or '
                        'have distill/teacher_outputs.py ask the model.'
                    ) from None
                if e.code not in _AGAIN or tried == self.retries:
                    times = f' after {tried + 1} tries' if tried else ''
                    raise UserError(
                        f'--teacher_host {self.address}: the teacher gave no answer{times} ({e}) Where its memory is '
                        'short, lower --server_batch_size. When it is back, start this program again: it goes on from '
                        'its last checkpoint.'
                    ) from None
                seconds = min(self.wait * 2**tried, _LONGEST_WAIT)
                log.warning('%s; asked again in %.0f s', e, seconds)
                time.sleep(seconds)
        raise AssertionError

    def _checked(self, outputs, rows):
        expected = f'float32 [{rows}, {self.num_label}], the logits of a classifier of num_label classes'
        shapes = ', '.join(f'{array.dtype} {list(array.shape)}' for array in outputs)
        answer = outputs[0] if outputs else None
        if answer is None or answer.shape != (rows, self.num_label) or answer.dtype != np.float32:
            raise self._strange(shapes or 'no array', expected)
        if not np.isfinite(answer).all():
            raise self._strange('numbers that are not finite', expected)
        are_shares = (answer >= 0).all() and np.allclose(answer.sum(-1), 1, atol=1e-3)
        if self.outputs == 'logits':
            if are_shares:
                raise self._strange(
                    'probabilities', 'logits: export the model in EVAL mode, or give --teacher_output probabilities'
                )
            return answer
        if not are_shares:
            raise self._strange(f'rows like {quoted(answer[0].tolist())}', 'probabilities, whose sum is 1')
        return log_of(answer)

    def _strange(self, found, expected):
        return UserError(f'--teacher_host {self.address}: found {found} in the answer, expected {expected}.')


def log_of(probabilities):
    """Logits whose softmax gives these probabilities back: their logarithms, float32."""
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).astype(np.float32)


def wait_for_teacher(address, seconds=300.0, pid=0):
    """Return when a server answers a request of one row.

    Args:
        address: `tcp://HOST:PORT`.
        seconds: how long to wait.
        pid: process of the server, on this machine; 0: not known.
    Raises:
        UserError: the process has ended, or the time is up.
    """
    ids = np.ones((1, 2, 1), np.int64)
    until = time.monotonic() + seconds
    with InferenceClient(address, num_coroutine=1, timeout=_PROBE_SECONDS) as client:
        while True:
            if pid and not _runs(pid):
                raise UserError(f'{address}: its server, process {pid}, has ended; see what it said.')
            try:
                client(ids, np.zeros_like(ids))
                return
            except InferenceError as e:
                if e.code not in _AGAIN:
                    return  # it answers; whether it is the right teacher is for the training to say
                if time.monotonic() >= until:
                    raise UserError(f'{address}: found no answer within {seconds:g} s ({e})') from None
            time.sleep(_PAUSE)


def _runs(pid):
    """Whether a process is there, and no zombie where the system tells."""
    try:
        os.kill(pid, 0)
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rpartition(')')[2].split()[0] not in ('Z', 'X')
    except ProcessLookupError:
        return False
    except OSError:  # no /proc, or a process of another user
        return True
