"""What the start of a run says of its settings and of its length."""

from ernie.settings.fields import AUTO, described
from ernie.settings.finetune import OwnDataSettings

# Said elsewhere, or of no consequence for what is learnt.
_ELSEWHERE = {
    *('train_set', 'dev_set', 'test_set', 'test_save', 'checkpoints', 'model', 'ernie_config_path', 'vocab_path'),
    *('init_checkpoint', 'init_pretraining_params', 'resume', 'overwrite_checkpoints', 'use_cuda', 'precision'),
    *('fused_ops', 'cpu_threads', 'is_distributed', 'use_fast_executor', 'num_iteration_per_drop_scope'),
    *('skip_steps', 'save_steps', 'max_checkpoints', 'verbose', 'log_level', 'log_dir', 'enable_ce', 'do_train'),
    *('do_val', 'do_test', 'label_map_config', 'text_column', 'text_b_column', 'label_column', 'config', 'cache'),
    *('use_fp16', 'diagnostic', 'diagnostic_save', 'is_classify', 'batch_size', 'epoch', 'random_seed'),
    *('sentence_piece_model', 'word_dict'),
    *('teacher', 'loss', 'temperature', 'layer_pairs', 'relation_heads', 'projection', 'student_layers', 'plain'),
}
_ALWAYS = ('learning_rate', 'max_seq_len')


def changed_settings(args, chosen=(), own_data=False, steps=None):
    """`learning_rate 3e-5, max_seq_len 128, use_crf true`: what the user gave and is not the default.

    Args:
        args: `FinetuneSettings`.
        chosen: names of the settings that are shown elsewhere.
        own_data: whether the program is `ernie finetune`.
        steps: of the run; a --max_steps of so many stands in their line.
    """
    found, defaults = [], described(type(args)) | (described(OwnDataSettings) if own_data else {})
    for name in described(type(args)):
        value = getattr(args, name)
        if name in chosen or (name == 'max_steps' and value == steps):
            continue
        is_changed = args.gave(name) and name not in _ELSEWHERE and value not in (defaults[name].default, AUTO)
        if name in _ALWAYS or is_changed:
            found.append(f'{name} {value_text(value)}')
    return ', '.join(sorted(found, key=lambda text: text.split()[0] not in _ALWAYS))


def value_text(value):
    """A value as a flag takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value)


def length_pairs(run, rows, length, step):
    """The pair of the steps. run: `FineTuning`. rows: of the training set. length: `RunLength`. step: done before."""
    args = run.args
    unit = 'tokens' if args.in_tokens else 'rows'
    each = args.batch_size * args.gradient_accumulation_steps * run.world.size
    epochs = f'{args.epoch} epoch{"s" if args.epoch > 1 else ""} of {len(rows):,} rows'
    text = f'{length.steps:,}: {epochs} in batches of {each:,} {unit}'
    if args.max_steps and length.steps == args.max_steps:
        text = f'{length.steps:,} (max_steps), batches of {each:,} {unit}'
    return [('steps', text + (f'; {step:,} are done' if step else ''))]
