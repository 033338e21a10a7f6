"""From the command line to what a training needs: flags, run settings, hyper-parameters, vocabulary."""

import argparse
import contextlib
import dataclasses
import difflib
import json
import math
import os

import propeller.paddle as propeller
from ernie.config import OPTIONAL, REQUIRED, ErnieConfig
from ernie.tokenizers.vocabulary import load_vocab
from example.texts import Cutter, make_cutter
from propeller.distribution import process_info
from propeller.errors import UsageError, UserError, bad_input, one_line_errors, quoted
from propeller.inputs import read_json_object
from propeller.log import VARIABLE, console
from propeller.storage.atomic import output_file

INPUTS = 'inputs.json'  # in model_dir: what the model was trained on, so that nothing else is predicted with it
# Hyper-parameter -> (whether a number can be its value, what is expected).
NUMBERS = {
    'learning_rate': (lambda v: v > 0, 'a number above 0'),
    'warmup_proportion': (lambda v: 0 <= v <= 1, 'a number from 0 to 1'),
    'weight_decay': (lambda v: v >= 0, 'a number from 0 on'),
    'batch_size': (lambda v: v >= 1 and v == int(v), 'a whole number above 0'),
    'num_label': (lambda v: v >= 2 and v == int(v), 'a whole number above 1'),
    'task_id': (lambda v: v >= 0 and v == int(v), 'a whole number from 0 on'),
    'use_fp16': (lambda v: v in (0, 1), 'True or False'),
}
# What of `ErnieConfig` decides which numbers the parameters give.
COMPUTATION = (
    *('encoder', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'hidden_act', 'intermediate_size'),
    *('layer_norm_eps', 'vocab_size', 'sentence_types', 'use_task_id'),
)
DEFAULTS = {'task_id': 0, 'use_fp16': False}
LEAVE_OUT = 'Correct it, or leave such rows out: --skip_bad_rows.'


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the command line says.

    Attributes:
        program: its name.
        args: the flags.
        run_config: `propeller.RunConfig`.
        params: `propeller.HParams`: the hyper-parameters, and `ernie`, the `ErnieConfig` among them.
        vocab: dict token -> id.
        cutter: function from the bytes of a text to its pieces.
    """

    program: str
    args: argparse.Namespace
    run_config: propeller.RunConfig
    params: propeller.HParams
    vocab: dict
    cutter: Cutter

    def special(self, *names):
        """Ids of special tokens by their names without brackets."""
        return [self.vocab[f'[{name}]'] for name in names]

    def text_column(self, name):
        """A column of text."""
        return propeller.data.TextColumn(name, unk_id=self.vocab['[UNK]'], vocab_dict=self.vocab, tokenizer=self.cutter)

    def columns(self, columns):
        """`propeller.data.FeatureColumns` whose errors say what this program can do about a row."""
        return propeller.data.FeatureColumns(columns, 'Correct it.' if self.args.do_predict else LEAVE_OUT)

    def folder(self, name):
        """The folder `name` of `data_dir`."""
        return os.path.join(self.args.data_dir, name)

    def eval_names(self):
        """Names of the folders to evaluate on: dev, and test where it is there."""
        return ['dev', 'test'] if os.path.isdir(self.folder('test')) else ['dev']

    def read(self, columns, name, training=False):
        """The data set of a folder of `data_dir`, through record files in the folder `{name}_gz` beside it."""
        return columns.build_dataset(
            name, data_dir=self.folder(name), shuffle=training, repeat=training, skip_bad_rows=self.args.skip_bad_rows
        )

    def batches(self, dataset, pads, shapes):
        """Padded batches of a data set, each array with an axis of 1 added at its end.

        Args:
            dataset: elements are tuples of arrays.
            pads: a value for each of them.
            shapes: of the arrays of a batch, -1 for what varies.
        """
        batches = dataset.padded_batch(self.params.batch_size, pads).map(
            lambda *arrays: [array[..., None] for array in arrays]
        )
        batches.data_shapes, batches.data_types = [list(shape) for shape in shapes], ['int64'] * len(shapes)
        return batches


@contextlib.contextmanager
def program():
    """Around a program's `main`: errors are one line; the lines of training steps are shown, as in 2019."""
    with one_line_errors(), console(os.environ.get(VARIABLE) or 'debug'):
        yield


def make_parser(name, description, epilog):
    """The flags that all three programs have."""
    form = argparse.RawDescriptionHelpFormatter
    parser = propeller.ArgumentParser(name, description=description, epilog=epilog, formatter_class=form)
    parser.add_argument('--max_seqlen', type=int, default=128, help='most tokens of an example (default 128)')
    parser.add_argument('--data_dir', required=True, help='folder of the folders train, dev ..., see below')
    parser.add_argument('--vocab_file', required=True, help='vocab.txt of the model')
    parser.add_argument('--do_predict', action='store_true', help='predict the lines of standard input')
    parser.add_argument(
        '--warm_start_from', help='first values of the encoder: a params folder of 2019, a model folder, or a name'
    )
    parser.add_argument('--skip_bad_rows', action='store_true', help='leave out rows of data_dir that cannot be used')
    return parser


def add_subword_flags(parser):
    """The flags of ERNIE tiny's tokenizer."""
    parser.add_argument('--sentence_piece_model', help="ERNIE tiny's subword/spm_cased_simp_sampled.model")
    parser.add_argument('--word_dict', help="ERNIE tiny's subword/dict.wordseg.pickle")


def read_setup(program, parser, argv, needed=('num_label',), least=3):
    """The `Setup` of a command line.

    Args:
        program: name of the program.
        parser: of `make_parser`.
        argv: list of words; None for those of the command line.
        needed: hyper-parameters that it needs beside those of all.
        least: tokens that an example has at least.
    Raises:
        UserError, UsageError: something is missing, or cannot be.
    """
    args = parser.parse_args(argv)
    if args.do_predict and args.skip_bad_rows:
        raise UsageError('--skip_bad_rows: found --do_predict, expected one of them: each line that is read gets one.')
    run_config, params = propeller.parse_runconfig(args), propeller.parse_hparam(args)
    check_numbers(params, (*NUMBERS.keys() - DEFAULTS.keys() - {'num_label'}, *needed))
    config = ErnieConfig(params)
    if config.use_task_id and params.task_id >= config.task_type_vocab_size:
        raise UserError(f'--hparam task_id: found {params.task_id}, expected less than task_type_vocab_size.')
    if not least <= args.max_seqlen <= config.max_position_embeddings:
        raise UsageError(
            f'--max_seqlen {args.max_seqlen}: expected {least} to {config.max_position_embeddings}, the positions that '
            'the model has.'
        )
    vocab = load_vocab(args.vocab_file)
    token, largest = max(vocab.items(), key=lambda item: item[1])
    if largest >= config.vocab_size:
        raise bad_input(args.vocab_file, f'id {largest} ({token})', f'ids below vocab_size {config.vocab_size}')
    params.join(propeller.HParams(ernie=config))
    if params.use_fp16 and not run_config.precision:
        run_config = run_config._replace(precision='fp16')
    if not run_config.model_dir:
        raise UserError('--run_config: found no model_dir, expected the folder of checkpoints.')
    if not args.do_predict:
        run_config = with_end(run_config)
    return Setup(program, args, run_config, params, vocab, make_cutter(args, vocab))


def check_numbers(params, needed):
    """Give hyper-parameters their defaults. Raises `UserError`: one of `needed` is missing, or one is no number."""
    for name, value in DEFAULTS.items():
        params[name] = params.get(name, value)
    for name in sorted(needed):
        if params.get(name) is None:
            strange = [key for key in params if key not in (*REQUIRED, *OPTIONAL, *NUMBERS)]
            near = difflib.get_close_matches(name, strange, 1)
            raise UserError(
                f'--hparam: found no {name}, expected {NUMBERS[name][1]}.'
                + (f' Is {near[0]} misspelt?' if near else f' Give --hparam \'{{"{name}": ...}}\'.')
            )
    for name in (name for name in NUMBERS if name in params):
        value, (fits, expected) = params[name], NUMBERS[name]
        whole = name in ('batch_size', 'num_label', 'task_id')
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number or (isinstance(value, bool) and name != 'use_fp16') or not fits(value):
            raise UserError(f'--hparam {name}: found {quoted(value)}, expected {expected}.')
        params[name] = int(value) if whole else value


def with_end(run_config):
    """The `RunConfig` of a training, evaluated at its end at least. Raises `UserError`: it has no end."""
    if run_config.max_steps is None:
        raise UserError('--run_config: found no max_steps, expected a number: the learning rate is 0 there.')
    if (run_config.eval_steps or 1000) > run_config.max_steps:
        propeller.log.info('evaluated at step %d only, the last one', run_config.max_steps)
        return run_config._replace(eval_steps=run_config.max_steps)
    return run_config


def check_inputs(setup):
    """Compare the program, the encoder, the vocabulary and the tokenizer with those of the training in model_dir.

    Where there is none, they are noted for what comes.

    Raises:
        UserError: they are others.
    """
    ours = {
        'program': setup.program,
        'vocabulary': setup.cutter.digest,
        'tokenizer': setup.cutter.name,
        'encoder': {name: getattr(setup.params.ernie, name) for name in COMPUTATION},
        **{name: setup.params[name] for name in ('task_id', 'num_label') if name in setup.params},
        **({'seed': setup.args.seed} if hasattr(setup.args, 'seed') else {}),  # another one has another order of rows
    }
    path = os.path.join(setup.run_config.model_dir, INPUTS)
    if os.path.lexists(path):
        theirs = read_json_object(path, 'what the model was trained with')
        for name, value in ours.items():
            if theirs.get(name) != value:
                found, expected = _difference(value, theirs.get(name))
                advice = 'Give what it was trained with, or another model_dir.'
                raise UserError(f'{path}: found {name} {found}, expected {expected}, as in its training. {advice}')
    elif not setup.args.do_predict and process_info(os.environ).rank == 0:
        os.makedirs(setup.run_config.model_dir, exist_ok=True)
        with output_file(path) as f:
            json.dump(ours, f, ensure_ascii=False, indent=1)


def _difference(ours, theirs):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        key = next(key for key in {**theirs, **ours} if ours.get(key) != theirs.get(key))
        return f'{key} {quoted(ours.get(key))}', quoted(theirs.get(key))
    return quoted(ours), quoted(theirs)
