"""What a load says of a server."""

import os

import numpy as np

PERCENTILES = (50, 90, 99, 99.9)


def summary(records, plan, texts, processor_seconds):
    """What is known of a load, as a dict for JSON.

    Latencies are of the requests that were due after the warm-up, counted from then. Rates are of the answers that came
    between the end of the warm-up and the end of the load.

    Args:
        records: `Records`.
        plan: `Plan`.
        texts: texts of a request; 0: not known.
        processor_seconds: of the load's own process, after the warm-up.
    """
    due, sent, ended = (np.array(times) for times in (records.due, records.sent, records.ended))
    codes, tokens = np.array(records.codes, dtype=object), np.array(records.tokens)
    counted, good = due >= plan.warmup, codes == ''
    last = float(ended.max(initial=plan.warmup))
    end = last if plan.duration is None else plan.warmup + plan.duration
    came = good & (ended >= plan.warmup) & (ended <= end)
    seconds = max(end - plan.warmup, 1e-9)
    latency = ended - due
    failed = {code: counted & (codes == code) for code in sorted(set(codes[counted]) - {''})}
    return {
        'seconds': round(seconds, 3),
        'requests': {'sent': int(counted.sum()), 'answered': int((counted & good).sum())},
        'errors': {code: int(which.sum()) for code, which in failed.items()},
        'error_messages': {code: records.messages[code] for code in failed if code in records.messages},
        'per_second': {
            'requests': round(came.sum() / seconds, 2),
            'texts': round(texts * came.sum() / seconds, 2) if texts else None,
            'tokens': round(float(tokens[came].sum() / seconds), 1) if tokens.any() else None,
        },
        'latency_ms': percentiles(latency[counted & good]),
        'error_latency_ms': {code: percentiles(latency[which]) for code, which in failed.items()},
        'send_delay_ms': percentiles((sent - due)[counted]),
        'tool': {
            'cpu_share': round(processor_seconds / max(last - plan.warmup, 1e-9), 3),
            'cores': len(os.sched_getaffinity(0)),
        },
        'answered_in_second': np.bincount((ended[came] - plan.warmup).astype(int)).tolist(),
    }


def percentiles(seconds):
    """dict of milliseconds: each percentile is a value that was measured (nearest rank). Empty where nothing was."""
    if not len(seconds):
        return {}
    values = np.percentile(seconds, PERCENTILES, method='inverted_cdf')
    named = {f'p{percentile:g}': value for percentile, value in zip(PERCENTILES, values, strict=True)}
    every = named | {'max': seconds.max(), 'mean': seconds.mean()}
    return {name: round(1000 * float(value), 3) for name, value in every.items()}


def lines(found):
    """The summary for a person, list of lines."""
    requests, rates = found['requests'], found['per_second']
    texts = '' if rates['texts'] is None else f', {rates["texts"]:,.1f} texts'
    tokens = '' if rates['tokens'] is None else f', {rates["tokens"]:,.0f} tokens'
    out = [
        f'{requests["sent"]:,} requests in {found["seconds"]:g} s: {requests["answered"]:,} answered, '
        f'{requests["sent"] - requests["answered"]:,} failed',
        f'a second: {rates["requests"]:,.1f} requests{texts}{tokens}',
    ]
    out += _row('latency', found['latency_ms'])
    for code, count in found['errors'].items():
        out += _row(f'{code} ({count:,})', found['error_latency_ms'][code])
        out += [f'  the first: {found["error_messages"][code]}'] if code in found['error_messages'] else []
    share = found['tool']['cpu_share']
    out.append(f'this tool took {100 * share:.0f} % of one of {found["tool"]["cores"]} cores')
    if share > 0.8:
        out.append('warning: it had no more to give; the server may be faster than these numbers.')
    return out


def _row(name, values):
    cells = [f'{key} {value:,.1f}' for key, value in values.items() if key != 'mean']
    return [f'{name}, ms: {", ".join(cells)}'] if values else []
