"""Hugging Face model configurations (`config.json` of BERT and ERNIE) to and from `ernie_config.json`."""

from ernie.config import ErnieConfig
from propeller.errors import UserError, bad_input

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
_SIZES = ('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads')


def from_huggingface(values, path, layer_norm_eps=_DEFAULTS['layer_norm_eps']):
    """`ernie_config.json`'s content for a Hugging Face configuration.

    Args:
        values: content of `config.json`.
        path: its name, for messages.
        layer_norm_eps: what counts where the file does not say.

    Raises:
        UserError: it describes a network that ours is not, or lacks a size.
    """
    kind = values.get('model_type', 'bert')
    if kind not in ('bert', 'ernie'):
        raise bad_input(path, f'model_type = {kind!r}', "'bert' or 'ernie'")
    if values.get('position_embedding_type') not in (None, 'absolute'):
        raise bad_input(path, f'position_embedding_type = {values["position_embedding_type"]!r}', "'absolute'")
    for key in ('is_decoder', 'add_cross_attention'):
        if values.get(key):
            raise bad_input(path, f'{key} = true', 'an encoder')
    result = {key: values.get(key, default) for key, default in _DEFAULTS.items()}
    result.update({key: values[key] for key in _SIZES if key in values})
    result['layer_norm_eps'] = values.get('layer_norm_eps', layer_norm_eps)
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


def to_huggingface(config, architecture, num_labels=None, tied=True):
    """Content of `config.json` for an `ErnieConfig`.

    Args:
        config: the `ErnieConfig`.
        architecture: class name, e.g. `BertForSequenceClassification`.
        num_labels: width of the task head, if there is one.
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
    if num_labels is not None:
        values['id2label'] = {str(i): f'LABEL_{i}' for i in range(num_labels)}
        values['label2id'] = {f'LABEL_{i}': i for i in range(num_labels)}
    if not tied:
        values['tie_word_embeddings'] = False
    return values
