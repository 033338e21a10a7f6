"""Does a killed and resumed training equal an uninterrupted one, bit for bit? On SST-2, with 1 thread.

    python -m benchmark.acceptance.resume_equal --data FOLDER [--model FOLDER] [--steps_before 60] [--steps_after 130]

One run of run_classifier.py does N + M steps. Another does N steps, saves, goes on, is killed with SIGKILL, and is
started again with `--resume true`. Compared bit for bit: loss, accuracy and learning rate of every step, dev scores in
between, and at the end all parameters, the optimizer's state, random state and data position; also the arrays of the
100 batches that follow the checkpoint. Dropout is on, and an epoch ends inside. Exit code 1 if anything differs.

Without --model a small encoder with random values is trained, on the vocabulary of MiniLM.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmark import common
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.storage import open_tensors
from propeller.train.checkpoint import MODEL, OPTIMIZER, RUN, Checkpoints, read_state
from propeller.train.record import read_metrics

FOLLOWING_BATCHES = 100
SMALL_ENCODER = {
    'hidden_size': 36,
    'num_hidden_layers': 2,
    'num_attention_heads': 3,
    'intermediate_size': 84,
    'hidden_act': 'gelu',
    'hidden_dropout_prob': 0.1,
    'attention_probs_dropout_prob': 0.1,
    'initializer_range': 0.02,
    'max_position_embeddings': 128,
    'type_vocab_size': 2,
}
CLOCKED = {'time', 'steps_per_second', 'tokens_per_second'}


def first_lines(source, target, count):
    """Copy the header and the first `count` rows."""
    with open(source, encoding='utf-8') as f, open(target, 'w', encoding='utf-8') as out:
        out.writelines(itertools.islice(f, count + 1))


def write_inputs(args, folder):
    """Flags of the model and of a few rows of SST-2, written to `folder`."""
    train, dev = os.path.join(folder, 'train.tsv'), os.path.join(folder, 'dev.tsv')
    first_lines(common.file_of(args.data, 'train.tsv'), train, args.rows)
    first_lines(common.file_of(args.data, 'dev.tsv'), dev, args.rows // 10)
    flags = ['--train_set', train, '--dev_set', dev]
    if args.model:
        return [*flags, '--init_pretraining_params', args.model]
    vocab, config = os.path.join(common.minilm_folder(), 'vocab.txt'), os.path.join(folder, 'ernie_config.json')
    with open(vocab, encoding='utf-8') as f, open(config, 'w', encoding='utf-8') as out:
        json.dump({**SMALL_ENCODER, 'vocab_size': sum(1 for _ in f)}, out)
    return [*flags, '--vocab_path', vocab, '--ernie_config_path', config]


def all_flags(args, inputs):
    """Everything but `--checkpoints` and `--resume`."""
    steps = args.steps_before + args.steps_after
    return [
        *('--use_cuda', 'false', '--cpu_threads', '1', '--random_seed', '7', '--cache', 'false', *inputs),
        *('--for_cn', 'false', '--max_seq_len', '128', '--batch_size', str(args.batch_size)),
        *('--epoch', str(steps * args.batch_size // args.rows + 2), '--max_steps', str(steps)),
        *('--save_steps', str(args.steps_before), '--validation_steps', '25', '--skip_steps', '1'),
        *('--do_val', 'true', '--do_test', 'false', '--learning_rate', '1e-3'),
    ]


def killed_run(flags, checkpoints, step):
    """Start a training and kill it as soon as it has logged `step`.

    Returns:
        int, the last step that it had logged.
    Raises:
        UserError: it ended before.
    """
    command = [sys.executable, os.path.join(common.ROOT, 'run_classifier.py'), *flags, '--checkpoints', checkpoints]
    metrics = os.path.join(checkpoints, 'metrics.jsonl')
    with tempfile.TemporaryFile('w+') as complaints:
        process = subprocess.Popen(command, stderr=complaints)
        while process.poll() is None and _logged(metrics) < step:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            complaints.seek(0)
            raise UserError(f'the run to be killed ended with code {process.returncode}. {complaints.read()[-2000:]}')
    return _logged(metrics)


def _logged(metrics):
    steps = [r['step'] for r in read_metrics(metrics) if r['phase'] == 'train'] if os.path.exists(metrics) else []
    return max(steps, default=0)


# ---------------------------------------------------------------- comparing


def different_records(left, right):
    """Records of two `metrics.jsonl` that differ in anything but the clock, as texts."""
    columns = [[{k: v for k, v in r.items() if k not in CLOCKED} for r in read_metrics(path)] for path in (left, right)]
    return [
        f'step {(a or b)["step"]}: {a} and {b}' for a, b in itertools.zip_longest(*columns, fillvalue=None) if a != b
    ]


def different_tensors(left, right):
    """Names of tensors that are not bit-equal in two files, or are in one only."""
    a, b = open_tensors(left), open_tensors(right)
    equal = {n for n in a if n in b and a[n].dtype == b[n].dtype and a[n].shape == b[n].shape}
    return sorted((set(a) | set(b)) - {n for n in equal if a[n].tobytes() == b[n].tobytes()})


def different_states(left, right):
    """Keys of two training states whose values differ, but for the identity of the run."""
    a, b = read_state(left), read_state(right)
    return sorted(key for key in (a.keys() | b.keys()) - {RUN} if a.get(key) != b.get(key))


def following_batches(args, inputs, position, skip):
    """Compare the batches from a saved data position on with those of a stream that has given `skip` batches.

    Returns:
        (number of batches compared, how many of them differ in rows or in any array).
    """
    from ernie.reader.classify import ClassifyReader
    from ernie.reader.tokenized_set import encoder_arrays
    from ernie.tokenization import FullTokenizer
    from propeller.data.batching import BatchStream

    vocab = os.path.join(args.model or common.minilm_folder(), 'vocab.txt')
    reader = ClassifyReader(FullTokenizer(vocab), 128, task_kind='classify', num_labels=2, for_cn=False, cache=False)
    rows = reader.read(inputs[inputs.index('--train_set') + 1])

    def stream():
        arrays = lambda i: [*encoder_arrays(rows, i), rows.labels[i]]  # noqa: E731
        return BatchStream(rows, arrays, args.batch_size, seed=position['seed'], epochs=None)

    sought, plain = stream(), stream()
    sought.seek(position)
    after = itertools.islice(plain, skip, skip + FOLLOWING_BATCHES)
    pairs = list(zip(itertools.islice(sought, FOLLOWING_BATCHES), after, strict=True))
    different = sum(
        not (np.array_equal(a.rows, b.rows) and all(map(np.array_equal, a.arrays, b.arrays))) for a, b in pairs
    )
    return len(pairs), different


def compare(args, inputs, whole, resumed):
    """Print a line per comparison; returns whether all were equal."""
    last = [Checkpoints(folder).path(args.steps_before + args.steps_after) for folder in (whole, resumed)]
    middle = Checkpoints(resumed).path(args.steps_before)
    metrics = [os.path.join(folder, 'metrics.jsonl') for folder in (whole, resumed)]
    checks = {f'log of {_logged(metrics[0])} steps': different_records(*metrics)}
    for label, file in (('parameters', MODEL), ('optimizer state', OPTIMIZER)):
        names = [os.path.join(folder, file) for folder in last]
        checks[f'{label}, {len(open_tensors(names[0]))} tensors'] = different_tensors(*names)
    checks['random state, data position, hooks'] = different_states(*last)
    position = read_state(middle)['data_position']
    count, different = following_batches(args, inputs, position, args.steps_before)
    checks[f'next {count} batches'] = [f'{different} batches'] if different else []
    for name, differences in checks.items():
        print(f'{name}: ' + (f'DIFFERENT, {len(differences)}, first: {differences[0]}' if differences else 'equal'))
    return not any(checks.values())


def parse_flags(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get('ERNIE_TEST_DATA')
    parser.add_argument('--data', default=data, help='folder with sst2_en/ (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--model', help='model folder with vocab.txt to start from (default: a small random encoder)')
    parser.add_argument('--steps_before', type=int, default=60, help='N (default: 60)')
    parser.add_argument('--steps_after', type=int, default=130, help='M (default: 130)')
    parser.add_argument('--rows', type=int, default=701, help='rows of SST-2 to train on (default: 701)')
    parser.add_argument('--batch_size', type=int, default=8)
    args = parser.parse_args(argv)
    if args.steps_before < 1 or args.steps_after < 5 or args.rows < 10 or args.batch_size < 1:
        raise UsageError('expected --steps_before from 1, --steps_after from 5, --rows from 10, --batch_size from 1.')
    return args


def main(argv=None):
    """Train, kill, resume, compare; returns the exit code."""
    args = parse_flags(argv)
    with tempfile.TemporaryDirectory() as folder:
        whole, resumed = os.path.join(folder, 'whole'), os.path.join(folder, 'resumed')
        inputs = write_inputs(args, folder)
        flags = all_flags(args, inputs)
        common.run_program('run_classifier.py', [*flags, '--checkpoints', whole])
        killed = killed_run(flags, resumed, args.steps_before + min(20, args.steps_after // 2))
        start = Checkpoints(resumed).steps()
        common.run_program('run_classifier.py', [*flags, '--checkpoints', resumed, '--resume', 'true'])
        print(
            f'{args.steps_before} + {args.steps_after} steps; killed after step {killed}, resumed from step {start[-1]}'
        )
        equal = compare(args, inputs, whole, resumed)
    print('bit-equal' if equal else 'NOT equal')
    return int(not equal)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
