"""The networks of PaddleHub's example `demo/elmo` (v1.0 to v1.3), and the one of fluid that it uses.

Each takes the words of texts as a sequence of vectors and gives one vector for each text.
"""

from ernie.hub import layers
from ernie.hub.expressions import switch_main_program


def sequence_conv_pool(
    input, num_filters, filter_size, param_attr=None, act='sigmoid', pool_type='max', bias_attr=None
):
    """`layers.sequence_conv`, then `layers.sequence_pool`: fluid.nets.sequence_conv_pool of Paddle 1.6."""
    attrs = {'param_attr': param_attr, 'bias_attr': bias_attr}
    return layers.sequence_pool(layers.sequence_conv(input, num_filters, filter_size, act=act, **attrs), pool_type)


def bow_net(program, input_feature, hid_dim=128, hid_dim2=96):
    """Bag of words: the sum of the vectors, and two layers."""
    switch_main_program(program)
    summed = layers.tanh(layers.sequence_pool(input_feature, 'sum'))
    return layers.fc(layers.fc(summed, hid_dim, act='tanh'), hid_dim2, act='tanh')


def cnn_net(program, input_feature, win_size=3, hid_dim=128, hid_dim2=96):
    """Convolution over `win_size` words, the largest of each filter, and a layer without activation."""
    switch_main_program(program)
    return layers.fc(sequence_conv_pool(input_feature, hid_dim, win_size, act='relu', pool_type='max'), hid_dim2)


def gru_net(program, input_feature, hid_dim=128, hid_dim2=96):
    """A GRU, the largest of each of its numbers, and a layer: the one that PaddleHub recommends."""
    switch_main_program(program)
    states = layers.dynamic_gru(layers.fc(input_feature, 3 * hid_dim), hid_dim)
    return layers.fc(layers.tanh(layers.sequence_pool(states, 'max')), hid_dim2, act='tanh')


def lstm_net(program, input_feature, hid_dim=128, hid_dim2=96):
    """The same with an LSTM."""
    switch_main_program(program)
    states, _ = layers.dynamic_lstm(layers.fc(input_feature, 4 * hid_dim), 4 * hid_dim)
    return layers.fc(layers.tanh(layers.sequence_pool(states, 'max')), hid_dim2, act='tanh')


def bilstm_net(program, input_feature, hid_dim=128, hid_dim2=96):
    """LSTMs in both directions, the last word of each, and a layer.

    Last in the order of the text, as in PaddleHub: that is the word with which the one that goes backward begins.
    """
    switch_main_program(program)
    ahead, back = layers.fc(input_feature, 4 * hid_dim), layers.fc(input_feature, 4 * hid_dim)
    forward, _ = layers.dynamic_lstm(ahead, 4 * hid_dim)
    backward, _ = layers.dynamic_lstm(back, 4 * hid_dim, is_reverse=True)
    both = layers.concat([layers.sequence_last_step(forward), layers.sequence_last_step(backward)], axis=1)
    return layers.fc(both, hid_dim2, act='tanh')
