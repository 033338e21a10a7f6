"""A model as its parameters by ERNIE's names, with its configuration and vocabulary, from any known place."""

import json
import os
from collections import Counter

import numpy as np

from ernie.checkpoint import elmo_folder, tensorflow
from ernie.checkpoint.huggingface_config import check_architecture, from_huggingface, kind_of
from ernie.checkpoint.huggingface_labels import from_huggingface as from_huggingface_labels
from ernie.checkpoint.names import (
    DECODER_BIAS,
    HUGGINGFACE_BIAS,
    HUGGINGFACE_POSITIONS,
    TIED_DECODER,
    foreign_to_ernie,
    framework_of,
    prefix_of,
    tensorflow_to_ernie,
    without_prefix,
)
from ernie.checkpoint.tokenizer_settings import LABELS, TOKENIZER_JSON
from ernie.config import DEFAULT_LAYER_NORM_EPS, ErnieConfig
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import read_json_object
from propeller.storage import Tensors, open_tensors

ERNIE_CONFIG = 'ernie_config.json'
# Hugging Face's and, in older folders, PaddleNLP's.
FOREIGN_CONFIGS = ('config.json', 'model_config.json')
VOCABULARY = 'vocab.txt'
PARAMETERS = 'params'


class Model(Tensors):
    """Parameters by ERNIE's names, read when asked for; fully connected weights are [in, out].

    Attributes:
        path: the file or folder that was opened.
        source: 'fluid', 'safetensors', 'pdparams', 'huggingface', 'paddlenlp' or 'tensorflow'.
        config: content of `ernie_config.json`, or what corresponds to it; None if there is none.
        no_config: why there is none, a sentence for the user, or '' where nothing is known.
        folder: where what belongs to the parameters lies.
        vocab_path, labels_path: path of `vocab.txt` (or else `tokenizer.json`) and `labels.json`, or None.
        unmapped: names of what the file holds besides and which has no name here.
    """

    def __init__(self, path, tensors, entries, source, unmapped):
        super().__init__(path)
        self.source, self.unmapped = source, unmapped
        self.config = self.folder = self.vocab_path = self.labels_path = None
        self.no_config = ''
        self._tensors, self._entries = tensors, entries

    def __getitem__(self, name):
        stored, transposed = self._entries[name]
        array = self._tensors[stored]
        return np.ascontiguousarray(array.T) if transposed else array

    def __iter__(self):
        return iter(self._entries)

    def __len__(self):
        return len(self._entries)

    def shape(self, name):
        stored, transposed = self._entries[name]
        shape = self._tensors.shape(stored)
        return shape[::-1] if transposed else shape

    def dtype(self, name):
        return self._tensors.dtype(self._entries[name][0])

    def is_bfloat16(self, name):
        return self._tensors.is_bfloat16(self._entries[name][0])


def open_model(path):
    """Open a model.

    Args:
        path: a model folder (`params/`, `vocab.txt`, `ernie_config.json`); its `params/` folder alone (the other two
            are then looked for beside it); a checkpoint folder of ours; a Hugging Face folder of a BERT or ERNIE model
            with safetensors; a PaddleNLP folder of an ERNIE model; a `.safetensors` or `.pdparams` file, or a
            checkpoint of TensorFlow of a BERT model, by its prefix, one of its files or its folder (configuration and
            vocabulary are looked for beside it).

    Returns:
        `Model`.

    Raises:
        UserError: nothing is there, it is none of these, or something in it is broken.
    """
    path = os.fspath(path)
    folder = path if os.path.isdir(path) else os.path.dirname(path) or '.'
    tensors = open_tensors(_tensor_place(path))
    if tensors.source == 'fluid' and tensors.path == path and not _is_whole(folder, tensors):
        folder = os.path.dirname(os.path.abspath(path))
    names = getattr(tensors, 'parameter_names', {})
    if framework_of(names.values()) == 'ernie':
        model = _renamed(path, tensors, names)
    else:
        model = _by_framework(path, tensors, folder)
    model.folder = folder
    if model.source == tensorflow.SOURCE:
        model.config, model.no_config = tensorflow.config_of(model, _tensorflow_config(folder))
    else:
        model.config = _read_config(folder, model.source, _prefix(tensors))
        if model.config is None and model.source == 'fluid':
            model.config = elmo_folder.elmo_config(model)
    names = (VOCABULARY, TOKENIZER_JSON, elmo_folder.VOCABULARY)
    model.vocab_path = next(filter(None, (_companion(folder, name) for name in names)), None)
    model.labels_path = _companion(folder, LABELS)
    return model


def _is_whole(folder, tensors):
    """Whether what belongs to the variables lies in their own folder, not beside it."""
    words = (VOCABULARY, elmo_folder.VOCABULARY) if elmo_folder.is_elmo(tensors) else ()
    return any(_companion(folder, name) for name in (ERNIE_CONFIG, *words))


def _tensor_place(path):
    inner = os.path.join(path, PARAMETERS)
    if os.path.isdir(inner) and not os.path.exists(os.path.join(path, 'model.safetensors')):
        return inner
    return path


def _companion(folder, name):
    path = os.path.join(folder, name)
    return path if os.path.isfile(path) else None


def _read_config(folder, source, prefix):
    path = _companion(folder, ERNIE_CONFIG)
    if path:
        return ErnieConfig(path).to_dict()
    path, values, architecture = foreign_config(folder)
    if path is None or source not in ('huggingface', 'paddlenlp'):
        return None
    kind = kind_of(values, architecture, prefix)
    # PaddleNLP builds the norms of these with Paddle's own default.
    paddles = source == 'paddlenlp' and kind in ('ernie', 'ernie_gram')
    extra = {'layer_norm_eps': DEFAULT_LAYER_NORM_EPS} if paddles else {}
    return from_huggingface(values, path, kind, **extra)


def _tensorflow_config(folder):
    return _companion(folder, ERNIE_CONFIG) or tensorflow.find_config(folder) or _companion(folder, FOREIGN_CONFIGS[0])


def read_config(model, path=None):
    """The `ErnieConfig` of a model; None where it has none. path: of a file in the place of its own.

    Raises:
        UserError: the file is broken; or it says of a checkpoint of TensorFlow, that has none, too little.
    """
    if path is None or model.source != tensorflow.SOURCE:
        config, gap = path or model.config, model.no_config
    else:
        config, gap = tensorflow.config_of(model, path)
    if config is None and gap:
        raise UserError(gap)
    return None if config is None else ErnieConfig(config)


def foreign_config(folder):
    """The configuration of Hugging Face or PaddleNLP in a folder.

    Returns:
        (path, its content as one flat dict, name of the model's class or ''); (None, {}, '') where there is none.

    Raises:
        UserError: it is no JSON object.
    """
    path = next((path for name in FOREIGN_CONFIGS if (path := _companion(folder, name))), None)
    if path is None:
        return None, {}, ''
    values = read_json_object(path)
    classes = values.get('architectures')
    name = classes[0] if isinstance(classes, list) and classes else values.get('init_class')
    # model_config.json of PaddleNLP: a model with a head nests the encoder's arguments.
    nested = values.get('init_args')
    if isinstance(nested, list) and nested and isinstance(nested[0], dict):
        values = {**values, **nested[0]}
    return path, values, name if isinstance(name, str) else ''


def read_labels(folder):
    """What a model folder says of its task and classes: the object in `labels.json`; for a folder of Hugging Face or
    PaddleNLP without one, what its configuration says of the task head; {} where nothing does.

    Raises:
        UserError: a file is broken, a class name comes twice, or the two contradict each other.
    """
    config, values, architecture = foreign_config(folder)
    foreign = from_huggingface_labels(values, config, architecture) if config else {}
    path = os.path.join(folder, LABELS)
    if not os.path.lexists(path):
        return foreign
    saved = read_json_object(path, 'the labels of a checkpoint: a JSON object')
    names = saved.get('labels')
    counts = Counter(name for name in names if isinstance(name, str)) if isinstance(names, list) else {}
    if counts and max(counts.values()) > 1:
        raise bad_input(path, f'the label {quoted(max(counts, key=counts.get))} twice', 'each name once')
    for key in ('task', 'kind', 'labels'):
        if key in foreign and saved.get(key) not in (None, foreign[key]):
            raise bad_input(path, f'{key} {quoted(saved[key])}', f'{quoted(foreign[key])}, as in {config}')
    return saved


def companion_files(config, tokenizer, labels=None, exported=False):
    """What makes a folder of parameters a model folder: dict file name -> bytes.

    Args:
        config: `ErnieConfig`.
        tokenizer: `Tokenizer`.
        labels: dict, content of `labels.json`; None for a model without a task.
        exported: in the form that programs in other languages read.
    """
    files = {ERNIE_CONFIG: config.to_dict()} | ({} if labels is None else {LABELS: labels})
    files = {name: to_json(content) for name, content in files.items()}
    of_tokenizer = tokenizer.exported_files if exported else tokenizer.files
    return files | of_tokenizer(config.max_position_embeddings)


def to_json(value):
    """A JSON file as bytes."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + '\n').encode()


def _renamed(path, tensors, names):
    """A Paddle 2.x/3.x file whose table says which parameter each entry is."""
    entries = {names[name]: (name, False) for name in tensors if name in names}
    if len(entries) < sum(name in names for name in tensors):
        raise UserError(f'{path}: two entries have the same parameter name.')
    return Model(path, tensors, entries, tensors.source, [n for n in tensors if n not in names] + tensors.ignored)


def _by_framework(path, tensors, folder):
    if tensors.source == tensorflow.SOURCE:
        tensorflow.check_network(tensors)
        return _mapped(tensors.path, tensors, tensorflow_to_ernie(tensors), tensorflow.SOURCE)
    framework = framework_of(tensors)
    if framework not in ('huggingface', 'paddlenlp'):
        return Model(path, tensors, {name: (name, False) for name in tensors}, tensors.source, list(tensors.ignored))
    beside, values, architecture = foreign_config(folder)
    check_architecture(kind_of(values, architecture, _prefix(tensors)), framework, beside or path, values)
    redundant = set(_redundant(tensors))
    table = foreign_to_ernie([n for n in tensors if n not in redundant], framework, architecture)
    return _mapped(path, tensors, table, framework, redundant)


def _mapped(path, tensors, table, framework, redundant=()):
    """The `Model` of a table name in the file -> (ERNIE name, whether it is transposed)."""
    entries = {}
    for stored, (name, transposed) in table.items():
        if name in entries:
            raise bad_input(path, f'{stored} and {entries[name][0]}', f'one tensor for {name}')
        if transposed and len(tensors.shape(stored)) != 2:
            raise bad_input(path, f'{stored} of shape {list(tensors.shape(stored))}', 'a matrix')
        entries[name] = (stored, transposed)
    unmapped = [name for name in tensors if name not in redundant and name not in table]
    return Model(path, tensors, entries, framework, unmapped + tensors.ignored)


def _prefix(tensors):
    return next(filter(None, map(prefix_of, tensors)), '')


def _redundant(tensors):
    """Names in a Hugging Face file that say nothing new: position numbers, and the output layer's copies when tied."""
    by_plain = {without_prefix(name): name for name in tensors}
    positions = by_plain.get(HUGGINGFACE_POSITIONS)
    # Without the leading 1 there may be no numbers at all, of any count.
    if positions and len(tensors.shape(positions)) == 2 and tensors.shape(positions)[0] == 1:
        count = tensors.shape(positions)[1]
        if np.array_equal(tensors[positions], np.arange(count)[None]):
            yield positions
    for copy, original in ((TIED_DECODER, 'embeddings.word_embeddings.weight'), (DECODER_BIAS, HUGGINGFACE_BIAS)):
        if copy in by_plain and original in by_plain:
            copy, original = by_plain[copy], by_plain[original]
            if tensors.shape(copy) == tensors.shape(original) and np.array_equal(tensors[copy], tensors[original]):
                yield copy
