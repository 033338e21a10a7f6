"""Requests that cannot be computed now are refused before they are read: a flood costs little then."""

import math

_ESCAPE = b'\\u00'  # by which JSON can write `timeout` in other letters


class Admission:
    """Which routes compute, and whether there is room for what they are asked.

    What it lets in may still be refused, when its tokens are known.

    Args:
        core: `ServiceCore`.
    """

    def __init__(self, core):
        self._core = core
        self._paths, self._parts = {}, []

    def add(self, path, says_time):
        """A route that computes. path: may have `{model}`. says_time: whether its body may have a `timeout`."""
        before, has_part, after = path.partition('{model}')
        if has_part:
            self._parts.append((before, after, says_time))
        else:
            self._paths[path] = says_time

    def check(self, path):
        """Refuse a request of which nothing is known but its path.

        Raises:
            ServiceError: whatever its body says, it cannot be computed now.
        """
        says_time = self._says_time(path)
        if says_time is not None:
            self._core.check_open()
            self._core.check_room(1, math.inf if says_time else None)

    def check_body(self, path, body):
        """Refuse a request before its body is parsed, where it can have no `timeout` of its own.

        Raises:
            ServiceError: it cannot be computed now.
        """
        if self._says_time(path) and b'timeout' not in body and _ESCAPE not in body:
            self._core.check_room(1)

    def _says_time(self, path):
        """Whether a body for this route may have a `timeout`; None: it computes nothing."""
        says_time = self._paths.get(path)
        if says_time is None:
            for before, after, says_time_too in self._parts:
                if path.startswith(before) and path.endswith(after):
                    return says_time_too
        return says_time
