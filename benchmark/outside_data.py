"""Every parser of outside data: a valid input as files, how it is changed, and the call that reads it."""

import functools
import gzip
import io
import json
import os
import pickle
import pickletools
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.mutations import json_bytes, mutate_bytes, mutate_json, mutate_json_lines, mutate_value

CONFIG = {
    'vocab_size': 12,
    'hidden_size': 4,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'max_position_embeddings': 16,
    'type_vocab_size': 2,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.02,
}
HUGGINGFACE = CONFIG | {
    'model_type': 'bert',
    'architectures': ['BertForSequenceClassification'],
    'layer_norm_eps': 1e-12,
}
HUGGINGFACE |= {'id2label': {'0': '差', '1': '好'}, 'label2id': {'差': 0, '好': 1}}
WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'今天好热', 'bad', '##ly', 'x']
VOCABULARY = ''.join(f'{word}\n' for word in WORDS).encode()
LABELS = {
    'task': 'classification',
    'kind': 'classify',
    'max_seq_len': 16,
    'tokenizer': 'FullTokenizer',
    'task_id': 0,
    'do_lower_case': True,
    'for_cn': True,
    'num_labels': 2,
    'labels': ['0', '1'],
    'label_map': {'0': 0, '1': 1},
}
SQUAD = {'version': 'x', 'data': [{'title': 't', 'paragraphs': [{'context': '今天很热。', 'qas': [
    {'id': 'q1', 'question': '怎样？', 'answers': [{'text': '热', 'answer_start': 3}]},
    {'id': 'q2', 'question': '何时？', 'answers': [], 'is_impossible': True}]}]}]}  # fmt: skip
STATE = {
    'updates': 4,
    'loss_scale': {'scale': 1024.0, 'good': 3, 'bad': 0},
    'seed': 3,
    'global_step': 4,
    'epoch': 0,
    'random_states': [{'cpu': [-1, 3, 0, [49, 32, 50]]}],
    'data_position': {'epoch': 0, 'batch': 1, 'seed': 0, 'rows': 3, 'batch_size': 2, 'in_tokens': False, 'window': 0},
    'hooks': {'training_log': {'epoch': 0, 'rows_done': 8}, 'evaluation': {'best': 0.5, 'best_step': 4, 'worse': 0}},
}
SCHEDULE = {
    'tasks': {'knowledge_masking': {'filelist': 'a'}, 'sentence_reordering': {'filelist': 'b', 'classes': 33}},
    'stages': [
        {'steps': {'knowledge_masking': 20}},
        {'steps': {'knowledge_masking': 10, 'sentence_reordering': 30}, 'learning_rate': 5e-5, 'warmup_steps': 4},
    ],
}
YAML = b"""tasks: &t
  knowledge_masking: {filelist: a}
  sentence_reordering: {filelist: b, classes: 33}
stages:
  - steps: {knowledge_masking: 20}
  - steps: {knowledge_masking: 10, sentence_reordering: 30}
    learning_rate: 5.0e-5
    warmup_steps: 4
"""
TSV = 'text_a\ttext_b\tlabel\tqid\n今天 好\tbad\t1\t5\n热\tx\t0\t6\nbad\t天\t1\t7\n'.encode()
CSV = 'text,label\n"今天, ""好""",1\n热,0\n'.encode()
CONLL = '今 O\n天 B-T\n好 I-T\n\nbad B-T\nx O\n'.encode()
TAGS = {'B-T': 0, 'I-T': 1, 'O': 2}
SAMPLES = b'1 5 6 2 7 8 2;0 0 0 0 1 1 1;0 1 2 3 4 5 6;-1 0 1 -1 0 0 -1;1\n' * 5
ARRAYS = {'word_embedding': np.ones((12, 4), np.float32), 'b': np.arange(3, dtype=np.float16), 'n': np.int64(7)}


class Parser(NamedTuple):
    """files: dict name -> bytes of a valid input. mutate: function (name -> bytes, random) -> dict of the changed ones.

    read: function (folder) that reads the input, all of it.
    """

    files: dict
    mutate: Callable
    read: Callable


PARSERS = {}


def parser(name, files, mutate=mutate_bytes, target=None):
    """A decorator for the reading function; `mutate` changes the file `target`, the first by default."""
    target = target or next(iter(files))

    def add(read):
        def changed(rng):
            return {**files, target: mutate(files[target], rng)}

        PARSERS[name] = Parser(files, changed, read)
        return read

    return add


# ---------------------------------------------------------------- forms that wrap others


def framed(encode, decode, mutate):
    """A mutation of what a file wraps, half of the time, and of its own bytes."""

    def change(content, rng):
        return mutate_bytes(content, rng) if rng.random() < 0.4 else encode(content, mutate(decode(content), rng))

    return change


def zipped(mutate):
    return framed(lambda _, inner: gzip.compress(inner, 1), gzip.decompress, mutate)


def _head(content):
    (length,) = struct.unpack('<Q', content[:8])
    return content[8 : 8 + length]


def _with_head(content, head):
    return struct.pack('<Q', len(head)) + head + content[8 + len(_head(content)) :]


def mutate_pickle(content, rng):
    """Instructions removed, doubled, moved, or put in between."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    starts = [at for _, _, at in pickletools.genops(content)] + [len(content)]
    steps = [content[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    for _ in range(rng.choice((1, 2, 5))):
        at, other = (rng.randrange(1, len(steps)) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0:
            del steps[at]
        elif kind == 1:
            steps[at:at] = steps[other : other + rng.choice((1, 5, 30))] * rng.choice((1, 1, 200))
        elif kind == 2:
            steps[at], steps[other] = steps[other], steps[at]
        elif kind == 3:
            steps.insert(at, rng.choice(_INSTRUCTIONS))
        else:
            steps[at] = mutate_bytes(steps[at], rng)
        if len(steps) < 2:
            break
    return b''.join(steps)


_INSTRUCTIONS = [
    *(b'(', b't', b'l', b'd', b'}', b']', b')', b'0', b'1', b'2', b's', b'u', b'a', b'e', b'R', b'b', b'N', b'\x88'),
    *(
        b'h\x00',
        b'h\x01',
        b'q\x05',
        b'\x94',
        b'\x85',
        b'\x86',
        b'\x93',
        b'Q',
        b'\x8f',
        b'\x90',
        b'\x91',
        b'K\x07',
        b'cos\nsystem\n',
    ),
    *(
        b'\x8b\x00\x10\x00\x00' + b'\x7f' * 4096,
        b'G\x7f\xf0' + b'\x00' * 6,
        b'X\x03\x00\x00\x00\xed\xa0\x80',
        b'cbuiltins\nset\n',
    ),
]


def torch_bytes(pickled):
    """A file as `torch.save` writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        z.writestr('archive/data.pkl', pickled)
        z.writestr('archive/byteorder', 'little')
        z.writestr('archive/data/0', ARRAYS['word_embedding'].tobytes())
        z.writestr('archive/version', '3\n')
    return out.getvalue()


def _torch_pickle():
    op = lambda value: pickle.dumps(value, protocol=2)[2:-1]  # noqa: E731
    storage = b'(' + op('storage') + b'ctorch\nFloatStorage\n' + op('0') + op('cpu') + op(48) + b'tQ'
    arguments = storage + op(0) + op((12, 4)) + op((4, 1)) + op(False) + b'ccollections\nOrderedDict\n)R'
    tensor = b'ctorch._utils\n_rebuild_tensor_v2\n(' + arguments + b'tR'
    return b'\x80\x02ccollections\nOrderedDict\n)R(' + op('word_embedding') + tensor + op('epoch') + op(3) + b'u.'


TORCH_PICKLE = _torch_pickle()


def _mutate_torch(content, rng):
    return torch_bytes(mutate_pickle(TORCH_PICKLE, rng)) if rng.random() < 0.6 else mutate_bytes(content, rng)


def tar_bytes():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as tar:
        for name in ('m/params/w', 'm/' + '深' * 60 + '/vocab.txt'):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
    return gzip.compress(out.getvalue(), 1)


def npy_bytes(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


# ---------------------------------------------------------------- model folders


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
_tensor_file('pytorch_model.bin', torch_bytes(TORCH_PICKLE), _mutate_torch)


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
    from ernie.vocabulary import vocabulary_bytes

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
    from ernie.finetune.labels import count_labels, label_names
    from ernie.finetune.saved import read_saved_labels

    saved = read_saved_labels(str(folder))
    label_names(saved.get('label_map'), count_labels(None, saved.get('label_map'), None, saved.get('num_labels')))


@parser('label map', {'map.json': json.dumps(TAGS).encode()}, mutate_json)
def _label_map(folder):
    from ernie.reader.sequence_label import load_tag_map

    load_tag_map(folder / 'map.json', 'IOB')


@parser('word dictionary', {'dict.pickle': pickle.dumps({'今天', '热', 'x'}, 2)}, mutate_pickle)
def _word_dict(folder):
    from ernie.subword import load_word_dict

    load_word_dict(folder / 'dict.pickle')


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
    model.task.encode({'text_a': '今天 bad'})


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


# ---------------------------------------------------------------- training


@parser('training_state.json', {'training_state.json': json.dumps(STATE).encode()}, mutate_json)
def _state(folder):
    from ernie.finetune.hooks import EvaluationHook
    from propeller.data.batching import BatchStream
    from propeller.train.checkpoint import read_state
    from propeller.train.precision import LossScale

    class Rows:
        lengths = np.array([3, 4, 5])

    state = read_state(folder)
    if state.get('loss_scale'):
        LossScale().load_state_dict(state['loss_scale'])
    EvaluationHook(None, 1, None).load_state_dict(state.get('hooks', {}).get('evaluation'))
    stream = BatchStream(Rows(), lambda indices: [], 2, window=0)
    position = state.get('data_position')
    stream.seek(position if not isinstance(position, dict) else stream.position | position)


def _schedule(name, content, mutate):
    @parser(f'schedule {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.schedule import read_schedule, turns

        schedule = read_schedule(folder / name)
        for stage in schedule.stages:
            next(turns(stage, stage.total // 2), None)
        schedule.rate('linear_warmup_decay', 1e-3, 10)(schedule.total // 2)


_schedule('s.json', json.dumps(SCHEDULE).encode(), mutate_json)
_schedule('s.yaml', YAML, mutate_bytes)


@parser('best.json', {'best.json': b'{"dev": {"acc": 0.5, "loss": 1.25}, "test": {"acc": 1}}'}, mutate_json)
def _best(folder):
    from propeller.train.exporter import BestExporter

    BestExporter(str(folder), lambda old, new: old['dev']['acc'] < new['dev']['acc'])


_RECORD = {'step': 1, 'epoch': 0, 'phase': 'train', 'time': 1.5, 'loss': 0.5, 'acc': None}


@parser('metrics.jsonl', {'m.jsonl': (json.dumps(_RECORD).encode() + b'\n') * 3}, mutate_json_lines)
def _metrics(folder):
    from propeller.train.record import MetricsFile, read_metrics

    read_metrics(folder / 'm.jsonl')
    MetricsFile(folder / 'm.jsonl', resume_step=1).close()


def _settings(name, content):
    @parser(name, {'settings': content}, mutate_json)
    def read(folder):
        from propeller.config import parse_file
        from propeller.types import HParams, RunConfig

        HParams.from_json(HParams.from_dict(parse_file(folder / 'settings')).to_json())
        RunConfig(**parse_file(folder / 'settings'))


_settings(
    'run configuration', json.dumps({'model_dir': 'm', 'max_steps': 100, 'log_steps': 10, 'precision': 'fp32'}).encode()
)


@parser('run configuration, Python', {'settings': b"{'model_dir': 'm', # x\n 'max_steps': 10*(2**3), 'log_steps': 1,}"})
def _python_settings(folder):
    from propeller.config import parse_file
    from propeller.types import RunConfig

    RunConfig(**parse_file(folder / 'settings'))


_MESSAGE = {'failed': {'text': 'x', 'code': 1, 'restartable': True, 'signal': 0}, 'start': 3, '--master': 'a:1'}


@parser('launcher messages', {'m': (json.dumps(_MESSAGE).encode() + b'\n') * 2}, mutate_json_lines)
def _messages(folder):
    from propeller.launch.messages import Failure, Lines, disagreement

    lines, content = Lines(), (folder / 'm').read_bytes()
    for at in range(0, len(content), 4096):
        for message in lines.feed(content[at : at + 4096]):
            disagreement({'--master': 'b:1'}, message, 1)
            if 'failed' in message:
                Failure.from_message(message)


_REQUESTS = b''.join(
    struct.pack('=iQ', command, 3) + b'key' + rest
    for command, rest in ((3, struct.pack('=Q', 2) + b'12'), (0, struct.pack('=q', 5)), (1, b''), (2, b''), (4, b''))
)


@parser('requests to the store', {'requests': _REQUESTS * 3})
def _requests(folder):
    from propeller.launch.store import Store, parse

    store, received = Store(), bytearray((folder / 'requests').read_bytes())
    while request := parse(received):
        del received[: request[0]]
        store.answer('client', *request[1:])


@parser('lock file', {'lock': json.dumps({'host': 'a', 'boot': 'b', 'pid': 7}).encode()}, mutate_json)
def _lock(folder):
    from propeller.storage.locks import holder_of, is_of_this_machine, may_be_alive

    owner = holder_of(folder / 'lock')
    is_of_this_machine(owner)
    may_be_alive(owner)


# ---------------------------------------------------------------- data


def _tokenizer(folder):
    from ernie.tokenization import FullTokenizer

    (folder / 'vocab.txt').write_bytes(VOCABULARY)
    return FullTokenizer(folder / 'vocab.txt')


def _table(name, content, for_cn):
    @parser(name, {name: content})
    def read(folder):
        from ernie.reader.classify import ClassifyReader

        for skip in (False, True):
            reader = ClassifyReader(_tokenizer(folder), 16, for_cn=for_cn, skip_bad_rows=skip, cache=False, processes=1)
            reader.read(folder / name)


_table('data.tsv', TSV, True)
_table('data.csv', CSV, False)


def _tagging(name, content):
    @parser(f'tagging {name}', {name: content})
    def read(folder):
        from ernie.reader.sequence_label import SequenceLabelReader

        for labelled in (True, False):
            reader = SequenceLabelReader(_tokenizer(folder), 16, TAGS, labelled=labelled, cache=False, processes=1)
            reader.read(folder / name)


_tagging('tags.txt', CONLL)
_tagging('tags.tsv', 'text_a\tlabel\n今\x02天\tO\x02B-T\nbad\tO\n'.encode())


@parser('SQuAD JSON', {'s.json': json.dumps(SQUAD).encode()}, mutate_json)
def _squad(folder):
    from ernie.reader.mrc import Limits
    from ernie.reader.question_set import MrcReader
    from ernie.reader.records import BadRows
    from ernie.reader.squad_json import read_squad

    read_squad(folder / 's.json', BadRows(folder / 's.json'))
    MrcReader(_tokenizer(folder), Limits(16, 6, 4), processes=1).read(folder / 's.json', training=True)


@parser('predictions of questions', {'p.json': b'{"q1": "a", "q2": ""}'}, mutate_json)
def _predictions(folder):
    from ernie.metrics.reading import load_predictions

    load_predictions(folder / 'p.json')


@parser('JSON lines', {'p.jsonl': '{"text_a": "今天", "x": 1}\n{"text_a": "热"}\n'.encode()}, mutate_json_lines)
def _json_lines(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.jsonl')):
        str(row.bad and row.bad.as_error('p'))


@parser('JSON array', {'p.json': '[{"text_a": "今天", "x": 1}, {"text_a": "热"}]'.encode()}, mutate_json)
def _json_array(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.json')):
        str(row.bad and row.bad.as_error('p'))


@parser('table to predict', {'p.tsv': TSV})
def _predict_table(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.tsv')):
        str(row.bad and row.bad.as_error('p'))


# ---------------------------------------------------------------- pre-training


def _samples(name, content, mutate):
    @parser(f'samples {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.sample_set import Limits, check_limits, read_sets
        from ernie.pretrain.tasks import make_tasks

        for samples in read_sets(str(folder / name)):
            check_limits(samples, Limits(12, 2, 16), make_tasks(['knowledge_masking', 'next_sentence']), name)


_samples('samples.txt', SAMPLES, mutate_bytes)
_samples('samples.gz', gzip.compress(SAMPLES, 1), zipped(mutate_bytes))


@parser('list of files', {'list': b'a.gz\t1.0\na.gz\t0\n', 'a.gz': b'x'})
def _file_list(folder):
    from ernie.pretrain.file_list import read_file_list

    read_file_list(folder / 'list')


def _documents(name, content, mutate):
    @parser(f'documents {name}', {name: content}, mutate)
    def read(folder):
        from ernie.pretrain.building.documents import read_documents

        for document in read_documents([str(folder / name)]):
            str(document.name)


_TEXT = '标题\n今天很热。好。\n\n第二 document.\nmore text\n'.encode()
_documents('text.txt', _TEXT, mutate_bytes)
_documents('text.gz', gzip.compress(_TEXT, 1), zipped(mutate_bytes))
_documents('text.jsonl', '{"text": "今天\\n热"}\n{"text": "x", "id": 3}\n'.encode(), mutate_json_lines)


@parser('lines of a data set', {'lines.gz': gzip.compress(_TEXT, 1)}, zipped(mutate_bytes))
def _lines(folder):
    from propeller.data.dataset import Dataset

    for _ in Dataset.from_file(folder / 'lines.gz', 'GZIP'):
        pass


@parser('discourse markers', {'r.json': '{"cause": ["因为", "so"], "time": ["then"]}'.encode()}, mutate_json)
def _relations(folder):
    from ernie.pretrain.tasks.discourse_markers import load_relations

    load_relations(folder / 'r.json')


_MANIFEST = {'settings': {'seed': 1}, 'shards': {'0': {'files': {'train': 't0.gz'}, 'counts': {}, 'first': []}}}


@parser('manifest of shards', {'manifest.json': json.dumps(_MANIFEST).encode(), 't0.gz': b'x'}, mutate_json)
def _manifest(folder):
    from ernie.pretrain.building.shards import MANIFEST, ShardFolder

    if MANIFEST != 'manifest.json':
        shutil.copy(folder / 'manifest.json', folder / MANIFEST)
    ShardFolder(folder, {'seed': 1}, overwrite=True).close()


# ---------------------------------------------------------------- downloads and caches


@parser('archive', {'a.tar.gz': tar_bytes()}, zipped(mutate_bytes))
def _archive(folder):
    from ernie.utils.unpack import unpack

    unpack(folder / 'a.tar.gz', folder / 'out', 1 << 24, 1000)


@parser('record of a download', {'r.json': b'{"sha256": "0af", "url": "http://x", "size": 3}'}, mutate_json)
def _record(folder):
    from ernie.utils.fetch import _Download
    from ernie.zoo import _read_record

    shutil.copy(folder / 'r.json', folder / 'part.json')
    _Download('http://x', folder / 'part', 1 << 20)._state()
    _read_record(folder / 'r.json')


CACHED = {
    'ids': np.array([1, 5, 2, 1, 6, 7, 2], np.int32),
    'offsets': np.array([0, 3, 7]),
    'split': np.array([3, 4], np.int32),
    'lines': np.array([2, 3]),
    'labels': np.array([0, 1]),
}


_ABOUT = {'columns': ['text_a', 'label'], 'notes': [['warning', 3, 'x']], 'token_cut_remark': ''}


def _mutate_entry(rng):
    arrays = {f'{name}.npy': npy_bytes(array) for name, array in CACHED.items()}
    meta = {'rows': 2, 'bad_rows': {'count': 1, 'rows': [[2, 'x']]}, 'about': _ABOUT, 'crc32': {}}
    name = rng.choice(list(arrays))
    if rng.random() < 0.5:
        arrays[name] = mutate_bytes(arrays[name], rng)
    else:
        array = CACHED[name.removesuffix('.npy')].copy()
        array[rng.randrange(len(array))] = rng.choice([-1, 0, 3, 11, 12, 2**31 - 1, -(2**31)])
        arrays[name] = npy_bytes(array)
    meta['crc32'] = {name.removesuffix('.npy'): zlib.crc32(content) for name, content in arrays.items()}
    described = json.dumps(meta).encode()
    if rng.random() < 0.3:
        described = json_bytes(mutate_value(meta, rng), rng)
    return {**arrays, 'set.json': described}


def _entry(folder):
    from ernie.reader.columns import Notices
    from ernie.reader.notes import say
    from ernie.reader.tokenized_set import SetCache

    entry = folder.parent / 'cache' / 'aa'
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir(mode=0o700, parents=True)
    os.chmod(entry, 0o700)
    for path in folder.iterdir():
        (entry / path.name).write_bytes(path.read_bytes())
    bounds = {'ids': (0, 12), 'length': 16, 'labels': (0, 2), 'columns': 2, 'about': ('columns',)}
    found = SetCache(str(entry.parent), bounds).load('aa')
    if found is not None:
        say('x', found.about.get('notes', ()))
        Notices('x', ()).say(found.about['columns'])
        ids, types, _, _ = found.padded(np.arange(len(found)))
        assert ids.size == 0 or (ids.min() >= 0 and ids.max() < 12 and ids.shape == types.shape and ids.shape[1] <= 16)


PARSERS['entry of the token cache'] = Parser({}, _mutate_entry, _entry)


def write(files, folder):
    """The files of an input in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder = Path(folder)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
