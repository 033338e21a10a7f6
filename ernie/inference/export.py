"""From a checkpoint to an inference model in a folder that holds everything else that prediction needs."""

import contextlib
import copy
import os
import subprocess
import sys
import tempfile
import unicodedata

import numpy as np

from ernie.checkpoint import match_parameters
from ernie.checkpoint.model_folder import to_json
from ernie.checkpoint.names import is_training_state
from ernie.inference.engines import ONNX_FILE, OPENVINO, OPENVINO_FILE, PredictorEngine, open_engine, optional_package
from ernie.inference.fused import FusedEngine
from ernie.inference.predict import tokenized_rows
from ernie.model.task_model import encoder_feeds
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.exported import FUSED, INFERENCE
from propeller.compare import check_outputs
from propeller.environment import usable_cores
from propeller.errors import UserError, bad_input
from propeller.graph import load_paddle
from propeller.log import get_logger
from propeller.progress import progress
from propeller.session import Session
from propeller.storage.folders import whole_folder, write_files
from propeller.storage.values import load_values
from propeller.train.model import build_model_spec
from propeller.types import RunMode

log = get_logger(__name__)

TOLERANCE = 1e-5
OPSET = 17  # the first one that has layer normalisation as one operator
SUFFIX = '_inference_model'
_ENGINES = {'paddle': ('predictor', 'executor'), 'onnx': ('onnxruntime',), OPENVINO: ('openvino',), FUSED: (FUSED,)}
# Real text for the batch on which an export must give the numbers of the graph: several lengths, two alphabets.
_TEXTS = (
    '百度是一家高科技公司，总部在北京。',
    'The room was clean, the staff was friendly, and breakfast came late twice.',
    '好',
    '昨天买的手机屏幕有点暗，不过电池很耐用，用了两天还剩一半，拍照也比上一台清楚。',
    'Not bad at all!',
)


def target_folder(save_path, checkpoint):
    """`{save_path}/{last part of checkpoint}_inference_model`."""
    return os.path.join(save_path, os.path.basename(os.path.abspath(checkpoint)) + SUFFIX)


def check_target(target, overwrite):
    """Refuse to write over what is there, before any work is done.

    Raises:
        UserError: `target` exists, and is not to be replaced or is no exported model.
    """
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise bad_input(
            target,
            'a folder that exists',
            'a new one',
            advice='--overwrite true replaces it; given as --init_checkpoint it predicts without another export.',
        )
    is_export = os.path.isfile(os.path.join(target, INFERENCE)) or (os.path.isdir(target) and not os.listdir(target))
    if not is_export:
        raise bad_input(target, 'something else', 'an exported model, which --overwrite true replaces')


class Graph:
    """The prediction graph of a checkpoint, with its parameters: the numbers that every export must give.

    For an export it runs on the processor: a GPU may round matrix products to fewer digits than they are compared by.

    Args:
        folder: `ModelFolder` of a checkpoint.
        device: GPU number, None for the processor.
        packing: `ernie.model.packed.Packing`, the encoder in another form; None: Paddle's own operators.
        tensors: the parameters by name; None: those of the folder.
    Attributes:
        session, program: of `propeller.graph`.
        inputs, outputs: lists of values of the program.
    Raises:
        UserError: the checkpoint does not have the parameters of the task.
    """

    def __init__(self, folder, device=None, packing=None, tensors=None):
        self.session = Session(device is not None, seed=0, device=device or 0)
        self.packing = packing  # its weights live as long
        graph = folder.spec.load('graph')
        params = graph.prediction_params(folder.config, folder.settings)

        def build(*features):
            spec = build_model_spec(graph, features, RunMode.PREDICT, params, None)
            return spec.inference_spec.inputs, reading_all(features, graph.results(spec.predictions))

        with packing or contextlib.nullcontext():
            self.program = self.session.build(encoder_feeds(folder.config), build, portable=True)
        self.inputs, self.outputs = self.program.outputs
        load_parameters(self, tensors or folder.tensors, packing)

    def run(self, arrays):
        """Outputs for one batch."""
        return self.session.run(self.program, arrays, self.outputs)

    def shapes(self):
        """Shape of each output, -1 for sizes that vary."""
        return [tuple(int(size) for size in value.shape) for value in self.outputs]


def load_parameters(graph, tensors, packing=None, allow_unused=()):
    """Give a graph its parameters.

    Args:
        graph: has `session` and `program`.
        tensors: `ernie.checkpoint.Model`, or what of it an export holds.
        packing: see `Graph`.
        allow_unused: see `match_parameters`.
    Raises:
        UserError: they do not fit.
    """
    own = graph.program.parameters()
    match = match_parameters(own | (packing.shapes() if packing else {}), tensors, allow_unused=allow_unused)
    names = [name for name in match.load if name in own]
    graph.session.initialize(graph.program, names)
    load_values(graph.session, progress(names, 'loading parameters', len(names), 'tensors'), tensors)
    if packing:
        packing.load(tensors)
    log.debug('%s: %d parameters loaded', tensors.path, len(match.load))
    unused = [n for n in (*match.unused, *getattr(tensors, 'unmapped', ())) if not is_training_state(n)]
    unused = [name for name in unused if name not in allow_unused]
    if unused:
        log.debug('not used: %s', ', '.join(unused))


def reading_all(features, outputs):
    """The outputs, made to depend on each input: an export has the same inputs whatever its encoder reads of them."""
    unread = [feature for feature in features if feature.use_empty()]
    return [outputs[0] + sum(f.astype('float32').sum() * 0.0 for f in unread), *outputs[1:]] if unread else outputs


def sample_batches(folder):
    """Batches of real text, as lists of arrays: a padded one of pairs and single texts, and one row of full length."""
    codec, longest = folder.codec, folder.settings['max_seq_len']
    vocab, tokenizer = codec.tokenizer.vocab, copy.copy(codec.tokenizer)
    tokenizer.warns = False  # nobody has prepared these texts for the model
    tokens = [tokenizer.encode(text) for text in _TEXTS]
    everything = [token for row in tokens for token in row]
    cls, sep = vocab['[CLS]'], vocab['[SEP]']
    rows = [[cls, *row[: longest - 2], sep] for row in tokens]
    full = (everything * (longest // max(len(everything), 1) + 1))[: longest - 2]
    rows.append([cls, *full, sep])
    most = min(2, folder.config.sentence_types)
    types = [1 + i % most for i in range(len(rows))]  # every other row has two, if it can
    split = [(len(row) + n - 1) // n for row, n in zip(rows, types, strict=True)]
    tokenized = tokenized_rows(rows, split)
    return [encoder_arrays(tokenized, np.array(chosen), codec.task_id) for chosen in ([0, 1, 2, 3, 4], [5])]


def export(folder, target, export_format='paddle', overwrite=False, engines=None):
    """Write the inference model of a checkpoint, and prove that it gives the numbers of the executor.

    The folder `target` then holds the model (`model.json` and `model.pdiparams`, `model.onnx`, `model.xml` and
    `model.bin`, or `model.safetensors`), `vocab.txt`, `labels.json`, `ernie_config.json` and `inference.json`. It
    appears whole or not at all.

    Args:
        folder: `ModelFolder` of a checkpoint, or `VectorFolder`.
        target: the folder to make.
        export_format: of `MODEL_FORMATS`; 'onnx' needs the packages paddle2onnx and onnxruntime, 'openvino' paddle2onnx
            and openvino, 'fused' the compiled operators.
        overwrite: whether an exported model in its place is replaced.
        engines: names of those whose numbers are compared; None: of the format, those that every machine has.
    Returns:
        (content of its `inference.json`, dict name -> engine: those that were compared, see `open_engine`).
    Raises:
        UserError: it exists already; the parameters do not fit; the export fails, or gives other numbers.
    """
    check_target(target, overwrite)
    if export_format != 'paddle':
        load_paddle()  # else paddle2onnx does, and all that paddle has to say comes out
        for package in () if export_format == FUSED else ('paddle2onnx', *_ENGINES[export_format]):
            optional_package(package, f'--export_format {export_format}')
    graph = folder.graph()
    batches, inference, opened = sample_batches(folder), _description(folder, graph, export_format), {}
    try:
        with whole_folder(target, replace=overwrite) as work:
            steps = (
                lambda: opened.update(_write_model(folder, graph, batches[0], work, export_format)),
                lambda: _check(graph, batches, work, engines or _ENGINES[export_format], opened),
                lambda: write_files(work, {**folder.files(), INFERENCE: to_json(inference)}),
            )
            for step in progress(steps, 'exporting', len(steps), 'steps'):
                step()
    except FileExistsError as e:
        raise bad_input(target, 'a folder that appeared meanwhile', 'a new one') from e
    except OSError as e:
        raise UserError(f'{target}: cannot be written ({e.strerror or e}).') from e
    return inference, opened


def checked_model(folder, place, engines):
    """Write the ONNX file of a model into a folder, and prove that engines give the numbers of the executor with it.

    Args:
        folder: `ModelFolder` of a checkpoint, or `VectorFolder`.
        place: folder that is there.
        engines: names of those that are compared.
    Returns:
        what its `inference.json` would say.
    Raises:
        UserError: the parameters do not fit; the export fails, or gives other numbers.
    """
    graph = folder.graph()
    batches = sample_batches(folder)
    _write_model(folder, graph, batches[0], place, 'onnx')
    _check(graph, batches, place, engines, {})
    return _description(folder, graph, 'onnx')


def _description(folder, graph, export_format):
    """What `inference.json` says."""
    feeds = [{'name': feed.name, 'shape': list(feed.shape), 'dtype': feed.dtype} for feed in graph.program.feeds]
    outputs = [{'name': f'fetch_name_{i}', 'shape': list(shape)} for i, shape in enumerate(graph.shapes())]
    described = {'format': export_format, 'feeds': feeds, 'outputs': outputs}
    # Whose characters the tokenizer knows: programs in other languages have tables of their own.
    described |= {'constants': folder.settings.get('constants', {}), 'unicode': unicodedata.unidata_version}
    return described | folder.described()


def _write_model(source, graph, sample, work, export_format):
    """-> dict name -> engine that has the model open. source: `ModelFolder` or `VectorFolder`."""
    if export_format == FUSED:
        engine = FusedEngine.of(source)
        engine.write(source.tensors, work)
        return {FUSED: engine}

    def write(folder):
        return graph.session.export_inference(
            graph.program, graph.inputs, graph.outputs, folder, sample, TOLERANCE, usable_cores()
        )

    if export_format == 'paddle':
        return {'predictor': PredictorEngine(write(work))}
    with tempfile.TemporaryDirectory(dir=work) as intermediate:
        write(intermediate)
        path = os.path.join(work if export_format == 'onnx' else intermediate, ONNX_FILE)
        convert_to_onnx(intermediate, path)
        if export_format == OPENVINO:
            convert_to_openvino(path, os.path.join(work, OPENVINO_FILE))
    return {}


def _check(graph, batches, work, engines, opened):
    for name in engines:
        opened[name] = open_engine(name, work, opened=opened)
        for batch in batches:
            found = graph.run(batch), opened[name].run(batch)
            expected, got = (of_tokens(outputs, graph.shapes(), batch[3]) for outputs in found)
            check_outputs(name, expected, got, TOLERANCE)


def of_tokens(outputs, shapes, mask):
    """Outputs of one batch without what is on padding, which means nothing: those [B, T, ...] as [tokens, ...].

    shapes: of `Graph.shapes`. mask: [B, T], 1 for tokens.
    """
    varies = [len(shape) > 1 and shape[1] == -1 for shape in shapes]
    return [array[mask > 0] if own else array for array, own in zip(outputs, varies, strict=True)]


def convert_to_openvino(onnx_file, path):
    """Convert an ONNX file to OpenVINO's files, `path` and the `.bin` beside it, with what is constant computed.

    They are mapped into memory and not copied, which an ONNX file is, and what is computed once here would take a copy
    of its own in each process: the weights of query, key and value side by side are a fifth of a model.
    """
    import openvino
    from openvino.passes import ConstantFolding, Manager

    model, manager = openvino.Core().read_model(onnx_file), Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    openvino.save_model(model, path, compress_to_fp16=False)


def convert_to_onnx(folder, path):
    """Convert Paddle's inference model in `folder` to the ONNX file `path`, in a process of its own.

    paddle2onnx writes to standard output, which belongs to the predictions, and ends its process on some errors.

    Raises:
        UserError: it failed; the text holds the last lines of its output.
    """
    program = (
        'import sys, paddle2onnx; model, parameters, target, opset = sys.argv[1:]; '
        'paddle2onnx.export(model, parameters, target, opset_version=int(opset), optimize_tool="None")'
    )
    files = [os.path.join(folder, f'model{end}') for end in ('.json', '.pdiparams')]
    command = [sys.executable, '-P', '-c', program, *files, path, str(OPSET)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    if done.returncode or not os.path.isfile(path):
        raise UserError(f'paddle2onnx could not convert the model: {" ".join(done.stdout.split())[-500:]}')
