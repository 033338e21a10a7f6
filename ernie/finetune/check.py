"""From flags to objects: what contradicts itself is refused here, before any work is done."""

import os

from ernie.checkpoint.model_folder import LABELS
from ernie.optimization import SCHEDULERS
from ernie.run.precision import check_precision
from ernie.run.start import check_resume
from ernie.tokenization import TOKENIZERS
from ernie.utils.args import split_list
from propeller.errors import UsageError, UserError, bad_input
from propeller.log import get_logger

log = get_logger(__name__)


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
