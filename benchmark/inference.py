"""Prediction rate of every engine on SST-2 dev beside PyTorch with the same weights, taking turns on the same cores.

    python -m benchmark.inference --data FOLDER --checkpoints FOLDER --rival_python PY --rival_script infer.py

The model is MiniLM after one epoch of SST-2, found in --checkpoints, or trained first (`benchmark.sst2 accuracy`).
Batches of 32 rows of like length, padded to the longest of the batch. The clock covers the model and the argmax of each
batch; tokenization lies outside, and so does the first pass. A rate is the median over the passes of a run; in the
table, the median over the runs. Each run is a process of its own. Exit code 1 if the best engine is below 2 times the
rival's fp32 rate or 1.3 times its bf16 rate; int8 does not count.

The last column is how far results are from float32: probabilities from those of the executor here, logits of the
rival from its own. The rival takes the flags --model --task sst2_en --data --mode fp32|bf16_model --threads --reps and
prints a JSON line with `rows_s_median`, `acc` and `max_logit_diff`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

from benchmark import common, sst2
from propeller.errors import UsageError, one_line_errors

ENGINES = [('executor', 'fp32'), ('predictor', 'fp32'), ('predictor', 'bf16'), ('onnxruntime', 'fp32')]
ENGINES += [('openvino', 'fp32'), ('openvino', 'bf16')]
ENGINES += [('fused', 'fp32'), ('fused', 'bf16'), ('fused', 'int8')]
RIVALS = {'fp32': 2.0, 'bf16_model': 1.3}  # mode -> how much faster the best engine must be


def export_all(checkpoint, folder):
    """Export a checkpoint in every form that an engine here reads; the outputs are probabilities."""
    from ernie.inference.export import export
    from ernie.inference.folder import ModelFolder
    from ernie.run.exported import FUSED
    from propeller.ops import available

    source = ModelFolder(checkpoint)
    for model_format in ('paddle', 'onnx', *([FUSED] if available() else ())):
        export(source, os.path.join(folder, model_format), model_format)


def exported_model(folder, engine):
    """The `ModelFolder` of what `export_all` made that an engine reads."""
    from ernie.inference.engines import ENGINES
    from ernie.inference.folder import ModelFolder

    return ModelFolder(os.path.join(folder, ENGINES[engine].format))


def batches_of(opened, path, size):
    """The rows of a file as a classifier reads them: (rows, list of indices, list of arrays) by length.

    Args:
        opened: `ModelFolder`.
        path: of the table.
        size: rows of a batch.
    """
    from ernie.reader.classify import ClassifyReader
    from ernie.reader.tokenized_set import encoder_arrays
    from propeller.data.batching import plan_batches

    settings = opened.settings
    reader = ClassifyReader(opened.codec.tokenizer, settings['max_seq_len'], for_cn=settings['for_cn'], cache=False)
    rows = reader.read(path)
    plan = plan_batches(rows.lengths, size, window=len(rows), shuffle=False)
    return rows, plan, [encoder_arrays(rows, indices) for indices in plan]


def measure(folder, data, engine, precision, threads, reps):
    """One run of one engine in this process -> dict, the JSON line of a run."""
    from ernie.inference.engines import open_engine

    opened = exported_model(folder, engine)
    rows, plan, batches = batches_of(opened, common.file_of(data, 'dev.tsv'), sst2.BATCH_SIZE)
    model = open_engine(engine, opened.path, precision, threads)

    def sweep():
        started = time.perf_counter()
        classes = [model.run(batch)[0].argmax(1) for batch in batches]
        return time.perf_counter() - started, classes

    first, classes = sweep()
    seconds = [sweep()[0] for _ in range(reps)]
    hits = sum(int((c == rows.labels[i]).sum()) for c, i in zip(classes, plan, strict=True))
    reference = open_engine('executor', os.path.join(folder, 'paddle'), threads=threads)
    difference = max(float(np.abs(model.run(b)[0] - reference.run(b)[0]).max()) for b in batches)
    rate = len(rows) / statistics.median(seconds)
    return {'rows_s_median': rate, 'acc': hits / len(rows), 'max_logit_diff': difference, 'first_pass_s': first}


def run(command):
    """(rows/s, accuracy, how far from float32) of one run, which ends with a JSON line."""
    result = common.run_json(command, command[-1], ('rows_s_median', 'acc', 'max_logit_diff'))
    return float(result['rows_s_median']), float(result['acc']), result['max_logit_diff']


def commands(args, folder):
    """dict (side, precision) -> command of a run."""
    ours = [sys.executable, '-m', 'benchmark.inference', '--measure', folder, '--data', os.path.abspath(args.data)]
    ours += ['--threads', str(args.threads), '--reps', str(args.reps)]
    sides = {(e, p): [*ours, '--engine', e, '--precision', p] for e, p in ENGINES}
    for mode in RIVALS:
        rival = [args.rival_python, os.path.abspath(args.rival_script), '--model', os.path.join(folder, 'rival')]
        rival += ['--task', 'sst2_en', '--data', os.path.abspath(args.rival_data or args.data), '--mode', mode]
        sides['rival', mode] = [*rival, '--threads', str(args.threads), '--reps', str(args.reps)]
    return sides


def trained(args):
    """The checkpoint, trained if it is not there."""
    path = os.path.join(args.checkpoints, 'best')
    if not os.path.isdir(path):
        flags = sst2.training_flags(args.data, args.model, args.checkpoints, args.threads, 42)
        common.run_program(
            'run_classifier.py',
            [*flags, '--dev_set', common.file_of(args.data, 'dev.tsv'), '--do_val', 'true'],
            show=True,
        )
    return path


def compare(args):
    """Prepare all models, let all sides take turns, print the table; returns the exit code."""
    from ernie.checkpoint.convert import convert

    common.limit_cores(args.threads)
    common.check_python(args.rival_python, '--rival_python')
    checkpoint = trained(args)
    with tempfile.TemporaryDirectory() as folder:
        export_all(checkpoint, folder)
        convert(checkpoint, os.path.join(folder, 'rival'), 'huggingface')
        sides = commands(args, folder)
        results = {side: [] for side in sides}
        for round_number in range(args.rounds):
            for side in list(sides)[:: 1 if round_number % 2 == 0 else -1]:
                results[side].append(run(sides[side]))
                print(f'round {round_number + 1}, {" ".join(side)}: {results[side][-1][0]:.1f} rows/s', flush=True)
    return report(args, results)


def report(args, results):
    """Print the table; returns 1 if the best engine is too slow."""
    rates = {side: statistics.median(rate for rate, _, _ in runs) for side, runs in results.items()}
    fp32, bf16 = (rates['rival', mode] for mode in RIVALS)
    print(f'SST-2 dev, batches of {sst2.BATCH_SIZE}, {args.threads} cores, median of {args.rounds} runs')
    print(
        f'{"engine":12} {"precision":10} {"rows/s":>8} {"/ rival fp32":>12} {"/ rival bf16":>12} {"accuracy":>9} apart'
    )
    for side, runs in results.items():
        _, accuracy, apart = runs[0]
        shown = '-' if apart is None else f'{apart:.1e}'
        ratios = f'{rates[side] / fp32:12.2f} {rates[side] / bf16:12.2f}'
        print(f'{side[0]:12} {side[1]:10} {rates[side]:8.1f} {ratios} {accuracy:9.4f} {shown}')
    best = max((rate, side) for side, rate in rates.items() if side[0] != 'rival' and side[1] != 'int8')
    print(f'best: {" ".join(best[1])}, {best[0] / fp32:.2f} times fp32 (at least {RIVALS["fp32"]}), ', end='')
    print(f'{best[0] / bf16:.2f} times bf16 (at least {RIVALS["bf16_model"]})')
    return int(best[0] < RIVALS['fp32'] * fp32 or best[0] < RIVALS['bf16_model'] * bf16)


def parse_flags(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_flags(parser)
    parser.add_argument('--checkpoints', help='folder of the trained model; made if it is not there')
    parser.add_argument('--rival_python', help='Python with PyTorch and transformers')
    parser.add_argument('--rival_script')
    parser.add_argument('--rival_data', help='the folder with sst2_en/ for the rival (default: --data)')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each side (default: 3)')
    parser.add_argument('--reps', type=int, default=7, help='passes over the data in a run (default: 7)')
    for name in ('measure', 'engine', 'precision'):
        parser.add_argument(f'--{name}', help=argparse.SUPPRESS)  # a run starts itself with these
    args = parser.parse_args(argv)
    if not args.measure and not (args.checkpoints and args.rival_python and args.rival_script):
        raise UsageError('--checkpoints, --rival_python and --rival_script are needed.')
    return args


def main(argv=None):
    args = parse_flags(argv)
    if args.measure:
        print(json.dumps(measure(args.measure, args.data, args.engine, args.precision, args.threads, args.reps)))
        return 0
    return compare(args)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
