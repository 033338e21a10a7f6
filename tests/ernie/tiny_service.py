"""Small random models exported for servers, and a server's core with its listeners in a thread of the test."""

import asyncio
import contextlib
import shutil
import threading

from ernie.inference.export import export
from ernie.inference.folder import ModelFolder
from ernie.inference.vectors import VectorFolder
from ernie.service.open import open_models
from ernie.service.text import TextService
from propeller.service.core import ServiceCore
from propeller.service.limits import Limits
from propeller.service.pool import PoolSettings
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import TASK_CONFIG, write_model

KINDS = {'classify': 'classify', 'crf': 'tag', 'reading': 'answer', 'regression': 'regression'}
_made = {}  # name -> folder of a module that has it
VECTORS = {'encoder': ('pooled', None), 'mean': ('mean', None), 'tokens': ('none', 1)}


def write_models(folder, *names):
    """Checkpoints of `names`, of `KINDS` and `VECTORS`, and their exports (`NAME-exported`) in `folder`, returned.

    The checkpoint of all vectors is `encoder`. What a module before has made in this process is copied.
    """
    write_model(folder / 'encoder', config=TASK_CONFIG)
    for name in names:
        if name in _made:
            for part in (name, f'{name}-exported'):
                if (_made[name] / part).is_dir() and part != 'encoder':
                    shutil.copytree(_made[name] / part, folder / part)
        else:
            _export(folder, name)
            _made[name] = folder
    return folder


def _export(folder, name):
    if name in KINDS:
        made = ModelFolder(str(write_checkpoint(folder / name, name)))
    else:
        pooling, layer = VECTORS[name]
        made = VectorFolder(str(folder / 'encoder'), pooling, layer, task_id=int(name == 'mean'))
    export(made, str(folder / f'{name}-exported'))


def served(folder, *names, **options):
    """The `TextModel`s of exports of `write_models`, list."""
    return open_models([(name, str(folder / f'{name}-exported')) for name in names], threads=1, **options)


def with_service(models, work, limits=None, **options):
    """The result of the coroutine function `work`, called with a `TextService` over these models."""

    async def run():
        core = ServiceCore(models, limits or Limits(batch_tokens=200), PoolSettings(workers=1))
        service = TextService(core, **options)
        await core.start()
        try:
            return await work(service)
        finally:
            service.close()
            await core.drain(timeout=0)

    return asyncio.run(run())


@contextlib.contextmanager
def listening(models, make, limits=None):
    """Listeners in an event loop of its own thread.

    Args:
        models: list of `TextModel`.
        make: function of a `TextService` that returns the listeners, list.
    Yields:
        the listeners.
    """
    ready, state = threading.Event(), {}

    async def serve(service):
        state['listeners'] = make(service)
        for listener in state['listeners']:
            await listener.start()
        state['loop'], state['end'] = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await state['end'].wait()
        for listener in state['listeners']:
            await listener.stop()

    thread = threading.Thread(target=with_service, args=(models, serve, limits))
    thread.start()
    try:
        assert ready.wait(100)
        yield state['listeners']
    finally:
        if 'loop' in state:
            state['loop'].call_soon_threadsafe(state['end'].set)
        thread.join()
