"""OpenVINO graphs that compute padding in attention alone.

An exported encoder takes rows that are padded to one length, and computes each layer for padding too. What looks at one
token at a time, all but attention, need not. `leave_out_padding` gives it the tokens of a batch one behind the other,
`[1, N]`. For attention it puts queries, keys and values at their places in `[B, T]`, and takes the tokens alone of its
result. Where in `[B, T]` each token is, and which token is at each place, two further inputs say (`places`).

Shapes: B rows, T length with padding, N tokens without padding and what `places` adds to fill it up.
"""

import numpy as np

_MASK = 3  # place of the mask among the inputs: ids, types, positions, mask, and task ids where the model has them
_MULTIPLE = 8  # of tokens: OpenVINO prepares itself for each number of them
# What computes each element by itself, of values of one shape and of constants.
_ELEMENTWISE = frozenset(
    ('Add', 'Convert', 'Divide', 'Erf', 'FakeQuantize', 'Gelu', 'Identity', 'Multiply', 'Power', 'Relu', 'Sqrt')
    + ('Subtract', 'Tanh')
)


def places(mask):
    """The further inputs of a graph that `leave_out_padding` gave.

    Args:
        mask: [B, T], 0 for padding.
    Returns:
        list: where each token is in a batch whose rows are one behind the other, int32 [N], filled up with 0; and which
        of the tokens stands at each place, int32 [B, T], at padding any of them.
    """
    here = np.flatnonzero(mask)
    of_tokens = np.zeros(-(-max(len(here), 1) // _MULTIPLE) * _MULTIPLE, np.int32)
    of_tokens[: len(here)] = here
    count = np.cumsum(np.reshape(mask, -1) != 0, dtype=np.int32)
    return [of_tokens, np.maximum(count - 1, 0).reshape(mask.shape)]


def leave_out_padding(model):
    """A graph with the same outputs for tokens; on padding they are numbers that mean nothing.

    Args:
        model: `openvino.Model`; it stays as it is.
    Returns:
        `openvino.Model` with two inputs more, see `places`; None where this is no encoder with attention.
    """
    if not _reads_tokens(model.inputs):
        return None
    changed = model.clone()
    layers = _Rewriting(changed).layers
    if not layers:
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
        layers: number of attentions that were found.
    """

    def __init__(self, model):
        from openvino import opset13

        self._op, self.layers = opset13, 0
        self._tokens, self._flat, self._made, self._constant = set(), {}, {}, set()
        operations = model.get_ordered_ops()
        self._of_tokens = opset13.parameter([-1], np.int32, name='of_tokens')
        self._of_places = opset13.parameter([-1, -1], np.int32, name='of_places')
        for place, value in enumerate(model.inputs):
            if place != _MASK:
                self._flat[_key(value)] = [-1]
        for operation in operations:
            self._change(operation)
        model.add_parameters([self._of_tokens, self._of_places])

    def _change(self, operation):
        kind, inputs = operation.get_type_name(), operation.inputs()
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
            op = self._op
            flat = op.reshape(value, np.array(self._flat[key], np.int64), False)
            self._made[key] = op.unsqueeze(op.gather(flat, self._of_tokens, np.int64(0)), np.int64(0)).output(0)
            self._tokens.add(_key(self._made[key]))
        return self._made[key]

    def _as_rows(self, value):
        """[1, N, ...] -> [B, T, ...]"""
        key = _key(value)
        if key not in self._made:
            op = self._op
            self._made[key] = op.gather(op.squeeze(value, np.int64(0)), self._of_places, np.int64(0)).output(0)
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


def _ends_attention(operation, kind, sources):
    """Whether this puts the results of the heads side by side, [B, T, H]."""
    if kind != 'Reshape' or sources[0].get_node().get_type_name() != 'Transpose':
        return False
    shape, heads = operation.output(0).get_partial_shape(), sources[0].get_partial_shape()
    return len(heads) == 4 and len(shape) == 3 and shape[2].is_static
