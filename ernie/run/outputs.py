"""Output files of a run, checked before it starts: writable, and none of the files that are read."""

import os
import re

from ernie.checkpoint.model_folder import (
    ERNIE_CONFIG,
    FOREIGN_CONFIGS,
    LABELS,
    PARAMETERS,
    VOCABULARY,
)
from ernie.report.names import OUTPUTS, REPORTS
from propeller.args import split_list
from propeller.log import RUN_LOG
from propeller.storage.atomic import check_output, check_writable, is_stream, refuse_inputs
from propeller.storage.tensorflow import files_of
from propeller.train.checkpoint import STATE
from propeller.train.record import METRICS_FILE

EVALUATION_FILE = 'evaluation.jsonl'
_TENSORS = ('.safetensors', '.safetensors.index.json', '.pdparams', '.pdiparams', '.onnx')
_COMPANIONS = (ERNIE_CONFIG, *FOREIGN_CONFIGS, VOCABULARY, LABELS, STATE, 'inference.json', 'model.json')
# What comes behind --test_save, and the answers of run_mrc.py in --checkpoints.
_PREDICTIONS = re.compile(r'\.\d+\.(\d+|final)')
_ANSWERS = re.compile(r'(\d+_)?(dev|test)_(nbest_)?predictions\.json')


def check_outputs(args):
    """Make every folder that a fine-tuning run will write to, prove that it can, and that no input will be lost.

    Hours later it would be too late.

    Raises:
        UserError: one of them cannot be written, or is a file that is read.
    """
    read = read_files(args)
    check_writable(args.checkpoints, '--checkpoints')
    answers = filter(_ANSWERS.fullmatch, _names(args.checkpoints))
    for name in (METRICS_FILE, EVALUATION_FILE, RUN_LOG, *OUTPUTS, *answers):
        refuse_inputs(os.path.join(args.checkpoints, name), '--checkpoints', read)
    for name in _names(os.path.join(args.checkpoints, REPORTS)):
        refuse_inputs(os.path.join(args.checkpoints, REPORTS, name), '--checkpoints', read)
    if args.do_train and args.log_dir:
        check_writable(args.log_dir, '--log_dir')
    if args.do_test and args.test_set:
        for save in split_list(args.test_save):
            _check_predictions(save, read)
    if args.diagnostic:
        check_output(args.diagnostic_save, '--diagnostic_save', read)


def read_files(args):
    """Paths of the files that the flags of a fine-tuning or prediction program have it read; `-` for standard input."""
    lists = [getattr(args, name, None) for name in ('train_set', 'dev_set', 'test_set')]
    files = [path for text in lists for path in split_list(text)]
    of_model = ('label_map_config', 'ernie_config_path', 'vocab_path', 'sentence_piece_model', 'word_dict')
    for name in ('predict_set', 'diagnostic', *of_model):
        files += filter(None, [getattr(args, name, None)])
    for name in ('init_checkpoint', 'init_pretraining_params'):
        files += model_files(getattr(args, name, None))
    return files


def model_files(path):
    """Paths of the files of a model: those of its tensors and what lies beside them. path: a file, a folder or None."""
    if not path or not os.path.isdir(path):
        return ([path] if os.path.lexists(path) else files_of(path) or [path]) if path else []
    names, inner = _names(path), os.path.join(path, PARAMETERS)
    found = [name for name in names if name.endswith(_TENSORS) or name in _COMPANIONS]
    if not any(name.endswith(_TENSORS) for name in found) and not os.path.isdir(inner):
        found = names  # a folder of variables holds nothing else
    return [*(os.path.join(path, name) for name in found), *(os.path.join(inner, name) for name in _names(inner))]


def _names(folder):
    try:
        return [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return []


def _check_predictions(save, read, flag='--test_save'):
    """`save` is the beginning of the names of several files: epoch and step come behind it."""
    if is_stream(save):
        check_output(save, flag)
        return
    folder, beginning = os.path.split(save)
    check_writable(folder, flag)
    for name in _names(folder or '.'):
        if name.startswith(beginning) and _PREDICTIONS.fullmatch(name, len(beginning)):
            refuse_inputs(os.path.join(folder, name), flag, read)
