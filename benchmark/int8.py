"""int8 beside fp32 and bf16 of the same engines: score and rows a second, in one process, taking turns.

python -m benchmark.int8 sst2 --data FOLDER [--checkpoints FOLDER]
    MiniLM after one epoch of SST-2, found in --checkpoints, or trained first (`benchmark.sst2 accuracy`).
python -m benchmark.int8 chnsenticorp --data FOLDER --checkpoint RUN
    A classifier of ChnSentiCorp, such as `ernie finetune FOLDER/chnsenticorp/train.tsv` makes.
python -m benchmark.int8 student --data FOLDER --teacher RUN --student RUN [--task ocnli]
    A classifier and a smaller one that has learnt from it (`ernie distill`), both with OpenVINO.

300 rows of the training file calibrate, all rows of the dev file are scored, and --rows of them, evenly spread, are
timed: batches of 32 rows sorted by length, padded to the longest of the batch; each round is a pass of every engine.
The rate is the median over the rounds, the score that of the report of the export. int8 of OpenVINO is exported with
`--max_drop 100`, so that whatever it scores is seen. Exit code 1 if it scores more than 0.5 points below fp32, or is
slower than 1.3 times bf16 of the same engine, where there is bf16; of a student, if neither int8 nor bf16 is 6 times as
fast as the teacher in fp32.

--exports FOLDER keeps what is exported. What is there already is measured as it is.
"""

import argparse
import contextlib
import os
import sys
import tempfile

from benchmark import common, sst2
from propeller.errors import UsageError, one_line_errors
from propeller.inputs import read_json_object

LEAST_RATIO, MOST_POINTS, LEAST_TIMES = 1.3, 0.5, 6.0


def measure(checkpoint, files, args):
    """dict (engine, precision) -> (score, rows a second), measure of the score, rows, report of the export."""
    from ernie.inference.int8.exporting import INT8_ENGINES
    from ernie.inference.int8.scores import rates

    with kept_or_not(args.exports) as place:
        scores, engines, reports = opened(checkpoint, files, args.threads, place, INT8_ENGINES)
        rows_per_second, timed = rates(engines, scores, args.rows, args.rounds)
    measured = {side: (reports[side[0]]['score'][side[1]], rate) for side, rate in rows_per_second.items()}
    return measured, scores.measure, timed, reports['openvino']


def kept_or_not(exports):
    """A context with the folder for exports: one that stays, or a temporary one."""
    if not exports:
        return tempfile.TemporaryDirectory()
    os.makedirs(exports, exist_ok=True)
    return contextlib.nullcontext(exports)


def opened(checkpoint, files, threads, place, names):
    """A model in every precision of some engines, that of the processor only.

    Args:
        checkpoint: a run, or a checkpoint.
        files: (file to calibrate with, file to score).
        threads: of a batch.
        place: folder for the exports.
        names: of engines that know int8.
    Returns:
        (`TaskScores`, dict (engine, precision) -> engine, dict engine -> report of the export in int8).
    """
    from ernie.inference.engines import ENGINES, knows_bf16, open_engine
    from ernie.inference.export import export
    from ernie.inference.find import find_model
    from ernie.inference.folder import ModelFolder
    from ernie.inference.int8.data import read_data
    from ernie.inference.int8.exporting import export_int8
    from ernie.inference.saved_precision import REPORT

    (train, dev), plain = files, os.path.join(place, 'fp32')
    folder = ModelFolder(find_model(checkpoint))
    scores = read_data(folder, train, dev).scores
    if not os.path.isdir(plain):
        export(folder, plain, 'onnx')
    engines, reports = {}, {}
    for name in names:
        target = os.path.join(place, name)
        if not os.path.isdir(target):
            export_int8(folder, target, name, train if name == 'openvino' else None, dev, max_drop=100.0)
        reports[name] = read_json_object(os.path.join(target, REPORT), 'the report of an export')
        for precision in ENGINES[name].precisions:
            if precision != 'bf16' or knows_bf16():
                found = target if precision == 'int8' else plain
                engines[name, precision] = open_engine(name, found, precision, threads)
    return scores, engines, reports


def table(measured, measure_name, rows, report, title):
    """The lines of the table, and the exit code."""
    lines = [
        title_line(title, rows, report),
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


def title_line(title, rows, report):
    processor = report['processor']
    flags = ', '.join(processor['flags'] or ())
    return f'{title}: {rows:,} rows, batches of 32 sorted by length, {processor["name"]} ({flags})'


def measure_student(models, files, args):
    """dict (model, precision) -> (score, rows a second, MB of its files), measure, rows, report of the student."""
    from ernie.inference.int8.scores import batches_of, seconds_in_turns

    found, sides, reports = {}, {}, {}
    with kept_or_not(args.exports) as place:
        for name, checkpoint in models.items():
            own = os.path.join(place, name)
            os.makedirs(own, exist_ok=True)
            scores, engines, made = opened(checkpoint, files, args.threads, own, ('openvino',))
            batches, rows = batches_of(scores, args.rows)
            reports[name] = made['openvino']
            for (_, precision), engine in engines.items():
                size = reports[name]['megabytes']['int8' if precision == 'int8' else 'fp32']
                found[name, precision] = reports[name]['score'][precision], size
                sides[name, precision] = engine, batches
        seconds = seconds_in_turns(sides, args.rounds)
    measured = {side: (score, rows / seconds[side], size) for side, (score, size) in found.items()}
    return measured, scores.measure, rows, reports['student']


def student_table(measured, measure_name, rows, report, title):
    """The lines of the table, and the exit code."""
    teacher_score, base, _ = measured['teacher', 'fp32']
    lines = [
        title_line(f'{title}, openvino', rows, report),
        f'{"model":8} {"precision":10} {"MB":>7} {"rows/s":>9} {"/ teacher fp32":>14}  {measure_name}',
    ]
    for (model, precision), (score, rate, size) in measured.items():
        lines.append(f'{model:8} {precision:10} {size:7.1f} {rate:9.1f} {rate / base:14.2f}  {score:.2f}')
    small = {side: values for side, values in measured.items() if side[0] == 'student' and side[1] != 'fp32'}
    (_, precision), (score, rate, _) = max(small.items(), key=lambda item: item[1][1])
    lines.append(
        f'student in {precision}: {rate / base:.2f} times the teacher in fp32 (at least {LEAST_TIMES:g}), '
        f'{score - teacher_score:+.2f} points'
    )
    return lines, int(rate < LEAST_TIMES * base)


def sst2_files(args):
    """(checkpoint, training file, dev file); the checkpoint is trained if it is not there."""
    train, dev = (common.file_of(args.data, name) for name in ('train.tsv', 'dev.tsv'))
    checkpoints = args.checkpoints or tempfile.mkdtemp()
    if not os.path.isdir(os.path.join(checkpoints, 'best')):
        flags = sst2.training_flags(args.data, args.model, checkpoints, args.threads, 42)
        steps = ['--max_steps', str(args.max_steps)]
        common.run_program('run_classifier.py', [*flags, *steps, '--dev_set', dev, '--do_val', 'true'], show=True)
    return checkpoints, train, dev


def sst2_lines(args):
    checkpoint, *files = sst2_files(args)
    return table(*measure(checkpoint, files, args), 'sst2')


def chnsenticorp_lines(args):
    return table(*measure(args.checkpoint, task_files(args.data, 'chnsenticorp'), args), 'chnsenticorp')


def student_lines(args):
    models = {'teacher': args.teacher, 'student': args.student}
    return student_table(*measure_student(models, task_files(args.data, args.task), args), args.task)


def task_files(data, task):
    """(training file, dev file) of a task in the folder of all data."""
    return [common.file_of(data, name, task) for name in ('train.tsv', 'dev.tsv')]


LINES = {'sst2': sst2_lines, 'chnsenticorp': chnsenticorp_lines, 'student': student_lines}
# What each of them needs beside the data.
MODELS = {'sst2': (), 'chnsenticorp': ('checkpoint',), 'student': ('teacher', 'student')}


def parse_flags(argv=None):
    """The flags.

    Raises:
        UsageError: a model is missing.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('measured', choices=LINES)
    common.add_flags(parser)
    parser.add_argument('--checkpoints', help='folder of the training of SST-2; made if it is not there')
    parser.add_argument('--checkpoint', help='a classifier of ChnSentiCorp')
    parser.add_argument('--teacher', help='a classifier of --task')
    parser.add_argument('--student', help='a smaller one')
    parser.add_argument('--task', default='chnsenticorp', help='folder of both in --data (default: chnsenticorp)')
    parser.add_argument('--exports', help='folder where exports stay (default: they do not)')
    parser.add_argument('--rows', type=int, default=512, help='rows that are timed, at most (default: 512)')
    parser.add_argument('--rounds', type=int, default=5, help='passes of each engine (default: 5)')
    parser.add_argument('--max_steps', type=int, default=0, help='stop the training early, to try the program out')
    args = parser.parse_args(argv)
    for name in MODELS[args.measured]:
        if not getattr(args, name):
            raise UsageError(f'--{name} is missing: a classifier of {args.task}.')
    return args


def main(argv=None):
    """Measure and print; returns the exit code."""
    args = parse_flags(argv)
    common.limit_cores(args.threads)
    lines, code = LINES[args.measured](args)
    print('\n'.join(lines))
    return code


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
