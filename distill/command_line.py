"""From the command line of a student's training to what it needs: flags, run settings, hyper-parameters, word list."""

import argparse
import os

import propeller.paddle as propeller
from ernie.config import ErnieConfig
from ernie.distill.online import OUTPUTS
from ernie.distill.segmented import UNKNOWN
from ernie.distill.unknown import around_unknown
from ernie.tokenizers.vocabulary import load_vocab
from ernie.utils.data import SpaceTokenizer
from example.command_line import Setup, check_numbers, with_end
from example.texts import Cutter, make_cutter
from propeller.errors import UsageError, UserError, bad_input
from propeller.inputs import read_bytes

STUDENTS = ('bow', 'bilstm')
LABELS = ('soft', 'hard')
DATA = """\
data: files without a header, in UTF-8:
  DATA_DIR/train/*, DATA_DIR/dev/*    segmented text<TAB>label, the label a number from 0 to num_label - 1
  UNSUPERVISE_DATA_DIR/*              hard labels: segmented text<TAB>label, the label that the teacher gave
                                      --teacher_outputs, --teacher_host: segmented text<TAB>text for the teacher
hyper-parameters (--hparam): num_label, vocab_size, emb_size, initializer_range, batch_size, learning_rate,
  warmup_proportion, weight_decay; encoder (bow or bilstm), hidden_size, num_hidden_layers, hidden_dropout_prob
output: the best student as a checkpoint and as a model folder in MODEL_DIR/best; dev_acc3<TAB>its accuracy
"""
_SPECIAL = 2  # [CLS] and [SEP] around the text, which the fine-tuning programs set
_POSITIONS = 512
_MOST_BYTES = 1 << 28


def build_parser(name, description, online):
    """The flags. online: whether those of a served teacher must be there, as in 2019."""
    form = argparse.RawDescriptionHelpFormatter
    parser = propeller.ArgumentParser(name, description=description, epilog=DATA, formatter_class=form)
    add = parser.add_argument
    add('--max_seqlen', type=int, default=128, help='most words of a text (default 128)')
    add('--vocab_file', required=True, help="the student's word list: entry 0 is padding, [UNK] is in it")
    add('--data_dir', help='folder of the folders train and dev, see below')
    add(
        '--unsupervise_data_dir',
        help='folder of what the teacher labels (with --teacher_host: default DATA_DIR/unsup_train_aug)',
    )
    add('--skip_bad_rows', action='store_true', help='leave out rows that cannot be used')
    add(
        '--seed',
        type=int,
        help='of initial values, dropout and the order of the rows (default: other values each time)',
    )
    add('--teacher_outputs', help='folder that teacher_outputs.py filled for the files of --unsupervise_data_dir')
    add('--teacher_labels', choices=LABELS, default=LABELS[0], help='what of them counts: logits (soft) or the class')
    add(
        '--teacher_classes',
        default='',
        help='names of its classes in the order of the labels 0, 1 ..., joined by commas, where they are no numbers',
    )
    teacher = parser.add_argument_group('a teacher behind propeller.tools.start_server')
    add = teacher.add_argument
    add('--teacher_host', required=online, help='its address, e.g. tcp://localhost:8113')
    add('--teacher_vocab_file', required=online, help='vocab.txt of the teacher')
    add('--teacher_max_seqlen', type=int, default=128, help='most tokens that it reads (default 128)')
    add('--server_batch_size', type=int, default=64, help='rows of a request (default 64)')
    add('--num_coroutine', type=int, default=1, help='requests under way at once (default 1)')
    add('--teacher_output', choices=OUTPUTS, default=OUTPUTS[0], help='what the served model gives (default logits)')
    add('--teacher_timeout', type=float, default=60.0, help='seconds that an answer may take (default 60)')
    add('--teacher_retries', type=int, default=5, help='calls after one that failed (default 5)')
    return parser


def read_setup(program, parser, argv):
    """The `Setup` of a command line. Raises `UserError`, `UsageError`: something is missing, or cannot be."""
    args = parser.parse_args(argv)
    args.do_predict = False
    _check_flags(args)
    run_config, params = propeller.parse_runconfig(args), propeller.parse_hparam(args)
    needed = ('num_label', 'batch_size', 'learning_rate', 'warmup_proportion', 'weight_decay')
    check_numbers(params, needed)
    if params.use_fp16:
        raise UserError('--hparam use_fp16: found True, expected False: students are trained in float32.')
    if not run_config.model_dir:
        raise UserError('--run_config: found no model_dir, expected the folder of checkpoints.')
    config = student_config(params, args.max_seqlen)
    vocab = load_vocab(args.vocab_file, required=('[UNK]',))
    word, largest = max(vocab.items(), key=lambda item: item[1])
    if largest >= config.vocab_size:
        raise bad_input(args.vocab_file, f'id {largest} ({word})', f'ids below vocab_size {config.vocab_size}')
    if adds_special(config) and not {'[CLS]', '[SEP]'} <= vocab.keys():
        raise bad_input(args.vocab_file, 'no [CLS] and [SEP]', f'both, for the encoder {config.encoder}')
    if vocab['[UNK]'] == 0:
        raise bad_input(args.vocab_file, '[UNK] as entry 0', 'padding there')
    params.join(propeller.HParams(ernie=config))
    words = read_bytes(args.vocab_file, _MOST_BYTES, 'a vocabulary')
    return Setup(program, args, with_end(run_config), params, vocab, Cutter(SpaceTokenizer(vocab), 'words', words))


def _check_flags(args):
    if not args.data_dir:
        raise UsageError('--data_dir is missing: it is the folder of the folders train and dev.')
    if args.max_seqlen < 3:
        raise UsageError(f'--max_seqlen {args.max_seqlen}: expected at least 3.')
    if args.teacher_host:
        if args.teacher_outputs:
            raise UsageError('--teacher_outputs and --teacher_host: found both, expected one of them.')
        if not args.teacher_vocab_file:
            raise UsageError('--teacher_host: found no --teacher_vocab_file, expected the vocab.txt of the teacher.')
        args.unsupervise_data_dir = args.unsupervise_data_dir or os.path.join(args.data_dir, 'unsup_train_aug')
    elif not args.unsupervise_data_dir:
        raise UsageError(
            '--unsupervise_data_dir is missing: it is the folder of what the teacher labelled (or --teacher_host).'
        )
    elif args.teacher_outputs and args.skip_bad_rows:
        raise UsageError('--skip_bad_rows: found --teacher_outputs, expected one of them: each row has its answer.')
    if args.seed is not None and not 0 <= args.seed < 1 << 31:
        raise UsageError(f'--seed {args.seed}: expected a number from 0 to {(1 << 31) - 1}.')
    if args.teacher_classes and not args.teacher_outputs:
        raise UsageError('--teacher_classes: found no --teacher_outputs, expected it: others do not say their classes.')
    for name, least in (('teacher_max_seqlen', 3), ('server_batch_size', 1), ('num_coroutine', 1)):
        if getattr(args, name) < least:
            raise UsageError(f'--{name} {getattr(args, name)}: expected at least {least}.')
    if not args.teacher_timeout > 0 or args.teacher_retries < 0:
        raise UsageError('--teacher_timeout, --teacher_retries: expected a number above 0, and one from 0.')


def student_config(params, max_seqlen):
    """The `ErnieConfig` of the student. params: `HParams`. Raises `UserError`: it cannot be."""
    values = params.to_dict()
    if values.setdefault('encoder', STUDENTS[0]) not in STUDENTS:
        advice = 'An ERNIE of few layers is trained by run_classifier.py with --keep_layers.'
        raise UserError(f'--hparam encoder: found {values["encoder"]!r}, expected {" or ".join(STUDENTS)}. {advice}')
    values.setdefault('hidden_size', values.get('emb_size'))
    values.setdefault('num_hidden_layers', 1)
    values.setdefault('max_position_embeddings', max(_POSITIONS, max_seqlen + _SPECIAL))
    names = ('encoder', 'vocab_size', 'emb_size', 'hidden_size', 'num_hidden_layers', 'max_position_embeddings')
    names += ('initializer_range', 'hidden_dropout_prob')
    return ErnieConfig({name: values[name] for name in names if values.get(name) is not None})


def adds_special(config):
    """Whether the student reads `[CLS]` and `[SEP]` around a text: all but the bag of words do."""
    return config.encoder != 'bow'


def teacher_cutter(args, vocab):
    """The `Cutter` of the teacher's texts, which reads `[UNK]` in them as the token. vocab: of the teacher."""
    cut = make_cutter(argparse.Namespace(vocab_file=args.teacher_vocab_file), vocab)

    def cut_around(text):
        return around_unknown(text, lambda part: cut(part.encode()), UNKNOWN)

    return Cutter(cut_around, f'{cut.name}, [UNK]', cut.digest.encode())
