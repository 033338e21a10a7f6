"""What runs an exported model: engines with one interface, and the table of them."""

import abc
import importlib.util
import os

import numpy as np

from ernie.inference.processor import BF16_FLAGS, CPUINFO, processor_flags
from ernie.inference.saved_precision import INT8, precision_of_folder, warn_of_processor
from ernie.inference.unpadded import PADDED, SHARED, leave_out_padding, places
from ernie.model.encoders import ERNIE
from ernie.run.exported import FUSED
from propeller.environment import usable_cores
from propeller.errors import UsageError, UserError, bad_input
from propeller.launch.machine import is_installed, paddle_is_for_cpu
from propeller.log import get_logger
from propeller.ops.build import Unavailable, existing
from propeller.optional import optional_package
from propeller.table import Table

log = get_logger(__name__)

ONNX_FILE, OPENVINO_FILE = 'model.onnx', 'model.xml'
PRECISIONS = ('fp32', 'bf16', INT8)
OPENVINO = 'openvino'
MODEL_FORMATS = ('paddle', 'onnx', OPENVINO, FUSED)
# What runs a model where nobody says.
MODEL_ENGINES = {'paddle': 'predictor', 'onnx': 'onnxruntime', OPENVINO: 'openvino', FUSED: 'fused'}
MOST_TOKENS = 2048  # that OpenVINO computes at once
# Where padding is left to attention. Measured with 6 layers of 384 on texts of 8 to 53 tokens, OpenVINO 2026.4.
_PADDING_COST = 0.14
_SHARED_COST = 0.03  # where texts share rows in attention, too; estimated from rates with and without padding
_CUDA = 'CUDAExecutionProvider'


class Engine(abc.ABC):
    """A model in memory.

    Attributes:
        name: as in `ENGINES`.
        format: of `MODEL_FORMATS`; that in which a model is exported for it where nobody says.
        reads: all formats that it reads.
        precisions: those it can compute in.
        devices: 'cpu', or 'cpu' and 'gpu'.
        quantizes: whether it opens any model in int8, so that none is exported in it.
        needs_export: whether it reads exported models alone; else `of` opens a checkpoint as it is.
        padding_cost: time of a token of padding, in times of another token.
    """

    name = None
    format = 'paddle'
    precisions = ('fp32',)
    devices = ('cpu',)
    quantizes, needs_export, padding_cost = False, True, 1.0

    def __init_subclass__(cls):
        if 'reads' not in vars(cls):
            cls.reads = (cls.format,)

    @classmethod
    @abc.abstractmethod
    def open(cls, folder, precision, threads, device):
        """The engine for an exported model; see `open_engine`."""

    @classmethod
    def of(cls, folder, precision=None, threads=None, device=None):
        """The engine for the model of a folder that is not exported.

        Args:
            folder: `ModelFolder`, or `VectorFolder`.
            precision, threads, device: see `open_engine`.
        Returns:
            an engine with `shapes`, that of each output, -1 for sizes that vary.
        """
        raise NotImplementedError

    @classmethod
    def gpus(cls):
        """Number of GPUs that it can use here."""
        return 0

    @classmethod
    def may_use_gpu(cls):
        """Whether the package that is installed is one for GPUs; loads nothing, as `gpus` does."""
        return False

    @classmethod
    def require_gpu(cls):
        """Raises `UserError` where it has no GPU."""
        if not cls.gpus():
            raise UserError(f'--use_cuda true: this {cls.name} knows no GPU. Install {cls.name}-gpu.')

    @abc.abstractmethod
    def run(self, arrays):
        """Outputs of the model for one batch.

        Args:
            arrays: list of arrays, one per input, in the order of the model's inputs.
        Returns:
            list of arrays that belong to the caller.
        """


class _PaddleEngine(Engine):
    devices = ('cpu', 'gpu')

    @classmethod
    def gpus(cls):
        from propeller.graph import cuda_devices

        return cuda_devices()

    @classmethod
    def may_use_gpu(cls):
        return not paddle_is_for_cpu()

    @classmethod
    def require_gpu(cls):
        from propeller.graph import require_cuda

        require_cuda()


class ExecutorEngine(_PaddleEngine):
    """Paddle's executor: the slowest engine, and the reference for the others.

    Args:
        session: `propeller.session.Session`.
        program: of this session, without optimizer.
        outputs: list of values of the program.
    """

    name = 'executor'
    needs_export = False

    def __init__(self, session, program, outputs):
        # The executor compiles anew for each new list.
        self.session, self.program, self.outputs = session, program, list(outputs)

    @classmethod
    def of(cls, folder, precision=None, threads=None, device=None):
        graph = folder.graph(device)
        engine = cls(graph.session, graph.program, graph.outputs)
        engine.shapes = graph.shapes()
        return engine

    @classmethod
    def open(cls, folder, precision, threads, device):
        from propeller.session import Session

        session = Session(device is not None, seed=0, device=device or 0)
        program = session.load_exported(folder)
        return cls(session, program, program.outputs)

    def run(self, arrays):
        return self.session.run(self.program, arrays, self.outputs)


class PredictorEngine(_PaddleEngine):
    """Paddle's predictor, on a processor with oneDNN's fused operators."""

    name = 'predictor'
    precisions = ('fp32', 'bf16')

    def __init__(self, model):
        self._model = model

    @classmethod
    def open(cls, folder, precision, threads, device):
        from propeller.exported import ExportedModel

        bf16 = precision == 'bf16'
        if bf16 and not knows_bf16():
            log.warning('this processor has no bf16: the predictor computes in fp32')
        return cls(ExportedModel(folder, threads, bf16, device))

    def run(self, arrays):
        return self._model.run(arrays)


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime (package onnxruntime)."""

    name = 'onnxruntime'
    format = 'onnx'
    precisions = ('fp32', INT8)
    devices = ('cpu', 'gpu')

    def __init__(self, session):
        self._session = session
        self._names = [value.name for value in session.get_inputs()]

    @classmethod
    def gpus(cls):
        if importlib.util.find_spec('onnxruntime') is None:
            return 0  # `open` says so
        return int(_CUDA in _onnxruntime().get_available_providers())

    @classmethod
    def may_use_gpu(cls):
        return is_installed('onnxruntime-gpu')

    @classmethod
    def open(cls, folder, precision, threads, device):
        runtime = _onnxruntime()
        path = _onnx_file(folder)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors; it would warn of each constant that its optimizer folds
        providers = ['CPUExecutionProvider']
        if device is not None:
            cls.require_gpu()
            providers.insert(0, (_CUDA, {'device_id': device}))
        try:
            return cls(runtime.InferenceSession(path, options, providers=providers))
        except Exception as e:  # its own exception classes share no base but this
            raise bad_input(path, f'a file that ONNX Runtime cannot load ({_one_line(e)})', 'an ONNX model') from e

    def run(self, arrays):
        return self._session.run(None, dict(zip(self._names, arrays, strict=True)))


class OpenVinoEngine(Engine):
    """OpenVINO on the processor (package openvino), from an ONNX file or from its own files.

    Args:
        compiled: model that OpenVINO has compiled.
        further: how many inputs `leave_out_padding` has added; 0: it is none of its graphs.
    """

    name = 'openvino'
    format = 'onnx'
    reads = ('onnx', OPENVINO)
    precisions = PRECISIONS

    def __init__(self, compiled, further=0):
        self._request = compiled.create_infer_request()
        self._inputs, self._outputs = len(compiled.inputs) - further, len(compiled.outputs)
        self._leaves_out, self._shares = further > 0, further == SHARED
        if self._leaves_out:
            self.padding_cost = _SHARED_COST if self._shares else _PADDING_COST

    @classmethod
    def of_model(cls, model, precision, threads):
        """The engine for an `openvino.Model`, without padding in its layers where it is an encoder."""
        import openvino

        changed = leave_out_padding(model)
        if changed is None:
            log.debug('this graph is not one of those that can be computed without padding')
        further = len(changed.inputs) - len(model.inputs) if changed else 0
        if further == PADDED:
            log.debug('this graph computes padding in attention: texts cannot share rows there')
        compiled = openvino.Core().compile_model(changed or model, 'CPU', cls.settings(precision, threads))
        return cls(compiled, further)

    @classmethod
    def open(cls, folder, precision, threads, device):
        # Beside its own cache (below) oneDNN keeps the code of 1,024 products, some for each shape of a batch: 50 KB a
        # shape, until a server has seen them all, and no faster with it.
        os.environ.setdefault('ONEDNN_PRIMITIVE_CACHE_CAPACITY', '0')
        openvino = optional_package('openvino', '--engine openvino')
        path, onnx_file = (os.path.join(folder, name) for name in (OPENVINO_FILE, ONNX_FILE))
        # An export in int8 has both while it is made.
        is_own = precision == INT8 or (os.path.isfile(path) and not os.path.isfile(onnx_file))
        kind = 'a model of OpenVINO' if is_own else 'an ONNX model'
        if not is_own:
            path = _onnx_file(folder)
        elif not os.path.isfile(path):
            raise bad_input(folder, f'no {OPENVINO_FILE}', kind, advice='Export it with --precision int8.')
        core = openvino.Core()
        try:
            engine = cls.of_model(core.read_model(path), precision, threads)
        except RuntimeError as e:
            raise bad_input(path, f'a file that OpenVINO cannot load ({_one_line(e)})', kind) from e
        if precision == 'bf16' and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            log.warning('this processor has no bf16: OpenVINO computes in fp32 or slower')
        return engine

    @staticmethod
    def settings(precision, threads):
        """dict of what a model is compiled with. What is not in 8 bits of a model in int8 is in float32."""
        return {
            'INFERENCE_PRECISION_HINT': 'bf16' if precision == 'bf16' else 'f32',
            'INFERENCE_NUM_THREADS': threads,
            'PERFORMANCE_HINT': 'LATENCY',
            'ENABLE_CPU_PINNING': False,  # no faster with it on an idle machine, a quarter slower on a busy one
            # It keeps what it makes for each shape of a batch, 5,000 of them where nobody says: hundreds of MB in a
            # server. 256 are those of about 60 shapes of short texts, half a MB a shape with 6 layers; with 64 a batch
            # of six texts takes a twentieth longer. In int8 each product has code of its own, which takes longer to
            # make than a text to compute: 1,000 of them are those of about 40 shapes, 7 MB a shape with 12 layers.
            'CPU_RUNTIME_CACHE_CAPACITY': 1000 if precision == INT8 else 256,
        }

    def run(self, arrays):
        assert len(arrays) == self._inputs, (len(arrays), self._inputs)
        count = len(arrays[0])
        # In equal parts where there are many tokens: as fast, and what lies between the layers takes less memory. The
        # C++ program parts batches in the same way, so that the last digits agree.
        parts = -(-arrays[0].size // MOST_TOKENS)
        each = -(-count // parts) if parts > 1 else max(count, 1)
        made = [self._run([array[i : i + each] for array in arrays]) for i in range(0, max(count, 1), each)]
        return made[0] if len(made) == 1 else [np.concatenate(outputs) for outputs in zip(*made, strict=True)]

    def _run(self, arrays):
        if self._leaves_out:
            arrays = [*arrays, *places(arrays[3], self._shares)]
        self._request.infer(dict(enumerate(arrays)), share_inputs=True)
        # The request writes into the same memory at the next batch.
        return [np.array(self._request.get_output_tensor(i).data) for i in range(self._outputs)]


# Name -> subclass of `Engine` of that name. To add one: its file, and its line here.
ENGINES = Table(
    executor='ernie.inference.engines:ExecutorEngine',
    predictor='ernie.inference.engines:PredictorEngine',
    onnxruntime='ernie.inference.engines:OnnxRuntimeEngine',
    openvino='ernie.inference.engines:OpenVinoEngine',
    fused='ernie.inference.fused:FusedEngine',
)


def default_engine(config, use_cuda=None):
    """What runs a model that is not exported where nobody says: the first of a fixed order that is there.

    `fused`: our own kernels, the fastest by measurement (docs/performance.md), for ERNIE's encoder on a processor with
    AVX-512 where they are compiled already: nothing is compiled for it. Else `predictor`, which every machine has. Both
    are exact in float32; `bf16` and `int8` are faster and can move a probability by more than 1e-3: users choose them.

    Args:
        config: `ErnieConfig`.
        use_cuda: as the user said it; None: a GPU where there is one.
    Returns:
        name, of `ENGINES`.
    """
    on_gpu = use_cuda or (use_cuda is None and PredictorEngine.may_use_gpu())
    if on_gpu or config.encoder != ERNIE or 'avx512f' not in (processor_flags() or ()):
        return PredictorEngine.name
    try:
        return FUSED if existing() else PredictorEngine.name
    except Unavailable:
        return PredictorEngine.name


def check_engine(name, precision, use_cuda):
    """Refuse an engine that cannot do what is asked.

    Args:
        name: of `ENGINES`; None: what reads the model, which is not known yet.
        precision: of `PRECISIONS`; None: that of the model.
        use_cuda: whether a GPU was asked for.
    Raises:
        UsageError: names the flags, and what would do.
    """
    if precision == INT8 and use_cuda:
        raise UsageError('--precision int8 runs on the processor only: leave --use_cuda out, or give false.')
    if name is None and precision == INT8:
        return
    name = name or 'predictor'
    engine = ENGINES[name]
    if precision and precision not in engine.precisions:
        able = [e.name for e in ENGINES.values() if precision in e.precisions]
        raise UsageError(f'--precision {precision}: --engine {name} cannot; {in_words(able)} can.')
    if use_cuda and 'gpu' not in engine.devices:
        raise UsageError(f'--engine {name} runs on the processor only: leave --use_cuda out, or give false.')


def in_words(names):
    """`a, b and c`."""
    return ' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))


def check_format(name, source):
    """Refuse an engine for an exported model that it does not read.

    Args:
        name: of `ENGINES`.
        source: `ernie.run.source.Source` of an exported folder.
    Raises:
        UsageError: names those that do.
    """
    found = source.exported['format']
    if source.exported.get('precision') == INT8 and name != MODEL_ENGINES[found]:
        raise UsageError(f'--engine {name}: the model in {source.path} is in int8 for {MODEL_ENGINES[found]}.')
    if found not in ENGINES[name].reads:
        able = ' or '.join(engine.name for engine in ENGINES.values() if found in engine.reads)
        raise UsageError(f'--engine {name}: the model in {source.path} is {found}; give --engine {able}.')


def open_engine(name, folder, precision=None, threads=None, device=None, opened=()):
    """Load an exported model.

    Args:
        name: of `ENGINES`.
        folder: holds `model.json` and `model.pdiparams`, or `model.onnx`, or `model.xml` and `model.bin`, or
            `model.safetensors`.
        precision: 'fp32', 'bf16' (matrix products in bfloat16; inputs and outputs stay what they are), or 'int8' of a
            model that was exported so; None: int8 of such a model, else fp32.
        threads: threads of a batch; None is one per usable core.
        device: GPU number; None is the processor.
        opened: dict of engines that have the model open with the defaults of these arguments.
    Returns:
        `Engine`.
    Raises:
        UserError: a package is missing, or the model cannot be loaded.
        UsageError: the engine cannot do what is asked.
    """
    precision = precision_of_folder(precision, folder, ENGINES[name].quantizes)
    if precision == INT8:
        device = None
        warn_of_processor(folder)
    check_engine(name, precision, device is not None)
    if name in opened and (precision, threads, device) == ('fp32', None, None):
        return opened[name]
    return ENGINES[name].open(folder, precision, threads or usable_cores(), device)


def knows_bf16(cpuinfo=CPUINFO):
    """Whether the processor multiplies bfloat16; True where `cpuinfo` cannot be read."""
    flags = processor_flags(cpuinfo)
    return flags is None or not set(flags).isdisjoint(BF16_FLAGS)


def _onnxruntime():
    return optional_package('onnxruntime', '--engine onnxruntime')


def _onnx_file(folder):
    path = os.path.join(folder, ONNX_FILE)
    if not os.path.isfile(path):
        raise bad_input(folder, f'no {ONNX_FILE}', 'an ONNX model', advice='Export it with --export_format onnx.')
    return path


def _one_line(error):
    return ' '.join(str(error).split())[:200]
