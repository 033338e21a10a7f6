"""The flags of infer_classifyer.py: those of 2019 first, then what came since.

Frozen by `tests/ernie/test_inference_flags.py`: adding, renaming or changing a default must be a decision.
"""

from ernie.checkpoint.labels_json import TASKS
from ernie.inference.engines import ENGINES, MODEL_FORMATS, PRECISIONS
from ernie.inference.stream import FORMATS
from ernie.utils.args import ArgumentGroup, Parser

RESULT_FORMATS = ('tsv', 'jsonl')


def build_parser(prog=None):
    """The parser. A flag whose default is None takes what the checkpoint says."""
    parser = Parser(prog=prog)
    for add in (_model, _data, _running, _additions):
        add(parser)
    return parser


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
    add('task', str, None, 'The task that the checkpoint must be of. Left out: whatever it is.', choices=TASKS)
    add('format', str, 'tsv', 'Form of the results.', choices=RESULT_FORMATS)
    add('output', str, '-', 'File of the results; "-" is standard output.')
    add('input_format', str, 'auto', 'Form of --predict_set.', choices=FORMATS)
    add('engine', str, 'predictor', 'What runs the model.', choices=ENGINES)
    add('precision', str, 'fp32', 'Precision of matrix products.', choices=PRECISIONS)
    add('export_format', str, None, 'Form of the export. Left out: what --engine reads.', choices=MODEL_FORMATS)
    add('overwrite', bool, False, 'Replace an exported model of the same name.', nargs='?', const=True)
    add('length_window', int, 50, 'Rows of like length share a batch, inside windows of so many batches.')
    add('skip_bad_rows', bool, False, 'Rows that cannot be used get an empty result.')
    add('tokenizer', str, None, 'FullTokenizer or CharTokenizer. Left out: as in training, else FullTokenizer.')
    add('for_cn', bool, None, 'Drop spaces next to ideographs and punctuation. Left out: as in training, else true.')
    add('cpu_threads', int, None, 'Threads of matrix products. Left out: as many as the machine has cores.')
