"""Students of words on ChnSentiCorp: plain, and taught in several ways, beside their teacher (distill/README.md).

    python -m benchmark.word_students --train FILE --dev FILE [--further FILE] --teacher RUN --out FOLDER

The files have the columns `label`, `text_a`; of `--further`, texts that nobody labelled, no label is read. RUN is a
classifier that learnt from the training file, as `ernie finetune` makes it. `--out` keeps what is made: texts, the
teacher's answers, and each training that has ended, so that a second call goes on. A training is a process of its own
with one thread. All trainings of a student have as many steps, half of their batches are labelled by people; of the
plain student, the others are too. The learning rate of a student, plain or taught, is that of `RATES` with which the
plain one is best with a further seed. A training counts with its best dev accuracy.

Rates of prediction: from raw text, words cut by the lexer, one thread, batches of 32, each model by the same engine.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

from benchmark import common
from propeller.errors import UsageError, UserError, one_line_errors
from propeller.inputs import read_json_object
from propeller.storage.atomic import output_file

LEXER, SEARCH_SEED, WORDS = 'rjieba', 0, 128
RATES = (1e-3, 3e-3)
STUDENTS = {  # hyper-parameters; steps of a training, and between evaluations
    'bow': ({'encoder': 'bow', 'emb_size': 128, 'hidden_size': 128}, 600, 50),
    'bilstm': ({'encoder': 'bilstm', 'emb_size': 128, 'hidden_size': 128}, 400, 50),
}
METHODS = {  # what they are called; the folder of the texts that the teacher labels; what of its answers counts
    'plain': ('labels of people alone', None, None),
    'hard': ('classes of the teacher, augmented texts', 'augmented', 'hard'),
    'soft': ('logits of the teacher, augmented texts', 'augmented', 'soft'),
    'unchanged': ('logits of the teacher, texts of the training file', 'unchanged', 'soft'),
    'further': ('logits of the teacher, further texts', 'further', 'soft'),
}


class Texts:
    """The files of all trainings, in a folder: made where they are not there. args: the flags."""

    def __init__(self, args):
        self.args, self.out = args, os.path.abspath(args.out)
        self.student, self.answers = self.path('student'), self.path('answers')
        self.vocabulary = self.path('student', 'vocab.txt')
        self.methods = [name for name, (_, folder, _) in METHODS.items() if folder != 'further' or args.further]

    def path(self, *names):
        return os.path.join(self.out, *names)

    def make(self):
        """Segment, augment, count words, and have the teacher answer."""
        args = self.args
        for name, source in (('train', args.train), ('dev', args.dev)):
            _program('segment.py', self._file('student', name, 'part.0'), source, ['--second', 'label'])
        unlabelled = {'unchanged': args.train, **({'further': args.further} if args.further else {})}
        for name, source in unlabelled.items():
            _program('segment.py', self._file(name, f'{name}.tsv'), source, ['--second', 'raw'])
        augmented = self._file('augmented', 'augmented.tsv')
        _program('augment.py', augmented, args.train, ['--copies', str(args.copies)])
        files = [augmented, *(self.path(name, f'{name}.tsv') for name in unlabelled)]
        if not os.path.isfile(self.vocabulary):
            sizes = ['--size', str(args.words), '--lexer', LEXER]
            _run('build_vocab.py', ['--input', *files, '--output', self.vocabulary, *sizes])
        flags = [
            '--teacher',
            args.export or args.teacher,
            '--input',
            *files,
            '--output',
            self.answers,
            '--engine',
            'openvino',
        ]
        _run('teacher_outputs.py', [*flags, '--max_seq_len', str(args.teacher_length)], show=True)

    def _file(self, *names):
        os.makedirs(self.path(*names[:-1]), exist_ok=True)
        return self.path(*names)


def _program(name, target, source, flags):
    """Run a program of distill/ on a table, unless its file is there."""
    if not os.path.isfile(target):
        _run(name, ['--input', source, '--column', 'text_a', '--lexer', LEXER, *flags, '--output', target])


def _run(name, flags, threads=None, show=False):
    """What a program of distill/ prints. Raises `UserError`: it failed."""
    command = [sys.executable, os.path.join(common.ROOT, 'distill', name), *flags]
    environment = os.environ | ({'OMP_NUM_THREADS': str(threads)} if threads else {})
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=None if show else subprocess.PIPE, text=True
    )
    if done.returncode:
        raise UserError(f'{name}: ended with code {done.returncode}. {(done.stderr or "")[-2000:]}')
    return done.stdout


def train(texts, student, method, rate, seed):
    """Best dev accuracy of a training, which is kept in `runs/`; one that has ended is not made again."""
    hparams, steps, eval_steps = STUDENTS[student]
    folder = texts.path('runs', f'{student}_{method}_{rate:g}_{seed}')
    result = os.path.join(folder, 'result.json')
    if not os.path.isfile(result):
        began, work = time.monotonic(), os.path.join(folder, 'training')
        run = {'model_dir': work, 'max_steps': steps, 'eval_steps': eval_steps, 'save_steps': steps, 'max_ckpt': 1}
        learn = {'learning_rate': rate, 'batch_size': 100, 'warmup_proportion': 0.1, 'weight_decay': 0.0}
        sizes = {'num_label': 2, 'vocab_size': texts.args.words, 'initializer_range': 0.02, **hparams}
        flags = [
            *('--data_dir', texts.student, '--vocab_file', texts.vocabulary, '--max_seqlen', str(WORDS)),
            *('--run_config', json.dumps({**run, 'log_steps': 100, 'skip_steps': 0})),
            *('--hparam', json.dumps({**learn, **sizes}), '--seed', str(seed), *_taught(texts, method)),
        ]
        printed = _run('distill_chnsentocorp.py', flags, threads=1)
        accuracy = float(printed.split()[-1])
        shutil.rmtree(os.path.join(folder, 'student'), ignore_errors=True)
        os.rename(os.path.join(work, 'best', 'ernie_model'), os.path.join(folder, 'student'))
        with output_file(result) as f:
            json.dump({'accuracy': accuracy, 'seconds': round(time.monotonic() - began, 1)}, f)
        shutil.rmtree(work)
    found = read_json_object(result)
    print(
        f'{os.path.basename(folder)}: {found["accuracy"]:.4f} ({found["seconds"]:.0f} s)', file=sys.stderr, flush=True
    )
    return found['accuracy'], os.path.join(folder, 'student')


def _taught(texts, method):
    _, folder, labels = METHODS[method]
    if folder is None:  # both kinds of batches are labelled by people
        return ['--unsupervise_data_dir', os.path.join(texts.student, 'train')]
    answers = ['--teacher_outputs', texts.answers, '--teacher_labels', labels]
    return ['--unsupervise_data_dir', texts.path(folder), *answers]


def measured(texts, student, seeds, pool):
    """Learning rate, dict method -> accuracies, and the folder of a student. pool: runs trainings."""

    def all_of(cases):
        return list(pool.map(lambda case: train(texts, student, *case), cases))

    found = [accuracy for accuracy, _ in all_of([('plain', rate, SEARCH_SEED) for rate in RATES])]
    rate = RATES[found.index(max(found))]
    cases = [(method, rate, seed) for method in texts.methods for seed in seeds]
    found = dict(zip(cases, all_of(cases), strict=True))
    table = {method: [found[method, rate, seed][0] for seed in seeds] for method in texts.methods}
    return rate, table, found['soft', rate, seeds[0]][1]


def speed(folder, dev, length=None):
    """(accuracy, rows a second) of a model on a file `text_a`, `label`, by one thread. length: most tokens."""
    import ernie
    from ernie.reader.records import read_records

    rows = [record.cells for record in read_records(dev)]
    model = ernie.load(folder, engine='openvino', threads=1, max_seq_len=length)
    texts = [row['text_a'] for row in rows]
    model(texts[:64])
    began, seconds = time.monotonic(), []
    while not seconds or time.monotonic() - began < 5:
        started = time.monotonic()
        results = model(texts)
        seconds.append(time.monotonic() - started)
    right = sum(result['label'] == row['label'] for result, row in zip(results, rows, strict=True))
    return right / len(rows), len(rows) / statistics.median(seconds)


def parameters_of(folder):
    """How many numbers a model has."""
    from ernie.checkpoint import open_model
    from ernie.inference.find import find_model

    tensors = open_model(find_model(folder))
    return sum(tensors[name].size for name in tensors)


def line(name, accuracies, rate='', parameters=None, rows=None, plain=None):
    """A row of the table, in Markdown."""
    mean = statistics.mean(accuracies)
    spread = f' ({100 * min(accuracies):.2f} to {100 * max(accuracies):.2f})' if len(accuracies) > 1 else ''
    gain = '' if plain is None else f'{100 * (mean - plain):+.2f}'
    sizes = [f'{parameters / 1e6:.1f} million' if parameters else '', f'{rows:,.0f}' if rows else '']
    return f'| {" | ".join((name, f"{100 * mean:.2f}{spread}", gain, *sizes, rate and f"{rate:g}"))} |'


def main(argv=None):
    """Train, measure and print."""
    args = parse_flags(argv)
    names, seeds = args.students.split(','), [int(seed) for seed in args.seeds.split(',')]
    if not set(names) <= set(STUDENTS):
        raise UsageError(f'--students {args.students}: expected some of {", ".join(STUDENTS)}.')
    texts = Texts(args)
    texts.make()
    with concurrent.futures.ThreadPoolExecutor(args.processes) as pool:
        found = {name: measured(texts, name, seeds, pool) for name in names}
    accuracy, rows = speed(args.export or args.teacher, args.dev, args.teacher_length or None)
    print('| model | dev accuracy, % | above plain | parameters | rows/s | learning rate |')
    print('|---|---|---|---|---|---|')
    print(line('teacher', [accuracy], parameters=parameters_of(args.teacher), rows=rows))
    for name, (rate, table, folder) in found.items():
        sizes, plain = (
            {'parameters': parameters_of(folder), 'rows': speed(folder, args.dev)[1]},
            statistics.mean(table['plain']),
        )
        for method, accuracies in table.items():
            more = sizes if method == 'plain' else {'plain': plain}
            print(line(f'{name}, {METHODS[method][0]}', accuracies, rate, **more))
    return 0


def parse_flags(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('train', 'dev'):
        parser.add_argument(f'--{name}', required=True, help='table with the columns label and text_a')
    parser.add_argument('--further', help='table with the column text_a, whose labels are not read')
    parser.add_argument('--copies', type=int, default=10, help='augmented rows for each of --train (default: 10)')
    parser.add_argument('--words', type=int, default=35_000, help='entries of the word list (default: 35000)')
    parser.add_argument('--teacher', required=True, help='a classifier of ChnSentiCorp')
    parser.add_argument('--export', help='an export of it, which answers in its place')
    parser.add_argument('--teacher_length', type=int, default=0, help='most tokens that it reads (0: as trained)')
    parser.add_argument('--out', required=True, help='keeps texts, answers and trainings')
    parser.add_argument('--students', default=','.join(STUDENTS), help='joined by commas (default: all)')
    parser.add_argument('--seeds', default='1,2,3', help='joined by commas (default: 1,2,3)')
    parser.add_argument('--processes', type=int, default=1, help='trainings at once (default: 1)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
