"""Tensors of the Open Inference Protocol: what models take and give, checked before anything is made of it."""

import asyncio
import json
import math
from types import SimpleNamespace

import numpy as np

from ernie.service.http.bodies import dump, dump_vectors
from ernie.service.http.calls import CLASSIFYING, check_count, text_of
from ernie.service.models import TokenRow
from propeller.errors import one_of, quoted
from propeller.service.errors import ServiceError

_IDS = ('input_ids', 'token_type_ids', 'attention_mask')
_JSON = 'result'  # the output that is the whole result of a text, as JSON


def _text_names(model):
    if model.task == 'answer':
        return ('question', 'context')
    return ('text_a',) if model.task == 'tag' else tuple(model.info.get('columns') or ('text_a', 'text_b'))


def _takes_ids(model):
    return model.task in (*CLASSIFYING, 'embed')


def input_tensors(model):
    """What a model takes, list of dicts: either texts or ids."""
    texts = [{'name': name, 'datatype': 'BYTES', 'shape': [-1]} for name in _text_names(model)]
    ids = [{'name': name, 'datatype': 'INT64', 'shape': [-1, -1]} for name in _IDS]
    return texts + (ids if _takes_ids(model) else [])


async def run_texts(service, model, tensors):
    """(results, seconds) of texts. tensors: dict name -> `RequestInput`.

    Raises:
        ServiceError: the model cannot use them, and what `TextService.run` raises.
    """
    names = _text_names(model)
    known = [*names, *(_IDS if _takes_ids(model) else ())]
    columns = {}
    for name, tensor in tensors.items():
        if name not in names:
            raise ServiceError('invalid', f'input {quoted(name, 60)}: expected {one_of(name, known)}')
        shape, data = _checked(tensor, 'BYTES', service)
        if len(shape) > 1 and math.prod(shape[1:]) != 1:
            raise ServiceError('invalid', f'input {name}: found shape {shape}, expected [N] or [N, 1].')
        columns[name] = [text_of(text, f'input {name}[{place}]') for place, text in enumerate(data)]
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise ServiceError('invalid', f'inputs: found {sizes} texts, expected the same number of each.')
    records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    answer = await service.run(model.name, records)
    return answer.results, answer.seconds


async def run_ids(service, model, tensors):
    """`run_texts` of token ids."""
    if not _takes_ids(model):
        names = ' and '.join(_text_names(model))
        raise ServiceError('invalid', f'{model.name} ({model.task}) needs the text itself, as BYTES {names}.')
    for name in tensors:
        if name not in _IDS:
            raise ServiceError('invalid', f'input {quoted(name, 60)} beside input_ids: expected {one_of(name, _IDS)}')
    arrays = {}
    for name, tensor in tensors.items():
        await asyncio.sleep(0)  # half a million numbers take 30 ms; others have their turn between them
        arrays[name] = _numbers(tensor, service, model.info['max_seq_len'])
    ids = arrays['input_ids']
    if any(array.shape != ids.shape for array in arrays.values()):
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        raise ServiceError('invalid', f'inputs: found shapes {shapes}, expected the same of all.')
    types = arrays.get('token_type_ids', np.zeros_like(ids))
    mask = arrays.get('attention_mask', np.ones_like(ids))
    _check_ids(model, ids, types, mask)
    rows = []
    for place, length in enumerate(mask.sum(axis=1)):
        kept = slice(int(length))
        rows.append(TokenRow(ids[place, kept], types[place, kept], np.ones(length, np.float32)))
    answer = await service.core.submit(model, rows)
    seconds = SimpleNamespace(tokenizing=0.0, queue=answer.seconds.queue, inference=answer.seconds.inference)
    if model.task == 'embed':
        return [model.vector(outputs) for outputs in answer.results], seconds
    encoded = SimpleNamespace(windows=None)
    return [model.decode({}, encoded, [outputs]) for outputs in answer.results], seconds


def _check_ids(model, ids, types, mask):
    """Raises `ServiceError`: the model cannot use them."""
    vocabulary, kinds = model.info['vocab_size'], model.config.sentence_types
    for name, array, end in (('input_ids', ids, vocabulary), ('token_type_ids', types, kinds)):
        bad = array[(array < 0) | (array >= end)]
        if bad.size:
            raise ServiceError('invalid', f'{name}: found {bad[0]}, expected 0 to {end - 1}.')
    if not (np.isin(mask, (0, 1)).all() and (np.diff(mask, axis=1) <= 0).all() and (mask[:, :1] == 1).all()):
        raise ServiceError('invalid', 'attention_mask: expected 1 for one token at least, and 0 for what follows.')


def _numbers(tensor, service, longest):
    """int64 [N, T]."""
    name, shape = tensor.name, tensor.shape
    if len(shape) != 2 or min(shape) < 1:
        raise ServiceError('invalid', f'input {name}: found shape {shape}, expected [N, T].')
    if shape[1] > longest:
        limit = {'name': 'max_seq_len', 'value': longest, 'found': shape[1]}
        raise ServiceError('too_large', f'input {name}: {shape[1]:,} tokens, where {longest:,} are taken.', limit)
    data = _checked(tensor, 'INT64', service)[1]
    try:
        if set(map(type, data)) == {int}:
            return np.array(data, np.int64).reshape(shape)
    except OverflowError:
        pass
    raise ServiceError('invalid', f'input {name}: expected whole numbers of 64 bits, found something else.')


def _checked(tensor, datatype, service):
    """(shape, flat list of the values) of an input, whose shape is that of its data."""
    place, shape = f'input {quoted(tensor.name, 60)[1:-1]}', tensor.shape
    if tensor.datatype != datatype:
        raise ServiceError('invalid', f'{place}: found datatype {quoted(tensor.datatype, 60)}, expected {datatype}.')
    if not shape or min(shape) < 0:
        raise ServiceError('invalid', f'{place}: found shape {shape}, expected [N, ...].')
    check_count(service, shape[0])
    return shape, _flat(tensor.data, shape, place)


def _flat(data, shape, place):
    """The values of data that is flat, or nested exactly as its shape says.

    Raises:
        ServiceError: it is neither; says which list is too long, too short, or none.
    """
    if not any(isinstance(value, list) for value in data):
        if len(data) != math.prod(shape):
            message = f'{place}: found {len(data):,} values, where shape {shape} has {math.prod(shape):,}.'
            raise ServiceError('invalid', message)
        return data
    lists = [data]
    for axis, size in enumerate(shape):
        for at, values in enumerate(lists):
            if not isinstance(values, list) or len(values) != size:
                found = f'{len(values):,} values' if isinstance(values, list) else quoted(values, 80)
                index = ''.join(f'[{i}]' for i in np.unravel_index(at, shape[:axis]))
                expected = f'a list of {size:,}, as shape {shape} says, or all values in one list'
                raise ServiceError('invalid', f'{place}: data{index}: found {found}, expected {expected}.')
        lists = [value for values in lists for value in values]
    return lists


# ---------------------------------------------------------------- outputs


def output_tensors(model):
    """What a model gives, list of tensors; the first size of each is the number of texts, but that of `classes`."""
    number = len(model.info['labels'] or ())
    tensors = {
        'classify': [('label', 'BYTES', [-1]), ('probabilities', 'FP32', [-1, number]), ('classes', 'BYTES', [number])],
        'multilabel': [('probabilities', 'FP32', [-1, number]), ('classes', 'BYTES', [number])],
        'regression': [('value', 'FP32', [-1])],
        'embed': [('embedding', 'FP32', [-1, model.info['hidden_size']])],
    }.get(model.task, [])
    tensors = tensors if model.task == 'embed' else [*tensors, (_JSON, 'BYTES', [-1])]
    return [{'name': name, 'datatype': datatype, 'shape': shape} for name, datatype, shape in tensors]


def wanted(outputs, model):
    """Names of the outputs that a request asks for. outputs: its list of `RequestOutput`; None or []: all."""
    known = [tensor['name'] for tensor in output_tensors(model)]
    if not outputs:
        return known
    for output in outputs:
        if output.name not in known:
            message = f'output {quoted(output.name, 60)}: expected {one_of(output.name, known)}'
            raise ServiceError('invalid', message)
    return [output.name for output in outputs]


def output_of(name, model, results):
    """The JSON text of an output, bytes."""
    tensor = next(tensor for tensor in output_tensors(model) if tensor['name'] == name)
    shape = [len(results) if size == -1 else size for size in tensor['shape']]
    if name == 'embedding':
        vectors = np.stack(results) if results else np.zeros((0, shape[1]), np.float32)
        if vectors.ndim != 2:
            message = f'{model.name} is served with the vectors of all tokens; /v1/embed gives those.'
            raise ServiceError('invalid', message)
        data = dump_vectors([vectors.ravel()])[1:-1]
    else:
        data = dump(_values(name, model, results))
    return dump(tensor | {'shape': shape})[:-1] + b',"data":' + data + b'}'


def _values(name, model, results):
    labels = model.info['labels']
    if name == 'classes':
        return labels
    if name == 'probabilities':
        return [result['probabilities'][label] for result in results for label in labels]
    if name == _JSON:
        return [json.dumps(result, ensure_ascii=False) for result in results]
    return [result[name] for result in results]
