"""Parameter names: ERNIE's of 2019, those of Hugging Face (BERT, ERNIE), PaddleNLP (ERNIE) and Google's BERT.

ERNIE's fully connected weights are [in, out]; so are PaddleNLP's, and Google's but for heads; Hugging Face's are
[out, in].
"""

import re
from typing import NamedTuple

from ernie.tasks import table as tasks

# What a module of another framework is to us: the part after its name, and the end of the ERNIE name.
_TABLE = {'weight': ''}
_LINEAR = {'weight': '.w_0', 'bias': '.b_0'}
_HEAD = {'weight': '_w', 'bias': '_b'}
_NORM = {'weight': '_scale', 'bias': '_bias', 'gamma': '_scale', 'beta': '_bias'}
_BIAS = {'bias': '.b_0'}

_EMBEDDINGS = {
    'embeddings.word_embeddings': ('word_embedding', _TABLE),
    'embeddings.position_embeddings': ('pos_embedding', _TABLE),
    'embeddings.token_type_embeddings': ('sent_embedding', _TABLE),
    'embeddings.task_type_embeddings': ('task_embedding', _TABLE),
    'pooler.dense': ('pooled_fc', _LINEAR),
}
_HUGGINGFACE = {**_EMBEDDINGS, 'embeddings.LayerNorm': ('pre_encoder_layer_norm', _NORM)}
_HUGGINGFACE_LAYER = {
    'encoder.layer.{}.attention.self.query': ('encoder_layer_{}_multi_head_att_query_fc', _LINEAR),
    'encoder.layer.{}.attention.self.key': ('encoder_layer_{}_multi_head_att_key_fc', _LINEAR),
    'encoder.layer.{}.attention.self.value': ('encoder_layer_{}_multi_head_att_value_fc', _LINEAR),
    'encoder.layer.{}.attention.output.dense': ('encoder_layer_{}_multi_head_att_output_fc', _LINEAR),
    'encoder.layer.{}.attention.output.LayerNorm': ('encoder_layer_{}_post_att_layer_norm', _NORM),
    'encoder.layer.{}.intermediate.dense': ('encoder_layer_{}_ffn_fc_0', _LINEAR),
    'encoder.layer.{}.output.dense': ('encoder_layer_{}_ffn_fc_1', _LINEAR),
    'encoder.layer.{}.output.LayerNorm': ('encoder_layer_{}_post_ffn_layer_norm', _NORM),
}
_HUGGINGFACE_PRETRAINING = {
    'cls.predictions.transform.dense': ('mask_lm_trans_fc', _LINEAR),
    'cls.predictions.transform.LayerNorm': ('mask_lm_trans_layer_norm', _NORM),
    'cls.predictions': ('mask_lm_out_fc', _BIAS),
    'cls.predictions.decoder': ('mask_lm_out_fc', {'weight': '.w_0'}),
    'cls.seq_relationship': ('next_sent_fc', _LINEAR),
}
_PADDLENLP = {**_EMBEDDINGS, 'embeddings.layer_norm': ('pre_encoder_layer_norm', _NORM)}
_PADDLENLP_LAYER = {
    'encoder.layers.{}.self_attn.q_proj': ('encoder_layer_{}_multi_head_att_query_fc', _LINEAR),
    'encoder.layers.{}.self_attn.k_proj': ('encoder_layer_{}_multi_head_att_key_fc', _LINEAR),
    'encoder.layers.{}.self_attn.v_proj': ('encoder_layer_{}_multi_head_att_value_fc', _LINEAR),
    'encoder.layers.{}.self_attn.out_proj': ('encoder_layer_{}_multi_head_att_output_fc', _LINEAR),
    'encoder.layers.{}.norm1': ('encoder_layer_{}_post_att_layer_norm', _NORM),
    'encoder.layers.{}.linear1': ('encoder_layer_{}_ffn_fc_0', _LINEAR),
    'encoder.layers.{}.linear2': ('encoder_layer_{}_ffn_fc_1', _LINEAR),
    'encoder.layers.{}.norm2': ('encoder_layer_{}_post_ffn_layer_norm', _NORM),
}
# The ends of Google's names, by Hugging Face's; a table has none.
_TENSORFLOW_ENDS = {'weight': '/kernel', 'bias': '/bias', 'gamma': '/gamma', 'beta': '/beta'}
_TENSORFLOW_HEADS = {'classification': '', 'mrc': 'cls/squad/'}  # before output_weights, output_bias
TENSORFLOW_WORDS = 'bert/embeddings/word_embeddings'
PREFIXES = ('bert.', 'ernie.', 'ernie_gram.', 'roberta.', 'electra.', 'nezha.')
HUGGINGFACE_POSITIONS = 'embeddings.position_ids'
TIED_DECODER = 'cls.predictions.decoder.weight'
DECODER_BIAS = 'cls.predictions.decoder.bias'
HUGGINGFACE_BIAS = 'cls.predictions.bias'

_LAYER_NUMBER = re.compile(r'(?:^|\.)encoder\.layers?\.(\d{1,6})\.')
_ERNIE_LAYER_NUMBER = re.compile(r'^encoder_layer_(\d{1,6})_')
_TRAINING_STATE = re.compile(
    r'.*_moment[12]_\d+|.*_beta[12]_pow_acc_\d+|@LR_DECAY_COUNTER@|scheduled_learning_rate|learning_rate_\d+'
    r'|loss_scaling_\d+|num_(good|bad)_steps_\d+|.*\.master'
    # TensorFlow's
    r'|(.+/)?(adam_[mv]|lamb_[mv]|Adam(_1)?|LAMB(_1)?|Momentum)'
    r'|global_step|beta[12]_power|(good|bad)_steps|loss_scale'
)
# Not `task_embedding`: the official English models of 2019 bring it, and their configurations do without.
_ENCODER = re.compile(r'encoder_layer_.*|(word|pos|sent)_embedding|pre_encoder_layer_norm_.*')
# Position and type numbers, which older versions of transformers store, are no parameters.
_TENSORFLOW_ENCODER = re.compile(r'bert/(encoder|embeddings)/.*')
_TENSORFLOW_LAYER = re.compile(r'bert/encoder/layer_(\d{1,6})/')
_FOREIGN_ENCODER = re.compile(r'(encoder|embeddings)\.(?!position_ids$|token_type_ids$).*')


class Foreign(NamedTuple):
    """Where an ERNIE parameter is in another framework's file."""

    name: str
    transposed: bool


def is_training_state(name):
    """Whether a variable of a training checkpoint, of 2019 or of TensorFlow, is of the optimizer or the schedule."""
    return _TRAINING_STATE.fullmatch(name) is not None


def is_of_encoder(name):
    """Whether a tensor, by its name here or in another framework, takes part in what the encoder computes."""
    if _ENCODER.fullmatch(name) or _TENSORFLOW_ENCODER.fullmatch(name):
        return not is_training_state(name)
    return _FOREIGN_ENCODER.fullmatch(without_prefix(name)) is not None


def without_prefix(name):
    """`name` without the leading `bert.`, `ernie.` ... of a model with a head."""
    return name.removeprefix(prefix_of(name))


def prefix_of(name):
    """The prefix of `PREFIXES` that a name has, ''."""
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), '')


def framework_of(names):
    """'huggingface', 'paddlenlp' or 'ernie': whose names these are; None if nobody's known here."""
    plain = {without_prefix(name) for name in names}
    if 'word_embedding' in plain:
        return 'ernie'
    if 'embeddings.word_embeddings.weight' not in plain:
        return None
    return 'paddlenlp' if any('.self_attn.q_proj.' in name for name in plain) else 'huggingface'


def foreign_to_ernie(names, framework, architecture=''):
    """What the tensors of another framework's file are called here.

    Args:
        names: all names in the file.
        framework: 'huggingface' or 'paddlenlp'.
        architecture: class that wrote the file, e.g. `BertForTokenClassification`; tells whose head `classifier` is.

    Returns:
        dict name in the file -> (ERNIE name, whether it is transposed). Names that mean nothing here are not in it.
    """
    layers = sorted({int(m[1]) for name in names if (m := _LAYER_NUMBER.search(name))})
    if framework == 'paddlenlp':
        modules = _expand(_PADDLENLP, _PADDLENLP_LAYER, layers)
    else:
        modules = {**_expand(_HUGGINGFACE, _HUGGINGFACE_LAYER, layers), **_HUGGINGFACE_PRETRAINING}
    heads = {spec.huggingface[1]: _stem(spec) for spec in reversed(tasks.specs()) if spec.huggingface}
    task = tasks.of_huggingface(architecture)
    if task:  # PaddleNLP's classes call the head of every task so
        heads['classifier' if framework == 'paddlenlp' else task.huggingface[1]] = _stem(task)
    modules.update({module: (head, _HEAD) for module, head in heads.items()})
    table = {}
    for module, (ernie, parts) in modules.items():
        for part, end in parts.items():
            turned = framework == 'huggingface' and part == 'weight' and parts in (_LINEAR, _HEAD)
            turned = turned or f'{module}.{part}' == TIED_DECODER
            table[f'{module}.{part}'] = (ernie + end, turned)
    return {name: table[plain] for name in names if (plain := without_prefix(name)) in table}


def tensorflow_to_ernie(names):
    """The same for the variables of google-research/bert, of its pre-training and of its programs for tasks."""
    layers = sorted({int(m[1]) for name in names if (m := _TENSORFLOW_LAYER.match(name))})
    modules = {f'bert.{module}': value for module, value in _expand(_HUGGINGFACE, _HUGGINGFACE_LAYER, layers).items()}
    for name in ('transform.dense', 'transform.LayerNorm'):
        modules[f'cls.predictions.{name}'] = _HUGGINGFACE_PRETRAINING[f'cls.predictions.{name}']
    table = {}
    for module, (ernie, parts) in modules.items():
        place = re.sub(r'layer\.(\d+)', r'layer_\1', module).replace('.', '/')
        for part, end in parts.items():
            if parts is not _NORM or part in ('gamma', 'beta'):
                table[place + ('' if parts is _TABLE else _TENSORFLOW_ENDS[part])] = (ernie + end, False)
    table['cls/predictions/output_bias'] = ('mask_lm_out_fc.b_0', False)
    heads = {'cls/seq_relationship/': ('next_sent_fc.w_0', 'next_sent_fc.b_0')}
    heads |= {place: tasks.find(name).head[:2] for name, place in _TENSORFLOW_HEADS.items()}
    for place, (weight, bias) in heads.items():
        table |= {f'{place}output_weights': (weight, True), f'{place}output_bias': (bias, False)}
    return {name: table[name] for name in names if name in table}


def ernie_to_huggingface(names, use_task_id):
    """Where a Hugging Face model of these ERNIE parameters has them.

    Args:
        names: ERNIE names.
        use_task_id: whether the model adds the task table; without it the table has no place there.

    Returns:
        architecture (class name, e.g. `BertModel`), and dict ERNIE name -> `Foreign`, without the names that have no
        place there.
    """
    kind = 'Ernie' if use_task_id else 'Bert'
    layers = sorted({int(m[1]) for name in names if (m := _ERNIE_LAYER_NUMBER.match(name))})
    modules = _expand(_HUGGINGFACE, _HUGGINGFACE_LAYER, layers)
    if not use_task_id:
        del modules['embeddings.task_type_embeddings']
    heads, architecture, task = {}, 'Model', tasks.with_head(names)
    if task and task.huggingface:
        architecture, module = task.huggingface
        heads = {module: (_stem(task), _HEAD)}
    elif 'mask_lm_trans_fc.w_0' in names:
        heads = _HUGGINGFACE_PRETRAINING
        architecture = 'ForPreTraining' if 'next_sent_fc.w_0' in names else 'ForMaskedLM'
    prefix = f'{kind.lower()}.' if heads else ''
    places = _places({prefix + module: value for module, value in modules.items()})
    places.update(_places(heads))
    return kind + architecture, {name: places[name] for name in names if name in places}


def _stem(spec):
    """The name of a head before its `_w` and `_b`."""
    return spec.head[0].removesuffix('_w')


def _expand(fixed, per_layer, layers):
    modules = dict(fixed)
    for i in layers:
        for module, (ernie, parts) in per_layer.items():
            modules[module.format(i)] = (ernie.format(i), parts)
    return modules


def _places(modules):
    places = {}
    for module, (ernie, parts) in modules.items():
        for part in ('weight', 'bias'):
            if part in parts:
                name = f'{module}.{part}'
                turned = part == 'weight' and (parts in (_LINEAR, _HEAD) or name == TIED_DECODER)
                places[ernie + parts[part]] = Foreign(name, turned)
    return places
