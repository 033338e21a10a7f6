"""Exports models for the workers of a server, in a process of its own: the front never loads Paddle.

python -m ernie.service.exporting FILE

FILE is a JSON object: `jobs`, a list of the fields of `Job`. It is replaced by `{"folders": [path, ...]}`, or by
`{"error": text, "exit_code": number}`.
"""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys

from ernie.checkpoint.model_folder import VOCABULARY
from ernie.checkpoint.tokenizer_settings import TOKENIZER_JSON, lower_case_of_name
from ernie.inference.engines import ENGINES, default_engine
from ernie.inference.find import find_model
from ernie.inference.folder import ModelFolder
from ernie.inference.vectors import OF_CLASSES, VectorFolder
from ernie.run.source import Source, is_exported
from ernie.settings.predict import EMBEDDING
from ernie.tasks import table
from propeller.errors import UsageError, UserError, as_user_error
from propeller.inputs import content_digest, folder_digest, read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

_DIGITS = 12
_WORDS = (VOCABULARY, TOKENIZER_JSON)
_BESIDE = ('.json', '.txt')  # of what belongs to parameters alone, and all files of their name do


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A model to export.

    Attributes:
        name: of the model; begins the name of its folder.
        path: what the user gave.
        place: folder for the export. One that is there, of the same model for the same use, is taken as it is.
        format: of `ernie.inference.engines.MODEL_FORMATS`; None: for `ernie.inference.engines.default_engine`.
        use_cuda: False: for a processor; None: for what there is.
        task: of `ernie.tasks.table.choices`, or `EMBEDDING`; None: what it was trained for, vectors if for nothing.
        pooling, layer: see `VectorFolder`; of models that give vectors.
        given: dict, further arguments of `ModelFolder` or `VectorFolder`.
    """

    name: str
    path: str
    place: str
    format: str | None
    use_cuda: bool | None = None
    task: str | None = None
    pooling: str | None = None
    layer: int | None = None
    given: dict = dataclasses.field(default_factory=dict)


def run_jobs(jobs, file):
    """Export models in a process of its own.

    Args:
        jobs: list of `Job`.
        file: path for what the two processes tell each other.
    Returns:
        the folders of the exports, list.
    Raises:
        UserError: one of them cannot be exported.
    """
    with open(file, 'w', encoding='utf-8') as f:
        json.dump({'jobs': [dataclasses.asdict(job) for job in jobs]}, f)
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    command = [sys.executable, '-P', '-m', 'ernie.service.exporting', file]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, env=os.environ | {'PYTHONPATH': path})
    found = read_json_object(file, 'what an export says')
    if 'error' in found:
        raise (UsageError if found['exit_code'] == 2 else UserError)(found['error'])
    if done.returncode or 'folders' not in found:
        raise UserError(f'the export of {", ".join(job.path for job in jobs)} ended with exit code {done.returncode}.')
    return found['folders']


def do(job):
    """The folder of a `Job`'s export.

    Raises:
        UserError: it cannot be exported.
    """
    source = find_model(job.path)
    if is_exported(source):
        return source  # the folder of a training may lead to an export
    target = os.path.join(job.place, f'{job.name}-{_digest(job, source)}')
    if is_exported(target):
        log.info('%s: the export in %s', job.name, target)
        return target
    from ernie.inference.export import export

    folder = _folder(job, source)
    log.info('%s: exporting %s', job.name, source)
    try:
        export(folder, target, job.format or ENGINES[default_engine(folder.config, job.use_cuda)].format)
    except UserError:
        if not is_exported(target):  # else another server was faster
            raise
    return target


def _folder(job, path):
    """`ModelFolder` or `VectorFolder`, whichever is meant."""
    given = dict(job.given)
    if job.task != EMBEDDING and (job.task or _is_fine_tuned(path, given)):
        return ModelFolder(path, job.task, **given)
    given = {name: value for name, value in given.items() if name not in OF_CLASSES}
    return VectorFolder(path, job.pooling, job.layer, **given)


def _is_fine_tuned(path, given):
    subword = given.get('sentence_piece_model'), given.get('word_dict')
    source = Source(path, given.get('ernie_config_path'), given.get('vocab_path'), subword=subword)
    return 'task' in source.saved or any(spec.head[0] in source.tensors for spec in table.specs())


def _digest(job, source):
    """Of everything that an export depends on: contents, and no places, as models move with their exports."""
    parts, folder = [folder_digest(source) if os.path.isdir(source) else ''], source
    if not any(os.path.isfile(os.path.join(source, name)) for name in _WORDS):  # what belongs to it lies beside it
        folder, base = os.path.split(os.path.abspath(source))
        names = [n for n in sorted(os.listdir(folder)) if n.endswith(_BESIDE) or n.startswith(base.partition('.')[0])]
        files = [name for name in names if os.path.isfile(os.path.join(folder, name))]
        parts += [base, *(f'{name} {content_digest(os.path.join(folder, name))}' for name in files)]
    parts += [lower_case_of_name(folder)]
    is_file = ('_path', '_config', '_model', '_dict')
    given = {name: _about(value) if name.endswith(is_file) else value for name, value in job.given.items()}
    parts += [job.format, job.task, job.pooling, job.layer, sorted(given.items(), key=lambda item: item[0])]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:_DIGITS]


def _about(path):
    return content_digest(path) if path and os.path.isfile(path) else path


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C goes to the front too, which says so
    (file,) = sys.argv[1:]
    with open(file, encoding='utf-8') as f:
        jobs = [Job(**fields) for fields in json.load(f)['jobs']]
    try:
        answer = {'folders': [do(job) for job in jobs]}
    except Exception as e:
        error = as_user_error(e)
        if error is None:
            raise
        answer = {'error': str(error), 'exit_code': error.exit_code}
    with open(f'{file}.new', 'w', encoding='utf-8') as f:
        json.dump(answer, f)
    os.replace(f'{file}.new', file)


if __name__ == '__main__':
    main()
