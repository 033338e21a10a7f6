"""Arrays of clients that tokenize themselves, as in 2019: what `ZmqListener` hands on. Shapes: N rows, T length.

Inputs, in the order of 2019: token ids, sentence types, and where a client sends them positions, mask and task ids,
each `[N, T, 1]` or `[N, T]`. Positions and mask are made here where they are not sent: whatever is no padding (id 0) is
a token.
"""

import math

import numpy as np

from ernie.service.models import EMBED, TokenRow
from propeller.service.errors import ServiceError, beyond

NAMES = ('token ids', 'sentence types', 'positions', 'mask', 'task ids')


class ArrayService:
    """Arrays in, arrays out, over the core of a server.

    Args:
        core: `ServiceCore` over `TextModel`s.
        name: of the model that is meant where a request names none; None: the only one there is.
    """

    def __init__(self, core, name=None):
        self.core, self._name = core, name

    async def run(self, arrays, options):
        """The outputs of the model.

        Args:
            arrays: list of 2 to 5 arrays, see above.
            options: dict; `timeout` in seconds and `model`, its name, where the client says them.
        Returns:
            list of arrays [N, ...]; what has a vector for each token is `[N, T, ...]`, zeros after the tokens.
        Raises:
            ServiceError: the arrays cannot be used; see `ServiceCore.submit`.
        """
        core = self.core
        model = core.model(options.get('model', self._name))
        core.check_open()
        arrays = [_flat(array, place) for place, array in enumerate(_counted(arrays))]
        count, length = arrays[0].shape
        core.check_texts(count)
        rows = token_rows(model, arrays)
        size = sum(_size(shape, count, length) for shape in model.shapes)
        if size > core.limits.result_bytes:
            raise core.refused(beyond('result_bytes', size, core.limits.result_bytes, 'bytes of results'))
        answer = await core.submit(model, rows, options.get('timeout'), count)
        if model.task == EMBED:
            return [_joined([model.vector(row) for row in answer.results], length if model.varies[0] else None)]
        return [
            _joined([row[number] for row in answer.results], length if model.varies[number] else None)
            for number in range(len(model.shapes))
        ]


def token_rows(model, arrays):
    """`TokenRow`s of arrays [N, T], without the padding at their ends.

    Args:
        model: `TextModel`.
        arrays: list of 2 to 5, see above.
    Raises:
        ServiceError: 'invalid': something the model cannot use; row and array are named.
    """
    ids, types = arrays[:2]
    mask = arrays[3] if len(arrays) > 3 else ids != 0
    if not np.isin(mask, (0, 1)).all():
        raise _invalid('a mask with other numbers than 0 and 1', '1 for tokens and 0 for padding')
    on_token = mask == 1
    config = model.config
    lengths = ids.shape[1] - np.argmax(on_token[:, ::-1], axis=1) if ids.shape[1] else np.zeros(len(ids), int)
    # What is masked between tokens goes into the model too; what is behind the last one does not.
    in_row = np.arange(ids.shape[1]) < lengths[:, None]
    for place, array, most in ((0, ids, config.vocab_size), (1, types, config.sentence_types)):
        if array.size and (array.min() < 0 or array.max() >= most):
            bad = np.argwhere(in_row & ((array < 0) | (array >= most)))
            if len(bad):
                found = f'{NAMES[place]}: {array[tuple(bad[0])]} in row {bad[0][0] + 1}'
                raise _invalid(found, f'numbers from 0 to {most - 1}, for the model has {most:,}')
    empty = np.flatnonzero(~on_token.any(1))
    if len(empty):
        raise _invalid(f'row {empty[0] + 1} without a token: all of it is padding', 'a token at least')
    longest = config.max_position_embeddings
    if lengths.size and lengths.max() > longest:
        limit = {'name': 'max_seq_len', 'value': longest, 'found': int(lengths.max())}
        text = f'{lengths.max()} tokens in row {lengths.argmax() + 1}, where the model has {longest} positions.'
        raise ServiceError('too_large', text, limit)
    _check_made(model, arrays, on_token)
    mask = on_token.astype(np.float32)
    return [TokenRow(ids[i, :n], types[i, :n], mask[i, :n]) for i, n in enumerate(lengths)]


def _check_made(model, arrays, on_token):
    """What the server makes itself must be as the client has it."""
    if len(arrays) > 2:
        expected = np.broadcast_to(np.arange(on_token.shape[1]), on_token.shape)
        if (on_token & (arrays[2] != expected)).any():
            raise _invalid('positions of tokens that do not count from 0', '0, 1, 2 ... in each row')
    if len(arrays) > 4:
        task_id = model.task_id
        if task_id is None:
            raise _invalid('task ids', 'none: this model has no task embedding')
        if (on_token & (arrays[4] != task_id)).any():
            raise _invalid('other task ids', f'{task_id}, that of the model')


def _counted(arrays):
    if not 2 <= len(arrays) <= len(NAMES):
        expected = 'token ids and sentence types, or also positions, mask and task ids'
        raise _invalid(f'{len(arrays)} arrays', expected)
    if len({array.shape[:2] for array in arrays}) > 1:
        shapes = ', '.join(str(list(array.shape)) for array in arrays)
        raise _invalid(f'arrays of the shapes {shapes}', 'one shape [N, T, 1]')
    return arrays


def _flat(array, place):
    """[N, T] of an input [N, T, 1] or [N, T], of whole numbers."""
    name = NAMES[place]
    if array.ndim not in (2, 3) or array.ndim == 3 and array.shape[2] != 1:
        raise _invalid(f'{name} of the shape {list(array.shape)}', '[N, T, 1]')
    if array.dtype.kind not in 'iu' and place != 3:
        raise _invalid(f'{name} of the type {array.dtype.name}', 'int64')
    return array[:, :, 0] if array.ndim == 3 else array


def _size(shape, count, length):
    """Bytes of an output. shape: -1 for the sizes that vary."""
    return 4 * math.prod(count if place == 0 else length if n == -1 else n for place, n in enumerate(shape))


def _joined(rows, length):
    """Arrays of rows as one array; length: None, or the first size that each is filled up to."""
    if not rows:
        return np.zeros((0,), np.float32)
    if length is None:
        return np.stack(rows)
    joined = np.zeros((len(rows), length, *rows[0].shape[1:]), rows[0].dtype)
    for place, row in enumerate(rows):
        joined[place, : len(row)] = row
    return joined


def _invalid(found, expected):
    return ServiceError('invalid', f'found {found}, expected {expected}.')
