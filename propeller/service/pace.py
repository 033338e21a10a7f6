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
        """A batch was computed while others waited.

        Args:
            tokens: of its rows, without padding.
            seconds: from the moment when its worker could have begun until the front heard of its end.
        """
        keep = math.exp(-seconds / _BACK)
        self._tokens, self._seconds = keep * self._tokens + tokens, keep * self._seconds + seconds

    def wait(self, tokens, workers, under_way=()):
        """Seconds until so many workers have computed so many tokens; 0.0 where nothing is known yet.

        Args:
            tokens: that wait.
            workers: number of them.
            under_way: [(tokens, seconds until now)] of batches that are not done. One that takes longer than those
                before slows the pace already: what is admitted until it is done would come too late otherwise.
        """
        slowest = self._seconds / self._tokens if self._tokens else 0.0
        for more, seconds in under_way:
            if seconds > more * slowest:
                keep = math.exp(-seconds / _BACK)
                slowest = max(slowest, (keep * self._seconds + seconds) / (keep * self._tokens + more))
        return tokens * slowest / max(workers, 1)
