"""Any exported model behind a server: arrays in, arrays out."""

import asyncio
import os
import uuid
from typing import NamedTuple

import numpy as np

from propeller.errors import UserError, bad_input
from propeller.exported import check_exported
from propeller.log import get_logger
from propeller.service.description import read_description
from propeller.service.errors import ServiceError, beyond
from propeller.service.served import ServedModel

log = get_logger(__name__)

_PUBLIC = (np.int32, np.int64, np.float32)
_TOKEN_BYTES = 1024  # a row of many numbers costs more than its length


def open_exported(folder, threads=1, bf16=False, inputs=None):
    """Open a model in a worker: on the GPU that it may see, else on the processor.

    Args:
        folder, threads, bf16: see `ExportedModel`.
        inputs: names of its inputs in any order, as the front read them; None: not compared.
    Raises:
        UserError: Paddle cannot load it, or names other inputs.
    """
    from propeller.exported import ExportedModel
    from propeller.graph import cuda_devices

    device = 0 if cuda_devices() else None
    model = ExportedModel(folder, threads, bf16, device)
    if inputs is not None and sorted(model.input_names) != sorted(inputs):
        raise bad_input(folder, f'the inputs {inputs} in model.json', f'those of the predictor: {model.input_names}')

    def run(arrays):
        return [sendable(output) for output in model.run(arrays)]

    run.description = {'inputs': list(model.input_names)}
    return run


def sendable(array):
    """An output in a type that messages have: whole numbers and bool as int32, others as float32."""
    if array.dtype in _PUBLIC:
        return array
    return array.astype(np.int32 if array.dtype.kind in 'bui' else np.float32)


class Row(NamedTuple):
    """arrays: one row of each input; or, whole, all of a request that is computed by itself."""

    arrays: tuple
    kind: object
    tokens: int
    whole: bool = False


class ExportedServed(ServedModel):
    """A folder with `model.json` and `model.pdiparams`.

    Rows of several requests make a batch where their shapes are equal. Whether a model computes each row by itself is
    seen by its first request: two rows must have the same results alone and together, and every output a row for each.
    A model that fails this is given each request as it came, always; so is one whose inputs or outputs do not have the
    number of rows as first dimension.

    Args:
        folder: of the model.
        name: in requests.
        threads: of matrix products, in each worker.
        bf16: whether matrix products are computed in bfloat16, where the processor can.
    Raises:
        UserError: it is no exported model.
    """

    opener = 'propeller.service.exported:open_exported'

    def __init__(self, folder, name='model', threads=1, bf16=False):
        if not os.path.isdir(folder):
            raise UserError(f'{folder}: found no folder, expected one with an exported model.')
        check_exported(folder)
        self.name = name
        self.description = read_description(folder)
        names = [array.name for array in self.description.inputs]
        self.arguments = {'folder': os.path.abspath(folder), 'threads': threads, 'bf16': bf16, 'inputs': names}
        self.by_rows = None if self.description.may_batch else False  # None: not known yet
        self.proving = None  # task that finds it out

    def opened(self, description):
        """Messages have the arrays in the order of the predictor."""
        inputs = {array.name: array for array in self.description.inputs}
        if 'inputs' in description:
            self.description.inputs[:] = [inputs[name] for name in description['inputs']]

    def tokens(self, row):
        return row.tokens

    def kind(self, row):
        return row.kind

    def pack(self, rows):
        if rows[0].whole:
            return list(rows[0].arrays)
        return [np.stack(column) for column in zip(*(row.arrays for row in rows), strict=True)]

    def unpack(self, outputs, rows):
        if rows[0].whole:
            return [outputs]
        if any(not output.ndim or len(output) != len(rows) for output in outputs):
            return [None] * len(rows)  # an output without a row for each: its request is computed once more, whole
        return list(zip(*outputs, strict=True))

    # ---------------------------------------------------------------- requests

    async def run(self, core, arrays, options):
        """The outputs for the arrays of a request; the handler of a `ZmqListener` without its first two arguments.

        Args:
            core: `ServiceCore` that has this model.
            arrays: list of numpy arrays, in the order of the inputs.
            options: dict; `timeout` in seconds where the client says it.
        Returns:
            list of arrays.
        Raises:
            ServiceError: see `Description.check` and `ServiceCore.submit`.
        """
        core.check_open()
        arrays, count = self.description.check(arrays)
        core.check_texts(count)
        length = _length(arrays)
        size = self.description.result_bytes(count, length)
        if size > core.limits.result_bytes:
            raise beyond('result_bytes', size, core.limits.result_bytes, 'bytes of results')
        deadline = asyncio.get_running_loop().time() + options.get('timeout', core.limits.timeout)
        limits = core.limits
        if count > limits.batch_rows or count * length > limits.batch_tokens:
            self._learn(core, arrays)  # it is more than a batch should have: first whether it may be split
            if self.proving is not None:
                await asyncio.wait([self.proving])
        if self.by_rows:
            rows = self._rows(arrays, count)
            answer = await core.submit(self, rows, _left(deadline))
            if None not in answer.results:
                log.debug('%d rows: %s', count, answer.seconds)
                return _joined(answer.results)
            self._give_up('an output has another number of rows than the batch')
        answer = await self._whole(core, arrays, count, deadline)
        self._learn(core, arrays)
        return answer

    def _rows(self, arrays, count):
        kind = tuple(array.shape[1:] for array in arrays)
        tokens = max(_length(arrays), -(-sum(array[0].nbytes for array in arrays) // _TOKEN_BYTES))
        return [Row(tuple(array[place] for array in arrays), kind, tokens) for place in range(count)]

    async def _whole(self, core, arrays, count, deadline):
        size = sum(array.nbytes for array in arrays)
        tokens = max(count * _length(arrays), -(-size // _TOKEN_BYTES))
        row = Row(tuple(arrays), uuid.uuid4(), tokens, whole=True)
        answer = await core.submit(self, [row], _left(deadline), texts=count)
        log.debug('%d rows, whole: %s', count, answer.seconds)
        return answer.results[0]

    def _learn(self, core, arrays):
        """Begin to find out whether rows are independent, where that is not known."""
        if self.by_rows is None and self.proving is None:
            self.proving = asyncio.create_task(self._prove(core, [array[:2] for array in arrays]))

    async def _prove(self, core, arrays):
        """See whether the model computes each row by itself, as far as two rows show.

        The second row of a request that has one only, or the same twice, is the first with its values moved along.
        """
        one = [array[:1] for array in arrays]
        other = [array[1:2] for array in arrays]
        if not len(other[0]) or all(np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
            other = [np.roll(array, 1, axis=min(array.ndim - 1, 1)) for array in one]
        both = [np.concatenate(pair) for pair in zip(one, other, strict=True)]
        deadline = asyncio.get_running_loop().time() + core.limits.timeout
        try:
            alone = [await self._whole(core, rows, 1, deadline) for rows in (one, other)]
            together = await self._whole(core, both, 2, deadline)
        except ServiceError as e:
            log.debug('rows are not compared: %s', e)  # the next request shows more
        else:
            self.by_rows = self._agree(alone, together)
        finally:
            self.proving = None

    def _agree(self, alone, together):
        for place, (first, second, found) in enumerate(zip(*alone, together, strict=True)):
            if not first.shape[:1] == second.shape[:1] == (1,) or found.shape[:1] != (2,):
                self._give_up(f'output {place} has not one row for each row of the input')
                return False
            expected = (first, second)
            if not all(_is_near(found[at : at + 1], expected[at]) for at in range(2)):
                self._give_up(f'output {place} of a row depends on the other rows')
                return False
        return True

    def _give_up(self, reason):
        if self.by_rows is not False:
            log.info('%s: %s; each request is computed by itself', self.arguments['folder'], reason)
        self.by_rows = False


def _is_near(found, expected):
    return found.shape == expected.shape and np.allclose(found, expected, 1e-3, 1e-4, equal_nan=True)


def _length(arrays):
    """Tokens of a row: the second size of the longest input of whole numbers; 1 where there is none."""
    return max([array.shape[1] for array in arrays if array.dtype.kind == 'i' and array.ndim > 1], default=1)


def _left(deadline):
    return max(deadline - asyncio.get_running_loop().time(), 0.0)


def _joined(results):
    try:
        return [np.stack(column) for column in zip(*results, strict=True)]
    except ValueError:
        raise ServiceError('internal', 'outputs of the rows have several shapes; ask for fewer rows.') from None
