"""A teacher behind a server: asked for batches, again where it does not answer, and given up with a plain error."""

import time

import numpy as np

from propeller.errors import UserError, quoted
from propeller.log import get_logger
from propeller.service.client import InferenceClient, InferenceError

log = get_logger(__name__)

# Another try may succeed: the server was starting, restarting or busy.
_AGAIN = ('unavailable', 'expired', 'overloaded', 'internal')
_LONGEST_WAIT = 30.0
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
