"""Where a run takes its model from: configuration, vocabulary and tokenizer of a folder, and what flags override."""

import os

from ernie.checkpoint import check_labels, open_model
from ernie.checkpoint.labels_json import read_saved_labels
from ernie.checkpoint.model_folder import LABELS
from ernie.checkpoint.sizes import check_sizes
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.run.start import advice_to_start_over
from ernie.tokenization import SPECIAL_TOKENS, load_vocab
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger

log = get_logger(__name__)


class Source:
    """The folder that parameters come from, with the configuration and vocabulary beside it.

    Attributes:
        path: the folder, None when training starts from random values.
        tensors: mapping name -> array, None likewise.
        config: `ErnieConfig`.
        vocab_path: vocabulary file.
        saved: dict, `labels.json` of the folder, {} if it has none.
        folder_tokenizer: `FolderTokenizer` of the folder, or of the vocabulary's when there is no model.
    """

    def __init__(self, path, config_path, vocab_path):
        self.path = path
        self.tensors = open_model(path) if path else None
        config_path = config_path or (self.tensors.config if path else None)
        if config_path is None:
            if not path:
                raise UsageError(
                    'no model: give --init_pretraining_params, or --ernie_config_path and --vocab_path to start from '
                    'random values.'
                )
            raise UsageError('--ernie_config_path is missing, and no ernie_config.json lies beside the parameters.')
        self.config = ErnieConfig(config_path)
        check_sizes(self.config, self.tensors)
        self.vocab_path = vocab_path or (self.tensors.vocab_path if path else None)
        if self.vocab_path is None:
            raise UsageError('--vocab_path is missing, and no vocab.txt lies beside the parameters.')
        self.saved = read_saved_labels(path)
        if self.saved:
            check_labels(self.saved, self.tensors, os.path.join(path, LABELS))
        beside = self.tensors.folder if path else os.path.dirname(self.vocab_path) or '.'
        self.folder_tokenizer = folder_tokenizer(beside)


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


def take_tokenizer(args, source):
    """Settle `args.tokenizer` and `args.do_lower_case`: as the model folder says, unless the flag was given.

    Args:
        args: the flags; with `given` (names of flags), only those count as given, else all that are not None.
        source: has `folder_tokenizer`.

    Returns:
        `TokenizerSettings`.
    """
    names = ('tokenizer', 'do_lower_case')
    given = getattr(args, 'given', names)
    settings = source.folder_tokenizer.with_flags(**{name: getattr(args, name) for name in names if name in given})
    for name in names:
        before, value = getattr(args, name), getattr(settings, name)
        setattr(args, name, value)
        if before is not None and before != value:
            log.info('from %s: %s %s', source.folder_tokenizer.said_by[name], name, value)
    return settings


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


def build_tokenizer(args, source):
    """The tokenizer of the model folder; flags that were given hold over it (`take_tokenizer`).

    Raises:
        UserError: the vocabulary holds ids that the word table does not have; texts could be longer than positions.
    """
    asked = args.do_lower_case is not None and 'do_lower_case' in getattr(args, 'given', ('do_lower_case',))
    tokenizer = take_tokenizer(args, source).make(source.vocab_path)
    if not asked:
        _doubt_letter_case(tokenizer, source)
    check_vocabulary(tokenizer.vocab, source)
    positions = source.config.max_position_embeddings
    if args.max_seq_len > positions:
        raise UsageError(f'--max_seq_len {args.max_seq_len}: the model has {positions} positions.')
    config = source.config
    if args.task_id and not config.use_task_id:
        log.warning('--task_id %d has no effect: the model configuration has no use_task_id', args.task_id)
    if config.use_task_id and args.task_id >= config.task_type_vocab_size:
        raise UsageError(f'--task_id {args.task_id}: the model has {config.task_type_vocab_size} task types.')
    return tokenizer
