"""A request in the server, and the queue of their rows. No clock, no sockets: times are given."""

import collections
import itertools

_CHEAP = 16  # tokens of padding that cost less than another batch


class Row:
    """One row of a request. place: of its result. failures: batches that died or failed with it."""

    __slots__ = ('request', 'place', 'content', 'tokens', 'kind', 'failures')

    def __init__(self, request, place, content, tokens, kind):
        self.request, self.place, self.content, self.tokens, self.kind = request, place, content, tokens, kind
        self.failures = 0


class Request:
    """Rows of one model that are answered together.

    Attributes:
        rows: list of `Row`.
        results: list, a result for each row when it is there.
        left: rows without a result.
        size: bytes of the results that are there.
        waiting: tokens of rows that wait in the queue.
        ended: answered, failed or given up: nothing of it is computed any more.
        admitted, started, finished: times; None until then.
    """

    __slots__ = (
        'model',
        'rows',
        'results',
        'left',
        'size',
        'waiting',
        'ended',
        'future',
        'admitted',
        'started',
        'finished',
    )

    def __init__(self, model, contents, now):
        self.model = model
        self.rows = [
            Row(self, place, content, model.tokens(content), model.kind(content))
            for place, content in enumerate(contents)
        ]
        self.results, self.left = [None] * len(self.rows), len(self.rows)
        self.size, self.waiting, self.ended, self.future = 0, 0, False, None
        self.admitted, self.started, self.finished = now, None, None

    @property
    def tokens(self):
        return sum(row.tokens for row in self.rows)


class RequestQueue:
    """Rows that wait, by model; the oldest is always in the next batch of its model.

    Args:
        limits: `Limits`.
    """

    def __init__(self, limits):
        self._limits = limits
        self._waiting = {}  # model -> deque of (number, Row); rows of requests that ended are passed over
        self._numbers = itertools.count()
        self.tokens = self._dead = self._rows = 0

    def add(self, request):
        """Append the rows of a request."""
        queue = self._waiting.setdefault(request.model, collections.deque())
        queue.extend((next(self._numbers), row) for row in request.rows)
        self._count(request, request.tokens, len(request.rows))

    def put_back(self, rows):
        """Rows whose batch died, at the head. Each has a batch of its own then: one of them may be the cause."""
        for row in reversed(rows):
            self._waiting[row.request.model].appendleft((-1, row))
            self._count(row.request, row.tokens, 1)

    def drop(self, request):
        """Nothing of this request is wanted any more."""
        if request.ended:
            return
        request.ended = True
        self.tokens -= request.waiting
        self._dead += request.left  # at most: some of them are being computed
        request.waiting = 0
        if self._dead > 4 * self._limits.window and 2 * self._dead > self._rows:
            self._sweep()

    def take(self):
        """(model, list of `Row`), the next batch; None where nothing waits.

        It has the oldest row of all, and rows of like length near the head of the same model's queue.
        """
        heads = [(queue[0][0], model) for model, queue in self._waiting.items() if self._clean(queue)]
        if not heads:
            return None
        _, model = min(heads, key=lambda head: head[0])
        queue = self._waiting[model]
        if queue[0][1].failures:
            return model, [self._taken(queue.popleft()[1])]
        window = self._window(queue)
        chosen = choose([row for _, row in window], self._limits)
        taken = set(map(id, chosen))
        left = [entry for entry in window if id(entry[1]) not in taken]
        queue.extendleft(reversed(left))
        return model, [self._taken(row) for row in chosen]

    def _window(self, queue):
        window = []
        while queue and len(window) < self._limits.window:
            entry = queue.popleft()
            if entry[1].request.ended:
                self._rows -= 1
                self._dead = max(self._dead - 1, 0)
            else:
                window.append(entry)
        return window

    def _clean(self, queue):
        """Whether anything that is wanted waits; what is at the head is then."""
        while queue and queue[0][1].request.ended:
            queue.popleft()
            self._rows -= 1
            self._dead = max(self._dead - 1, 0)
        return bool(queue)

    def _taken(self, row):
        self._count(row.request, -row.tokens, -1)
        return row

    def _count(self, request, tokens, rows):
        request.waiting += tokens
        self.tokens += tokens
        self._rows += rows

    def _sweep(self):
        for model, queue in self._waiting.items():
            self._waiting[model] = collections.deque(entry for entry in queue if not entry[1].request.ended)
        self._rows, self._dead = sum(map(len, self._waiting.values())), 0


def choose(rows, limits):
    """The rows of a batch: the first, and those of the same kind whose length is nearest, while padding is cheap.

    Many a batch with little padding is computed sooner than one with much: what an engine needs for a batch beside its
    tokens is worth about ten of them on a processor.

    Args:
        rows: list of `Row`, the oldest first.
        limits: `Limits`.
    Returns:
        list of `Row`: number times longest is `batch_tokens` at most, unless the first alone is longer. Padding is a
        sixteenth of that at most, or 16 tokens.
    """
    head = rows[0]
    # Rows that failed once wait for a batch of their own.
    alike = [row for row in rows if row.kind == head.kind and not row.failures]
    alike.sort(key=lambda row: row.tokens)  # of one length the oldest stays first
    first = last = next(place for place, row in enumerate(alike) if row is head)
    tokens = head.tokens
    while last - first + 1 < limits.batch_rows:
        count, longest = last - first + 2, alike[last].tokens
        shorter = alike[first - 1].tokens if first else None
        longer = alike[last + 1].tokens if last + 1 < len(alike) else None
        down = None if shorter is None else _padding(count, longest, tokens + shorter, limits)
        up = None if longer is None else _padding(count, longer, tokens + longer, limits)
        if down is None and up is None:
            break
        if up is None or (down is not None and down <= up):
            first, tokens = first - 1, tokens + shorter
        else:
            last, tokens = last + 1, tokens + longer
    return alike[first : last + 1]


def _padding(count, longest, tokens, limits):
    """Padding of a batch of so many rows; None where it cannot be, or has too much."""
    size = count * longest
    padding = size - tokens
    return padding if size <= limits.batch_tokens and padding <= max(_CHEAP, size / 16) else None
