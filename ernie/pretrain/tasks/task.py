"""What a pre-training task is: name, number, classes, builder of its samples, head over the shared encoder."""

import abc

NO_LABEL = -1  # a sample, or a token, that has no label of a task


class PretrainTask(abc.ABC):
    """A task. Its head's parameters are `{head}.w_0` and `{head}.b_0`.

    Args:
        num_classes: classes of the head, None for those of the class.

    Attributes:
        name: in sample files, schedules and log lines.
        id: value of the task id of its samples.
        level: `token` or `sequence`, what has a label.
        num_classes: classes of the head; None: the vocabulary.
        few_labels: whether only few tokens of a sample have a label.
        sample_builder: the class that makes its samples out of text, a `SampleBuilder`.
    """

    name = id = sample_builder = None
    level = 'sequence'
    num_classes = 2
    few_labels = True

    def __init__(self, num_classes=None):
        self.num_classes = num_classes or type(self).num_classes

    @property
    def head(self):
        """Prefix of the names of the head's parameters."""
        return f'{self.name}_fc'

    @abc.abstractmethod
    def feeds(self):
        """The inputs of its labels, a list of `propeller.graph.Feed`."""

    @abc.abstractmethod
    def logits(self, model, inputs):
        """Scores float32 [K, num_classes] for the K labels of a batch.

        Args:
            model: `ernie.model.ernie.ErnieModel`.
            inputs: values of `feeds`.
        """

    def statistics(self, model, inputs):
        """What the task adds to a batch: float32 [3], sum of cross-entropies in nats, labels, right answers.

        Labels that are `NO_LABEL` add nothing, and no gradient.
        """
        from propeller import ops
        from propeller.graph import paddle

        label = inputs[0]
        losses, best = ops.softmax_cross_entropy(self.logits(model, inputs), label, NO_LABEL)
        there = (label >= 0).astype('float32')
        right = (best == label).astype('float32') * there
        return paddle.stack([(losses * there).sum(), there.sum(), right.sum()])


class SequenceTask(PretrainTask):
    """A task with one label for each sample, read from the pooled output. Its label is int64 [B]."""

    def feeds(self):
        from propeller.graph import Feed

        return [Feed(f'{self.name}_label', (-1,), 'int64')]

    def logits(self, model, inputs):
        return model.get_task_logits(model.get_pooled_output(), self.head, self.num_classes)


class TokenTask(PretrainTask):
    """A task with a label for some tokens. Its labels are int64 [N], their places int64 [N], indices into the B*T."""

    level = 'token'
    few_labels = False

    def feeds(self):
        from propeller.graph import Feed

        return [Feed(f'{self.name}_label', (-1,), 'int64'), Feed(f'{self.name}_position', (-1,), 'int64')]

    def logits(self, model, inputs):
        return model.get_task_logits(model.get_tokens(inputs[1]), self.head, self.num_classes)
