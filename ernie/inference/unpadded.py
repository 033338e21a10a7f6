"""OpenVINO graphs that compute padding in attention alone, and little of it there.

An exported encoder takes rows that are padded to one length, and computes each layer for padding too. What looks at one
token at a time, all but attention, need not. `leave_out_padding` gives it the tokens of a batch one behind the other,
`[1, N]`. For attention it puts queries, keys and values at their places in rows `[R, L]`, and takes the tokens alone of
its result. Several short texts stand in one such row; the mask keeps them apart. Where each token is, and which token
is at each place, further inputs say (`places`).

Shapes: B rows, T length with padding, N tokens without padding and what `places` adds to fill it up, R rows of length L
that texts share in attention.
"""

import collections

import numpy as np

_MASK = 3  # place of the mask among the inputs: ids, types, positions, mask, and task ids where the model has them
_MULTIPLE, _SLOTS = 8, 4  # of tokens, and of places in a row: OpenVINO prepares itself for each number of them
# What computes each element by itself, of values of one shape and of constants.
_ELEMENTWISE = frozenset(
    ('Add', 'Convert', 'Divide', 'Erf', 'FakeQuantize', 'Gelu', 'Identity', 'Multiply', 'Power', 'Relu', 'Sqrt')
    + ('Subtract', 'Tanh')
)
_OF_MASK = _ELEMENTWISE | {'Unsqueeze'}
_OF_ATTENTION = _ELEMENTWISE | frozenset(
    ('MatMul', 'Reshape', 'Softmax', 'Split', 'Squeeze', 'Transpose', 'Unsqueeze', 'VariadicSplit')
)


PADDED, SHARED = 2, 5  # further inputs of a graph: where attention has padding; where texts share rows in it


def places(mask, shares=True):
    """The further inputs of a graph that `leave_out_padding` gave.

    Args:
        mask: [B, T], 0 for padding.
        shares: whether texts share rows in attention; else the last three are left out.
    Returns:
        list: where each token is in a batch whose rows are one behind the other, int32 [N], filled up with 0; which of
        the tokens stands at each place, int32 [B, T], at padding any of them; which stands at each place of the rows
        for attention, int32 [R, L], at padding any; where each token stands in those, int32 [N], filled up with 0; and
        which places of a row read each other, float32 [R, L, L], 1 or 0; [R, 1, L] where each text has a row alone.
    """
    here = np.flatnonzero(mask)
    of_tokens = np.zeros(-(-max(len(here), 1) // _MULTIPLE) * _MULTIPLE, np.int32)
    of_tokens[: len(here)] = here
    count = np.cumsum(np.reshape(mask, -1) != 0, dtype=np.int32)
    of_places = np.maximum(count - 1, 0).reshape(mask.shape)
    return [of_tokens, of_places, *(_shared_rows(mask, len(of_tokens)) if shares else ())]


def _shared_rows(mask, size):
    lengths = np.count_nonzero(mask, 1).tolist()
    longest = -(-max([*lengths, 1]) // _SLOTS) * _SLOTS
    begins, rows = side_by_side(lengths, longest)
    of_slots, owners = np.zeros((2, rows * longest), np.int32)
    at_slots, token = np.zeros(size, np.int32), 0
    for number, (begin, length) in enumerate(zip(begins, lengths, strict=True), 1):
        end, next_token = begin + length, token + length
        owners[begin:end] = number
        at_slots[token:next_token] = np.arange(begin, end)
        of_slots[begin:end] = np.arange(token, next_token)
        token = next_token
    owners = owners.reshape(rows, longest)
    if rows == len(lengths):  # each has a row of its own
        together = (owners != 0)[:, None].astype(np.float32)
    else:
        together = np.equal(owners[:, :, None], owners[:, None, :]).astype(np.float32)
    return [of_slots.reshape(rows, longest), at_slots, together]


def side_by_side(lengths, longest):
    """Texts side by side in rows: the longest first, each in the first row that has room for it.

    Args:
        lengths: list of int, `longest` at most.
        longest: length of a row.
    Returns:
        (list of int, where each text begins if rows are one behind the other; number of rows)
    """
    begins, room = [0] * len(lengths), []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[place]
        for row, left in enumerate(room):  # noqa: B007 (used after the loop)
            if left >= length:
                break
        else:
            row, left = len(room), longest
            room.append(longest)
        begins[place] = row * longest + longest - left
        room[row] = left - length
    return begins, max(len(room), 1)


def leave_out_padding(model):
    """A graph with the same outputs for tokens; on padding they are numbers that mean nothing.

    Args:
        model: `openvino.Model`; it stays as it is.
    Returns:
        `openvino.Model` with `SHARED` inputs more, see `places`, or `PADDED` where attention is not of a kind that is
        known to keep texts apart by the mask; None where this is no encoder with attention.
    """
    if not _reads_tokens(model.inputs):
        return None
    for shares in (True, False):
        changed = model.clone()
        rewriting = _Rewriting(changed, shares)
        if rewriting.shared == rewriting.layers:
            break
    if not rewriting.layers:
        return None
    changed.validate_nodes_and_infer_types()
    return changed


def _reads_tokens(inputs):
    ranks = [value.get_partial_shape().rank for value in inputs]
    types = [value.get_element_type().is_integral() for value in inputs]
    return types in ([True] * 3 + [False], [True] * 3 + [False, True]) and all(
        rank.is_static and rank.get_length() == 2 for rank in ranks
    )


class _Rewriting:
    """Changes a graph in place, operation by operation in their order.

    An output is known by its node's name, which is unique, and its number. `_tokens` has those that are `[1, N, ...]`.
    `_flat` has those that are `[B, T, ...]` and may be wanted in the other form, with their shape when B and T are one
    size: `[-1, ...]`. `_made` has what was made of either in the other form.

    Attributes:
        layers: number of attentions that were found; shared: of those in which texts share rows.
    """

    def __init__(self, model, shares):
        from openvino import opset13

        self._op, self.layers, self.shared = opset13, 0, 0
        self._tokens, self._flat, self._made, self._constant = set(), {}, {}, set()
        operations = model.get_ordered_ops()
        self._of_tokens = opset13.parameter([-1], np.int32, name='of_tokens')
        self._of_places = opset13.parameter([-1, -1], np.int32, name='of_places')
        self._of_slots = opset13.parameter([-1, -1], np.int32, name='of_slots')
        self._at_slots = opset13.parameter([-1], np.int32, name='at_slots')
        self._together = opset13.parameter([-1, -1, -1], np.float32, name='together')
        self._shares = shares
        self._ends = set()  # of attentions in which texts share rows: their tokens alone are of use
        self._spread = {}  # what `_as_rows` has made -> of which tokens
        self._masks = {}  # what is made of the mask alone -> the same for rows that texts share, or None
        self._mask = model.inputs[_MASK]
        for place, value in enumerate(model.inputs):
            if place != _MASK:
                self._flat[_key(value)] = [-1]
        for operation in operations:
            self._change(operation)
        further = [self._of_tokens, self._of_places]
        model.add_parameters(further + [self._of_slots, self._at_slots, self._together] * shares)

    def _change(self, operation):
        kind, inputs = operation.get_type_name(), operation.inputs()
        for value in inputs:
            key = _key(value.get_source_output())
            if key in self._ends:
                value.replace_source_output(self._made[key])
        sources = [value.get_source_output() for value in inputs]
        if kind != 'Parameter' and all(_key(source) in self._constant for source in sources):
            self._constant.update(map(_key, operation.outputs()))
        elif self._goes_by_token(operation, kind, sources):
            for value, source in zip(inputs, sources, strict=True):
                if self._has_tokens(source):
                    value.replace_source_output(self._as_tokens(source))
            self._tokens.update(map(_key, operation.outputs()))
        elif kind != 'ShapeOf' or not _asks_for_rank(operation):
            for value, source in zip(inputs, sources, strict=True):
                if _key(source) in self._tokens:
                    value.replace_source_output(self._as_rows(source))
            if _ends_attention(operation, kind, sources):
                self.layers += 1
                width = operation.output(0).get_partial_shape()[2].get_length()
                self._flat[_key(operation.output(0))] = [-1, width]
                if self._shares:
                    self._share_rows(operation)

    def _share_rows(self, operation):
        """Have texts share rows in an attention, where it is known to compute each row by itself as the mask says.

        operation: of `_ends_attention`.
        """
        kinds, entrances, masks = self._inside(operation)
        if not (kinds.keys() <= _OF_ATTENTION and kinds['Softmax'] == 1 and len(masks) == 1):
            return
        ((node, mask_value),) = masks
        together = self._shared_mask(mask_value.get_source_output())
        if together is None or node.get_type_name() != 'Add' or not _leads_to_softmax(node):
            return
        for value in entrances:
            value.replace_source_output(self._as_slots(self._spread[_key(value.get_source_output())]))
        mask_value.replace_source_output(together)
        self._take_tokens(operation.output(0), self._at_slots)
        self._ends.add(_key(operation.output(0)))
        self.shared += 1

    def _inside(self, operation):
        """What an attention is made of, from its end back to the tokens.

        Returns:
            (`Counter` of its kinds of operations, inputs that have tokens, [(operation, input)] that have the mask).
        """
        kinds, entrances, masks = collections.Counter(), [], []
        found, waiting = {operation.get_name()}, [operation]
        while waiting:
            node = waiting.pop()
            kinds[node.get_type_name()] += 1
            for value in node.inputs():
                source = value.get_source_output()
                name = source.get_node().get_name()
                if _key(source) in self._constant or name in found:
                    continue
                if _key(source) in self._spread:
                    entrances.append(value)
                elif self._is_of_mask(source):
                    masks.append((node, value))
                else:
                    found.add(name)
                    waiting.append(source.get_node())
        return kinds, entrances, masks

    def _is_of_mask(self, value):
        """Whether it is made of the mask and constants alone."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            if _key(value) == _key(self._mask) or _key(value) in self._constant:
                continue
            node = value.get_node()
            if node.get_type_name() not in _OF_MASK:
                return False
            waiting += [one.get_source_output() for one in node.inputs()]
        return True

    def _shared_mask(self, value):
        """What stands for a mask [B, 1, 1, T] in rows that texts share, [R, 1, L, L]; None where it is another one."""
        key = _key(value)
        if key not in self._masks:
            self._masks[key] = None
            numbers = _two_numbers(value, self._mask)
            if numbers is not None:
                op, (outside, inside) = self._op, numbers
                scaled = op.add(op.multiply(self._together, np.float32(inside - outside)), np.float32(outside))
                self._masks[key] = op.unsqueeze(scaled, np.int64(1)).output(0)
        return self._masks[key]

    def _goes_by_token(self, operation, kind, sources):
        if kind == 'Gather':
            table, ids, axis = sources
            return self._has_tokens(ids) and {_key(table), _key(axis)} <= self._constant and _is_zero(axis)
        if kind in ('MatMul', 'MVN'):
            left, right = sources
            transposed = kind == 'MatMul' and operation.get_attributes()['transpose_a']
            return self._has_tokens(left) and not transposed and (kind == 'MVN' or self._is_matrix(right))
        if kind not in _ELEMENTWISE:
            return False
        return any(map(self._has_tokens, sources)) and all(
            self._has_tokens(source) or self._is_vector(source) for source in sources
        )

    def _is_matrix(self, value):
        return _key(value) in self._constant and len(value.get_partial_shape()) == 2

    def _is_vector(self, value):
        """Whether it is constant, and the same for each token."""
        return _key(value) in self._constant and all(size == 1 for size in list(value.get_partial_shape())[:-1])

    def _has_tokens(self, value):
        return _key(value) in self._tokens or _key(value) in self._flat

    def _as_tokens(self, value):
        """[B, T, ...] or [1, N, ...] -> [1, N, ...]"""
        key = _key(value)
        if key in self._tokens:
            return value
        if key not in self._made:
            self._take_tokens(value, self._of_tokens)
        return self._made[key]

    def _take_tokens(self, value, at):
        """[B, T, ...] or [R, L, ...] -> [1, N, ...]. at: where the tokens are, [N]."""
        op, key = self._op, _key(value)
        flat = op.reshape(value, np.array(self._flat[key], np.int64), False)
        self._made[key] = op.unsqueeze(op.gather(flat, at, np.int64(0)), np.int64(0)).output(0)
        self._tokens.add(_key(self._made[key]))

    def _as_rows(self, value):
        """[1, N, ...] -> [B, T, ...]"""
        key = _key(value)
        if key not in self._made:
            op = self._op
            self._made[key] = op.gather(op.squeeze(value, np.int64(0)), self._of_places, np.int64(0)).output(0)
            self._spread[_key(self._made[key])] = value
        return self._made[key]

    def _as_slots(self, value):
        """[1, N, ...] -> [R, L, ...]"""
        key = *_key(value), 'slots'
        if key not in self._made:
            op = self._op
            self._made[key] = op.gather(op.squeeze(value, np.int64(0)), self._of_slots, np.int64(0)).output(0)
        return self._made[key]


def _key(value):
    return value.get_node().get_name(), value.get_index()


def _is_zero(value):
    node = value.get_node()
    return node.get_type_name() == 'Constant' and not node.get_data().any()


def _asks_for_rank(operation):
    """Whether all that is asked of a shape is how many sizes it has."""
    targets = operation.output(0).get_target_inputs()
    return all(target.get_node().get_type_name() == 'ShapeOf' for target in targets)


def _leads_to_softmax(node):
    """Whether what it adds is used in a softmax of the last size alone."""
    while True:
        targets = list(node.output(0).get_target_inputs())
        if len(targets) != 1:
            return False
        node = targets[0].get_node()
        if node.get_type_name() == 'Softmax':
            return node.get_attributes()['axis'] in (-1, 3)
        if node.get_type_name() not in ('Identity', 'Convert'):
            return False


def _two_numbers(value, mask):
    """What a mask [B, 1, 1, T] has at padding and at tokens; None where it has another form.

    Args:
        value: made of the mask and constants alone.
        mask: float32 [B, T].
    """
    import openvino

    shape = value.get_partial_shape()
    if len(shape) != 4 or [str(size) for size in shape][1:3] != ['1', '1']:
        return None
    tried = np.array([[0, 1, 1], [1, 0, 0]], np.float32)
    settings = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1}
    part = openvino.Core().compile_model(openvino.Model([value], [mask.get_node()], 'mask'), 'CPU', settings)
    found = part(tried)[0]
    outside, inside = map(float, found[0, 0, 0, :2])
    expected = np.where(tried, inside, outside)[:, None, None]
    return (outside, inside) if np.array_equal(found, expected) else None


def _ends_attention(operation, kind, sources):
    """Whether this puts the results of the heads side by side, [B, T, H]."""
    if kind != 'Reshape' or sources[0].get_node().get_type_name() != 'Transpose':
        return False
    shape, heads = operation.output(0).get_partial_shape(), sources[0].get_partial_shape()
    return len(heads) == 4 and len(shape) == 3 and shape[2].is_static
