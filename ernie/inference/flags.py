"""The flags of infer_classifyer.py: those of 2019 first, then what came since.

Frozen by `tests/ernie/test_inference_flags.py`: adding, renaming or changing a default must be a decision.
"""

from ernie.inference.engines import ENGINES, MODEL_FORMATS, PRECISIONS
from ernie.inference.stream import formats
from ernie.tasks.table import choices
from ernie.utils.args import ArgumentGroup, Parser

RESULT_FORMATS = ('tsv', 'jsonl')
# The flags that an export depends on.
_EXPORT = (
    *('init_checkpoint', 'save_inference_model_path', 'export_format', 'overwrite', 'ernie_config_path', 'vocab_path'),
    *('label_map_config', 'task', 'num_labels', 'max_seq_len', 'do_lower_case', 'tokenizer', 'for_cn', 'cpu_threads'),
)


def build_parser(prog=None):
    """The parser. A flag whose default is None takes what the checkpoint says."""
    parser = Parser(prog=prog)
    for add in (_model, _data, _running, _additions):
        add(parser)
    return parser


def build_predict_parser(prog=None):
    """The same for `ernie predict`, which leaves no exported model behind unless it is asked to."""
    parser = build_parser(prog)
    _redefine(parser, 'save_inference_model_path', '', 'Folder for exported models. Left out: none is kept.')
    return parser


def build_export_parser(prog=None):
    """Those flags of it that say something about an export. The namespace has all, and nothing is predicted."""
    whole, parser = build_parser(), Parser(prog=prog)
    _redefine(whole, 'save_inference_model_path', 'inference_model', 'Folder for the model. Default: inference_model.')
    _redefine(whole, 'export_format', 'paddle', 'Form of the export. Default: paddle.')
    group = parser.add_argument_group('export', 'A fine-tuned checkpoint as an inference model.')
    for action in whole._actions:
        if action.dest in _EXPORT:
            group._add_action(action)
    unused = {action.dest: action.default for action in whole._actions if action.dest not in (*_EXPORT, 'help')}
    parser.set_defaults(**unused | {'do_prediction': False})
    return parser


def _redefine(parser, name, default, help):  # noqa: A002
    action = parser._option_string_actions[f'--{name}']
    action.default, action.help = default, help


def _model(parser):
    add = ArgumentGroup(parser, 'model', 'Model configuration and paths.').add_arg
    add('ernie_config_path', str, None, 'Model configuration (JSON). Left out: the one beside the parameters.')
    add('init_checkpoint', str, None, 'Checkpoint folder, or an exported model. The only flag that must be given.')
    add('save_inference_model_path', str, 'inference_model', 'Folder for exported models; "": export nothing.')
    add('use_fp16', bool, False, 'Half precision; not available.')
    add('num_labels', int, None, 'Number of classes. Left out: that of the checkpoint.')


def _data(parser):
    add = ArgumentGroup(parser, 'data', 'Data files and batches.').add_arg
    add('predict_set', str, None, 'File to predict; "-" is standard input. Left out: the model is exported only.')
    add('vocab_path', str, None, 'Vocabulary. Left out: the one beside the parameters.')
    add('label_map_config', str, None, 'JSON object: label text -> id. Left out: the names in the checkpoint.')
    add('max_seq_len', int, None, 'Longest input in tokens. Left out: that of the checkpoint, else 128.')
    add('batch_size', int, 32, 'Rows of a batch.')
    add('do_lower_case', bool, None, 'Lower-case and strip accents. Left out: as in training, else true.')


def _running(parser):
    add = ArgumentGroup(parser, 'run', 'What to run, and on what.').add_arg
    add('use_cuda', bool, None, 'Run on GPU. Left out: where Paddle has one.')
    add('do_prediction', bool, True, 'Predict --predict_set; false only exports.')


def _additions(parser):
    add = ArgumentGroup(parser, 'since 2019', 'Flags that the 2019 program did not have.').add_arg
    add('task', str, None, 'The task that the checkpoint must be of. Left out: whatever it is.', choices=choices())
    add('format', str, 'tsv', 'Form of the results.', choices=RESULT_FORMATS)
    add('output', str, '-', 'File of the results; "-" is standard output.')
    add('input_format', str, 'auto', 'Form of --predict_set.', choices=formats())
    add('engine', str, 'predictor', 'What runs the model.', choices=ENGINES)
    add('precision', str, 'fp32', 'Precision of matrix products.', choices=PRECISIONS)
    add('export_format', str, None, 'Form of the export. Left out: what --engine reads.', choices=MODEL_FORMATS)
    add('overwrite', bool, False, 'Replace an exported model of the same name.', nargs='?', const=True)
    add('length_window', int, 50, 'Rows of like length share a batch, inside windows of so many batches.')
    add('skip_bad_rows', bool, False, 'Rows that cannot be used get an empty result.')
    add('tokenizer', str, None, 'FullTokenizer or CharTokenizer. Left out: as in training, else FullTokenizer.')
    add('for_cn', bool, None, 'Drop spaces next to ideographs and punctuation. Left out: as in training, else true.')
    add('cpu_threads', int, None, 'Threads of matrix products. Left out: as many as the machine has cores.')
