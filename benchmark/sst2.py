"""run_classifier.py on SST-2 with MiniLM: accuracy, rate and memory, of each precision, beside a PyTorch program.

python -m benchmark.sst2 accuracy --data FOLDER [--checkpoints FOLDER] [--seed 42]
    One epoch, batch 32, rate 5e-5, warm-up 0.1, at most 128 tokens. The dev accuracy after the last step, not the
    best one, and the training rate. Exit code 1 below 0.855; with --max_steps it is only printed.

python -m benchmark.sst2 precision --data FOLDER [--turns 3] [--steps 30] [--seeds 1,2,3]
    Fused operators in float32 and bfloat16 beside Paddle's own (plain). Short trainings in turns give rate and peak
    resident memory (medians); then one epoch of each side with each seed gives the dev accuracy after its last
    step. Exit code 1 when the mean accuracy of a side differs from that of plain by more than 0.5 points.

python -m benchmark.sst2 rival --data FOLDER --rival_python PY --rival_script ft.py --rival_model FOLDER
        [--steps 40] [--task chnsenticorp --model FOLDER] [--sides fp32,bf16,plain]
    Both sides train with the same recipe, taking turns on the same cores: SST-2 from MiniLM, or ChnSentiCorp from a
    Chinese encoder; batch 32, rows of like length together, padding to the longest of the batch, at most 128
    tokens, AdamW, clipping. Loading and tokenization lie outside both clocks; making batches, the first step and
    the optimizer lie inside. Each round gives both sides the same seed; they draw different batches, so compare the
    tokens too. The rival takes the flags --task --model --data --pad dynamic --group --max_len --max_steps --seed
    --threads, --bf16 for bfloat16, and prints a JSON line with `samples_s`, `real_tok_s` and `steps`.
"""

import argparse
import os
import statistics
import sys
import tempfile

from benchmark import common
from benchmark.common import SIDES, file_of
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.train.checkpoint import Checkpoints, read_state
from propeller.train.record import read_metrics

BATCH_SIZE = 32
LEAST_ACCURACY, MOST_POINTS = 0.855, 0.5
TASKS = {'sst2_en': 'false', 'chnsenticorp': 'true'}  # folder of the data -> --for_cn
RIVAL_FLAGS = {'fp32': [], 'bf16': ['--bf16']}  # a rival of plain is that in fp32


def training_flags(data, model, checkpoints, threads, seed):
    """Flags of run_classifier.py for one epoch of the recipe, without evaluation."""
    return [
        *('--use_cuda', 'false', '--cpu_threads', str(threads), '--random_seed', str(seed)),
        *('--train_set', file_of(data, 'train.tsv'), '--for_cn', 'false', '--max_seq_len', '128'),
        *('--init_pretraining_params', model or common.minilm_folder(), '--checkpoints', checkpoints),
        *('--epoch', '1', '--batch_size', str(BATCH_SIZE), '--learning_rate', '5e-5', '--warmup_proportion', '0.1'),
        *('--do_train', 'true', '--do_test', 'false'),
    ]


def training_rates(checkpoints):
    """Rates over all logged steps of a run that began anew and stayed within one epoch.

    Loading, tokenization, evaluation and saving lie outside the clock; reading batches, the first step's compilation
    and the optimizer lie inside.

    Args:
        checkpoints: folder of the run.
    Returns:
        dict: `steps` (logged), `seconds`, `rows_per_second`, `tokens_per_second` (padding not counted).
    Raises:
        UserError: the run logged no step, or left no checkpoint.
    """
    records = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'train']
    newest = Checkpoints(checkpoints).newest()
    if not records or newest is None:
        raise UserError(f'{checkpoints}: found no logged training step or no checkpoint, expected both.')
    state = read_state(newest)
    rows_per_step = state['hooks']['training_log']['rows_done'] / state['global_step']
    seconds = tokens = previous = 0
    for record in records:
        steps, previous = record['step'] - previous, record['step']
        seconds += steps / record['steps_per_second']
        tokens += steps / record['steps_per_second'] * record['tokens_per_second']
    return {
        'steps': previous,
        'seconds': seconds,
        'rows_per_second': rows_per_step * previous / seconds,
        'tokens_per_second': tokens / seconds,
    }


def last_dev_score(checkpoints):
    """The record of the last evaluation."""
    return [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'dev'][-1]


# ------------------------------------------------------------------------------------------------ accuracy


def accuracy(args):
    """Train and print; returns the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = args.checkpoints or scratch
        flags = training_flags(args.data, args.model, checkpoints, args.threads, args.seed)
        flags += ['--dev_set', file_of(args.data, 'dev.tsv'), '--do_val', 'true']
        flags += ['--max_steps', str(args.max_steps)] if args.max_steps else []
        common.run_program('run_classifier.py', flags, show=True)
        score, rates = last_dev_score(checkpoints), training_rates(checkpoints)
    print(f'step {score["step"]}: dev accuracy {score["acc"]:.4f} (at least {LEAST_ACCURACY})')
    print(f'training: {rates["rows_per_second"]:.1f} rows/s, {rates["tokens_per_second"]:.0f} real tokens/s')
    return int(score['acc'] < LEAST_ACCURACY and not args.max_steps)


# ------------------------------------------------------------------------------------------------ precision


def precision(args):
    """Measure and print; returns the exit code."""
    rates, memory = ({side: [] for side in SIDES} for _ in range(2))
    for _ in range(args.turns):
        for side in SIDES:
            rate, peak = short_training(args, side)
            rates[side].append(rate)
            memory[side].append(peak)
    means = {}
    for side in SIDES:
        found = [accuracy_of(args, side, int(seed)) for seed in args.seeds.split(',')]
        means[side] = statistics.mean(found)
        print(
            f'{side:>5}: {statistics.median(rates[side]):.1f} rows/s, {statistics.median(memory[side]):.2f} GB, dev '
            f'accuracy {" ".join(f"{value:.4f}" for value in found)}, mean {means[side]:.4f}',
            flush=True,
        )
    points = max(100 * abs(mean - means['plain']) for mean in means.values())
    print(f'the mean accuracies differ from that of plain by {points:.2f} points at most (limit {MOST_POINTS})')
    return int(points > MOST_POINTS and not args.max_steps)


def short_training(args, side):
    """(rows/s, peak memory in GB) of some updates."""
    with tempfile.TemporaryDirectory() as scratch:
        flags = training_flags(args.data, args.model, scratch, args.threads, 42)
        flags += [*SIDES[side], '--max_steps', str(args.steps), '--do_val', 'false']
        peak = common.run_weighed('run_classifier.py', flags)
        return training_rates(scratch)['rows_per_second'], peak


def accuracy_of(args, side, seed):
    """Accuracy on the dev set after one epoch."""
    with tempfile.TemporaryDirectory() as scratch:
        flags = training_flags(args.data, args.model, scratch, args.threads, seed)
        flags += [*SIDES[side], '--dev_set', file_of(args.data, 'dev.tsv'), '--do_val', 'true']
        common.run_program('run_classifier.py', [*flags, '--max_steps', str(args.max_steps)])
        return last_dev_score(scratch)['acc']


# ------------------------------------------------------------------------------------------------ rival


def rival(args):
    """Let both sides train in turns and print the ratios; returns 0."""
    common.check_python(args.rival_python, '--rival_python')
    runs = [('ours', our_rates, side) for side in args.sides]
    runs += [('rival', rival_rates, side) for side in args.sides if side in RIVAL_FLAGS]
    measured = {(who, side): [] for who, _, side in runs}
    for round_number in range(args.rounds):
        for who, rates, side in runs if round_number % 2 == 0 else runs[::-1]:
            rows, tokens = rates(args, side, 42 + round_number)
            measured[who, side].append((rows, tokens))
            print(f'round {round_number + 1}, {who} {side}: {rows:.1f} rows/s, {tokens:.0f} real tokens/s', flush=True)
    print('\n'.join(rival_report(args, measured)))
    return 0


def our_rates(args, side, seed):
    """(rows/s, real tokens/s) of one run of run_classifier.py."""
    with tempfile.TemporaryDirectory() as checkpoints:
        flags = training_flags(args.data, args.model, checkpoints, args.threads, seed)
        flags += ['--train_set', file_of(args.data, 'train.tsv', args.task), '--for_cn', TASKS[args.task]]
        common.run_program(
            'run_classifier.py', [*flags, *SIDES[side], '--do_val', 'false', '--max_steps', str(args.steps)]
        )
        rates = training_rates(checkpoints)
    if rates['steps'] != args.steps:
        raise UserError(f'found {rates["steps"]} logged steps, expected {args.steps}: give a multiple of 10.')
    return rates['rows_per_second'], rates['tokens_per_second']


def rival_rates(args, side, seed):
    """The same of the rival.

    Raises:
        UserError: it failed, or its last line is not what was agreed.
    """
    command = [args.rival_python, args.rival_script, '--task', args.task, '--model', args.rival_model]
    command += ['--data', args.rival_data or args.data, '--pad', 'dynamic', '--group', '--threads', str(args.threads)]
    command += ['--max_len', '128', '--max_steps', str(args.steps), '--seed', str(seed), *RIVAL_FLAGS[side]]
    result = common.run_json(command, args.rival_script, ('samples_s', 'real_tok_s', 'steps'))
    if result['steps'] != args.steps:
        raise UserError(f'{args.rival_script}: did {result["steps"]} steps, expected {args.steps}.')
    return float(result['samples_s']), float(result['real_tok_s'])


def rival_report(args, measured):
    """Lines of text. measured: dict (`ours` or `rival`, side) -> list of (rows/s, real tokens/s)."""
    medians = {
        run: [statistics.median(column) for column in zip(*pairs, strict=True)] for run, pairs in measured.items()
    }
    title = f'{os.path.basename(args.rival_script)}, {args.task}, {args.steps} steps, median of {args.rounds}'
    lines = [f'{title}, {args.threads} cores']
    for side in args.sides:
        other = ('rival', side) if ('rival', side) in medians else ('rival', 'fp32')
        for i, unit in enumerate(('rows/s', 'real tokens/s')):
            line = f'{side:>5} {unit:>13}: ours {medians["ours", side][i]:8.1f}'
            if other in medians:
                name = 'rival' if other[1] == side else f'rival {other[1]}'
                ratio = medians['ours', side][i] / medians[other][i]
                line += f', {name} {medians[other][i]:8.1f}, ratio {ratio:.3f}'
            lines.append(line)
    return lines


# ------------------------------------------------------------------------------------------------ flags


def accuracy_flags(parser):
    parser.add_argument('--checkpoints', help='keep the run in this folder (default: a temporary one)')
    parser.add_argument('--seed', type=int, default=42)
    parser.add_argument('--max_steps', type=int, default=0, help='stop early, to try the program out')


def precision_flags(parser):
    parser.add_argument('--turns', type=int, default=3, help='short trainings of each side (default: 3)')
    parser.add_argument('--steps', type=int, default=30, help='updates of a short training (default: 30)')
    parser.add_argument('--seeds', default='1,2,3', help='of the long trainings (default: 1,2,3)')
    parser.add_argument('--max_steps', type=int, default=0, help='stop the long trainings early, to try it out')


def rival_flags(parser):
    parser.add_argument('--rival_python', required=True, help='Python with PyTorch and transformers')
    parser.add_argument('--rival_script', required=True)
    parser.add_argument('--rival_model', required=True, help='MiniLM as a Hugging Face folder with tokenizer files')
    parser.add_argument('--rival_data', help="the folder with the task's data for the rival (default: --data)")
    parser.add_argument('--task', choices=TASKS, default='sst2_en')
    parser.add_argument('--sides', default='fp32,bf16', help=f'of {", ".join(SIDES)} (default: fp32,bf16)')
    parser.add_argument('--steps', type=int, default=40, help='updates of each run, a multiple of 10 (default: 40)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')


def parse_flags(argv=None):
    """The flags; `measure` is the function that was asked for.

    Raises:
        UsageError: flags that do not go together.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_programs(parser, {accuracy: accuracy_flags, precision: precision_flags, rival: rival_flags})
    args = parser.parse_args(argv)
    if args.measure is rival:
        args.sides = common.sides_of(args.sides)
        if args.steps < 10 or args.steps % 10 or args.rounds < 1:
            raise UsageError('--steps must be a multiple of 10, and --rounds at least 1.')
        if args.task != 'sst2_en' and not args.model:
            raise UsageError('--task chnsenticorp: give --model, a Chinese encoder.')
    return args


def main(argv=None):
    """Measure and print; returns the exit code."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    return args.measure(args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
