"""Reading comprehension: the graph of the task. Which positions of a window begin and end the answer?

Inputs are those of `FineTuneModel`; the label is int64 [B, 2], the first and the last position of the answer, 0 where
the window does not hold it.
"""

from ernie.model.distillation import soft_label_loss
from ernie.model.heads import head
from ernie.model.task_model import FineTuneModel
from ernie.tasks.mrc import SPEC
from propeller import graph
from propeller.graph import F, paddle
from propeller.types import RunMode

CLOSED = -10000.0  # logit of a position that is no answer; exp of it is 0 in float32, and float16 can hold it


class ErnieMrc(FineTuneModel):
    """Encoder and a linear layer to two scores per position. `config` has what `FineTuneModel` needs."""

    head_parameters = SPEC.head

    def forward(self, features):
        self._open = answer_positions(features[1], features[3])
        return super().forward(features)

    def head(self, encoder):
        """-> [start logits, end logits], float32 [B, T] each, `CLOSED` on the question, `[SEP]` and padding."""
        training, rate = self.mode == RunMode.TRAIN, self.config.get('head_dropout')
        logits = head(encoder.get_sequence_output(), *SPEC.head, 2, training, rate=rate)  # [B, T, 2]
        self.logits = [logits[:, :, i] * self._open + (1.0 - self._open) * CLOSED for i in range(2)]
        return self.logits

    def loss(self, predictions, label):
        """Mean of the cross entropies of start and end over the positions that are open, mean over the batch."""
        start, end = (F.cross_entropy(logits, label[:, i]) for i, logits in enumerate(predictions))
        return (start + end) / 2

    def soft_loss(self, teacher, label, temperature):
        """Mean of those of start and end over the positions that are open, mean over the batch."""
        pairs = zip(self.logits, teacher.logits, strict=True)
        start, end = (soft_label_loss(ours, theirs, temperature).mean() for ours, theirs in pairs)
        return (start + end) / 2

    def metrics(self, predictions, label):
        return {}

    @staticmethod
    def label_feed(config):
        return graph.Feed('label', (-1, 2), 'int64')


def answer_positions(types, mask):
    """float32 [B, T], 1 on the tokens of the document and on `[CLS]`, which stands for "not in this window", else 0.

    Args:
        types: int64 [B, T], 1 on the document and its `[SEP]`.
        mask: float32 [B, T], 1 on tokens.
    """
    first = mask[:, :1]
    follows = paddle.concat([mask[:, 1:], first * 0.0], axis=1)  # 0 on the last token, the [SEP]
    document = types.astype('float32') * mask * follows
    return paddle.concat([first, document[:, 1:]], axis=1)
