"""One model format into another, checked by reading back."""

import json
import os
from typing import NamedTuple

import numpy as np

from ernie.checkpoint.huggingface_check import check_ids
from ernie.checkpoint.huggingface_config import to_huggingface
from ernie.checkpoint.huggingface_labels import to_huggingface as classes_to_huggingface
from ernie.checkpoint.model_folder import (
    ERNIE_CONFIG,
    LABELS,
    PARAMETERS,
    VOCABULARY,
    Model,
    open_model,
    read_config,
    read_labels,
)
from ernie.checkpoint.names import (
    HUGGINGFACE_POSITIONS,
    PREFIXES,
    ernie_to_huggingface,
    is_of_encoder,
    is_training_state,
)
from ernie.checkpoint.sizes import check_sizes
from ernie.checkpoint.strict import check_labels, match_parameters
from ernie.checkpoint.tensorflow import SOURCE, head_labels
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.model.encoders import ERNIE, backbone_shapes
from ernie.report.names import CARD
from ernie.tasks import table
from ernie.tokenization import FullTokenizer
from ernie.tokenizers import TOKENIZER_CONFIG
from ernie.tokenizers.vocabulary import FILLER, as_lines, as_pairs, load_vocab
from propeller.errors import UserError, bad_input, did_you_mean
from propeller.inputs import read_bytes
from propeller.storage import write_safetensors
from propeller.storage.fluid import check_name, write_variable
from propeller.storage.folders import whole_folder, write_files
from propeller.storage.values import check_finite

FORMATS = ('fluid', 'safetensors', 'huggingface')
# A model that was never trained with a task on the pooled output has no pooled layer.
POOLED = ('pooled_fc.w_0', 'pooled_fc.b_0')
_LARGEST_CARD = 1 << 20


class Conversion(NamedTuple):
    """What `convert` did.

    Attributes:
        written: ERNIE names of the parameters in the new folder.
        left_out: names in the source that have no place in it.
        checked: sentences that say what was compared beside the tensors' bits.
        notes: sentences that say what the other framework does not do as we do.
    """

    written: list
    left_out: list
    checked: list
    notes: list


def convert(source, target, to, config_path=None, vocab_path=None, allow_unused=(), check=None):
    """Write a model as a folder of another format. The folder is whole and checked, or not there.

    | `to` | folder |
    |---|---|
    | `fluid` | `params/` with one file per variable, `vocab.txt`, `ernie_config.json`: as the 2019 suite reads it |
    | `safetensors` | `model.safetensors` with ERNIE's names, `vocab.txt`, `ernie_config.json` |
    | `huggingface` | `model.safetensors` with BERT's or ERNIE's names, `vocab.txt` in the order of ids, `config.json` |

    All have `tokenizer_config.json`, and `labels.json` where the source has a task head with names; `config.json` says
    the same in Hugging Face's way.

    Args:
        source: what `open_model` opens.
        target: the folder to make; must not exist.
        to: one of `FORMATS`.
        config_path, vocab_path: `ernie_config.json` and `vocab.txt`, if the source has none or others are wanted.
        allow_unused: names, or beginnings with a `*`, of tensors of the encoder that are left out though the source has
            them.
        check: a further check of a Hugging Face folder before it is kept, see `ernie.inference.huggingface_check`:
            function (folder, model, config) -> sentence, which may raise.

    Returns:
        `Conversion`.

    Raises:
        UserError: the source is broken, does not fit its configuration or has values that are not finite, `target`
            exists, Hugging Face's tokenizer gives other ids, or the disk refuses.
    """
    if to not in FORMATS:
        raise UserError(f'format {to!r} is unknown. Allowed: {", ".join(FORMATS)}.{did_you_mean(str(to), FORMATS)}')
    if os.path.lexists(target):
        raise UserError(f'{target}: exists already. Give a folder that does not exist; nothing is overwritten.')
    model = open_model(source)
    config, vocab_path = _companions(model, config_path, vocab_path)
    check_sizes(config, model)
    if to == 'huggingface' and config.encoder != ERNIE:
        raise bad_input(model.path, f'the encoder {config.encoder}', f'{ERNIE}: others have no counterpart there')
    match = match_parameters(backbone_shapes(config), model, POOLED.__contains__, allow_unused=allow_unused)
    labels = read_labels(model.folder) or head_labels(model, config)
    check_labels(labels, model, model.labels_path or model.folder)
    tokenizer = folder_tokenizer(model.folder).make(vocab_path)
    names, left_out = _placed(model, match, config, to)
    try:
        with whole_folder(target) as folder:
            _WRITERS[to](folder, model, names, config)
            _write_companions(folder, to, labels, tokenizer, config)
            _copy_card(model.folder, folder)
            _verify(folder, model, names, config)
            _verify_companions(folder, labels, tokenizer)
            checked = _compare(folder, model, config, tokenizer, check) if to == 'huggingface' else []
    except OSError as e:
        raise UserError(f'{target}: cannot be written ({e.strerror or e}).') from None
    return Conversion(names, left_out, checked, _notes(to, model, labels, tokenizer, config))


def _placed(model, match, config, to):
    """Names that go into the new folder, and those that have no place there."""
    left_out = [name for name in match.unused if is_training_state(name) or is_of_encoder(name)]
    names = [name for name in model if name not in left_out]
    left_out += model.unmapped
    if to == 'huggingface':
        placed = ernie_to_huggingface(names, config.use_task_id)[1]
        left_out = [name for name in names if name not in placed] + left_out
        names = [name for name in names if name in placed]
    return names, left_out


def _compare(folder, model, config, tokenizer, check):
    """Sentences that say what Hugging Face's own libraries make of the folder."""
    checked = [check_ids(folder, tokenizer, model.path)] if isinstance(tokenizer, FullTokenizer) else []
    return [*checked, check(folder, model, config)] if check else checked


def _notes(to, model, labels, tokenizer, config):
    notes = []
    if labels.get('labels') and model.source == SOURCE:
        notes.append(
            f'the {len(labels["labels"])} classes are called by their numbers: TensorFlow keeps no names. '
            f'Put them into {LABELS} (labels, label_map) in the order of get_labels() of the program that trained it'
        )
    if to == 'fluid' and config.get('hidden_act') == 'gelu_new':
        notes.append('hidden_act gelu_new (with tanh, as in BERT) is known to this suite, not to that of 2019')
    if to != 'huggingface':
        return notes
    if not isinstance(tokenizer, FullTokenizer):
        notes.append(
            f'{type(tokenizer).__name__} has no counterpart there, so token ids were not compared: transformers '
            f'refuses its name in {TOKENIZER_CONFIG}, and BertTokenizer would give other ids'
        )
    if labels.get('use_crf'):
        notes.append('the CRF over the labels has no place there: labels of Hugging Face are those of the scores alone')
    if labels.get('task_id'):
        notes.append(f'the model was trained with task id {labels["task_id"]}: give it as task_type_ids')
    return notes


def _write_companions(folder, to, labels, tokenizer, config):
    """Vocabulary, tokenizer and classes: what lies beside the tensors, in the words of the new format."""
    files = tokenizer.files(config.max_position_embeddings)
    if to == 'huggingface':
        files[VOCABULARY] = as_lines(tokenizer.vocab)
    elif FILLER in files[VOCABULARY]:
        files[VOCABULARY] = as_pairs(tokenizer.vocab)
    write_files(folder, files)
    if labels:
        settings = tokenizer.settings
        labels = labels | {'tokenizer': settings.tokenizer, 'do_lower_case': settings.do_lower_case}
        _write_json(os.path.join(folder, LABELS), labels, sort_keys=False)


def _copy_card(source, folder):
    """The model card goes with the model; it says nothing that a conversion changes."""
    path = os.path.join(source, CARD)
    if os.path.isfile(path) and os.path.getsize(path) <= _LARGEST_CARD:
        with open(os.path.join(folder, CARD), 'wb') as f:
            f.write(read_bytes(path, _LARGEST_CARD, 'a model card'))


def _verify_companions(folder, labels, tokenizer):
    """Read them back: the same vocabulary, rules and classes, or the conversion fails."""
    found = folder_tokenizer(folder).settings
    if found != tokenizer.settings or load_vocab(os.path.join(folder, VOCABULARY)) != tokenizer.vocab:
        raise UserError(f'{folder}: vocabulary or tokenizer read back differently.')
    back = read_labels(folder)
    if any(back.get(key) != labels[key] for key in ('task', 'kind', 'labels', 'num_labels') if key in labels):
        raise UserError(f'{folder}: the classes read back differently.')


def _companions(model, config_path, vocab_path):
    config = read_config(model, config_path)
    if config is None:
        raise UserError(f'{model.path}: has no model configuration ({ERNIE_CONFIG}). Give one with --config.')
    vocab_path = vocab_path or model.vocab_path
    if vocab_path is None:
        raise UserError(f'{model.path}: has no vocabulary ({VOCABULARY}). Give one with --vocab.')
    largest = max(load_vocab(vocab_path).values())
    if largest >= config.vocab_size:
        raise bad_input(vocab_path, f'the id {largest}', f'ids below vocab_size = {config.vocab_size}')
    return config, vocab_path


def _write_json(path, values, sort_keys=True):
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(values, f, indent=2, sort_keys=sort_keys, ensure_ascii=False)
        f.write('\n')


def _write_fluid(folder, model, names, config):
    parameters = os.path.join(folder, PARAMETERS)
    os.mkdir(parameters)
    for name in names:
        check_name(name, model.path)
        write_variable(os.path.join(parameters, name), model[name])
    _write_json(os.path.join(folder, ERNIE_CONFIG), config.to_dict())


def _write_safetensors(folder, model, names, config):
    write_safetensors(os.path.join(folder, 'model.safetensors'), {name: model[name] for name in names})
    _write_json(os.path.join(folder, ERNIE_CONFIG), config.to_dict())


def _write_huggingface(folder, model, names, config):
    architecture, places = ernie_to_huggingface(names, config.use_task_id)
    tensors = {}
    for name, place in places.items():
        tensors[place.name] = model[name].T if place.transposed else model[name]
    prefix = next((p for p in PREFIXES if places['word_embedding'].name.startswith(p)), '')
    # transformers before 4.31 stores the position numbers too and asks for them.
    tensors[prefix + HUGGINGFACE_POSITIONS] = np.arange(config.max_position_embeddings, dtype=np.int64)[None]
    write_safetensors(os.path.join(folder, 'model.safetensors'), tensors, metadata={'format': 'pt'})
    task = table.of_huggingface(architecture)
    values = to_huggingface(config, architecture, tied='mask_lm_out_fc.w_0' not in places)
    if task:
        values.update(classes_to_huggingface(read_labels(model.folder), model.shape(task.head[0])[1]))
    _write_json(os.path.join(folder, 'config.json'), values)


_WRITERS = {'fluid': _write_fluid, 'safetensors': _write_safetensors, 'huggingface': _write_huggingface}


def _verify(folder, model, names, config):
    """Read everything back: the same names, bits and configuration, or the conversion fails."""
    copy = open_model(folder)
    if sorted(copy) != sorted(names) or copy.unmapped:
        raise UserError(f'{model.path}: the copy reads back with other names: {_difference(copy, names)}.')
    for name in names:
        ours, theirs = model[name], copy[name]
        check_finite(ours, name, model.path)
        if ours.shape != theirs.shape or not _same_bits(ours, theirs):
            raise UserError(f'{model.path}: {name} reads back differently.')
    if backbone_shapes(ErnieConfig(copy.config)) != backbone_shapes(config):
        raise UserError(f'{model.path}: the configuration reads back differently.')


def _difference(copy: Model, names):
    return ', '.join(sorted(set(copy) ^ set(names)) + copy.unmapped)


def _same_bits(a, b):
    a, b = (np.asarray(x, x.dtype.newbyteorder('='), order='C') for x in (a, b))
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()
