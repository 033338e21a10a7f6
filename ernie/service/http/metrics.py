"""What the server counts, for Prometheus; base units: seconds, tokens, ratios."""

from propeller.service.core import Observer

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_RATIOS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


class Metrics(Observer):
    """Counts in a registry of its own. `core`: a `ServiceCore`, whose state is read when somebody asks; may come later.

    Raises:
        UserError: the package is missing.
    """

    def __init__(self, core=None):
        from propeller.optional import optional_package

        prometheus = optional_package('prometheus_client', '--http_port', 'prometheus-client')
        self.core, self._text = core, prometheus.generate_latest
        self.content_type = prometheus.CONTENT_TYPE_LATEST
        self.registry = registry = prometheus.CollectorRegistry()

        def counter(name, text, *labels):
            return prometheus.Counter(f'ernie_{name}', text, labels, registry=registry)

        def histogram(name, text, buckets, *labels):
            return prometheus.Histogram(f'ernie_{name}', text, labels, buckets=buckets, registry=registry)

        def gauge(name, text, function):
            made = prometheus.Gauge(f'ernie_{name}', text, registry=registry)
            made.set_function(lambda: function(self.core) if self.core is not None else 0)

        self._http = counter('http_requests', 'HTTP requests that were answered', 'route', 'code')
        self._http_seconds = histogram(
            'http_request_duration_seconds', 'From the head of an HTTP request to its answer', _SECONDS, 'route'
        )
        self._requests = counter('requests', 'Requests that a model answered, of all protocols', 'model')
        self._texts = counter('texts', 'Texts of these requests', 'model')
        self._tokens = counter('tokens', 'Tokens of these requests', 'model')
        self._queue_seconds = histogram(
            'queue_duration_seconds', 'From admission to the begin of the first batch', _SECONDS, 'model'
        )
        self._inference_seconds = histogram(
            'inference_duration_seconds', 'From the begin of the first batch to the end of the last', _SECONDS, 'model'
        )
        self._batch_seconds = histogram('batch_duration_seconds', 'Time of a batch in its worker', _SECONDS, 'model')
        self._batch_tokens = histogram('batch_tokens', 'Tokens of a batch, without padding', _TOKENS, 'model')
        self._batch_rows = histogram('batch_texts', 'Rows of a batch', _ROWS, 'model')
        self._padding = histogram('batch_padding_ratio', 'Padding among the tokens of a batch', _RATIOS, 'model')
        self._rejected = counter('rejected_requests', 'Requests that were refused or given up', 'reason')
        self._restarts = counter('worker_restarts', 'Workers that another took the place of')
        self._kept = {}  # counters with their labels: finding one takes as long as counting
        gauge('queue_tokens', 'Tokens that wait', lambda core: core.queue_tokens)
        gauge('queue_limit_tokens', 'Tokens that may wait', lambda core: core.limits.queue_tokens)
        gauge('workers_up', 'Workers that answer', lambda core: core.workers_up)
        gauge('ready', '1 where requests are taken', lambda core: int(core.ready))

    def http(self, visit):
        """An HTTP request came to its end. visit: `Visit`."""
        route, status = visit.route, visit.status
        key = route, status
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = self._http.labels(route, str(status)), self._http_seconds.labels(route)
        count, seconds = kept
        count.inc()
        seconds.observe(visit.seconds)

    def request(self, model, texts, tokens, seconds):
        key = 'request', model
        kept = self._kept.get(key)
        if kept is None:
            several = self._requests, self._texts, self._tokens, self._queue_seconds, self._inference_seconds
            kept = self._kept[key] = [metric.labels(model) for metric in several]
        requests, of_texts, of_tokens, queue, inference = kept
        requests.inc()
        of_texts.inc(texts)
        of_tokens.inc(tokens)
        queue.observe(seconds.queue)
        inference.observe(seconds.inference)

    def batch(self, model, rows, tokens, padded, seconds):
        key = 'batch', model
        kept = self._kept.get(key)
        if kept is None:
            several = self._batch_seconds, self._batch_tokens, self._batch_rows, self._padding
            kept = self._kept[key] = [metric.labels(model) for metric in several]
        of_seconds, of_tokens, of_rows, of_padding = kept
        of_seconds.observe(seconds)
        of_tokens.observe(tokens)
        of_rows.observe(rows)
        of_padding.observe(1 - tokens / padded)

    def rejected(self, code):
        kept = self._kept.get(code)
        if kept is None:
            kept = self._kept[code] = self._rejected.labels(code)
        kept.inc()

    def worker_replaced(self, reason):
        self._restarts.inc()

    def text(self):
        """What /metrics answers, bytes."""
        return self._text(self.registry)
