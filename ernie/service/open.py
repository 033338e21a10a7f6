"""From paths and names of models to `TextModel`s, without Paddle."""

import importlib.util
import os
import re

from ernie.inference.engines import ENGINES, MODEL_ENGINES, check_engine, check_format
from ernie.inference.folder import ModelFolder
from ernie.inference.saved_precision import INT8, precision_to_open
from ernie.inference.vectors import OF_CLASSES, VectorFolder
from ernie.run.exported import VECTORS
from ernie.run.source import Source, is_exported
from ernie.service.exporting import Job, run_jobs
from ernie.service.models import EMBED, TextModel
from ernie.service.place import PrivatePlace
from ernie.settings.predict import EMBEDDING
from propeller.errors import UsageError, UserError

_NAME = re.compile(r'[^\W_][\w.-]{0,59}')  # in any script; it begins the name of a folder too
_NAMED = re.compile(rf'({_NAME.pattern})=(.+)', re.DOTALL)
_PACKAGES = ('onnxruntime', 'openvino')  # engines that are packages of their name
_NO_NAMES = re.compile(r'best|checkpoints?|model|step_?\d+|\d+')


def named_models(given):
    """(name, path) of each model of a command line.

    Args:
        given: list of `PATH` or `NAME=PATH`.
    Raises:
        UsageError: two of them have one name.
    """
    named = []
    for text in given:
        match = None if os.path.exists(text) else _NAMED.fullmatch(text)
        name, path = match.groups() if match else (name_of(text), text)
        twin = dict(named).get(name)
        if twin is not None:
            raise UsageError(f'{twin} and {path}: both are called {name}. Give NAME=PATH for one of them.')
        named.append((name, path))
    return named


def name_of(path):
    """The name of a model whose user gave none: that of its folder, or of the training that it is the best of."""
    path = os.path.normpath(path)
    parts = [part for part in os.path.abspath(path).split(os.sep) if part] if os.path.exists(path) else path.split('/')
    for part in reversed(parts):
        if not _NO_NAMES.fullmatch(part):
            name = re.sub(r'[^\w.-]+', '-', part).strip('-._')
            return name[:60] or 'model'
    return 'model'


def open_models(
    named,
    engine=None,
    precision=None,
    threads=None,
    pooling=None,
    layer=None,
    normalize=False,
    *,
    task=None,
    use_cuda=None,
    keep=None,
    **given,
):
    """Models as a server has them. What is not exported yet is exported, by a process of its own.

    Args:
        named: list of (name, path): any model, checkpoint, folder of a training, exported model, or name that
            `ernie.zoo` knows.
        engine, precision, threads: see `ernie.inference.engines.open_engine`; engine None: of an exported model what
            reads it, else `default_engine`; with `keep` 'predictor', whose exports any machine can read.
        pooling, layer, normalize: see `VectorFolder`; of those models that give vectors.
        task: of `ernie.tasks.table.choices`, or 'embedding': vectors of a model whatever its task; None: as it is.
        use_cuda: whether a GPU is used; None: where the engine has one.
        keep: folder for exports, which the next server of the same models takes; None: one that vanishes with the
            models.
        given: what `ModelFolder` takes for models whose folder does not say it.
    Returns:
        list of `TextModel`.
    Raises:
        UserError: a model cannot be had or opened.
        UsageError: arguments that contradict each other.
    """
    check_engine(engine, precision, bool(use_cuda))
    if engine in _PACKAGES and importlib.util.find_spec(engine) is None:
        raise UserError(f'--engine {engine} needs the package {engine}. Install it: pip install {engine}')
    given = {name: value for name, value in given.items() if value is not None}
    for _, path in named if precision == INT8 else ():
        if not is_exported(path):
            precision_to_open(precision, None, path, bool(engine) and ENGINES[engine].quantizes)
    place = PrivatePlace()
    own = ENGINES[engine or 'predictor'].format if engine or keep or use_cuda else None
    options = {'format': own, 'use_cuda': use_cuda, 'task': task, 'pooling': pooling, 'layer': layer}
    made = _export(named, place, keep, options | {'given': given})
    folders = dict(named) | made
    models = []
    for name, path in folders.items():
        # An export of ours has them already.
        folder = _opened(path, task, pooling, layer, normalize, {} if name in made else given)
        chosen = engine or MODEL_ENGINES[folder.exported['format']]
        check_format(chosen, folder)
        opened_in = precision_to_open(precision, folder.exported, path, ENGINES[chosen].quantizes)
        check_engine(chosen, opened_in, bool(use_cuda))
        models.append(TextModel(name, folder, chosen, opened_in, threads, use_cuda, place))
    _check_used(models, pooling, layer, given)
    return models


def _export(named, place, keep, options):
    """dict name -> folder of the export, of the models that are not exported yet. options: of `Job`."""
    target = os.path.abspath(keep) if keep else place.name
    if keep:
        try:
            os.makedirs(target, exist_ok=True)
        except OSError as e:
            raise UserError(f'{keep}: cannot be made ({e.strerror or e}).') from None
    jobs = [Job(name=name, path=path, place=target, **options) for name, path in named if not is_exported(path)]
    if not jobs:
        return {}
    made = run_jobs(jobs, os.path.join(place.name, 'jobs.json'))
    return {job.name: folder for job, folder in zip(jobs, made, strict=True)}


def _check_used(models, pooling, layer, given):
    """Raises `UsageError`: something was said that no model has a use for."""
    tasks = {model.task for model in models}
    said = f'{", ".join(model.name for model in models)}: {", ".join(sorted(tasks))}'
    if EMBED not in tasks and (pooling or layer is not None):
        raise UsageError(f'--pooling and --layer are for vectors, which none of the models gives ({said}).')
    for name in OF_CLASSES:
        if name in given and tasks == {EMBED}:
            raise UsageError(f'--{name} is for classes, which none of the models has ({said}).')


def _opened(path, task, pooling, layer, normalize, given):
    """`ModelFolder` or `VectorFolder` of an exported model."""
    if VECTORS in (Source(path, takes_exported=True).exported or {}):
        if task not in (None, EMBEDDING):
            raise UserError(f'{path}: found a model exported for vectors, expected one for {task} (--task).')
        given = {name: value for name, value in given.items() if name not in OF_CLASSES}
        return VectorFolder(path, pooling, layer, normalize, **given)
    if task == EMBEDDING:
        return VectorFolder(path, pooling, layer)  # says what is wrong
    return ModelFolder(path, task, **given)
