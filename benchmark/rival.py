"""Training rate of run_classifier.py beside a PyTorch program with the same recipe, taking turns on the same cores.

    python -m benchmark.rival --data FOLDER --rival_python PY --rival_script ft.py --rival_model FOLDER [--steps 40]

Both train SST-2 in float32 from MiniLM: batch 32, rows of like length together, padding to the longest of the batch,
AdamW, clipping. Loading and tokenization lie outside both clocks; making batches, the first step and the optimizer lie
inside. Each round gives both sides the same seed; they draw different batches, so compare the tokens too.

The rival takes the flags --task sst2_en --model --data --pad dynamic --group --max_steps --seed --threads and prints a
JSON line with `samples_s`, `real_tok_s` and `steps`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

from benchmark import sst2
from propeller.errors import UsageError, UserError, one_line_errors


def our_rates(args, seed):
    """(rows/s, real tokens/s) of one run of run_classifier.py."""
    with tempfile.TemporaryDirectory() as checkpoints:
        flags = sst2.training_flags(args.data, args.model, checkpoints, args.threads, seed)
        sst2.run_classifier([*flags, '--do_val', 'false', '--max_steps', str(args.steps)])
        rates = sst2.training_rates(checkpoints)
    if rates['steps'] != args.steps:
        raise UserError(f'found {rates["steps"]} logged steps, expected {args.steps}: give a multiple of 10.')
    return rates['rows_per_second'], rates['tokens_per_second']


def rival_rates(args, seed):
    """The same of the rival.

    Raises:
        UserError: it failed, or its last line is not what was agreed.
    """
    command = [args.rival_python, args.rival_script, '--task', 'sst2_en', '--model', args.rival_model]
    command += ['--data', args.rival_data or args.data, '--pad', 'dynamic', '--group', '--threads', str(args.threads)]
    command += ['--max_steps', str(args.steps), '--seed', str(seed)]
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
    parser.add_argument('--rival_data', help='the folder with sst2_en/ for the rival (default: --data)')
    parser.add_argument('--steps', type=int, default=40, help='updates of each run, a multiple of 10 (default: 40)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')
    args = parser.parse_args(argv)
    if args.steps < 10 or args.steps % 10 or args.rounds < 1:
        raise UsageError('--steps must be a multiple of 10, and --rounds at least 1.')
    return args


def main(argv=None):
    args = parse_flags(argv)
    sst2.limit_cores(args.threads)
    sides = {'ours': our_rates, 'rival': rival_rates}
    measured = {name: [] for name in sides}
    for round_number in range(args.rounds):
        order = list(sides) if round_number % 2 == 0 else list(sides)[::-1]
        for name in order:
            rows, tokens = sides[name](args, 42 + round_number)
            measured[name].append((rows, tokens))
            print(f'round {round_number + 1}, {name}: {rows:.1f} rows/s, {tokens:.0f} real tokens/s', flush=True)
    medians = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in measured.items()
    }
    print(f'{os.path.basename(args.rival_script)}, {args.steps} steps, median of {args.rounds}, {args.threads} cores')
    for i, unit in enumerate(('rows/s', 'real tokens/s')):
        ours, rival = medians['ours'][i], medians['rival'][i]
        print(f'{unit:>13}: ours {ours:8.1f}, rival {rival:8.1f}, ratio {ours / rival:.3f}')


if __name__ == '__main__':
    with one_line_errors():
        main()
