"""Runs `ernie finetune classify` and reads what it leaves."""

import glob
import os
import subprocess
import sys
from typing import NamedTuple

from propeller.errors import UserError, bad_input
from propeller.inputs import read_json_object
from propeller.train.record import read_metrics

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = (sys.executable, '-P', '-m', 'ernie', 'finetune', 'classify')
LABELS = ('negative', 'positive')
# An interrupted run loses at most so many steps.
_SAVE_STEPS = 40


class Scores(NamedTuple):
    """Accuracies of the best checkpoint."""

    step: int
    dev: float
    test: float


def run_program(folder, flags):
    """Run the program in a process of its own, its output on this process's streams.

    Args:
        folder: working folder.
        flags: dict flag -> value.

    Raises:
        UserError: it failed; what it printed tells why.
    """
    found = os.pathsep.join(filter(None, (ROOT, os.environ.get('PYTHONPATH'))))
    command = [*COMMAND]
    for name, value in flags.items():
        command += [f'--{name}', str(value)]
    code = subprocess.run(command, cwd=folder, env={**os.environ, 'PYTHONPATH': found}, check=False).returncode
    if code:
        raise UserError(f'{" ".join(command[:6])} ended with exit code {code}; the reason stands above.')


def data_flags(model, data):
    """The files of a training. model, data: the folders that a task script knows as MODEL_PATH and TASK_DATA_PATH."""
    train, dev, test = (os.path.join(data, 'chnsenticorp', f'{part}.tsv') for part in ('train', 'dev', 'test'))
    return {'init_pretraining_params': os.path.join(model, 'params'), 'train_set': train, 'dev_set': f'{dev},{test}'}


def training_flags(args):
    """The recipe of run_ChnSentiCorp.sh in a size for two cores, with a rate that rises and falls."""
    return {
        'do_test': 'false',
        'num_labels': len(LABELS),
        'overwrite_checkpoints': 'true',
        'epoch': args.epoch,
        'max_seq_len': args.max_seq_len,
        'batch_size': args.batch_size,
        'predict_batch_size': 64,
        'learning_rate': args.learning_rate,
        'warmup_proportion': 0.1,
        'random_seed': args.seed,
        # Evaluation at the end of each epoch is enough.
        'validation_steps': 1_000_000,
        'early_stop': -1,
        'save_steps': _SAVE_STEPS,
        'max_checkpoints': 1,
        'resume': 'true',
    }


def prediction_flags(args, checkpoints, sentences, output):
    """Predict a file with the best checkpoint, which is all that is needed for it."""
    return {
        'do_train': 'false',
        'do_val': 'false',
        'do_test': 'true',
        'init_checkpoint': os.path.join(checkpoints, 'best'),
        'test_set': sentences,
        'test_save': output,
        'max_seq_len': args.max_seq_len,
        'checkpoints': checkpoints,
    }


def read_scores(checkpoints):
    """Accuracies of the best checkpoint on dev.tsv and test.tsv.

    Args:
        checkpoints: the `--checkpoints` folder of a finished run.

    Raises:
        UserError: the run left no scores.
    """
    best, log = os.path.join(checkpoints, 'best', 'metrics.json'), os.path.join(checkpoints, 'metrics.jsonl')
    try:
        step, records = read_json_object(best, finite=False)['step'], read_metrics(log)
    except (UserError, KeyError) as e:
        raise UserError(f'{checkpoints}: the scores cannot be read ({e}). Run again with --fresh.') from None
    accuracy = {
        os.path.basename(record['file']): record['acc']
        for record in records
        if record['phase'] == 'dev' and record['step'] == step
    }
    missing = ', '.join(sorted({'dev.tsv', 'test.tsv'} - accuracy.keys()))
    if missing:
        raise bad_input(log, f'no scores of {missing} at step {step}', 'those of the best checkpoint')
    return Scores(step, accuracy['dev.tsv'], accuracy['test.tsv'])


def write_sentences(path, sentences):
    """A test set without labels: one column, `text_a`."""
    with open(path, 'w', encoding='utf-8', newline='\n') as f:
        f.write('text_a\n')
        f.writelines(f'{sentence}\n' for sentence in sentences)


def read_predictions(output, count):
    """The newest prediction file of a `--test_save` name.

    Args:
        output: that name; the program appends epoch and steps.
        count: rows that were predicted.

    Returns:
        (path, list of (label text, probability of it)).

    Raises:
        UserError: there is no such file, or it does not hold `count` predictions.
    """
    paths = sorted(glob.glob(glob.escape(output) + '.*'), key=os.path.getmtime)
    if not paths:
        raise UserError(f'{output}.*: no predictions were written.')
    with open(paths[-1], encoding='utf-8') as f:
        lines = f.read().splitlines()
    if len(lines) != count:
        raise bad_input(paths[-1], f'{len(lines)} predictions', f'{count}')
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            label, probabilities = line.split('\t')
            values = [float(p) for p in probabilities.strip('[]').split()]
            results.append((LABELS[int(float(label))], values[int(float(label))]))
        except (ValueError, IndexError):
            raise bad_input(paths[-1], repr(line), 'prediction<TAB>[probabilities]', line=number) from None
    return paths[-1], results
