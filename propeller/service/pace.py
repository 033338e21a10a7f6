"""How long what waits will take. No clock: times are given."""

import math

_BACK = 3.0  # seconds of batches that count


class Pace:
    """Tokens a second of a worker, of the last batches that left others waiting: those were as large as could be.

    A batch that took all there was says nothing of how fast a long queue goes.
    """

    def __init__(self):
        self._tokens = self._seconds = 0.0

    def note(self, tokens, seconds):
        """A batch was computed while others waited. tokens: of its rows, without padding. seconds: that it took."""
        keep = math.exp(-seconds / _BACK)
        self._tokens, self._seconds = keep * self._tokens + tokens, keep * self._seconds + seconds

    def wait(self, tokens, workers):
        """Seconds until so many workers have computed so many tokens; 0.0 where nothing is known yet."""
        return tokens * self._seconds / self._tokens / max(workers, 1) if self._tokens else 0.0
