"""Task heads over the encoder's outputs, with the parameter names of the 2019 runners."""

from ernie.model.transformer_encoder import dropout
from propeller import graph
from propeller.graph import F

HEAD_STD = 0.02  # fixed in 2019, whatever `initializer_range` says
HEAD_DROPOUT = 0.1


def head(x, weight_name, bias_name, width, training, bias_start=None, rate=None):
    """Dropout and a linear layer: x [..., H] -> [..., width] float32.

    Args:
        bias_start: [width], zeros where None.
        rate: of the dropout; None: `HEAD_DROPOUT`.
    """
    weight = graph.parameter(weight_name, [x.shape[-1], width], graph.truncated_normal(HEAD_STD))
    bias = graph.parameter(bias_name, [width], graph.constant(0) if bias_start is None else graph.values(bias_start))
    # In every precision: scores decide, and a product in bfloat16 over a frozen encoder crashes Paddle 3.3 on CPUs.
    with graph.full_precision():
        rate = HEAD_DROPOUT if rate is None else rate
        return F.linear(dropout(graph.float32(x), rate, training), weight, bias)
