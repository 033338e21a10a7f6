"""Softmax with cross entropy."""

from propeller import graph
from propeller.graph import F, paddle
from propeller.ops.checks import require_shape, require_type
from propeller.ops.choice import enabled

IGNORED = -100  # Paddle's own default


def softmax_cross_entropy(logits, label, ignore_index=IGNORED):
    """Cross entropy of the softmax of `logits` with one right class per row, in nats, and the likeliest class.

    Args:
        logits: float32 value [..., C].
        label: int64 value [...] or [..., 1], in 0 .. C-1, or `ignore_index`: loss and gradient are 0 there.
        ignore_index: int.
    Returns:
        loss: float32 value [...].
        best: int64 value [...], class of the largest logit, the first of several.
    Raises:
        ValueError: wrong types or shapes; the text names the argument and both. A label that is no class is found when
            the program runs.
    """
    if len(label.shape) == len(logits.shape) and label.shape[-1] == 1:
        label = label.squeeze(-1)
    _check(logits, label)
    with graph.full_precision():
        if not enabled():
            loss = F.cross_entropy(logits, label, reduction='none', ignore_index=ignore_index)
            return loss, logits.argmax(-1)
        loss, _, best = paddle._C_ops._run_custom_op('propeller_cross_entropy', logits, label, ignore_index)
    best.stop_gradient = True
    return loss, best


def _check(logits, label):
    require_type('softmax_cross_entropy: logits', logits, 'float32')
    require_type('softmax_cross_entropy: label', label, 'int64')
    shape = list(logits.shape)
    if not shape:
        raise ValueError('ops.softmax_cross_entropy: logits has shape [], expected [..., classes].')
    require_shape('softmax_cross_entropy: label', label, shape[:-1], f' for logits of shape {shape}')
