"""What the blocks at the start and at the end of a pre-training say: `(key, text)` pairs, see `ernie.run.blocks`."""

import os

from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.run_length import rate_settings
from ernie.pretrain.schedule import ONLY
from ernie.report.writing import end_pairs as report_pairs
from ernie.run.blocks import clock
from ernie.run.machine import contents, device_text, model_text, size_text
from ernie.run.resume import ernie_words, program_style, resume_command

_MOST_STAGES = 5  # that have a line of their own


def start_pairs(run, program, step):
    """What is shown before the first update. run: `PreTraining`. program: that trains. step: done in earlier runs."""
    args, schedule = run.args, run.schedule
    total = args.batch_size * args.gradient_accumulation_steps * run.world.size
    steps = f'{schedule.total:,} of up to {total:,} tokens each' + (f'; {step:,} are done' if step else '')
    lines = schedule.lines(*rate_settings(args))
    more = len(lines) - _MOST_STAGES
    shown = [*lines[:_MOST_STAGES], f'{more} more'] if more > 0 else lines
    return [
        *(('data' if i == 0 else '', text) for i, text in enumerate(_data(schedule, args))),
        ('tasks', ', '.join(task.name for task in run.tasks)),
        ('model', model_text(run.source, program)),
        ('device', device_text(args, run.world)),
        ('steps', steps),
        *(('stages' if i == 0 else '', text) for i, text in enumerate(shown)),
    ]


def _data(schedule, args):
    for name, path in schedule.filelists.items():
        yield _list_text(path) + ('' if name == ONLY else f', for {name}')
    if args.valid_filelist:
        yield f'{_list_text(args.valid_filelist)}, for validation'


def _list_text(path):
    files = [file.path for file in read_file_list(path)]
    return f'{path}: {len(files):,} file{"s" if len(files) > 1 else ""}, {size_text(*files)}'


def end_pairs(run, seconds, page):
    """What is shown after the last update. run: `PreTraining`. seconds: that it took. page: its report, or None."""
    args, training = run.args, run.run
    best, newest, done = training.best, training.checkpoints.newest(), training.loop.gstep
    if training.loop.interrupted:
        return [
            ('interrupted', f'at step {done:,} of {run.schedule.total:,}, after {clock(seconds)}'),
            ('saved', f'{newest} ({size_text(newest)})' if newest else 'nothing yet'),
            ('to resume', (resume_command(args, run.world),)),
        ]
    score = (
        f', best validation loss {training.evaluation.best:.4f} at step {training.evaluation.best_step}' if best else ''
    )
    found = {'best': best, 'newest': newest}
    pairs = [
        ('done', f'{done:,} steps in {clock(seconds)}{score}'),
        ('checkpoints', (', '.join(f'{path} ({name}, {size_text(path)})' for name, path in found.items() if path),)),
        *((key, (text,)) for key, text in report_pairs(args.checkpoints, page, contents(args.checkpoints))),
    ]
    if newest and program_style() == 'verb':
        words = ' '.join([*ernie_words(), 'finetune', 'FILE', '--model', os.path.normpath(best or newest)])
        pairs.append(('next', (words,)))
    return pairs
