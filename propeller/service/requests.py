"""A request in the server, and the queue of their rows. No clock, no sockets: times are given."""

import collections
import functools
import itertools
import math

_CHEAP = 0.1  # cost of padding below which rows of any length may share a batch
_BATCH = 20  # tokens that take as long as what a batch costs beside its tokens


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

    def take(self, share=math.inf):
        """(model, list of `Row`), the next batch; None where nothing waits.

        It has the oldest row of all, and rows of like length near the head of the same model's queue; where padding
        costs next to nothing, rows of any length, the oldest.

        share: how many tokens are enough for a batch of rows of any length.
        """
        heads = [(queue[0][0], model) for model, queue in self._waiting.items() if self._clean(queue)]
        if not heads:
            return None
        _, model = min(heads, key=lambda head: head[0])
        queue = self._waiting[model]
        if queue[0][1].failures:
            return model, [self._taken(queue.popleft()[1])]
        window = self._window(queue, share if model.padding_cost < _CHEAP else math.inf)
        chosen = choose([row for _, row in window], self._limits)
        taken = set(map(id, chosen))
        left = [entry for entry in window if id(entry[1]) not in taken]
        queue.extendleft(reversed(left))
        return model, [self._taken(row) for row in chosen]

    def _window(self, queue, share):
        window, tokens = [], 0
        while queue and len(window) < self._limits.window and tokens < share:
            entry = queue.popleft()
            if entry[1].request.ended:
                self._rows -= 1
                self._dead = max(self._dead - 1, 0)
            else:
                window.append(entry)
                tokens += entry[1].tokens
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
    """The rows of a batch: of the division into batches that is computed soonest, the one with the oldest row.

    Args:
        rows: list of `Row` of one model, the oldest first.
        limits: `Limits`.
    Returns:
        list of `Row` of one kind, by length: number times longest, as the model pads it, is `batch_tokens` at most,
        unless it is the oldest row alone; the number is one of `counts`.
    """
    if len(rows) == 1:
        return rows
    head = rows[0]
    # Rows that failed once wait for a batch of their own.
    alike = [row for row in rows if row.kind == head.kind and not row.failures]
    alike.sort(key=lambda row: row.tokens)  # of one length the oldest stays first
    model = head.request.model
    lengths = [row.tokens for row in alike]
    begins = divide(lengths, [model.padded(length) for length in lengths], model.padding_cost, limits)
    place, end = next(place for place, row in enumerate(alike) if row is head), len(alike)
    while begins[end] > place:
        end = begins[end]
    return alike[begins[end] : end]


def divide(lengths, padded, padding_cost, limits):
    """The cheapest division of rows into batches of neighbours.

    A batch costs its tokens, a part of its padding, and what an engine on a processor needs beside them: as much as
    `_BATCH` tokens, measured with an encoder of 6 layers of 384.

    Args:
        lengths: tokens of each row, list of int, ascending.
        padded: how long the batch is whose longest row it is, list of int.
        padding_cost: of a token of padding, in times of another token.
        limits: `Limits`.
    Returns:
        list of int, one longer: where the last batch begins when the first so many rows are divided.
    """
    sizes = counts(limits.batch_rows, padding_cost < _CHEAP)
    sums = list(itertools.accumulate(lengths, initial=0))
    costs, begins = [0], [0]
    for end, longest in enumerate(padded, 1):
        best, begin = math.inf, end - 1
        for count in sizes:
            size = count * longest
            if count > end or (count > 1 and size > limits.batch_tokens):
                break
            tokens = sums[end] - sums[end - count]
            cost = costs[end - count] + tokens + padding_cost * (size - tokens)
            if cost < best:
                best, begin = cost, end - count
        costs.append(best + _BATCH)
        begins.append(begin)
    return begins


@functools.cache
def counts(most, any_few=False):
    """Numbers of rows that a batch may have, ascending: 1, 2, 3, 4, 6, 8, 12, 16, ... and `most`.

    An engine prepares itself for each new shape of a batch, which is a fifth of the time of a small one, and keeps
    what it has for the last few.

    Args:
        most: rows.
        any_few: whether an engine hardly prepares itself for the number of rows; it may be any up to 16 then, and above
            that any multiple of 4.
    """
    usual = {base << shift for base in (1, 3) for shift in range(most.bit_length())}
    if any_few:
        usual.update(range(1, 17), range(20, most, 4))
    return sorted({most} | {count for count in usual if count <= most})
