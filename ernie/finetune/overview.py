"""What the blocks at the start and at the end of a fine-tuning say: `(key, text)` pairs, see `ernie.run.blocks`."""

from ernie.finetune import next_step
from ernie.finetune.data_facts import data_pairs
from ernie.finetune.recipe import chosen_pairs
from ernie.finetune.setting_facts import changed_settings, length_pairs
from ernie.report.writing import end_pairs as report_pairs
from ernie.run.blocks import clock, columns
from ernie.run.machine import contents, device_text, model_text, size_text
from ernie.run.resume import resume_command

_ANSWERS = 2


def start_pairs(run, rows, program, length, step):
    """What is shown before the first update, at most 12 lines. Each part of the suite adds its pairs here.

    Args:
        run: the `FineTuning`.
        rows: of the training set.
        program: the training program, with its first values.
        length: `RunLength`.
        step: updates done in earlier runs.
    Returns:
        list of (key, text).
    """
    return [
        *data_pairs(run, rows),
        ('model', (model_text(run.source, program),)),
        *chosen_pairs(run.chosen),
        ('settings', changed_settings(run.args, run.chosen, run.own_data, length.steps)),
        ('device', device_text(run.args, run.world)),
        *length_pairs(run, rows, length, step),
    ]


def end_pairs(run, seconds):
    """What is shown after the last update, at most 8 lines. Each part of the suite adds its pairs here.

    Args:
        run: the `FineTuning`, after its last update.
        seconds: that the run took.
    Returns:
        list of (key, text).
    """
    training, folder = run.run, run.args.checkpoints
    newest, steps = training.checkpoints.newest(), training.loop.gstep
    if training.loop.interrupted:
        return [
            ('interrupted', f'at step {steps} of {run.length.steps}, after {clock(seconds)}'),
            ('saved', (f'{newest} ({size_text(newest)})' if newest else 'nothing yet',)),
            ('to resume', (resume_command(run.args, run.world),)),
        ]
    pairs = [('done', f'{steps:,} steps in {clock(seconds)}')]
    if training.best:
        best = training.evaluation
        text = f'{run.task.measure} {best.best:.4f} at step {best.best_step:,} of {steps:,}, in {clock(seconds)}'
        pairs = [('best', text)]
    checkpoints = {'best': training.best, 'newest': newest}
    found = [f'{path} ({name}, {size_text(path)})' for name, path in checkpoints.items() if path]
    pairs.append(('checkpoints', (', '.join(found),)))
    pairs += [(key, (text,)) for key, text in report_pairs(folder, run.page, contents(folder))]
    if run.evaluator.written:
        pairs.append(('predictions', (', '.join(target for *_, target in run.evaluator.written),)))
    if training.best or newest:
        pairs += next_step.answer_pairs(run.evaluator, _ANSWERS, columns())
        pairs.append(('next', (next_step.predict_command(run, training.best or newest),)))
    return pairs
