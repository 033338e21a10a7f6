"""Hugging Face model configurations (`config.json` of BERT and ERNIE) to and from `ernie_config.json`."""

from ernie.config import ErnieConfig
from propeller.errors import UserError, bad_input, quoted

# Values of transformers' BertConfig and ErnieConfig where the file leaves a key out.
_DEFAULTS = {
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'max_position_embeddings': 512,
    'type_vocab_size': 2,
    'initializer_range': 0.02,
    'layer_norm_eps': 1e-12,
}
# Other names there of what is computed alike.
_ACTIVATIONS = {'gelu_pytorch_tanh': 'gelu_new'}
_SIZES = ('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads')


# Class names of PaddleNLP, whose older configurations have no model_type.
_KINDS = {'ErnieGram': 'ernie_gram', 'Ernie': 'ernie', 'Bert': 'bert', 'Roberta': 'roberta', 'Electra': 'electra'}
_KINDS |= {'NeZha': 'nezha', 'Nezha': 'nezha'}
_READ = ('bert', 'ernie', 'ernie_gram', 'electra')


def kind_of(values, architecture, prefix):
    """`model_type` of a model: as its configuration says, or its class, or the prefix of its tensors; else 'bert'.

    values: content of the configuration, {} without one. architecture: class name or ''. prefix: e.g. 'electra.' or ''.
    """
    if values.get('model_type') is not None:
        return values['model_type']
    return next((kind for name, kind in _KINDS.items() if architecture.startswith(name)), prefix[:-1] or 'bert')


def check_architecture(kind, framework, path, values):
    """Refuse by name a network that ours is not.

    Args:
        kind: of `kind_of`.
        framework: 'huggingface' or 'paddlenlp'.
        path: the file at fault, for the message.
        values: content of the configuration.

    Raises:
        UserError: names the model type and where it differs.
    """
    expected = 'the network of BERT or ERNIE (bert, ernie, ernie_gram, electra, and roberta of PaddleNLP)'
    if kind == 'nezha':
        raise bad_input(path, 'a NEZHA model (nezha), whose positions are relative', expected)
    if kind == 'roberta':
        if framework == 'huggingface':
            raise bad_input(path, 'a RoBERTa model (roberta), whose positions begin at padding_idx + 1', expected)
        if values.get('cls_token_id') == 0:
            raise bad_input(path, 'cls_token_id = 0: RoBERTa with other positions and byte-pair tokens', expected)
    elif kind not in _READ:
        raise bad_input(path, f'model_type = {quoted(kind)}', expected)
    narrow = next((key for key in ('embedding_size', 'emb_size') if key in values), None)
    if narrow and kind in ('electra', 'ernie_gram') and values[narrow] != values.get('hidden_size'):
        found = f'{narrow} = {quoted(values[narrow])} in a model of type {kind}'
        raise bad_input(path, found, f'hidden_size = {quoted(values.get("hidden_size"))}: no projection between them')


def from_huggingface(values, path, kind='bert', layer_norm_eps=_DEFAULTS['layer_norm_eps']):
    """`ernie_config.json`'s content for a Hugging Face configuration.

    Args:
        values: content of `config.json`.
        path: its name, for messages.
        kind: of `kind_of`.
        layer_norm_eps: what counts where the file does not say.

    Raises:
        UserError: it describes a network that ours is not, or lacks a size.
    """
    if values.get('position_embedding_type') not in (None, 'absolute'):
        raise bad_input(path, f'position_embedding_type = {values["position_embedding_type"]!r}', "'absolute'")
    for key in ('is_decoder', 'add_cross_attention'):
        if values.get(key):
            raise bad_input(path, f'{key} = true', 'an encoder')
    result = {key: values.get(key, default) for key, default in _DEFAULTS.items()}
    result.update({key: values[key] for key in _SIZES if key in values})
    result['layer_norm_eps'] = values.get('layer_norm_eps', layer_norm_eps)
    act = result['hidden_act']
    result['hidden_act'] = _ACTIVATIONS.get(act, act) if isinstance(act, str) else act
    inner = values.get('intermediate_size')
    hidden = values.get('hidden_size')
    if inner is not None and isinstance(hidden, int) and inner != 4 * hidden:
        result['intermediate_size'] = inner
    if kind == 'ernie' and values.get('use_task_id'):
        result['use_task_id'] = True
        result['task_type_vocab_size'] = values.get('task_type_vocab_size', 3)
    try:
        return ErnieConfig(result).to_dict()
    except UserError as e:
        raise UserError(f'{path}: {e}') from None


def to_huggingface(config, architecture, tied=True):
    """Content of `config.json` for an `ErnieConfig`.

    Args:
        config: the `ErnieConfig`.
        architecture: class name, e.g. `BertForSequenceClassification`.
        tied: whether the masked-LM output uses the word table.
    """
    values = {key: config[key] for key in (*_SIZES, *_DEFAULTS) if key != 'type_vocab_size'}
    values.update(
        architectures=[architecture],
        intermediate_size=config.intermediate_size,
        model_type='ernie' if config.use_task_id else 'bert',
        pad_token_id=0,
        position_embedding_type='absolute',
        type_vocab_size=config.sentence_types,
    )
    if config.use_task_id:
        values.update(use_task_id=True, task_type_vocab_size=config.task_type_vocab_size)
    if not tied:
        values['tie_word_embeddings'] = False
    return values
