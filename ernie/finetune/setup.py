"""From flags to objects: what contradicts itself is refused here, before any work is done."""

import os

from ernie.checkpoint import check_labels, open_model
from ernie.checkpoint.model_folder import LABELS
from ernie.checkpoint.sizes import check_sizes
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.config import ErnieConfig
from ernie.finetune.saved import read_saved_labels
from ernie.finetune.start import check_resume, start_anew
from ernie.optimization import SCHEDULERS
from ernie.tokenization import SPECIAL_TOKENS, TOKENIZERS, load_vocab
from propeller.environment import FUSED_OPS
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger
from propeller.train.precision import PRECISIONS, LossScale

log = get_logger(__name__)


def split_list(text):
    """`a,b` -> ['a', 'b']; None or '' -> []."""
    return [part.strip() for part in text.split(',') if part.strip()] if text else []


def check_flags(args):
    """Refuse flags that cannot be, or that contradict each other.

    Raises:
        UsageError: names the flags, what was found and what was expected.
    """
    _check_work(args)
    _check_files(args)
    _check_numbers(args)
    for flag, allowed in (('tokenizer', TOKENIZERS), ('lr_scheduler', SCHEDULERS)):
        if getattr(args, flag) not in allowed:
            raise UsageError(f'--{flag} {getattr(args, flag)}: expected one of {", ".join(allowed)}.')
    check_precision(args)
    check_resume(args)
    if args.in_tokens and args.do_train and args.batch_size < args.max_seq_len:
        raise UsageError(
            f'--in_tokens true: --batch_size {args.batch_size} counts tokens and must be at least '
            f'--max_seq_len {args.max_seq_len}.'
        )
    if args.early_stop == 0:
        raise UsageError('--early_stop 0: expected the number of evaluations to wait, or -1 for never.')
    if args.early_stop > 0 and not (args.do_val and args.dev_set):
        raise UsageError('--early_stop needs --do_val true and a --dev_set.')


def check_precision(args):
    """Settle --precision: 2019's --use_fp16 true is fp16. Check --fused_ops."""
    for flag, values in (('precision', ('auto', *PRECISIONS)), ('fused_ops', FUSED_OPS)):
        if getattr(args, flag) not in values:
            raise UsageError(f'--{flag} {getattr(args, flag)}: expected one of {", ".join(values)}.')
    if args.use_fp16:
        if 'precision' in args.given and args.precision != 'fp16':
            raise UsageError(f'--use_fp16 true and --precision {args.precision}: give one.')
        args.precision = 'fp16'
    if args.precision == 'fp16' and not args.use_cuda:
        flag = '--use_fp16 true' if args.use_fp16 else '--precision fp16'
        raise UsageError(f'{flag} needs a GPU; on a processor take --precision bf16 or fp32.')
    if args.fused_ops == 'true' and args.use_cuda:
        raise UsageError('--fused_ops true is for processors; on a GPU take auto or false.')
    loss_scale(args)


def loss_scale(args):
    """The `LossScale` of the flags, or None where the precision needs none.

    Raises:
        UsageError: a value that cannot be.
    """
    if args.precision != 'fp16':
        return None
    return LossScale(
        args.init_loss_scaling,
        args.use_dynamic_loss_scaling,
        args.incr_every_n_steps,
        args.decr_every_n_nan_or_inf,
        args.incr_ratio,
        args.decr_ratio,
    )


def _check_work(args):
    if not (args.do_train or args.do_val or args.do_test):
        raise UsageError('--do_train, --do_val, --do_test are all false: at least one must be true.')
    if args.do_train and not args.train_set:
        raise UsageError('--do_train true needs --train_set.')
    work = args.do_train or (args.do_val and args.dev_set) or (args.do_test and args.test_set) or args.diagnostic
    if not work:
        raise UsageError(
            '--do_train false, and nothing else to do: give --dev_set with --do_val true to evaluate, '
            'or --test_set with --do_test true to predict.'
        )
    if not args.do_train and not args.init_checkpoint:
        raise UsageError('--do_train false needs --init_checkpoint: the model to evaluate.')
    _check_outputs(args)


def _check_files(args):
    """Every file that will be read is there: said before the model is loaded."""
    wanted = {
        'train_set': args.do_train,
        'dev_set': args.do_val,
        'test_set': args.do_test,
        'diagnostic': True,
        'label_map_config': True,
        'ernie_config_path': True,
        'vocab_path': True,
    }
    for flag in (flag for flag, used in wanted.items() if used):
        value = getattr(args, flag)
        for path in split_list(value) if flag.endswith('_set') else [value] if value else []:
            if not os.path.exists(path):
                raise UserError(f'--{flag}: {path}: no such file.')


def _check_outputs(args):
    tests, saves = split_list(args.test_set), split_list(args.test_save)
    if args.do_test and tests and len(saves) != len(tests):
        raise UsageError(f'--test_save names {len(saves)} files for {len(tests)} files of --test_set.')
    if bool(args.diagnostic) != bool(args.diagnostic_save):
        raise UsageError('--diagnostic and --diagnostic_save belong together.')
    if args.do_test and tests and len({os.path.abspath(path) for path in saves}) != len(saves):
        raise UsageError(f'--test_save {args.test_save}: one file twice; one would overwrite the other.')


def _check_numbers(args):
    least = {
        'epoch': 1,
        'batch_size': 1,
        'gradient_accumulation_steps': 1,
        'save_steps': 1,
        'validation_steps': 1,
        'skip_steps': 1,
        'max_seq_len': 3,
    }
    least |= {
        'length_window': 0,
        'max_checkpoints': 0,
        'max_steps': 0,
        'clip_norm': 0,
        'weight_decay': 0,
        'early_stop': -1,
    }
    optional = {'predict_batch_size': 1, 'num_labels': 1, 'random_seed': 0, 'cpu_threads': 1, 'task_id': 0}
    for name, smallest in (least | optional).items():
        value = getattr(args, name)
        if value is not None and not value >= smallest:
            raise UsageError(f'--{name} {value}: expected at least {smallest}.')
    if not 0 <= args.warmup_proportion < 1:
        raise UsageError(f'--warmup_proportion {args.warmup_proportion}: expected a share from 0 to below 1.')
    for name in ('learning_rate', 'head_learning_rate'):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise UsageError(f'--{name} {value}: expected a number above 0.')


def make_folder(folder):
    """Make `folder` with its parents; '' is the working directory.

    Raises:
        UserError: it cannot be made.
    """
    try:
        os.makedirs(folder or '.', exist_ok=True)
    except OSError as e:
        raise UserError(f'{folder}: cannot make this folder ({e.strerror or e}).') from e


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


def take_saved_settings(args, source):
    """Settings of a checkpoint hold where the user gave no flag: those of `labels.json` that have a flag's name.

    Raises:
        UserError: a value there is of another type than the flag's.
    """
    taken = {}
    for name, value in source.saved.items():
        default = getattr(args, name, None)
        if default is None or name in args.given or value == default:
            continue
        if type(value) is not type(default):
            raise bad_input(os.path.join(source.path, LABELS), f'{name} {value!r}', f'a value like {default!r}')
        taken[name] = value
        setattr(args, name, value)
    if taken:
        log.info('from the checkpoint: %s', ', '.join(f'{name} {taken[name]}' for name in sorted(taken)))
        check_flags(args)


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
            source.vocab_path, 'another vocabulary', f'that of the checkpoint, {beside}', advice=start_anew(source.path)
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
