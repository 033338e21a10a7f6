"""Training rate of run_classifier.py beside a PyTorch program with the same recipe, taking turns on the same cores.

    python -m benchmark.rival --data FOLDER --rival_python PY --rival_script ft.py --rival_model FOLDER [--steps 40]
        [--task chnsenticorp --model FOLDER] [--sides fp32,bf16,plain]

Both train SST-2 from MiniLM, or ChnSentiCorp from a Chinese encoder: batch 32, rows of like length together, padding to
the longest of the batch, at most 128 tokens, AdamW, clipping. `plain` is this suite without fused operators.
Loading and tokenization lie outside both clocks; making batches, the first step and the optimizer lie inside. Each
round gives both sides the same seed; they draw different batches, so compare the tokens too.

The rival takes the flags --task --model --data --pad dynamic --group --max_len --max_steps --seed --threads, --bf16 for
bfloat16, and prints a JSON line with `samples_s`, `real_tok_s` and `steps`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

from benchmark import sst2
from propeller.errors import UsageError, UserError, one_line_errors

TASKS = {'sst2_en': 'false', 'chnsenticorp': 'true'}  # folder of the data -> --for_cn
FORMS = {  # side -> flags of ours, flags of the rival; None: it has no such side
    'fp32': (['--precision', 'fp32', '--fused_ops', 'true'], []),
    'bf16': (['--precision', 'bf16', '--fused_ops', 'true'], ['--bf16']),
    'plain': (['--precision', 'fp32', '--fused_ops', 'false'], None),
}


def our_rates(args, side, seed):
    """(rows/s, real tokens/s) of one run of run_classifier.py."""
    with tempfile.TemporaryDirectory() as checkpoints:
        flags = sst2.training_flags(args.data, args.model, checkpoints, args.threads, seed)
        flags += ['--train_set', sst2.file_of(args.data, 'train.tsv', args.task), '--for_cn', TASKS[args.task]]
        sst2.run_classifier([*flags, *FORMS[side][0], '--do_val', 'false', '--max_steps', str(args.steps)])
        rates = sst2.training_rates(checkpoints)
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
    command += ['--max_len', '128', '--max_steps', str(args.steps), '--seed', str(seed), *FORMS[side][1]]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        result = json.loads(done.stdout.splitlines()[-1])
        rates = float(result['samples_s']), float(result['real_tok_s'])
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            f'{args.rival_script}: exit code {done.returncode} and no JSON line with samples_s, real_tok_s. '
            f'{done.stderr[-2000:]}'
        ) from None
    if result.get('steps') != args.steps:
        raise UserError(f'{args.rival_script}: did {result.get("steps")} steps, expected {args.steps}.')
    return rates


def parse_flags(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sst2.add_flags(parser)
    parser.add_argument('--rival_python', required=True, help='Python with PyTorch and transformers')
    parser.add_argument('--rival_script', required=True)
    parser.add_argument('--rival_model', required=True, help='MiniLM as a Hugging Face folder with tokenizer files')
    parser.add_argument('--rival_data', help="the folder with the task's data for the rival (default: --data)")
    parser.add_argument('--task', choices=TASKS, default='sst2_en')
    parser.add_argument('--sides', default='fp32,bf16', help=f'of {", ".join(FORMS)} (default: fp32,bf16)')
    parser.add_argument('--steps', type=int, default=40, help='updates of each run, a multiple of 10 (default: 40)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')
    args = parser.parse_args(argv)
    if args.steps < 10 or args.steps % 10 or args.rounds < 1:
        raise UsageError('--steps must be a multiple of 10, and --rounds at least 1.')
    args.sides = args.sides.split(',')
    if not set(args.sides) <= set(FORMS):
        raise UsageError(f'--sides {",".join(args.sides)}: expected some of {", ".join(FORMS)}.')
    if args.task != 'sst2_en' and not args.model:
        raise UsageError('--task chnsenticorp: give --model, a Chinese encoder.')
    return args


def main(argv=None):
    args = parse_flags(argv)
    sst2.limit_cores(args.threads)
    runs = [('ours', our_rates, side) for side in args.sides]
    runs += [('rival', rival_rates, side) for side in args.sides if FORMS[side][1] is not None]
    measured = {(who, side): [] for who, _, side in runs}
    for round_number in range(args.rounds):
        for who, rates, side in runs if round_number % 2 == 0 else runs[::-1]:
            rows, tokens = rates(args, side, 42 + round_number)
            measured[who, side].append((rows, tokens))
            print(f'round {round_number + 1}, {who} {side}: {rows:.1f} rows/s, {tokens:.0f} real tokens/s', flush=True)
    print('\n'.join(report(args, measured)))


def report(args, measured):
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


if __name__ == '__main__':
    with one_line_errors():
        main()
