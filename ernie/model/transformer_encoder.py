"""The transformer encoder (Vaswani et al. 2017, post-norm) with the parameter names of the 2019 suite.

Shapes: B batch, T length, H hidden, A heads, D = H / A head width, F feed-forward width.
"""

import functools

from propeller import graph, ops, recompute
from propeller.graph import F, paddle


def linear(x, name, width, std, activation=None):
    """x [..., I] -> [..., width], parameters `{name}.w_0` [I, width] and `{name}.b_0` [width]."""
    return ops.linear(x, *_weight_and_bias(name, x.shape[-1], width, std), activation)


def _weight_and_bias(name, inputs, width, std):
    weight = graph.parameter(f'{name}.w_0', [inputs, width], graph.truncated_normal(std))
    return weight, graph.parameter(f'{name}.b_0', [width], graph.constant(0))


def layer_norm(x, name, epsilon):
    """Normalise the last axis; parameters `{name}_layer_norm_scale` and `{name}_layer_norm_bias`, both [H]."""
    width = x.shape[-1]
    scale = graph.parameter(f'{name}_layer_norm_scale', [width], graph.constant(1))
    bias = graph.parameter(f'{name}_layer_norm_bias', [width], graph.constant(0))
    return F.layer_norm(x, [width], scale, bias, epsilon)


def dropout(x, rate, training):
    """Zero units with probability `rate` and scale the others up; nothing at all outside training or at rate 0."""
    return recompute.dropout(x, rate) if training else x


def multi_head_attention(x, key_bias, config, name, training):
    """Self-attention. x [B, T, H]; key_bias [B, 1, 1, T], 0 for real tokens and very negative for padding."""
    hidden, heads, std = config.hidden_size, config.num_attention_heads, config.initializer_range
    head_width = hidden // heads
    # One product for all three projections: a tenth faster than three, forward and backward.
    parts = [_weight_and_bias(f'{name}_{part}_fc', hidden, hidden, std) for part in ('query', 'key', 'value')]
    weight, bias = (paddle.concat(list(tensors), -1) for tensors in zip(*parts, strict=True))
    projected = ops.linear(x, weight, bias).reshape([0, 0, 3, heads, head_width])
    query, key, value = paddle.unbind(projected.transpose([2, 0, 3, 1, 4]))  # [B, A, T, D] each
    scores = paddle.matmul(query * head_width**-0.5, key, transpose_y=True) + key_bias  # [B, A, T, T]
    weights = dropout(F.softmax(scores), config.attention_probs_dropout_prob, training)
    context = paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([0, 0, hidden])  # [B, T, H]
    return linear(context, f'{name}_output_fc', hidden, std)


def encoder_layer(x, key_bias, config, name, training):
    """Attention and feed-forward, each followed by dropout, residual and norm. x [B, T, H] -> [B, T, H]."""
    std, epsilon = config.initializer_range, config.layer_norm_eps
    attended = multi_head_attention(x, key_bias, config, f'{name}_multi_head_att', training)
    x = layer_norm(x + dropout(attended, config.hidden_dropout_prob, training), f'{name}_post_att', epsilon)
    wide = linear(x, f'{name}_ffn_fc_0', config.intermediate_size, std, config.hidden_act)  # [B, T, F]
    narrow = linear(wide, f'{name}_ffn_fc_1', config.hidden_size, std)
    return layer_norm(x + dropout(narrow, config.hidden_dropout_prob, training), f'{name}_post_ffn', epsilon)


def encoder(x, key_bias, config, training):
    """All layers. Returns the outputs of every layer, a list of `num_hidden_layers` values [B, T, H]."""
    outputs = []
    for i in range(config.num_hidden_layers):
        layer = functools.partial(
            encoder_layer, key_bias=key_bias, config=config, name=f'encoder_layer_{i}', training=training
        )
        x = recompute.segment(layer, x)
        outputs.append(x)
    return outputs
