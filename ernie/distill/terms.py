"""What a student is to have of its teacher, as the flags of `ernie distill` say it, and whether two models allow it."""

import math
import re
from typing import NamedTuple

from ernie.model.encoders import ERNIE
from propeller.args import split_list
from propeller.errors import UsageError, one_of

RELATION, HIDDEN, ATTENTION, LOGITS, LABELS = LOSSES = ('relation', 'hidden', 'attention', 'logits', 'labels')
LAYER_LOSSES = (RELATION, HIDDEN, ATTENTION)
_PAIR = re.compile(r'(\d{1,5})-(\d{1,5})')
_LAYER = re.compile(r'\d{1,5}')


class Terms(NamedTuple):
    """The losses of a run.

    Attributes:
        weights: dict name of `LOSSES` -> weight.
        pairs: list of (layer of the teacher, layer of the student), from 1, 0 for the embeddings; () where not given.
        relation_heads: int, or None where not given.
        projection: whether hidden states of the student are projected; None: where the widths differ.
        temperature: of soft labels.
    """

    weights: dict
    pairs: tuple = ()
    relation_heads: int | None = None
    projection: bool | None = None
    temperature: float = 1.0

    @property
    def of_layers_alone(self):
        """Whether nothing is learnt of what the teacher answers, nor of labels: the student has no task then."""
        return not {LOGITS, LABELS} & self.weights.keys()

    @property
    def needs_teacher(self):
        """Whether the teacher computes in the training."""
        return set(self.weights) != {LABELS}

    @property
    def compares_pairs(self):
        """Whether some loss is of several pairs of layers."""
        return bool({HIDDEN, ATTENTION} & self.weights.keys())

    @property
    def compares_layers(self):
        """Whether some loss is of layers."""
        return bool(set(LAYER_LOSSES) & self.weights.keys())


def parse_loss(text):
    """`relation=1,logits=0.5` -> dict name -> weight; a name alone has the weight 1. Raises `UsageError`."""
    weights = {}
    for part in split_list(text):
        name, sign, value = part.partition('=')
        name = name.strip()
        if name not in LOSSES:
            raise UsageError(f'--loss {part}: expected {one_of(name, LOSSES)}')
        if name in weights:
            raise UsageError(f'--loss {text}: {name} stands there twice.')
        weights[name] = _weight(value) if sign else 1.0
        if not (weights[name] > 0 and math.isfinite(weights[name])):
            raise UsageError(f'--loss {part}: expected a weight above 0, as in {name}=0.5.')
    if not weights:
        raise UsageError(f'--loss is empty: expected some of {", ".join(LOSSES)}.')
    return weights


def _weight(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_pairs(text):
    """`4-1,8-2,12-3` -> tuple of (layer of the teacher, layer of the student). Raises `UsageError`."""
    found = [_PAIR.fullmatch(part.strip()) for part in split_list(text)]
    if not all(found):
        raise UsageError(f'--layer_pairs {text}: expected pairs of a layer of the teacher and one of the student, '
                         'as in 4-1,8-2,12-3.')  # fmt: skip
    pairs = tuple((int(match[1]), int(match[2])) for match in found)
    if len({student for _, student in pairs}) < len(pairs):
        raise UsageError(f'--layer_pairs {text}: a layer of the student stands there twice.')
    return pairs


def parse_layers(text):
    """`4,8,12` -> tuple of layers, from 1, ascending. Raises `UsageError`."""
    parts = [part.strip() for part in split_list(text)]
    layers = tuple(int(part) for part in parts if _LAYER.fullmatch(part))
    if len(layers) < len(parts) or sorted(set(layers)) != list(layers) or 0 in layers:
        raise UsageError(f'--student_layers {text}: expected layers from 1, ascending, as in 4,8,12.')
    return layers


def terms_of(args):
    """The `Terms` of `DistillSettings`. Raises `UsageError`: a flag is not as it must be, or means nothing."""
    weights = parse_loss(args.loss)
    pairs = parse_pairs(args.layer_pairs) if args.layer_pairs else ()
    terms = Terms(weights, pairs, args.relation_heads, args.projection, args.temperature)
    _refuse('--layer_pairs', args.layer_pairs, terms.compares_layers, ', '.join(LAYER_LOSSES))
    if len(pairs) > 1 and not terms.compares_pairs:
        raise UsageError(f'--layer_pairs {args.layer_pairs}: relation compares one pair, as in 12-3.')
    _refuse('--relation_heads', args.relation_heads, RELATION in weights, RELATION)
    _refuse('--projection', args.projection is not None, HIDDEN in weights, HIDDEN)
    _refuse('--temperature', args.temperature != 1.0, LOGITS in weights, LOGITS)
    return terms


def _refuse(flag, is_given, has_meaning, losses):
    if is_given and not has_meaning:
        raise UsageError(f'{flag} is of --loss {losses}, which is not among the losses. Leave it out.')


def evenly(teacher, student):
    """Pairs that spread the layers of the student over those of the teacher, the last with the last.

    TinyBERT's uniform strategy (Jiao et al. 2020, section 4.2). teacher, student: numbers of layers.
    """
    return tuple((-(-layer * teacher // student), layer) for layer in range(1, student + 1))


def fitted(terms, teacher, student):
    """The `Terms` with all that was left out, for two models.

    Args:
        terms: `Terms`.
        teacher, student: `ErnieConfig`.
    Raises:
        UsageError: the two cannot be compared so; the text says what can be done.
    """
    if not terms.compares_layers:
        return terms
    _check_attention(terms, teacher, student)
    pairs = terms.pairs or evenly(teacher.num_hidden_layers, student.num_hidden_layers)
    pairs = pairs if terms.compares_pairs else pairs[-1:]
    for pair in pairs:
        for whose, layer, config in zip(('teacher', 'student'), pair, (teacher, student), strict=True):
            if layer > config.num_hidden_layers:
                has = f'the {whose} has {config.num_hidden_layers} layers'
                raise UsageError(f'--layer_pairs {pair[0]}-{pair[1]}: {has}, expected a layer up to that.')
    if set(terms.weights) & {RELATION, ATTENTION} and not attention_pairs(pairs):
        raise UsageError('--layer_pairs: 0 is the embeddings, which hidden alone compares; give layers from 1.')
    terms = terms._replace(pairs=pairs)
    if RELATION in terms.weights:
        terms = terms._replace(relation_heads=_relation_heads(terms, teacher, student))
    if HIDDEN in terms.weights:
        terms = terms._replace(projection=_projection(terms, teacher, student))
    return terms


def attention_pairs(pairs):
    """Those of the pairs that have attention: not the embeddings."""
    return [pair for pair in pairs if all(pair)]


def _check_attention(terms, teacher, student):
    for name in {RELATION, ATTENTION} & terms.weights.keys():
        for whose, config in (('teacher', teacher), ('student', student)):
            if config.encoder != ERNIE:
                kind = f'the {whose} is an encoder of the kind {config.encoder}, without attention'
                raise UsageError(f'--loss {name}: {kind}. Take hidden or logits.')
    heads = teacher.num_attention_heads, student.num_attention_heads
    if ATTENTION in terms.weights and heads[0] != heads[1]:
        raise UsageError(f'--loss attention: the teacher has {heads[0]} attention heads, the student {heads[1]}. Take '
                         'relation, which compares models of any heads and widths.')  # fmt: skip


def _relation_heads(terms, teacher, student):
    """As given; else as many as the teacher has, or the next smaller number that divides both widths."""
    common = math.gcd(teacher.hidden_size, student.hidden_size)
    if terms.relation_heads is None:
        return next(n for n in range(teacher.num_attention_heads, 0, -1) if common % n == 0)
    if common % terms.relation_heads:
        raise UsageError(f'--relation_heads {terms.relation_heads}: expected a number that divides the widths '
                         f'{teacher.hidden_size} of the teacher and {student.hidden_size} of the student.')  # fmt: skip
    return terms.relation_heads


def _projection(terms, teacher, student):
    differ = teacher.hidden_size != student.hidden_size
    if differ and terms.projection is False:
        raise UsageError(f'--projection false: hidden states are {teacher.hidden_size} wide in the teacher and '
                         f'{student.hidden_size} in the student, which only a projection makes alike. Leave it '
                         'out, or take relation.')  # fmt: skip
    return differ if terms.projection is None else terms.projection
