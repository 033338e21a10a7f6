"""The command line of infer_classifyer.py, frozen: users' scripts depend on it, so a change is a decision."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ernie.programs import INFER
from propeller.errors import UsageError

# Every flag of 2019 with its type and default.
OF_2019 = {
    'ernie_config_path': (str, None),
    'init_checkpoint': (str, None),
    'save_inference_model_path': (str, 'inference_model'),
    'use_fp16': (bool, False),
    'num_labels': (int, None),  # 2 in 2019; None takes that of the checkpoint
    'predict_set': (str, None),
    'vocab_path': (str, None),
    'sentence_piece_model': (str, None),
    'word_dict': (str, None),
    'label_map_config': (str, None),
    'max_seq_len': (int, None),  # 128 in 2019; None takes that of the checkpoint, and 128 without
    'batch_size': (int, 32),
    'do_lower_case': (bool, None),  # true in 2019; None takes that of the checkpoint, and true without
    'use_cuda': (bool, None),  # true in 2019; None takes a GPU where there is one
    'do_prediction': (bool, True),
}
SINCE = {
    'task': (str, None),
    'format': (str, 'tsv'),
    'output': (str, '-'),
    'input_format': (str, 'auto'),
    'engine': (str, 'predictor'),
    'precision': (str, None),
    'export_format': (str, None),
    'overwrite': (bool, False),
    'length_window': (int, 50),
    'skip_bad_rows': (bool, False),
    'tokenizer': (str, None),
    'for_cn': (bool, None),
    'cpu_threads': (int, None),
    'text_column': (str, None),
    'text_b_column': (str, None),
    'log_level': (str, None),
    'top_k': (int, None),
    'min_confidence': (float, None),
    'carry': (bool, False),
}


def test_no_flag_comes_goes_or_changes_its_default():
    assert vars(INFER.build_parser().parse_args([])) == {
        name: default for name, (_, default) in (OF_2019 | SINCE).items()
    }


@pytest.mark.parametrize(('name', 'kind'), [(name, kind) for name, (kind, _) in (OF_2019 | SINCE).items()])
def test_types(name, kind):
    choices = {action.dest: action.choices for action in INFER.build_parser()._actions}[name]
    text, expected = {bool: ('True', True), int: ('7', 7), float: ('0.5', 0.5), str: ('x y', 'x y')}[kind]
    if choices:
        text = expected = list(choices)[-1]
        with pytest.raises(UsageError, match=f'--{name}'):
            INFER.build_parser().parse_args([f'--{name}', 'nonsense'])
    assert getattr(INFER.build_parser().parse_args([f'--{name}', text]), name) == expected


def test_choices():
    choices = {action.dest: list(action.choices) for action in INFER.build_parser()._actions if action.choices}
    assert choices == {
        'task': ['classification', 'regression', 'multilabel', 'sequence_labeling', 'mrc'],
        'format': ['tsv', 'jsonl', 'csv', 'parquet', 'text'],
        'input_format': ['auto', 'tsv', 'csv', 'jsonl', 'json', 'text', 'parquet', 'conll', 'squad'],
        'engine': ['executor', 'predictor', 'onnxruntime', 'openvino', 'fused'],
        'precision': ['fp32', 'bf16', 'int8'],
        'export_format': ['paddle', 'onnx', 'openvino', 'fused'],
    }


def test_overwrite_is_a_switch_too():
    assert INFER.build_parser().parse_args(['--overwrite']).overwrite is True
    assert INFER.build_parser().parse_args(['--overwrite', 'false']).overwrite is False


def test_abbreviations_of_the_published_scripts():
    assert INFER.build_parser().parse_args(['--label_map', 'map.json']).label_map_config == 'map.json'


@pytest.mark.parametrize('program', ['infer_classifyer.py', 'infer_classifier.py'])
def test_help_shows_every_flag_and_default(program):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, root / program, '--help'], capture_output=True, text=True)
    assert done.returncode == 0
    words = re.sub(r'\s+', ' ', done.stdout)
    for name, (_, default) in (OF_2019 | SINCE).items():
        assert f'--{name} ' in words
        if default is not None:
            assert f'Default: {default}.' in words
