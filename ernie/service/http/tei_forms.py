"""What the routes of text-embeddings-inference take and give, beside what their classes declare."""

from ernie.service.http.calls import check_count, record_of, text_of
from ernie.service.http.errors import WrongTask
from ernie.service.http.listener import most_connections
from propeller import __version__
from propeller.errors import quoted
from propeller.service.errors import ServiceError

_KINDS = {'regression': 'reranker', 'classify': 'classifier', 'multilabel': 'classifier'}
_VALUE = 'value'  # the label of the number that a regression gives


def texts_of(service, inputs, read=text_of):
    """A text or a list of texts as a list. read: `text_of` or `some_text_of`.

    Raises:
        ServiceError: it is none, or there are too many.
    """
    if isinstance(inputs, str):
        return [read(inputs, 'inputs')]
    if not isinstance(inputs, list) or not inputs:
        message = f'inputs: found {quoted(inputs, 80)}, expected a text or a list of texts.'
        raise ServiceError('invalid', message)
    check_count(service, len(inputs))
    if isinstance(inputs[0], int | list):
        raise ServiceError('invalid', 'inputs: found token ids, expected a text or a list of texts.')
    return [read(text, f'inputs[{place}]') for place, text in enumerate(inputs)]


def records_of(service, inputs):
    """(list of records, whether they were given as a list of lists).

    Raises:
        ServiceError: they are no texts, or too many.
    """
    if isinstance(inputs, list) and inputs and all(isinstance(value, list) for value in inputs):
        check_count(service, len(inputs))
        values = [value[0] if len(value) == 1 else value for value in inputs]
        return [record_of(value, f'inputs[{place}]') for place, value in enumerate(values)], True
    if isinstance(inputs, list) and not (1 <= len(inputs) <= 2 and all(isinstance(part, str) for part in inputs)):
        expected = 'a text, a pair [text, text] or a list of lists [[text], [text, text], ...]'
        raise ServiceError('invalid', f'inputs: found {quoted(inputs, 80)}, expected {expected}.')
    return [record_of(inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs, 'inputs')], False


def check_characters(service, count):
    """Refuse texts that have more characters than a request may have tokens. Raises `ServiceError`."""
    most = service.core.limits.request_tokens
    if count > most:
        limit = {'name': 'request_tokens', 'value': most, 'found': count}
        message = f'{count:,} characters in one request, where at most {most:,} are taken (--request_tokens).'
        raise service.core.refused(ServiceError('too_large', message, limit))


def predictions_of(result):
    """The classes of a result with their probabilities, the most probable first; of a regression its number."""
    if 'value' in result:
        return [{'score': result['value'], 'label': _VALUE}]
    ranked = sorted(result['probabilities'].items(), key=lambda pair: -pair[1])
    return [{'score': score, 'label': label} for label, score in ranked]


def scoring(model):
    """A function of a result: the value of a regression, or the probability of the second of two classes.

    Raises:
        WrongTask: the model has neither.
    """
    if model.task == 'regression':
        return lambda result: result['value']
    labels = model.info['labels']
    if model.task == 'classify' and len(labels) == 2:
        return lambda result: result['probabilities'][labels[1]]
    found = f'{model.name} has {len(labels)} classes ({model.task})'
    raise WrongTask(f'{found}; a model that ranks has a number (regression), or two classes, of which the second fits.')


def tokens_of(tokenizer, text, with_special):
    """The tokens of a text, list of dicts: with their places in it, but for those that every text gets."""
    encoded = tokenizer.encode_aligned(text)
    tokens = [
        {'id': index, 'text': text[start:stop], 'special': False, 'start': start, 'stop': stop}
        for index, start, stop in zip(encoded.ids, encoded.starts, encoded.ends, strict=True)
    ]
    if not with_special:
        return tokens
    first, last = (
        {'id': tokenizer.vocab[name], 'text': name, 'special': True, 'start': None, 'stop': None}
        for name in ('[CLS]', '[SEP]')
    )
    return [first, *tokens, last]


def info_of(service, model):
    """What a model is, and the limits, as /info says it."""
    limits, info = service.core.limits, model.info
    precision = {'fp32': 'float32', 'bf16': 'bfloat16', 'fp16': 'float16'}
    return {
        'model_id': model.name,
        'model_sha': None,
        'model_dtype': precision.get(info['precision'], info['precision']),
        'model_type': _kind(model),
        'max_concurrent_requests': most_connections(),
        'max_input_length': info['max_seq_len'],
        'max_batch_tokens': limits.batch_tokens,
        'max_batch_requests': limits.batch_rows,
        'max_client_batch_size': limits.max_texts,
        'auto_truncate': True,
        'tokenization_workers': service.threads,
        'version': __version__,
    }


def _kind(model):
    if model.task == 'embed':
        return {'embedding': {'pooling': model.pooling}}
    labels = [_VALUE] if model.task == 'regression' else model.info['labels'] or []
    names = {str(i): label for i, label in enumerate(labels)}
    classes = {'id2label': names, 'label2id': {label: i for i, label in enumerate(labels)}}
    return {_KINDS.get(model.task, model.task): classes}
