"""Tables of which a batch uses a few rows, as a table of words: their gradients by rows.

A dense gradient of such a table is nearly all zeros, and a dense update passes over moments that are nearly all 0. Here
the rows that a batch uses are what the loss is differentiated by, and AdamW passes over the rows that have ever had a
gradient. The others owe nothing but weight decay, the same factors for all of them. They are multiplied in before
anybody sees them, one after the other, in float32: when it was done does not show in the bits, and the result is that
of the dense update.

Legend: V rows of a table, H its width, U rows that a batch uses.
"""

from typing import NamedTuple

from propeller import graph
from propeller.graph import F, paddle
from propeller.ops.checks import require_type
from propeller.ops.choice import enabled
from propeller.ops.process_sum import process_sum
from propeller.recompute import in_segment

# Decays that are remembered; after so many updates all rows get theirs.
MOST_OWED = 256


class RowGradient(NamedTuple):
    """The gradient of a table that is 0 but for some rows.

    Attributes:
        ids: int64 value [U], which rows, each once.
        values: float32 value [U, H], their gradients.
        state: float32 value [1 + MOST_OWED + V], what is known of the table's rows (csrc/rows.h).
    """

    ids: object
    values: object
    state: object


def used_rows(table, ids):
    """The rows of a table that a batch uses, for `embedding_norm` or another operator that reads rows by number.

    To be called where a training program is built: the table is then trained by rows, if the operators are fused and
    nothing else reads it. Otherwise table and ids come back as they are.

    Args:
        table: float32 value [V, H], a parameter.
        ids: int64 value [...], numbers of rows.
    Returns:
        values (rows [U, H], ids [...], numbers of those rows).
    """
    require_type('used_rows: table', table, 'float32')
    require_type('used_rows: ids', ids, 'int64')
    # In a segment that is computed twice there would be two sets of rows, of which one gets no gradient.
    if table.stop_gradient or in_segment() or not enabled():
        return table, ids
    program = graph.building()
    if table.name not in program.row_states:
        size = 1 + MOST_OWED + table.shape[0]
        program.row_states[table.name] = graph.variable(state_name(table.name), [size])
    used, places, rows = _run('propeller_used_rows', table, program.row_states[table.name], ids)
    for value in (used, places, rows):
        value.stop_gradient = True
    with graph.full_precision():
        leaf = paddle.assign(rows)
    leaf.stop_gradient = False
    program.row_uses.append(graph.RowUse(table, used, leaf))
    return leaf, places


def trained_rows(table, ids):
    """table[ids], float32 [..., H], in a training program: see `used_rows`."""
    rows, places = used_rows(table, ids)
    if rows is table:
        return F.embedding(ids, table)
    return _run('propeller_take', rows, places)[0]


def state_name(table):
    """Name of the variable that holds what is known of the rows of the table of that name."""
    return f'{table}@ROWS@'


def gradients_by_rows(program, pairs):
    """Gradients of the parameters of a program, those of tables by rows where that is all of them.

    Args:
        program: `graph.Program`.
        pairs: list of (value, gradient): of its parameters and of the rows that batches use.
    Returns:
        list of (parameter, gradient): a value of the parameter's shape, or a `RowGradient`.
    """
    leaves, found = [use.rows for use in program.row_uses], []
    uses, dense = {}, {}
    for value, gradient in pairs:
        k = next((k for k, leaf in enumerate(leaves) if leaf is value), None)
        if k is None:
            dense[value.name] = gradient
        else:
            use = program.row_uses[k]
            uses.setdefault(use.table.name, []).append((use.used, gradient))
    for parameter in program.trained_values():
        gradient = dense.get(parameter.name)
        if parameter.name in uses:
            gradient = _joined(parameter, uses[parameter.name], gradient, program.row_states[parameter.name])
        if gradient is not None:
            found.append((parameter, gradient))
    return found


def dense(parameter, gradient):
    """A gradient as a value of the parameter's shape."""
    return _spread(parameter, gradient.ids, gradient.values) if isinstance(gradient, RowGradient) else gradient


def summed_over_processes(gradient):
    """A `RowGradient` of the rows that any process uses, with the sums of their gradients, the same in all of them."""
    (marks,) = process_sum([_marks(gradient.state, gradient.ids)])
    ids, values = _run('propeller_marked_rows', marks, gradient.ids, gradient.values)
    return RowGradient(ids, *process_sum([values]), gradient.state)


def _joined(table, uses, rest, state):
    """One gradient of a table. uses: list of (numbers of rows, their gradients); rest: a dense gradient, or None."""
    ids, values = (paddle.concat(list(part)) if len(uses) > 1 else part[0] for part in zip(*uses, strict=True))
    if rest is not None:
        return _spread(table, ids, values, rest)
    if len(uses) > 1:
        ids, values = _run('propeller_marked_rows', _marks(state, ids), ids, values)
    return RowGradient(ids, values, state)


def _marks(state, ids):
    return _run('propeller_mark_rows', ids, state.shape[0] - 1 - MOST_OWED)[0]


def _spread(table, ids, values, base=None):
    return _run('propeller_spread_rows', base, ids, values, table.shape[0])[0]


def _run(name, *inputs):
    with graph.full_precision():
        return paddle._C_ops._run_custom_op(name, *inputs)
