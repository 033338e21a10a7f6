"""The graph of a student that learns from a teacher in the same program."""

import numpy as np

from ernie.distill.terms import ATTENTION, HIDDEN, LABELS, LOGITS, RELATION, attention_pairs
from ernie.model.distillation import attention_loss, hidden_loss, relation_loss
from ernie.model.task_model import FineTuneModel
from propeller import graph
from propeller.graph import paddle
from propeller.types import RunMode

PROJECTIONS = 'hidden_projection', 'embedding_projection'


def distilled_graph(base, teacher, terms, tell=lambda losses: None):
    """The class of a task's graph whose training loss is that of `terms`; evaluation and prediction are the task's.

    Args:
        base: subclass of `FineTuneModel`.
        teacher: `Teacher`.
        terms: `Terms`, fitted.
        tell: called with the losses when the graph is built, a list of scalar values in the order of `terms.weights`.
    """

    class Distilled(base):
        reads_layers = base.reads_layers or terms.compares_layers

        def head(self, encoder):
            self.encoder = encoder
            return super().head(encoder)

        def forward(self, features):
            predictions, self.found = super().forward(features), {}
            if self.mode == RunMode.TRAIN and terms.needs_teacher:
                self._ask_teacher(features)
            return predictions

        def _ask_teacher(self, features):
            self.teacher = None
            if LOGITS in terms.weights:
                self.teacher = teacher.build(Distilled, features)
                _fixed(self.teacher.logits if isinstance(self.teacher.logits, list) else [self.teacher.logits])
            encoder = self.teacher and self.teacher.encoder
            self.found = layer_losses(terms, teacher, self.encoder, features, encoder)

        def loss(self, predictions, label):
            if self.mode != RunMode.TRAIN:
                return super().loss(predictions, label)
            found = dict(self.found)
            if LABELS in terms.weights:
                found[LABELS] = super().loss(predictions, label)
            if LOGITS in terms.weights:
                found[LOGITS] = self.soft_loss(self.teacher, label, terms.temperature)
            return weighted(found, terms, tell)

    return Distilled


def layers_graph(teacher, terms, tell=lambda losses: None, has_pooler=True):
    """The class of the graph of an encoder that learns layers alone, trained or evaluated. Its label says nothing.

    has_pooler: whether the model has parameters for a pooled output, which stay as they are, and part of the model. The
    others are as for `distilled_graph`.
    """

    class Layers(FineTuneModel):
        def head(self, encoder):
            """-> [a vector for each text]."""
            self.encoder = encoder
            return [encoder.get_pooled_output() if has_pooler else encoder.get_sequence_output()[:, 0]]

        def forward(self, features):
            predictions = super().forward(features)
            self.found = layer_losses(terms, teacher, self.encoder, features)
            return predictions

        def loss(self, predictions, label):
            return weighted(self.found, terms, tell)

        def metrics(self, predictions, label):
            return {}

        @staticmethod
        def label_feed(config):
            return graph.Feed('label', (-1, 1), 'int64')

    return Layers


def weighted(found, terms, tell):
    """The sum of losses by their weights. found: dict name -> scalar value. tell: see `distilled_graph`."""
    tell([found[name] for name in terms.weights])
    return sum(found[name] * weight for name, weight in terms.weights.items())


def layer_losses(terms, teacher, student, features, encoder=None):
    """The losses of layers in `terms`: dict name -> scalar value. Of several pairs the mean.

    Args:
        terms: `Terms`, fitted.
        teacher: `Teacher`.
        student: `Encoder`.
        features: values of the encoder's inputs.
        encoder: that of the teacher, where it has been built already.
    """
    if not terms.compares_layers:
        return {}
    mask, inner = features[3], attention_pairs(terms.pairs)
    if encoder is None:
        encoder = teacher.build_encoder(features, _layers_needed(terms, inner))

    found = {}
    if HIDDEN in terms.weights:
        pairs = [(_state(student, s), *_fixed([_state(encoder, t)]), s) for t, s in terms.pairs]
        with graph.full_precision():
            found[HIDDEN] = _mean([hidden_loss(_projected(s, t, layer, terms), t, mask) for s, t, layer in pairs])
    vectors = {
        (t, s): (student.get_projections(s), _fixed(teacher.projections(encoder, t)))
        for t, s in _compared(terms, inner)
    }
    with graph.full_precision():
        if ATTENTION in terms.weights:
            heads = teacher.config.num_attention_heads
            pairs = [vectors[pair] for pair in inner]
            found[ATTENTION] = _mean([attention_loss(s[:2], t[:2], mask, heads) for s, t in pairs])
        if RELATION in terms.weights:
            found[RELATION] = relation_loss(*vectors[inner[-1]], mask, terms.relation_heads)
    return found


def _fixed(values):
    """Values of the teacher: no gradient is computed for them."""
    for value in values:
        value.stop_gradient = True
    return values


def _compared(terms, inner):
    """The pairs whose queries, keys and values are compared."""
    if ATTENTION in terms.weights:
        return inner
    return inner[-1:] if RELATION in terms.weights else []


def _layers_needed(terms, inner):
    """Layers of the teacher that must be computed: queries, keys and values of a layer are made of the one below."""
    of_hidden = [t for t, _ in terms.pairs] if HIDDEN in terms.weights else []
    return max(1, *of_hidden, *(t - 1 for t, _ in _compared(terms, inner)))


def _state(encoder, layer):
    """The hidden states after a layer, 0 being the embeddings: float32 [B, T, H]."""
    return graph.float32(encoder.get_sequence_output(layer - 1) if layer else encoder.embedding_output)


def _projected(student, teacher, layer, terms):
    """The hidden states of the student [B, T, H] as wide as those of the teacher [B, T, H'].

    One matrix for all layers, and one for the embeddings (Jiao et al. 2020, equations 8 and 9).
    """
    if not terms.projection:
        return student
    ours, theirs = student.shape[-1], teacher.shape[-1]
    start = graph.values(np.eye(ours)) if ours == theirs else graph.truncated_normal(ours**-0.5)
    return paddle.matmul(student, graph.helper_parameter(PROJECTIONS[layer == 0], [ours, theirs], start))


def _mean(values):
    return sum(values) / len(values)
