"""Data sets as inputs of a static program: what `features`, `placeholders` and `start` of a `Dataset` do."""

from propeller.data.prefetch import prefetch
from propeller.data.values import Agreement
from propeller.errors import UserError, quoted
from propeller.graph import Feed, paddle

QUEUE = 50  # batches that wait, as in 2019


def feeds_of(dataset):
    """List of `Feed`, one for each value of an element, named `{name}_placeholder_{i}`.

    Raises:
        UserError: the data set has no name.
    """
    if not dataset.name:
        raise UserError("found a data set without a name, expected one, which its inputs get: dataset.name = 'train'.")
    shapes = dataset.input_shapes()
    return [
        Feed(f'{dataset.name}_placeholder_{i}', tuple(shape), kind)
        for i, (shape, kind) in enumerate(zip(shapes, dataset.data_types, strict=True))
    ]


def placeholders(dataset):
    """The inputs of a data set in Paddle's default program, made at the first request: list of graph values."""
    paddle.enable_static()
    made = {}
    for op in paddle.static.default_main_program().global_block().ops:
        if op.name() == 'pd_op.data':
            made[op.attrs()['name']] = op.result(0)
    return [
        made[feed.name] if feed.name in made else paddle.static.data(feed.name, list(feed.shape), feed.dtype)
        for feed in feeds_of(dataset)
    ]


def checked_from(dataset, start=0):
    """Yields the elements from number `start` on as lists of arrays that fit the inputs of the data set.

    Raises:
        UserError: one does not, with its number, what was found and what expected.
    """
    where = f'data set {dataset.name}' if dataset.name else 'data set'
    agreement = Agreement(where, dataset.input_shapes(), dataset.data_types, dataset.told)
    for number, element in enumerate(dataset.iterate_from(start), start):
        yield agreement.arrays(element, number)


def feeder(dataset, places=None):
    """Yields a dict name of input -> tensor on the device for each element, `QUEUE` of them made ahead in a thread.

    Args:
        dataset: `Dataset` with a name.
        places: a place of Paddle, or a list of one; None: the GPU of this process if there is one, or else the
            processor.
    Raises:
        UserError: the data set has no name; several places.
    """
    place, names = _place(places), [feed.name for feed in feeds_of(dataset)]

    def tensors():
        for arrays in checked_from(dataset):
            yield {name: _tensor(array, place) for name, array in zip(names, arrays, strict=True)}

    def fed():
        with prefetch(tensors(), QUEUE) as ahead:
            yield from ahead

    return fed()


def _place(places):
    if places is None:
        places = paddle.device.get_device()
        return paddle.CUDAPlace(int(places.partition(':')[2] or 0)) if 'gpu' in places else paddle.CPUPlace()
    if isinstance(places, (list, tuple)):
        if len(places) != 1:
            raise UserError(
                f'start: found {len(places)} places, expected one: in Paddle 3 each process has one device. '
                'finetune_launch.py starts several processes.'
            )
        (places,) = places
    if not hasattr(places, '_type') and 'Place' not in type(places).__name__:
        raise UserError(f'start: found places {quoted(places)}, expected a place of Paddle: paddle.CPUPlace().')
    return places


def _tensor(array, place):
    tensor = paddle.base.core.DenseTensor()
    tensor.set(array if array.flags.c_contiguous else array.copy(), place)
    return tensor
