"""The suite from Python: `ernie.load`, a trained model as a function of texts, and `ernie.finetune`.

    model = ernie.load('out/messages/best')
    model('快递晚了三天')

Shapes: N texts, H hidden.
"""

import os
import re
import sys
import tempfile
import threading

from ernie.inference.embedding import Embedder, reading_of
from ernie.inference.engines import ENGINES, MODEL_ENGINES, check_engine, check_format, default_engine, open_engine
from ernie.inference.export import export
from ernie.inference.find import find_model
from ernie.inference.folder import ModelFolder
from ernie.inference.loaded import LoadedModel
from ernie.inference.predict import Prediction, output_shapes
from ernie.inference.saved_precision import precision_to_open
from ernie.inference.vectors import NO_POOLING, VectorCodec, VectorFolder
from ernie.programs import fine_tuning, own_data
from ernie.run.exported import FUSED
from ernie.run.source import Source, is_exported
from ernie.settings.base import Settings
from ernie.settings.fields import described
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from ernie.settings.predict import EncodeSettings, PredictSettings
from ernie.settings.run_yaml import read_settings
from ernie.tasks import table
from ernie.tasks.codec import Selection
from propeller.errors import UsageError, did_you_mean, one_of, quoted
from propeller.session import Session

EMBEDDING = 'embedding'
_DEVICE = re.compile(r'gpu(?::(\d{1,4}))?')
# Of infer_classifyer.py, for models whose folder does not say them; the last two say nothing of vectors.
_SETTINGS = (
    *('ernie_config_path', 'vocab_path', 'sentence_piece_model', 'word_dict', 'max_seq_len', 'do_lower_case'),
    *('tokenizer', 'for_cn'),
)
_CLASSES = ('label_map_config', 'num_labels')
# Paddle's executor finds its variables by a scope that belongs to the process.
_EXECUTOR = threading.RLock()


def load(
    folder,
    task=None,
    *,
    engine=None,
    precision=None,
    device=None,
    threads=None,
    batch_size=32,
    length_window=50,
    pooling=None,
    layer=None,
    normalize=None,
    top_k=None,
    min_confidence=None,
    **settings,
):
    """Open a model: a checkpoint, an exported folder, or for vectors a pre-trained model.

    Args:
        folder: its path, or that of a training's folder: its best checkpoint, else the newest.
        task: the task that it must be of, as `infer_classifyer.py --task` has them; None: whatever it is. 'embedding':
            vectors of texts, of any model, or of an export for vectors (`ernie export --task embedding`).
        engine: 'predictor', 'executor', 'onnxruntime', 'openvino' or 'fused'; None: what an exported folder is for,
            else `ernie.inference.engines.default_engine`. A checkpoint is exported for it, into a folder that vanishes
            again; 'executor' and 'fused', our own kernels, need no export. Vectors of a model that is not exported
            come from one of the two, the executor where nobody says.
        precision: 'fp32' or 'bf16'; None, or 'int8', of a folder that was exported in int8, or of any with 'fused';
            None: else fp32.
        device: 'cpu', 'gpu' or 'gpu:N'; None: a GPU where the engine has one.
        threads: of matrix products; None: as many as the machine has cores. Where Paddle is loaded already, the
            executor keeps those that it has.
        batch_size: texts, or windows of long ones, that are computed at once.
        length_window: texts of like length share a batch, inside windows of so many batches.
        pooling, layer, normalize: for vectors, as `ernie_encoder.py` has them.
        top_k: `probabilities` has the most probable classes, so many, in order; for reading `n_best` the best answers.
        min_confidence: what is less sure is held back: `label` and `answer` are None, `labels` and `entities` are
            without it; results of one class also have `confidence`.
        settings: `ernie_config_path`, `vocab_path`, `label_map_config`, `num_labels`, `max_seq_len`, `do_lower_case`,
            `tokenizer`, `for_cn`, `sentence_piece_model`, `word_dict`: what infer_classifyer.py takes for models whose
            folder does not say it.

    Returns:
        `LoadedModel`.

    Raises:
        UserError: the folder is no model, not of the task, or broken; a package is missing.
        UsageError: an argument that cannot be.
    """
    running = {'engine': engine, 'precision': precision, 'batch_size': batch_size, 'length_window': length_window}
    selection, vectors = Selection(top_k, min_confidence), (pooling, layer, normalize)
    _check_arguments(task, settings, {**running, 'cpu_threads': threads, **selection._asdict()}, vectors)
    if threads and 'paddle' not in sys.modules:
        os.environ['OMP_NUM_THREADS'] = str(threads)  # Paddle reads it when it is loaded
    if task == EMBEDDING:
        _check_reading(settings, pooling, layer)
        folder = find_model(folder)
        if is_exported(folder):
            options = (engine, precision, device, threads)
            codec, runner = _exported_vectors(folder, options, settings, pooling, layer, bool(normalize))
        elif engine == FUSED:
            options = (precision, device, threads)
            codec, runner = _fused_vectors(folder, options, settings, pooling, layer, bool(normalize))
        else:
            _check_executor(engine, precision)
            codec, runner = _vectors(folder, device, settings, pooling or 'pooled', layer, bool(normalize))
        codec.check_selection(selection)
        return LoadedModel(Prediction(codec, runner, [(-1, codec.config.hidden_size)], batch_size, length_window))
    source = ModelFolder(find_model(folder), task, **settings)
    source.codec.check_selection(selection)
    return LoadedModel(
        open_prediction(source, engine, precision, device, threads, batch_size, length_window), selection
    )


def open_prediction(source, engine=None, precision=None, device=None, threads=None, batch_size=32, length_window=50):
    """The `Prediction` of a `ModelFolder`. For the arguments and errors see `load`."""
    with _EXECUTOR:
        runner, outputs = _open(source, engine, precision, device, threads)
    return Prediction(source.codec, runner, outputs, batch_size, length_window)


def _check_arguments(task, settings, running, vectors):
    """Refuse what `load` cannot take.

    Args:
        task: as given.
        settings: dict, the further keyword arguments.
        running: dict, others by their flags.
        vectors: those that are for vectors alone.
    """
    if task != EMBEDDING and any(value is not None for value in vectors):
        raise UsageError("pooling, layer, normalize: they are for task='embedding'.")
    unknown = [name for name in settings if name not in (*_SETTINGS, *(() if task == EMBEDDING else _CLASSES))]
    if unknown:
        raise TypeError(f'ernie.load() got an unexpected keyword argument {unknown[0]!r}')
    running = {**running, **settings, 'task': None if task == EMBEDDING else task}
    # Types and ranges alone: which flags go together is the program's concern.
    Settings.checked(PredictSettings(**{name: value for name, value in running.items() if value is not None}))


def finetune(task, settings=None, /, *, config=None, **values):
    """Fine-tune a model, as `ernie finetune FILE` does, or as `run_classifier.py` and its sisters do.

        run = ernie.finetune('messages.csv')
        run = ernie.finetune('classification', train_set='train.tsv', dev_set='dev.tsv',
                             init_pretraining_params='model', checkpoints='out')
        model = ernie.load(run.best)

    Args:
        task: a training file: what is not given is found out from it. Or 'classification' (regression and several
            classes too, by `is_regression`, `is_multilabel`), 'sequence_labeling' or 'mrc', with 2019's defaults.
        settings: `ernie.FinetuneSettings`, or `ernie.OwnDataSettings`, whose defaults are for one's own data; None:
            those of `config` and `values` alone.
        config: path of a file like the run.yaml of a run.
        values: settings by the names of the flags, which hold over `settings` and `config`. Lists of files are lists.

    Returns:
        `ernie.finetune.outcome.Finetuned`: best and last checkpoint, scores, path of the records.

    Raises:
        UserError: anything that the user can mend.
        UsageError: a setting that cannot be, or an unknown one.
        KeyboardInterrupt: Ctrl-C; the last update is saved, and the same call with `resume=True` goes on from it.
    """
    is_file = task not in table.TASKS
    if is_file and not (isinstance(task, str | os.PathLike) and os.path.exists(task)):
        raise UsageError(f'task {quoted(task)}: expected a file that is there, or {one_of(task, table.TASKS)}')
    if settings is not None and not isinstance(settings, FinetuneSettings):
        raise UsageError(f'settings {quoted(settings)}: expected ernie.FinetuneSettings; single values go by name.')
    kind = OwnDataSettings if is_file or isinstance(settings, OwnDataSettings) else FinetuneSettings
    if is_file:
        if type(settings) is FinetuneSettings:
            raise UsageError('settings: a file goes with ernie.OwnDataSettings; ernie.FinetuneSettings with a task.')
        if 'train_set' in values:
            raise UsageError(f'train_set: {quoted(os.fspath(task))} is the training file already.')
        values['train_set'] = os.fspath(task)
    known = described(kind)
    for name in values:
        if name not in known:
            raise UsageError(f'{name}: unknown setting.{did_you_mean(name, known)}')
    if config is not None:
        values = read_settings(config, kind, None if is_file else f'finetune {task}') | values
    settings = kind(given=frozenset()) if settings is None else settings
    settings = settings.replace(**values, given=settings.given | frozenset(values))
    Settings.checked(settings)  # types and ranges, before anything is made of them
    if kind is OwnDataSettings:
        return own_data(None if is_file else task).start(settings)
    return fine_tuning(table.find(task)).start(settings)


class _InTurn:
    """An engine that one thread at a time runs."""

    def __init__(self, engine, lock=None):
        self._engine, self._lock = engine, lock or threading.Lock()

    def run(self, arrays):
        with self._lock:
            return self._engine.run(arrays)


def _open(source, engine, precision, device, threads):
    """(engine, shapes of its outputs) for a `ModelFolder`."""
    if source.exported:
        engine = engine or MODEL_ENGINES[source.exported['format']]
        check_format(engine, source)
    engine = engine or default_engine(source.config, None if device is None else device != 'cpu')
    precision = precision_to_open(precision, source.exported, source.path, ENGINES[engine].quantizes)
    number = _device(device, engine, precision)
    lock = None if ENGINES[engine].needs_export else _EXECUTOR  # those that need none run in Paddle's executor
    if source.exported:
        runner, described = open_engine(engine, source.path, precision, threads, number), source.exported
    elif not ENGINES[engine].needs_export:
        runner = ENGINES[engine].of(source, precision, threads, number)
        return _InTurn(runner, lock), runner.shapes
    else:
        with tempfile.TemporaryDirectory() as place:
            target = os.path.join(place, 'model')
            described, opened = export(source, target, ENGINES[engine].format, engines=[engine])
            runner = open_engine(engine, target, precision, threads, number, opened)
    return _InTurn(runner, lock), output_shapes(described)


def _device(device, engine, precision):
    """Number of the GPU, None for the processor."""
    check_engine(engine, precision, False)
    if device is None:
        return 0 if ENGINES[engine].gpus() else None
    if device == 'cpu':
        return None
    match = _DEVICE.fullmatch(str(device))
    if not match:
        raise UsageError(f'device {quoted(device)}: expected cpu, gpu or gpu:N.')
    check_engine(engine, precision, True)
    ENGINES[engine].require_gpu()
    return int(match[1] or 0)


# ---------------------------------------------------------------- vectors


def _check_executor(engine, precision):
    if engine not in (None, 'executor') or precision not in (None, 'fp32'):
        advice = 'Leave engine and precision out, or export it: ernie export MODEL --task embedding.'
        raise UsageError(
            f'vectors of a model that is not exported come from the executor in fp32, or from --engine fused. {advice}'
        )


def _exported_vectors(folder, options, settings, pooling, layer, normalize):
    """(codec, engine) of an export for vectors. options: (engine, precision, device, threads)."""
    engine, precision, device, threads = options
    source = VectorFolder(folder, pooling, layer, normalize, **settings)
    if source.pooling == NO_POOLING:
        raise UsageError(f'{folder}: gives the vectors of all tokens, and no vector of a text.')
    engine = engine or MODEL_ENGINES[source.exported['format']]
    check_format(engine, source)
    precision = precision_to_open(precision, source.exported, source.path, ENGINES[engine].quantizes)
    number = _device(device, engine, precision)
    lock = None if ENGINES[engine].needs_export else _EXECUTOR
    return source.codec, _InTurn(open_engine(engine, source.path, precision, threads, number), lock)


def _fused_vectors(folder, options, settings, pooling, layer, normalize):
    """(codec, engine) for the vectors of a model that is not exported. options: (precision, device, threads)."""
    precision, device, threads = options
    _device(device, FUSED, precision)
    source = VectorFolder(folder, pooling, layer, normalize, **settings)
    with _EXECUTOR:
        engine = ENGINES[FUSED].of(source, precision, threads)
    return source.codec, _InTurn(engine, _EXECUTOR)


def _check_reading(settings, pooling, layer):
    """Before a name is looked up, which may download a model."""
    longest = settings.get('max_seq_len')
    Settings.checked(EncodeSettings(pooling=pooling or 'pooled', layer=layer, max_seq_len=longest))


def _vectors(folder, device, settings, pooling, layer, normalize):
    """(codec, engine) for the vectors of a model."""
    files = (settings.pop(name, None) for name in ('ernie_config_path', 'vocab_path'))
    subword = [settings.pop(name, None) for name in ('sentence_piece_model', 'word_dict')]
    source = Source(folder, *files, subword=subword)
    tokenizer, reading = reading_of(source, **settings)
    source.check_lengths(reading['max_seq_len'], reading['task_id'])
    number = _device(device, 'executor', 'fp32')
    with _EXECUTOR:
        session = Session(number is not None, seed=0, device=number or 0)
        embedder = Embedder(session, source.config, pooling, layer, False, reading['task_id'])
        embedder.load(source.tensors)
    codec = VectorCodec(source.config, tokenizer, reading | {'normalize': normalize})
    return codec, _InTurn(embedder, _EXECUTOR)
