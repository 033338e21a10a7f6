"""Models of the Hugging Face hub, through the package `huggingface_hub`, which keeps them in its usual cache."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from ernie.zoo.encoders import ENCODERS
from propeller.errors import UserError, did_you_mean, one_line, quoted
from propeller.inputs import read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

NAME = re.compile(r'[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?(@[\w./-]{1,100})?', re.ASCII)
# For the nearest name where one is mistyped.
WELL_KNOWN = (
    *('bert-base-chinese', 'bert-base-uncased', 'bert-base-cased', 'bert-large-uncased', 'bert-large-cased'),
    *('bert-base-multilingual-cased', 'bert-base-multilingual-uncased', 'hfl/chinese-bert-wwm'),
    *('hfl/chinese-bert-wwm-ext', 'hfl/chinese-roberta-wwm-ext', 'hfl/chinese-roberta-wwm-ext-large'),
    *('hfl/chinese-macbert-base', 'hfl/chinese-macbert-large', 'nghuyong/ernie-1.0-base-zh'),
    *('nghuyong/ernie-2.0-base-en', 'nghuyong/ernie-2.0-large-en', 'nghuyong/ernie-3.0-base-zh'),
    *('nghuyong/ernie-3.0-medium-zh', 'nghuyong/ernie-3.0-mini-zh', 'nghuyong/ernie-3.0-nano-zh'),
    *('sentence-transformers/all-MiniLM-L6-v2', 'sentence-transformers/all-MiniLM-L12-v2', 'BAAI/bge-small-zh-v1.5'),
    *('BAAI/bge-base-zh-v1.5', 'BAAI/bge-small-en-v1.5', 'google-bert/bert-base-chinese', 'klue/bert-base'),
)
_CONFIG = 'config.json'
_COMPANIONS = ('vocab.txt', 'tokenizer.json', 'tokenizer_config.json', 'added_tokens.json', 'special_tokens_map.json')
_WEIGHTS = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json')
_SECONDS = 10
_PARTS = re.compile(r'(model|pytorch_model)-\d{5}-of-\d{5}\.(safetensors|bin)')


def hub_folder(name):
    """The snapshot of a model, from the cache or downloaded: the files that are read here, no others.

    Args:
        name: `bert-base-chinese`, `organisation/name`, or either with `@revision`.

    Returns:
        (folder, revision): the revision is a commit of the model, which names its content.

    Raises:
        UserError: the package, the network, the model or a file of it is missing; it is a network that ours is not.
    """
    if importlib.util.find_spec('huggingface_hub') is None:
        raise UserError(
            f'{quoted(name)}: no file or folder of that name, and none of our models.{_nearest(name)} To take it from '
            'the Hugging Face hub: pip install huggingface_hub'
        )
    repository, _, revision = name.partition('@')
    found = _cached(repository, revision or None)
    return found or _downloaded(repository, revision or None)


def _cached(name, revision):
    """(folder, revision) of a snapshot that is here and whole, or None."""
    import huggingface_hub

    try:
        # Of all files it would ask whether those that are not read here are there, too.
        options = {'allow_patterns': [_CONFIG], 'local_files_only': True}
        folder = huggingface_hub.snapshot_download(name, revision=revision, **options)
    except Exception as e:
        _known(e, name)
        return None
    if not os.path.isfile(os.path.join(folder, _CONFIG)) or _incomplete(folder):
        return None
    return folder, os.path.basename(folder)


def _incomplete(folder):
    """Whether files are missing in a snapshot."""
    names = set(os.listdir(folder))
    weights = next((name for name in _WEIGHTS if name in names), None)
    if weights is None or not names & set(_COMPANIONS[:2]):
        return True
    if not weights.endswith('.index.json'):
        return False
    parts = read_json_object(os.path.join(folder, weights)).get('weight_map')
    return not isinstance(parts, dict) or not all(str(part) in names for part in parts.values())


def _downloaded(name, revision):
    import huggingface_hub

    if not sys.stderr.isatty():
        huggingface_hub.utils.disable_progress_bars()
    try:
        info = huggingface_hub.HfApi().model_info(name, revision=revision, timeout=_SECONDS, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        _check_files(name, sizes)
        wanted = _wanted(sizes)
        # The name of the revision and not its commit: the package then knows later which commit that was.
        options = {'revision': revision, 'etag_timeout': _SECONDS}
        # Before the weights, for it may be a network that ours is not.
        config = huggingface_hub.hf_hub_download(name, _CONFIG, **options)
        _check_network(config, name)
        total = sum(sizes[file] for file in wanted)
        log.info('fetching %s from the Hugging Face hub (%d MB), once', name, round(total / 1e6))
        folder = huggingface_hub.snapshot_download(name, allow_patterns=wanted, **options)
    except UserError:
        raise
    except Exception as e:
        raise _known(e, name) from None
    return folder, os.path.basename(folder)


def _check_files(name, sizes):
    weights = [file for file in _WEIGHTS if file in sizes]
    if _CONFIG not in sizes or not weights:
        raise UserError(
            f'{name}: the hub has {quoted(", ".join(sorted(sizes)))}, expected {_CONFIG} and one of '
            f'{", ".join(_WEIGHTS)}.'
        )
    if not any(file in sizes for file in _COMPANIONS[:2]):
        raise UserError(
            f'{name}: no vocab.txt and no tokenizer.json: its texts are not cut into word pieces as BERT does, and '
            'other tokenizers are not read.'
        )


def _wanted(sizes):
    weights = next(file for file in _WEIGHTS if file in sizes)
    ending = '.safetensors' if weights.startswith('model') else '.bin'
    parts = [f for f in sizes if _PARTS.fullmatch(f) and f.endswith(ending)] if weights.endswith('.json') else []
    return [_CONFIG, *(file for file in _COMPANIONS if file in sizes), weights, *parts]


def _check_network(path, name):
    from ernie.checkpoint.huggingface_config import check_architecture, kind_of

    values = read_json_object(path)
    classes = values.get('architectures')
    architecture = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ''
    check_architecture(kind_of(values, architecture, ''), 'huggingface', f'{name}: {_CONFIG}', values)


def _known(error, name):
    """The `UserError` for what the package raises; what is no fault of the network or the hub is raised as it is."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = one_line(str(error).strip().partition('\n')[0], 150) or type(error).__name__
    if 'GatedRepoError' in kinds:
        return UserError(f'{name}: the hub asks for an account and a permission (hf auth login). It says: {said}')
    if 'RevisionNotFoundError' in kinds:
        return UserError(f'{name}: the hub has the model, but no such revision.')
    if kinds & {'RepositoryNotFoundError', 'HFValidationError'}:
        return UserError(f'{name}: no file or folder of that name, none of our models, and none of the Hugging Face '
                         f'hub.{_nearest(name)}')  # fmt: skip
    if kinds & {'OfflineModeIsEnabled', 'LocalEntryNotFoundError', 'HfHubHTTPError', 'HTTPError', 'OSError'}:
        return UserError(
            f'{name}: no file or folder of that name, none of our models, and the Hugging Face hub cannot be reached '
            f'({said}).{_nearest(name)} Names that need no hub: {", ".join(ENCODERS)}.'
        )
    raise error


def _nearest(name):
    repository = name.partition('@')[0]
    if repository in WELL_KNOWN:
        return ''
    from ernie.zoo.bundles import BUNDLES

    return did_you_mean(repository, [*ENCODERS, *(n for n, b in BUNDLES.items() if b.is_model), *WELL_KNOWN])


def snapshot_of(folder):
    """(name, revision) of a folder in the cache of the hub, or None."""
    parts = Path(folder).parts
    if len(parts) > 2 and parts[-2] == 'snapshots' and parts[-3].startswith('models--'):
        return parts[-3].removeprefix('models--').replace('--', '/'), parts[-1]
    return None
