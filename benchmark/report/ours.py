"""One run of this suite for a work of `benchmark.report`: by the programs that users run.

    python -m benchmark.report.ours WORK EXPORT FOLDER ENGINE PRECISION THREADS

An exported model with the rows of the folder, in a process of its own: prints the JSON line of `measured`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

from benchmark import common, inference
from benchmark.common import SIDES
from benchmark.report.works import LATENCY, PRETRAIN, WORKS
from propeller.errors import UserError, one_line_errors
from propeller.train.record import read_metrics

REPEATS = 7


def train(work, folder, precision, threads):
    """dict: `rate`, tokens a second after the first updates, and `gigabytes`, the peak."""
    with tempfile.TemporaryDirectory() as checkpoints:
        program, flags = training_flags(work, folder, checkpoints, threads)
        flags += [*SIDES[precision], '--skip_steps', str(work.warm)]
        memory = common.run_weighed(program, flags)
        return {'rate': rate_of(checkpoints, work), 'gigabytes': memory}


def training_flags(work, folder, checkpoints, threads):
    """(program, its flags) of a training from random values, one pass over the rows."""
    place = lambda name: os.path.join(folder, name)  # noqa: E731
    longest = work.lengths[3]
    flags = [
        *('--ernie_config_path', place('config.json'), '--vocab_path', place('vocab.txt')),
        *('--use_cuda', 'false', '--cpu_threads', str(threads), '--random_seed', '1', '--checkpoints', checkpoints),
        *('--max_seq_len', str(max(longest, 8)), '--learning_rate', '5e-5', '--weight_decay', '0.01'),
        *('--do_test', 'false'),
    ]
    if work.kind == PRETRAIN:
        flags += ['--train_filelist', place('filelist'), '--batch_size', str(work.rows * longest)]
        return 'train.py', [*flags, '--num_train_steps', str(work.steps)]
    flags += ['--train_set', place('rows.tsv'), '--batch_size', str(work.rows), '--epoch', '1', '--for_cn', 'false']
    return 'run_classifier.py', [*flags, '--do_train', 'true', '--do_val', 'false']


def rate_of(checkpoints, work):
    """Tokens a second over all updates after the first `work.warm`.

    Raises:
        UserError: the run did not log them all.
    """
    records = [r for r in read_metrics(os.path.join(checkpoints, 'metrics.jsonl')) if r['phase'] == 'train']
    counted = [r for r in records if r['step'] > work.warm]
    if not counted or counted[-1]['step'] != work.steps or records[0]['step'] != work.warm:
        raise UserError(
            f'{checkpoints}: found log lines of steps {[r["step"] for r in records]}, expected {work.steps}.'
        )
    seconds = [work.warm / r['steps_per_second'] for r in counted]
    return sum(s * r['tokens_per_second'] for s, r in zip(seconds, counted, strict=True)) / sum(seconds)


def exported(work, folder, threads):
    """A classifier of random values, exported for every engine under `folder`, unless it is there."""
    target = os.path.join(folder, 'exported')
    if not os.path.isdir(target):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            checkpoints = os.path.join(scratch, 'run')
            program, flags = training_flags(work, folder, checkpoints, threads)
            common.run_program(program, [*flags, '--max_steps', '1'])
            made = os.path.join(scratch, 'exported')
            inference.export_all(os.path.join(checkpoints, 'step_1'), made)
            os.rename(made, target)
    return target


def predict(work, folder, engine, precision, threads):
    """dict: `rate`, tokens a second, of one text at a time `ms` of a call; `gigabytes`, the peak; `apart`: the largest
    difference of a probability to Paddle's own operators in float32."""
    words = [work.name, exported(work, folder, threads), folder, engine, precision, threads]
    command = [sys.executable, '-m', 'benchmark.report.ours', *map(str, words)]
    return common.run_json(command, 'benchmark.report.ours', ('gigabytes', 'apart'))


def measured(work, target, folder, engine, precision, threads):
    """What `predict` gives, in this process."""
    from ernie.inference.engines import open_engine

    opened = inference.exported_model(target, engine)
    rows, _, batches = inference.batches_of(opened, os.path.join(folder, 'rows.tsv'), work.rows)
    model = open_engine(engine, opened.path, precision, threads)
    alone = work.kind == LATENCY
    seconds = []
    for _ in range(work.steps if alone else REPEATS + 1):
        began = time.perf_counter()
        found = [model.run(batch)[0] for batch in batches]
        seconds.append(time.perf_counter() - began)
    gigabytes = common.peak_memory() / 1024
    reference = open_engine('executor', os.path.join(target, 'paddle'), threads=threads)
    apart = max(np.abs(a - reference.run(b)[0]).max() for a, b in zip(found, batches, strict=True))
    taken = statistics.median(seconds[work.warm if alone else 1 :])
    speed = {'ms': 1000 * taken} if alone else {'rate': int(np.sum(rows.lengths)) / taken}
    return speed | {'gigabytes': gigabytes, 'apart': float(apart)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work', choices=[work.name for work in WORKS])
    for name in ('export', 'folder', 'engine', 'precision'):
        parser.add_argument(name)
    parser.add_argument('threads', type=int)
    args = parser.parse_args(argv)
    work = next(work for work in WORKS if work.name == args.work)
    print(json.dumps(measured(work, args.export, args.folder, args.engine, args.precision, args.threads)))


if __name__ == '__main__':
    with one_line_errors():
        main()
