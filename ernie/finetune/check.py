"""What a checkpoint says of the settings that the user did not give."""

import os

from ernie.checkpoint.model_folder import LABELS
from ernie.finetune.setting_facts import value_text
from ernie.settings import run_yaml
from ernie.settings.fields import AUTO, described
from ernie.settings.finetune import FinetuneSettings
from propeller.errors import UsageError, UserError, bad_input, quoted
from propeller.log import get_logger

log = get_logger(__name__)

# Settings that change what is learnt. Not here: those that a resumed run is refused for (rows, batches, seed,
# parameters), and the length of the schedule, which has a line of its own.
_LEARNT_BY = (
    *('learning_rate', 'lr_scheduler', 'weight_decay', 'decay_without_warmup', 'head_learning_rate', 'head_dropout'),
    *('optimizer', 'clip_norm', 'class_weights', 'precision', 'task_id'),
    *('max_seq_len', 'truncation', 'drop_html_breaks', 'tokenizer', 'do_lower_case', 'for_cn'),
    *('text_column', 'text_b_column', 'label_column', 'max_query_length', 'doc_stride', 'to_simplified'),
    *('loss', 'temperature', 'layer_pairs', 'relation_heads', 'projection'),
    *('lexer', 'layer_dropout', 'n_negative_samples_batch'),
)


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


def warn_of_other_settings(args, checkpoint):
    """Where a training continues: one line with the settings that change what is learnt and are others than before.

    args: `FinetuneSettings`. checkpoint: folder that it continues from, beside the run.yaml of the run before.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(checkpoint)), run_yaml.FILE)
    if not os.path.isfile(path):
        return
    try:
        before = run_yaml.read_settings(path, type(args))
    except UserError as e:  # the training needs nothing of it
        log.debug('%s', e)
        return
    known, now = described(type(args)), args.recorded()
    now = {name: known[name].fitting(now[name]) for name in _LEARNT_BY if name in now and name in before}
    changed = [f'{name} {_shown(before[name])}, now {_shown(now[name])}' for name in now if now[name] != before[name]]
    if changed:
        log.warning('%s was trained with other settings: %s. The new ones hold', checkpoint,
                    '; '.join(changed))  # fmt: skip


def _shown(value):
    if isinstance(value, str):
        return quoted(value, 40)
    return 'left out' if value is None else value_text(value)


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
