"""Embeddings: sums of rows of several tables, with the layer norm and the dropout that follow them."""

from propeller import graph, recompute
from propeller.graph import F, paddle
from propeller.ops.checks import fits, require_dropout, require_shape, require_type
from propeller.ops.choice import enabled
from propeller.ops.norm import check_parameters
from propeller.ops.random import seed_and_site

MOST_TABLES = 4


def embedding_norm(tables, ids, scale, bias, epsilon, dropout=0.0, mask=None):
    """dropout(layer_norm(sum of tables[k][ids[k]])): what an encoder reads (Devlin et al. 2019, section 3).

    Args:
        tables: list of 1 to 4 float32 values [rows, H], of words and positions, say.
        ids: list of int64 values, one for each table, all of the same shape [...].
        scale, bias, epsilon: as `propeller.ops.layer_norm`.
        dropout: probability that a unit is zeroed, 0 <= p < 1; the others are multiplied by 1 / (1 - p).
        mask: of the fused form: `propeller.ops.random.Mask`; None: the program's next one.
    Returns:
        float32 value [..., H]. An id that is not in its table ends the run with an error that names both.
    Raises:
        ValueError: wrong types, shapes or probability; the text names the argument and both.
    """
    _check(tables, ids)
    width = tables[0].shape[1]
    check_parameters('embedding_norm', scale, bias, epsilon, width, f'tables {width} wide')
    require_dropout('embedding_norm', dropout)
    if not enabled():
        found = [F.embedding(own, table) for table, own in zip(tables, ids, strict=True)]
        total = found[0]
        for other in found[1:]:
            total = total + other
        return recompute.dropout(F.layer_norm(total, [total.shape[-1]], scale, bias, epsilon), dropout)
    seed, site = seed_and_site(dropout, mask)
    wanted = [int(not table.stop_gradient) for table in tables]
    with graph.full_precision():
        inputs = [*tables, scale, bias, list(ids), seed, float(epsilon), float(dropout), site, wanted]
        return paddle._C_ops._run_custom_op(f'propeller_embedding_norm_{len(tables)}', *inputs)[0]


def _check(tables, ids):
    if not 1 <= len(tables) <= MOST_TABLES or len(tables) != len(ids):
        raise ValueError(
            f'ops.embedding_norm: found {len(tables)} tables and ids for {len(ids)}, expected 1 to {MOST_TABLES} tables'
            ' and ids for each.'
        )
    for k, (table, own) in enumerate(zip(tables, ids, strict=True)):
        require_type(f'embedding_norm: table {k}', table, 'float32')
        if len(table.shape) != 2 or not fits(table.shape[1:], tables[0].shape[1:]):
            expected = f'[rows, {tables[0].shape[-1]}]' if k and tables[0].shape else '[rows, width]'
            raise ValueError(f'ops.embedding_norm: table {k} has shape {list(table.shape)}, expected {expected}.')
        require_type(f'embedding_norm: input {k} of ids', own, 'int64')
        require_shape(f'embedding_norm: input {k} of ids', own, ids[0].shape, ', that of input 0')
