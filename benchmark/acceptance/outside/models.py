"""Model folders and what lies in them."""

import contextlib
import functools
import json
import pickle
import struct
import tempfile
from pathlib import Path

import numpy as np

from benchmark.acceptance.mutations import mutate_bytes, mutate_json
from benchmark.acceptance.outside.inputs import (
    ARRAYS,
    CONFIG,
    HUGGINGFACE,
    LABELS,
    TAGS,
    VOCABULARY,
    WORDS,
)
from benchmark.acceptance.outside.pickles import TORCH_PICKLE, mutate_pickle, mutate_torch, torch_bytes
from benchmark.acceptance.outside.registry import PARSERS, Parser, framed, parser


def _head(content):
    (length,) = struct.unpack('<Q', content[:8])
    return content[8 : 8 + length]


def _with_head(content, head):
    return struct.pack('<Q', len(head)) + head + content[8 + len(_head(content)) :]


def _read_all(tensors):
    for name in tensors:
        assert tensors[name].shape == tensors.shape(name) and tensors[name].dtype == tensors.dtype(name)


def _tensor_file(name, content, mutate, companions=None):
    @parser(name, {name.split(' ')[0]: content, **(companions or {})}, mutate)
    def read(folder):
        from propeller.storage import open_tensors

        _read_all(open_tensors(folder))


def _safetensors():
    from safetensors.numpy import save

    return save({name: np.asarray(array) for name, array in ARRAYS.items()}, {'format': 'pt'})


_INDEX = json.dumps({'metadata': {}, 'weight_map': {'word_embedding': 'p1', 'b': 'p1', 'n': 'p1'}}).encode()
_tensor_file('model.safetensors', _safetensors(), framed(_with_head, _head, mutate_json))
_tensor_file('model.safetensors.index.json', _INDEX, mutate_json, {'p1': _safetensors()})
_PDPARAMS = ARRAYS | {'StructuredToParameterName@@': {'b': 'b'}}
_PDPARAMS |= {'UnpackBigParamInfor@@': {'w': {'OriginShape': (2, 2), 'slices': ['p']}}, 'p': np.zeros(4, np.float32)}
for _protocol in (2, 4):
    _tensor_file(f'x.pdparams {_protocol}', pickle.dumps(_PDPARAMS, _protocol), mutate_pickle)
_tensor_file('pytorch_model.bin', torch_bytes(TORCH_PICKLE), mutate_torch)


def _fluid():
    from propeller.storage.fluid import encode_variable

    return encode_variable(ARRAYS['word_embedding']) + ARRAYS['word_embedding'].tobytes()


_tensor_file('fluid_variable', _fluid(), mutate_bytes)


@parser('ernie_config.json', {'ernie_config.json': json.dumps(CONFIG).encode()}, mutate_json)
def _ernie_config(folder):
    from ernie.checkpoint.sizes import check_sizes
    from ernie.config import ErnieConfig

    config = ErnieConfig(folder / 'ernie_config.json')
    config.print_lines()
    check_sizes(config)


@parser(
    'config.json', {'config.json': json.dumps(HUGGINGFACE).encode(), 'model.safetensors': _safetensors()}, mutate_json
)
def _config(folder):
    from ernie.checkpoint import open_model
    from ernie.checkpoint.sizes import check_sizes
    from ernie.config import ErnieConfig

    model = open_model(str(folder))
    if model.config is not None:
        check_sizes(ErnieConfig(model.config), model)


_TOKENIZER_CONFIG = {
    'tokenizer_class': 'BertTokenizer',
    'do_lower_case': False,
    'strip_accents': None,
    'model_max_length': 16,
    'tokenize_chinese_chars': True,
    'unk_token': '[UNK]',
    'added_tokens_decoder': {'0': {'content': '[PAD]'}},
}


@parser(
    'tokenizer_config.json',
    {'tokenizer_config.json': json.dumps(_TOKENIZER_CONFIG).encode(), 'vocab.txt': VOCABULARY},
    mutate_json,
)
def _tokenizer_config(folder):
    from ernie.checkpoint.tokenizer_settings import folder_tokenizer

    folder_tokenizer(str(folder)).settings.make(folder / 'vocab.txt').encode('今天 Bad')


_TOKENIZER_JSON = {
    'version': '1.0',
    'added_tokens': [{'id': 0, 'content': '[PAD]', 'special': True}],
    'normalizer': {'type': 'BertNormalizer', 'clean_text': True, 'handle_chinese_chars': True, 'lowercase': True},
    'pre_tokenizer': {'type': 'BertPreTokenizer'},
    'post_processor': {'type': 'BertProcessing', 'sep': ['[SEP]', 2], 'cls': ['[CLS]', 1]},
    'model': {
        'type': 'WordPiece',
        'unk_token': '[UNK]',
        'continuing_subword_prefix': '##',
        'max_input_chars_per_word': 100,
        'vocab': {word: i for i, word in enumerate(WORDS)},
    },
}


@parser('tokenizer.json', {'tokenizer.json': json.dumps(_TOKENIZER_JSON).encode()}, mutate_json)
def _tokenizer_json(folder):
    from ernie.checkpoint.tokenizer_settings import folder_tokenizer
    from ernie.tokenizers.vocabulary import vocabulary_bytes

    folder_tokenizer(str(folder)).settings.make(folder / 'tokenizer.json').encode('今天 Bad')
    vocabulary_bytes(folder / 'tokenizer.json')


def _vocab(name, content):
    @parser(name, {'vocab.txt': content})
    def read(folder):
        from ernie.tokenization import FullTokenizer

        FullTokenizer(folder / 'vocab.txt').encode('今天 Bad')


_vocab('vocab.txt', VOCABULARY)
_vocab('vocab.txt with ids', ''.join(f'{word}\t{i}\n' for i, word in enumerate(WORDS)).encode())


@parser('labels.json', {'labels.json': json.dumps(LABELS).encode()}, mutate_json)
def _labels(folder):
    from ernie.checkpoint.labels_json import read_saved_labels
    from ernie.decoding.classes import count_labels, label_names

    saved = read_saved_labels(str(folder))
    label_names(saved.get('label_map'), count_labels(None, saved.get('label_map'), None, saved.get('num_labels')))


@parser('label map', {'map.json': json.dumps(TAGS).encode()}, mutate_json)
def _label_map(folder):
    from ernie.reader.sequence_label import load_tag_map

    load_tag_map(folder / 'map.json', 'IOB')


@parser('word dictionary', {'dict.pickle': pickle.dumps({'今天', '热', 'x'}, 2)}, mutate_pickle)
def _word_dict(folder):
    from ernie.tokenizers.word_list import load_word_dict

    load_word_dict(folder / 'dict.pickle')


@parser('word dictionary as text', {'dict.txt': '今天\n热 x\n'.encode()})
def _word_text(folder):
    from ernie.tokenizers.word_list import WordList, load_word_dict

    WordList(load_word_dict(folder / 'dict.txt')).segment('今天 热')


_EXPORTED = {'format': 'paddle', 'outputs': [{'name': 'o', 'shape': [-1, 2]}], 'constants': {}}


@parser(
    'inference.json',
    {
        'inference.json': json.dumps(_EXPORTED).encode(),
        'labels.json': json.dumps(LABELS).encode(),
        'ernie_config.json': json.dumps(CONFIG).encode(),
        'vocab.txt': VOCABULARY,
    },
    mutate_json,
)
def _exported(folder):
    from ernie.inference.folder import ModelFolder

    model = ModelFolder(str(folder))
    model.codec.encode({'text_a': '今天 bad'})


_READING = {'task_id': 0, 'for_cn': False, 'max_seq_len': 9}


@parser(
    'inference.json of vectors',
    {
        'inference.json': json.dumps(
            _EXPORTED | {'vectors': {'pooling': 'mean', 'layer': 1, 'reading': _READING}}
        ).encode(),
        'ernie_config.json': json.dumps(CONFIG).encode(),
        'vocab.txt': VOCABULARY,
    },
    mutate_json,
)
def _exported_vectors(folder):
    from ernie.inference.vectors import VectorFolder

    VectorFolder(str(folder)).codec.encode({'text_a': '今天 bad'})


_COMMON = {'max_seq_len': 16, 'do_lower_case': True, 'tokenizer': 'FullTokenizer', 'task_id': 0}
_TAGGER = {'task': 'sequence_labeling', 'label_map': TAGS, 'num_labels': len(TAGS), 'chunk_scheme': 'IOB'}
_READER = {'task': 'mrc', 'max_query_length': 4, 'doc_stride': 3, 'max_answer_length': 5, 'n_best_size': 3}


def _task_labels(labels, record):
    """Changed labels of an exported model, whose codec then reads a record."""
    name = f'labels.json of {labels["task"]}'
    files = {'labels.json': _COMMON | labels, 'inference.json': _EXPORTED, 'ernie_config.json': CONFIG}
    files = {file: json.dumps(content).encode() for file, content in files.items()}

    @parser(name, files | {'vocab.txt': VOCABULARY}, mutate_json)
    def _read(folder):
        from ernie.inference.folder import ModelFolder
        from ernie.tasks.codec import BadRecord

        with contextlib.suppress(BadRecord):  # without the task it is taken for a classifier
            ModelFolder(str(folder)).codec.encode(record)


_task_labels(_TAGGER | {'use_crf': False, 'token_cut': {'rule': 'words', 'inside': '.'}}, {'text_a': '今天 bad'})
_task_labels(
    _READER | {'unanswerable': True, 'to_simplified': False, 'null_score_diff_threshold': 0.5},
    {'question': '今天', 'context': '今天 bad'},
)


@functools.cache
def _paddle_model():
    """The two files of a small inference model, made when they are first needed: it takes Paddle."""
    from propeller.graph import paddle

    paddle.enable_static()
    program, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, startup), tempfile.TemporaryDirectory() as folder:
        x = paddle.static.data('x', [-1, 4], 'float32')
        y = paddle.static.nn.fc(x, 3, activation='relu')
        executor = paddle.static.Executor()
        executor.run(startup)
        paddle.static.save_inference_model(f'{folder}/model', [x], [y], executor, program=program)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _mutate_paddle_model(rng):
    files = dict(_paddle_model())
    name = rng.choice(sorted(files))
    files[name] = (mutate_json if name.endswith('.json') else mutate_bytes)(files[name], rng)
    return files


def _read_paddle_model(folder):
    from propeller.exported import ExportedModel

    ExportedModel(str(folder))


PADDLE_MODEL = 'exported model of Paddle'
PARSERS[PADDLE_MODEL] = Parser({}, _mutate_paddle_model, _read_paddle_model)
