"""int8 beside fp32 and bf16 of the same engines: score and rows a second, in one process, taking turns.

python -m benchmark.int8 sst2 --data FOLDER [--checkpoints FOLDER]
    MiniLM after one epoch of SST-2, found in --checkpoints, or trained first (`benchmark.sst2 accuracy`).
python -m benchmark.int8 chnsenticorp --data FOLDER --checkpoint RUN
    A classifier of ChnSentiCorp, such as `ernie finetune FOLDER/chnsenticorp/train.tsv` makes.

300 rows of the training file calibrate, all rows of the dev file are scored and timed: batches of 32 rows sorted by
length, padded to the longest of the batch; each round is a pass of every engine. The rate is the median over the
rounds. int8 of OpenVINO is exported with `--max_drop 100`, so that whatever it scores is seen. Exit code 1 if it
scores more than 0.5 points below fp32, or is slower than 1.3 times bf16 of the same engine, where there is bf16.
"""

import argparse
import os
import sys
import tempfile

from benchmark import common, sst2
from propeller.errors import UsageError, one_line_errors

LEAST_RATIO, MOST_POINTS = 1.3, 0.5


def measure(checkpoint, train, dev, threads, rounds):
    """dict (engine, precision) -> (score, rows a second), measure of the score, rows, report of the export."""
    from ernie.inference.engines import ENGINES, knows_bf16, open_engine
    from ernie.inference.export import export
    from ernie.inference.find import find_model
    from ernie.inference.folder import ModelFolder
    from ernie.inference.int8.data import read_data
    from ernie.inference.int8.exporting import INT8_ENGINES, export_int8
    from ernie.inference.int8.scores import rates

    folder = ModelFolder(find_model(checkpoint))
    scores = read_data(folder, train, dev).scores
    with tempfile.TemporaryDirectory() as place:
        plain = os.path.join(place, 'fp32')
        export(folder, plain, 'onnx')
        engines, reports = {}, {}
        for name in INT8_ENGINES:
            target = os.path.join(place, name)
            given = train if name == 'openvino' else None
            reports[name] = export_int8(folder, target, name, given, dev, max_drop=100.0)
            for precision in ENGINES[name].precisions:
                if precision != 'bf16' or knows_bf16():
                    engines[name, precision] = open_engine(
                        name, target if precision == 'int8' else plain, precision, threads
                    )
        found = {side: scores.of(engine) for side, engine in engines.items()}
        rows_per_second, timed = rates(engines, scores, len(scores.rows), rounds)
    return {side: (found[side], rows_per_second[side]) for side in engines}, scores.measure, timed, reports['openvino']


def table(measured, measure_name, rows, report, title):
    """The lines of the table, and the exit code."""
    lines = [
        f'{title}: {rows:,} rows, batches of 32 sorted by length, {report["processor"]["name"]} '
        f'({", ".join(report["processor"]["flags"] or ())})',
        f'{"engine":12} {"precision":10} {"rows/s":>9} {"/ fp32":>7} {"/ bf16":>7}  {measure_name}',
    ]
    for (engine, precision), (score, rate) in measured.items():
        ratios = [
            f'{rate / measured[engine, other][1]:7.2f}' if (engine, other) in measured else f'{"-":>7}'
            for other in ('fp32', 'bf16')
        ]
        lines.append(f'{engine:12} {precision:10} {rate:9.1f} {" ".join(ratios)}  {score:.2f}')
    (plain, _), (score, rate) = measured['openvino', 'fp32'], measured['openvino', 'int8']
    bad = plain - score > MOST_POINTS
    if ('openvino', 'bf16') in measured:
        bad = bad or rate < LEAST_RATIO * measured['openvino', 'bf16'][1]
    else:
        lines.append('this processor has no bf16: int8 is compared with fp32 alone')
    lines.append(f'openvino int8: {plain - score:+.2f} points lost (at most {MOST_POINTS}); {report["method"]}')
    return lines, int(bad)


def sst2_files(args):
    """(checkpoint, training file, dev file); the checkpoint is trained if it is not there."""
    train, dev = (common.file_of(args.data, name) for name in ('train.tsv', 'dev.tsv'))
    checkpoints = args.checkpoints or tempfile.mkdtemp()
    if not os.path.isdir(os.path.join(checkpoints, 'best')):
        flags = sst2.training_flags(args.data, args.model, checkpoints, args.threads, 42)
        steps = ['--max_steps', str(args.max_steps)]
        common.run_program('run_classifier.py', [*flags, *steps, '--dev_set', dev, '--do_val', 'true'], show=True)
    return checkpoints, train, dev


def chnsenticorp_files(args):
    """The same of a classifier that is given."""
    if not args.checkpoint:
        raise UsageError('--checkpoint is missing: a classifier of ChnSentiCorp.')
    return args.checkpoint, *(common.file_of(args.data, name, 'chnsenticorp') for name in ('train.tsv', 'dev.tsv'))


FILES = {'sst2': sst2_files, 'chnsenticorp': chnsenticorp_files}


def parse_flags(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=FILES)
    common.add_flags(parser)
    parser.add_argument('--checkpoints', help='folder of the training of SST-2; made if it is not there')
    parser.add_argument('--checkpoint', help='a classifier of ChnSentiCorp')
    parser.add_argument('--rounds', type=int, default=5, help='passes of each engine (default: 5)')
    parser.add_argument('--max_steps', type=int, default=0, help='stop the training early, to try the program out')
    return parser.parse_args(argv)


def main(argv=None):
    """Measure and print; returns the exit code."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    files = FILES[args.task](args)
    lines, code = table(*measure(*files, args.threads, args.rounds), args.task)
    print('\n'.join(lines))
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
