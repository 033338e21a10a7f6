"""What a checkpoint says of the settings that the user did not give."""

import os

from ernie.checkpoint.model_folder import LABELS
from ernie.settings.fields import AUTO, described
from ernie.settings.finetune import FinetuneSettings
from propeller.errors import UsageError, bad_input, quoted
from propeller.log import get_logger

log = get_logger(__name__)


def take_saved_settings(args, source):
    """Settings of a checkpoint hold where the user gave no flag: those of `labels.json` that have a flag's name.

    Args:
        args: `FinetuneSettings`.
        source: `Source` of the checkpoint.
    Returns:
        the `FinetuneSettings` with them.
    Raises:
        UserError: a value there is of another type than the flag's.
    """
    taken, known = {}, described(type(args))
    for name, value in source.saved.items():
        default = getattr(args, name) if name in known else None
        if default is None or args.gave(name) or value == default:
            continue
        if type(value) is not (known[name].kind if default == AUTO else type(default)):
            raise bad_input(os.path.join(source.path, LABELS), f'{name} {quoted(value)}', f'a value like {default!r}')
        taken[name] = value
    if not taken:
        return args
    log.info('from the checkpoint: %s', ', '.join(f'{name} {taken[name]}' for name in sorted(taken)))
    return args.replace(**taken).checked()


def check_of_texts(args, spec):
    """Raises `UsageError`: a setting that only a task of whole texts has."""
    for name in () if spec.of_texts else ('truncation', 'drop_html_breaks', 'boost'):
        value = getattr(args, name)
        if value != described(FinetuneSettings)[name].default:
            shown = str(value).lower()
            raise UsageError(f'--{name} {shown}: the task {spec.name} reads parts of texts, each of them. It is for '
                             'classes or numbers of whole texts (ernie finetune classify); leave it out.')  # fmt: skip


def check_layers(args, source):
    """Raises `UsageError`: `--keep_layers` names another number of layers than the checkpoint was trained with."""
    layers = source.config.get('num_hidden_layers')
    if args.keep_layers not in (AUTO, 0, layers):
        advice = f'Leave it out, or start from its parameters: --init_pretraining_params {source.path}'
        raise UsageError(f'--keep_layers {args.keep_layers}: {source.path} was trained with {layers} layers. {advice}')
