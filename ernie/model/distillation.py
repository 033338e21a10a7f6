"""What a student is to have of its teacher, as losses in the graph: see docs/distillation.md.

All of them are means over the rows of a batch; of a row, means over its tokens; padding counts nowhere. Shapes: B rows,
T tokens, H width of the student, H' of the teacher, A attention heads, R relation heads, C classes.
"""

from propeller.graph import F, paddle

_NO_KEY = 10000.0  # taken from the score of a padding key; exp(-10000) is 0 in float32


def relation_loss(student, teacher, mask, heads):
    """MiniLMv2 (Wang et al. 2021, arXiv:2012.15828, equations 4 to 7): sum of KL(teacher || student) of the relations
    among queries, among keys, and among values.

    The vectors of all attention heads are joined and parted into R relation heads of width d. A relation is
    softmax(A A^T / sqrt(d)) of those of one kind; its KL is the mean over relation heads and tokens.

    Args:
        student: queries, keys and values of one layer, three values [B, T, H].
        teacher: the same, [B, T, H'].
        mask: float32 [B, T], 1 on tokens, of which each row has one at least.
        heads: R, which divides H and H'.
    Returns:
        scalar value.
    """
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        total = total + _divergence(_relations(ours, mask, heads), _relations(theirs, mask, heads)).mean(1)
    return _mean(total, mask)


def _relations(x, mask, heads):
    """x [B, T, H] -> logarithms of its relations [B, R, T, T]."""
    width, x = x.shape[-1] // heads, x * mask.unsqueeze(-1)
    no_key = ((mask - 1.0) * _NO_KEY).unsqueeze([1, 2])
    parts = x.reshape([0, 0, heads, width]).transpose([0, 2, 1, 3])
    return F.log_softmax(paddle.matmul(parts * width**-0.5, parts, transpose_y=True) + no_key)


def hidden_loss(student, teacher, mask):
    """TinyBERT (Jiao et al. 2020, arXiv:1909.10351, equation 8): mean squared difference of hidden states.

    Args:
        student, teacher: [B, T, H'], that of the student perhaps after a learned projection.
        mask: as above.
    Returns:
        scalar value.
    """
    return _mean(((student - teacher) ** 2).mean(-1), mask)


def attention_loss(student, teacher, mask, heads):
    """TinyBERT (equation 7): mean squared difference of attention scores q k^T / sqrt(d), before the softmax, over
    heads and pairs of tokens.

    Args:
        student, teacher: (queries, keys) of one layer, values [B, T, H] and [B, T, H'].
        mask: as above.
        heads: A, those of both.
    Returns:
        scalar value.
    """
    both = mask.unsqueeze(1) * mask.unsqueeze(2)  # [B, T, T], 1 where query and key are tokens
    squares = (_scores(*student, heads) - _scores(*teacher, heads)) ** 2  # [B, A, T, T]
    return ((squares.mean(1) * both).sum([1, 2]) / both.sum([1, 2])).mean()


def _scores(query, key, heads):
    query, key = (x.reshape([0, 0, heads, x.shape[-1] // heads]).transpose([0, 2, 1, 3]) for x in (query, key))
    return paddle.matmul(query * query.shape[-1] ** -0.5, key, transpose_y=True)


def soft_label_loss(student, teacher, temperature):
    """Hinton, Vinyals, Dean 2015 (arXiv:1503.02531, section 2): T^2 KL(softmax(teacher / T) || softmax(student / T)).

    T^2, for the gradients of soft labels shrink with 1 / T^2.

    Args:
        student, teacher: logits [..., C].
        temperature: T, above 0.
    Returns:
        value [...], a loss for each distribution.
    """
    logarithms = [F.log_softmax(logits / temperature) for logits in (student, teacher)]
    return _divergence(*logarithms) * temperature**2


def soft_binary_loss(student, teacher, temperature):
    """The same for classes that hold or not, each by itself: [...], the mean over the last axis.

    student, teacher: logits [..., C]; softmax over a logit and 0 is the sigmoid of the logit.
    """
    pairs = [paddle.stack([logits, logits * 0.0], -1) for logits in (student, teacher)]
    return soft_label_loss(*pairs, temperature).mean(-1)


def _divergence(student, teacher):
    """KL(teacher || student) over the last axis of logarithms of probabilities."""
    return (paddle.exp(teacher) * (teacher - student)).sum(-1)


def _mean(of_tokens, mask):
    """Mean over the tokens of each row, and over rows. of_tokens: [B, T]."""
    return ((of_tokens * mask).sum(1) / mask.sum(1)).mean()
