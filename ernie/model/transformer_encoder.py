"""The transformer encoder (Vaswani et al. 2017, post-norm) with the parameter names of the 2019 suite.

Shapes: T tokens as the layout of the batch has them, [N] one after the other or [B, L] with padding (see
`propeller.ops.tokens`), H hidden, F feed-forward width.
"""

import functools

from propeller import graph, ops, recompute


def linear(x, name, width, std, activation=None):
    """x [..., I] -> [..., width], parameters `{name}.w_0` [I, width] and `{name}.b_0` [width]."""
    return ops.linear(x, *_weight_and_bias(name, x.shape[-1], width, std), activation)


def _weight_and_bias(name, inputs, width, std):
    weight = graph.parameter(f'{name}.w_0', [inputs, width], graph.truncated_normal(std))
    return ops.Linear(weight, graph.parameter(f'{name}.b_0', [width], graph.constant(0)))


def norm_parameters(name, width):
    """Scale and bias of a layer norm: `{name}_layer_norm_scale` and `{name}_layer_norm_bias`, both [width]."""
    scale = graph.parameter(f'{name}_layer_norm_scale', [width], graph.constant(1))
    return scale, graph.parameter(f'{name}_layer_norm_bias', [width], graph.constant(0))


def dropout(x, rate, training):
    """Zero units with probability `rate` and scale the others up; nothing at all outside training or at rate 0."""
    return recompute.dropout(x, rate) if training else x


def multi_head_attention(x, layout, config, name, training):
    """Self-attention within the rows of a batch, before its output layer. x [T, H] -> [T, H].

    layout: of `ops.token_layout`.
    """
    rate = _attention_dropout(config, training)
    return ops.attention(attention_projections(x, config, name), layout, config.num_attention_heads, rate)


def _attention_dropout(config, training):
    return config.attention_probs_dropout_prob if training else 0.0


def _dropout(config, training):
    return config.hidden_dropout_prob if training else 0.0


def attention_projections(x, config, name):
    """Queries, keys and values side by side. x [T, H] -> [T, 3H]."""
    # One product for all three projections: a tenth faster than three, forward and backward.
    return ops.linear_side_by_side(x, *projection_parameters(config, name))


def projection_parameters(config, name):
    """Weights and biases of queries, keys and values: two tuples of three."""
    hidden, std = config.hidden_size, config.initializer_range
    parts = [_weight_and_bias(f'{name}_{part}_fc', hidden, hidden, std) for part in ('query', 'key', 'value')]
    return zip(*parts, strict=True)


def encoder_layer(x, layout, config, name, training):
    """Attention and feed-forward, each followed by dropout, residual and norm. x [T, H] -> [T, H]."""
    weights_and_biases = projection_parameters(config, f'{name}_multi_head_att')
    projections = [ops.Linear(*pair) for pair in zip(*weights_and_biases, strict=True)]
    rates = _attention_dropout(config, training), _dropout(config, training)
    output, norm = _output_and_norm(config, name)
    x = ops.self_attention(x, layout, config.num_attention_heads, projections, output, norm, *rates)
    return _feed_forward(x, config, name, training)


def _after_attention(context, x, config, name, training):
    """What a layer does to each token by itself. context: of attention; both of any tokens [T, H] -> [T, H]."""
    output, norm = _output_and_norm(config, name)
    attended = ops.residual_norm(ops.linear(context, *output), x, *norm, _dropout(config, training))
    return _feed_forward(attended, config, name, training)


def _output_and_norm(config, name):
    """Parameters of what follows attention: its output layer, and a norm."""
    hidden = config.hidden_size
    output = _weight_and_bias(f'{name}_multi_head_att_output_fc', hidden, hidden, config.initializer_range)
    return output, _norm(config, f'{name}_post_att')


def _norm(config, name):
    return ops.Norm(*norm_parameters(name, config.hidden_size), config.layer_norm_eps)


def _feed_forward(x, config, name, training):
    """The second half of a layer. x [T, H] -> [T, H]."""
    std, hidden, wide = config.initializer_range, config.hidden_size, config.intermediate_size
    inner = _weight_and_bias(f'{name}_ffn_fc_0', hidden, wide, std)
    outer = _weight_and_bias(f'{name}_ffn_fc_1', wide, hidden, std)
    norm = _norm(config, f'{name}_post_ffn')
    return ops.feed_forward(x, inner, outer, norm, config.hidden_act, _dropout(config, training))


def encoder(x, layout, config, training, layers):
    """The first `layers` layers. Returns the outputs of each, a list of values [T, H]."""
    outputs = []
    for i in range(layers):
        layer = functools.partial(
            encoder_layer, layout=layout, config=config, name=f'encoder_layer_{i}', training=training
        )
        x = recompute.segment(layer, x)
        outputs.append(x)
    return outputs


def last_layer(x, layout, config, training):
    """The last layer where few tokens of it are read: three quarters of its products are of single tokens.

    Args:
        x: what it reads, [T, H].
    Returns:
        function: function that takes some tokens out of a value [T, H] -> what the layer gives for these.
    """
    name = f'encoder_layer_{config.num_hidden_layers - 1}'
    attention = functools.partial(
        multi_head_attention, layout=layout, config=config, name=f'{name}_multi_head_att', training=training
    )
    context = recompute.segment(attention, x)
    return lambda take: _after_attention(take(context), take(x), config, name, training)


def last_layer_of_firsts(x, layout, config, training):
    """The last layer where only the tokens of the first column are read: others are not even projected.

    Args:
        x: what it reads, [T, H].
    Returns:
        value [B, H].
    """
    name = f'encoder_layer_{config.num_hidden_layers - 1}'

    def attention(x):
        parameters = projection_parameters(config, f'{name}_multi_head_att')
        rate = _attention_dropout(config, training)
        return ops.first_attention(x, layout, *parameters, config.num_attention_heads, rate)

    return _after_attention(recompute.segment(attention, x), layout.firsts(x), config, name, training)
