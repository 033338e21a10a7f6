"""The pre-training of ELMo: each word from those before it, and from those behind it (Peters et al. 2018, section 3.1).

B batch, T words, P states of one direction, V words of the vocabulary, S words that are drawn.
"""

import math

from ernie.model.encoders import build_encoder
from ernie.model.task_model import FineTuneModel
from propeller import graph, ops
from propeller.graph import F, paddle
from propeller.types import RunMode

HEAD = WEIGHT, BIAS = 'softmax_weight', 'softmax_bias'  # names of Baidu's folders; one table for both directions
_NEVER = -1e9  # the logit of a word that may not be drawn


class ElmoLanguageModel(FineTuneModel):
    """Predicts [a vector for each text, sum of the losses of its words in nats, number of them], each [B, ...].

    `config` has, beside that of all models, `layer_dropout` and `sampled_words`: S, or 0 for all words.
    """

    head_parameters = HEAD

    def head(self, encoder):
        """Not called: see `forward`."""
        return [encoder.get_pooled_output()]

    def forward(self, features):
        config, training = self.config, self.mode == RunMode.TRAIN
        encoder = build_encoder(features, config.ernie, training, layer_dropout=config.layer_dropout)
        states, words, mask = targets(encoder.layer_outputs[-1], features[0], features[3])
        losses = self._losses(states, words, config.sampled_words if training else 0).reshape(paddle.shape(mask)) * mask
        both = [paddle.split(values.sum(-1), 2) for values in (losses, mask)]  # directions
        return [encoder.get_pooled_output(), *(forward + backward for forward, backward in both)]

    def _losses(self, states, words, count):
        """Cross entropy of each word, float32 [2 B (T - 1)]. count: as `sampled_words`."""
        size, width = self.config.ernie.vocab_size, states.shape[-1]
        weight = graph.parameter(WEIGHT, [size, width], graph.truncated_normal(1 / math.sqrt(width)))
        bias = graph.parameter(BIAS, [size], graph.constant(0))
        states, words = states.reshape([-1, width]), words.reshape([-1])
        if not count:
            return ops.softmax_cross_entropy(ops.linear(states, weight, bias, transposed=True), words)[0]
        with graph.full_precision():
            return sampled_losses(graph.float32(states), words, weight, bias, count)

    def loss(self, predictions, label):
        _, losses, counts = predictions
        total = counts.sum()
        graph.set_loss_weight(total)
        return losses.sum() / total

    def metrics(self, predictions, label):
        return {}

    @staticmethod
    def label_feed(config):
        return graph.Feed('label', (-1, 1), 'int64')


def targets(outputs, ids, mask):
    """What is learnt from the last layer.

    Args:
        outputs: float32 value [B, T, 2 P], both directions side by side.
        ids: int64 value [B, T].
        mask: float32 value [B, T].
    Returns:
        states [2 B, T - 1, P], the forward ones of all rows first; the words that they predict [2 B, T - 1]; and which
        of these are words of the text, float32 [2 B, T - 1].
    """
    width = outputs.shape[-1] // 2
    states = paddle.concat([outputs[:, :-1, :width], outputs[:, 1:, width:]], 0)
    return states, paddle.concat([ids[:, 1:], ids[:, :-1]], 0), paddle.concat([mask[:, 1:]] * 2, 0)


def sampled_losses(states, words, weight, bias, count):
    """Cross entropy of which the sum over all words is estimated by `count` that are drawn (Bengio, Senecal 2003).

    Words are drawn with replacement, one draw for the batch, by the probabilities
    p(k) = log((k + 2) / (k + 1)) / log(V + 1), which suit vocabularies whose words become rarer from first to last. The
    sum is that of the right word and of exp(logit) / (count p) for each other word that is drawn.

    Args:
        states: float32 value [N, P].
        words: int64 value [N].
        weight, bias: float32 values [V, P] and [V].
        count: S.
    Returns:
        float32 value [N], in nats.
    """
    range_ = math.log(weight.shape[0] + 1)
    drawn = paddle.floor(paddle.exp(paddle.uniform([count], min=0.0, max=1.0) * range_)).astype('int64') - 1
    drawn = paddle.clip(drawn, 0, weight.shape[0] - 1)

    place = drawn.astype('float32')
    expected = paddle.log((place + 2) / (place + 1)) * (count / range_)  # how often each is drawn

    right = (states * F.embedding(words, weight)).sum(-1) + paddle.gather(bias, words)
    others = paddle.matmul(states, paddle.gather(weight, drawn), transpose_y=True)
    others = others + (paddle.gather(bias, drawn) - paddle.log(expected))
    same = (words.unsqueeze(-1) == drawn).astype('float32')
    logits = paddle.concat([right.unsqueeze(-1), others + same * _NEVER], -1)
    return ops.softmax_cross_entropy(logits, words * 0)[0]
