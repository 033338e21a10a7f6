"""Where a program takes its model from: a folder, opened once, and what flags give in the place of its files."""

import os

from ernie.checkpoint import check_labels, open_model
from ernie.checkpoint.labels_json import read_saved_labels
from ernie.checkpoint.model_folder import ERNIE_CONFIG, LABELS, VOCABULARY, read_config
from ernie.checkpoint.sizes import check_sizes
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.model.encoders import ERNIE
from ernie.run.exported import FUSED, INFERENCE, VECTORS
from ernie.run.start import advice_to_start_over
from ernie.settings.fields import AUTO
from ernie.tokenization import SPECIAL_TOKENS, load_vocab
from ernie.zoo import Found, find
from propeller.errors import UsageError, bad_input, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)


class Source:
    """A model: a folder or file of any format that `ernie.checkpoint.open_model` knows.

    Args:
        path: the folder, or a name that `ernie.zoo` knows; None when training starts from random values.
        config_path, vocab_path: files instead of those in the folder.
        texts: iterable of str, for the vocabulary of a model of many languages: see `ernie.zoo.find`.
        subword: paths of the sentencepiece model and the word dictionary of ERNIE tiny, where the folder has none.
        takes_exported: whether an exported model is one too.

    Attributes:
        path: the folder.
        origin: dict, what is known of where the model comes from, see `ernie.zoo.Found`.
        exported: content of `inference.json`; None for anything but an exported folder.
        tensors: the parameters by name, read when they are asked for; None without a folder and for an exported one.
        folder: where what belongs to the model lies; None without a folder.
        config: `ErnieConfig`.
        left_out: beginnings, each with a `*` after it, of the names of tensors that `keep_layers` left out.
        vocab_path: vocabulary file.
        saved: dict, `labels.json` of the folder, {} if it has none.
        folder_tokenizer: `FolderTokenizer` of the folder, or of the vocabulary's when there is no model.

    Raises:
        UserError: something is missing, broken, or contradicts something else.
        UsageError: a flag is missing, or one too many.
    """

    def __init__(self, path, config_path=None, vocab_path=None, texts=(), subword=(), takes_exported=False):
        found = find(path, texts) if path else Found(None, {})
        self.path, self.origin = found
        self.exported = _read_exported(self.path) if self.path else None
        if self.exported and not takes_exported:
            raise bad_input(self.path, 'an exported model', 'a checkpoint or a pre-trained model')
        self.tensors = open_model(self.path) if self.path and not self.exported else None
        self.folder = self.path if self.exported else self.tensors and self.tensors.folder
        self.config, self.left_out = self._config(config_path), ()
        if not self.exported:
            check_sizes(self.config, self.tensors)
        self.vocab_path = vocab_path or self._vocabulary()
        # Not of `folder`: beside parameters alone, a file of this name may be a label map.
        self.saved = read_saved_labels(self.path)
        if self.saved and self.tensors is not None:
            check_labels(self.saved, self.tensors, os.path.join(self.path, LABELS))
        beside = self.folder or os.path.dirname(self.vocab_path) or '.'
        self.folder_tokenizer = folder_tokenizer(beside).with_files(*subword)

    def _config(self, given):
        if self.exported:
            if given:
                raise UsageError('--ernie_config_path: an exported model has the configuration that it was made with.')
            return ErnieConfig(os.path.join(self.path, ERNIE_CONFIG))
        if self.tensors is None and given:
            return ErnieConfig(given)
        if self.tensors is None:
            raise UsageError(
                'no model: give --init_pretraining_params, or --ernie_config_path and --vocab_path to start from '
                'random values.'
            )
        config = read_config(self.tensors, given)
        if config is None:
            raise UsageError(f'--ernie_config_path is missing, and no {ERNIE_CONFIG} lies beside the parameters.')
        return config

    def keep_layers(self, count):
        """Build the lowest `count` layers of the encoder alone.

        Raises:
            UsageError: it does not have so many.
        """
        layers = self.config.get('num_hidden_layers') if self.config.encoder == ERNIE else None
        if layers is None or count > layers:
            has = f'{layers} layers' if layers else f'an encoder of the kind {self.config.encoder}, without such layers'
            raise UsageError(f'--keep_layers {count}: the model has {has}.')
        self.config = ErnieConfig({**self.config.to_dict(), 'num_hidden_layers': count})
        self.left_out = tuple(f'encoder_layer_{layer}_*' for layer in range(count, layers))

    def _vocabulary(self):
        inside = os.path.join(self.path, VOCABULARY) if self.exported else self.tensors and self.tensors.vocab_path
        if not inside or not os.path.isfile(inside):
            raise UsageError(f'--vocab_path is missing, and no {VOCABULARY} lies beside the parameters.')
        return inside

    def tokenizer(self, tokenizer=None, do_lower_case=None, by_characters=False):
        """The tokenizer of the model folder.

        Args:
            tokenizer, do_lower_case: flags that the user gave, which hold over what the folder says; None where not.
            by_characters: whether labels stand on characters, which words of a dictionary would hide.

        Raises:
            UserError: the vocabulary holds ids that the word table does not have.
        """
        said = self.folder_tokenizer.for_characters() if by_characters else self.folder_tokenizer
        settings = said.with_flags(tokenizer=tokenizer, do_lower_case=do_lower_case)
        made = said.make(self.vocab_path, settings)
        if do_lower_case is None:
            _doubt_letter_case(made, self)
        check_vocabulary(made.vocab, self)
        return made

    def check_lengths(self, max_seq_len, task_id):
        """Raises `UsageError` for more tokens than the model has positions, or a task id that it does not have."""
        positions, config = self.config.max_position_embeddings, self.config
        if max_seq_len != AUTO and max_seq_len > positions:
            raise UsageError(f'--max_seq_len {max_seq_len}: the model has {positions} positions.')
        if task_id and not config.use_task_id:
            log.warning('--task_id %d has no effect: the model configuration has no use_task_id', task_id)
        if config.use_task_id and task_id >= config.task_type_vocab_size:
            raise UsageError(f'--task_id {task_id}: the model has {config.task_type_vocab_size} task types.')


def is_exported(path):
    """Whether a path is that of an exported model."""
    return os.path.isfile(os.path.join(path, INFERENCE))


def _read_exported(folder):
    """Content of `inference.json`, checked; None where there is none."""
    path = os.path.join(folder, INFERENCE)
    if not os.path.lexists(path):
        return None
    expected = 'what an export writes there'
    found = read_json_object(path, expected)
    outputs = found.get('outputs')
    if found.get('format') not in ('paddle', 'onnx', 'openvino', FUSED):
        raise bad_input(path, f'format {quoted(found.get("format"))}', f'paddle, onnx, openvino or {FUSED}')
    if found.get('precision', 'int8') != 'int8':
        raise bad_input(path, f'precision {quoted(found["precision"])}', 'int8, or nothing')
    if not isinstance(found.get('constants'), dict):
        raise bad_input(path, f'constants {quoted(found.get("constants"))}', 'an object')
    vectors = found.get(VECTORS, {})
    if not isinstance(vectors, dict) or not isinstance(vectors.get('reading', {}), dict):
        raise bad_input(path, f'{VECTORS} {quoted(vectors)}', 'an object')
    if not isinstance(outputs, list) or not outputs or not all(map(_is_output, outputs)):
        raise bad_input(path, f'outputs {quoted(outputs)}', 'a list of objects with a name and a shape')
    return found


def _is_output(output):
    if not isinstance(output, dict) or not isinstance(output.get('shape'), list):
        return False
    return len(output['shape']) <= 32 and all(type(size) is int and -1 <= size < 1 << 31 for size in output['shape'])


def check_vocabulary(vocab, source):
    """Raises: UserError: the vocabulary, a dict token -> id, holds ids that the word table does not have."""
    token, largest = max(vocab.items(), key=lambda item: item[1])
    rows = source.config.vocab_size
    if largest >= rows:
        raise bad_input(source.vocab_path, f'id {largest} ({token})', f'ids below vocab_size {rows}')


def check_same_vocabulary(source):
    """Where training continues. Raises: UserError: the vocabulary that was given is not that of the checkpoint."""
    beside = source.tensors.vocab_path
    if not beside or os.path.samefile(beside, source.vocab_path):
        return
    if load_vocab(beside) != load_vocab(source.vocab_path):
        raise bad_input(
            source.vocab_path,
            'another vocabulary',
            f'that of the checkpoint, {beside}',
            advice=advice_to_start_over(source.path),
        )


def _doubt_letter_case(tokenizer, source):
    """Nobody says that the model is lower-cased, and its vocabulary looks as if it were not."""
    capital = sum(token != token.lower() for token in tokenizer.vocab if token not in SPECIAL_TOKENS)
    unsaid = tokenizer.do_lower_case and 'do_lower_case' not in source.folder_tokenizer.said_by
    if unsaid and capital > len(tokenizer.vocab) // 100:
        log.warning(
            '%s: %d of %d tokens have capital letters, which lower-cased text never becomes, and no file says the '
            'letter case; --do_lower_case false is for cased models',
            *(source.vocab_path, capital, len(tokenizer.vocab)),
        )


def build_tokenizer(args, source, by_characters=False):
    """The tokenizer of the model folder for a training; flags that were given hold over it.

    Args:
        args: settings of the training.
        source: `Source`.
        by_characters: see `Source.tokenizer`.

    Returns:
        (tokenizer, the settings `args` with what it is).
    Raises:
        UserError: see `Source.tokenizer`.
        UsageError: see `Source.check_lengths`.
    """
    names = ('tokenizer', 'do_lower_case')
    given = {name: getattr(args, name) for name in names if name in args.given}
    tokenizer = source.tokenizer(**given, by_characters=by_characters)
    made = dict(zip(names, (type(tokenizer).__name__, tokenizer.do_lower_case), strict=True))
    for name, value in made.items():
        if getattr(args, name) != value:
            log.debug('from %s: %s %s', source.folder_tokenizer.said_by[name], name, value)
    source.check_lengths(args.max_seq_len, args.task_id)
    return tokenizer, args.replace(**made)
