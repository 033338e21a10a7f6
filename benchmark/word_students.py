"""Students of words on ChnSentiCorp: plain, and taught in three ways, beside their teacher (distill/README.md).

    python -m benchmark.word_students --data FOLDER --teacher RUN --out FOLDER [--students bow,bilstm] [--seeds 1,2,3]

FOLDER of `--data` has `chnsenticorp/train.tsv` and `dev.tsv`; RUN is a classifier of it, as `ernie finetune` makes it.
`--out` keeps what is made: texts, the teacher's answers, and each training that has ended, so that a second call goes
on. A training is a process of its own with one thread. All trainings of a student have as many steps, half of their
batches are labelled by people; of the plain student, the others are too. The learning rate of a student, plain or
taught, is that of `RATES` with which the plain one is best with a further seed. A training counts with its best dev
accuracy.

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

LEXER, COPIES, SEARCH_SEED = 'rjieba', 10, 0
WORDS, VOCABULARY = 128, 35_000
RATES = (3e-4, 1e-3, 3e-3)
STUDENTS = {  # hyper-parameters; steps of a training, and between evaluations
    'bow': ({'encoder': 'bow', 'emb_size': 128, 'hidden_size': 128}, 1200, 100),
    'bilstm': ({'encoder': 'bilstm', 'emb_size': 128, 'hidden_size': 128}, 800, 100),
}
METHODS = {
    'plain': 'labels of people alone',
    'hard': 'classes of the teacher, augmented texts',
    'soft': 'logits of the teacher, augmented texts',
    'soft, no new texts': 'logits of the teacher, texts of the training file',
}
ANSWERED = {'hard': 'augmented', 'soft': 'augmented', 'soft, no new texts': 'unchanged'}


class Texts:
    """The files of all trainings, in a folder: made where they are not there.

    Args:
        data: folder of data sets.
        out: folder.
        teacher: folder of a training.
        length: most tokens that the teacher reads; 0: as it was trained.
    """

    def __init__(self, data, out, teacher, length):
        self.sources = {name: common.file_of(data, f'{name}.tsv', 'chnsenticorp') for name in ('train', 'dev')}
        self.out, self.teacher, self.length = os.path.abspath(out), teacher, length
        self.student, self.answers = self.path('student'), self.path('answers')
        self.vocabulary = self.path('student', 'vocab.txt')

    def path(self, *names):
        return os.path.join(self.out, *names)

    def make(self):
        for name, source in self.sources.items():
            target = self._file('student', name, 'part.0')
            _program('segment.py', target, ['--input', source, '--second', 'label', *_RAW])
        train = self.sources['train']
        unchanged, augmented = self._file('unchanged', 'unchanged.tsv'), self._file('augmented', 'augmented.tsv')
        _program('segment.py', unchanged, ['--input', train, '--second', 'raw', *_RAW])
        _program('augment.py', augmented, ['--input', train, '--copies', str(COPIES), *_RAW])
        files = ['--input', self.path('student', 'train', 'part.0'), augmented]
        _program('build_vocab.py', self.vocabulary, [*files, '--lexer', LEXER])
        flags = ['--teacher', self.teacher, '--input', unchanged, augmented, '--output', self.answers]
        _run('teacher_outputs.py', [*flags, '--engine', 'openvino', '--max_seq_len', str(self.length)], show=True)

    def _file(self, *names):
        os.makedirs(self.path(*names[:-1]), exist_ok=True)
        return self.path(*names)


_RAW = ['--column', 'text_a', '--lexer', LEXER]


def _program(name, target, flags):
    """Run a program of distill/, unless its file is there."""
    if not os.path.isfile(target):
        _run(name, [*flags, '--output', target])


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
    folder = texts.path('runs', f'{student} {method} {rate:g} {seed}'.replace(', ', '_').replace(' ', '_'))
    result = os.path.join(folder, 'result.json')
    if not os.path.isfile(result):
        began, work = time.monotonic(), os.path.join(folder, 'training')
        run = {'model_dir': work, 'max_steps': steps, 'eval_steps': eval_steps, 'save_steps': 500, 'max_ckpt': 1}
        learn = {'learning_rate': rate, 'batch_size': 100, 'warmup_proportion': 0.1, 'weight_decay': 0.0}
        sizes = {'num_label': 2, 'vocab_size': VOCABULARY, 'initializer_range': 0.02, **hparams}
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
    if method == 'plain':  # both kinds of batches are labelled by people
        return ['--unsupervise_data_dir', os.path.join(texts.student, 'train')]
    folder = texts.path(ANSWERED[method])
    labels = 'hard' if method == 'hard' else 'soft'
    return ['--unsupervise_data_dir', folder, '--teacher_outputs', texts.answers, '--teacher_labels', labels]


def measured(texts, student, seeds, pool):
    """Learning rate, dict method -> accuracies, and the folder of a student. pool: runs trainings."""

    def all_of(cases):
        return list(pool.map(lambda case: train(texts, student, *case), cases))

    found = [accuracy for accuracy, _ in all_of([('plain', rate, SEARCH_SEED) for rate in RATES])]
    rate = RATES[found.index(max(found))]
    cases = [(method, rate, seed) for method in METHODS for seed in seeds]
    found = dict(zip(cases, all_of(cases), strict=True))
    table = {method: [found[method, rate, seed][0] for seed in seeds] for method in METHODS}
    return rate, table, found['soft', rate, seeds[0]][1]


def speed(folder, dev):
    """(parameters, accuracy, rows a second) of a model on a file `text_a`, `label`, by one thread."""
    import ernie
    from ernie.checkpoint import open_model
    from ernie.inference.find import find_model
    from ernie.reader.records import read_records

    rows = [record.cells for record in read_records(dev)]
    model = ernie.load(folder, engine='openvino', threads=1)
    texts = [row['text_a'] for row in rows]
    model(texts[:64])
    began, seconds = time.monotonic(), []
    while not seconds or time.monotonic() - began < 5:
        started = time.monotonic()
        results = model(texts)
        seconds.append(time.monotonic() - started)
    right = sum(result['label'] == row['label'] for result, row in zip(results, rows, strict=True))
    tensors = open_model(find_model(folder))
    return sum(tensors[name].size for name in tensors), right / len(rows), len(rows) / statistics.median(seconds)


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
    texts = Texts(args.data, args.out, args.teacher, args.teacher_length)
    texts.make()
    with concurrent.futures.ThreadPoolExecutor(args.processes) as pool:
        found = {name: measured(texts, name, seeds, pool) for name in names}
    parameters, accuracy, rows = speed(texts.teacher, texts.sources['dev'])
    print('| model | dev accuracy, % | above plain | parameters | rows/s | learning rate |')
    print('|---|---|---|---|---|---|')
    print(line('teacher', [accuracy], parameters=parameters, rows=rows))
    for name, (rate, table, folder) in found.items():
        parameters, _, rows = speed(folder, texts.sources['dev'])
        plain = statistics.mean(table['plain'])
        for method, accuracies in table.items():
            sizes = {'parameters': parameters, 'rows': rows} if method == 'plain' else {'plain': plain}
            print(line(f'{name}, {METHODS[method]}', accuracies, rate, **sizes))
    return 0


def parse_flags(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default=os.environ.get('ERNIE_TEST_DATA'), help='folder (default: $ERNIE_TEST_DATA)')
    parser.add_argument('--teacher', required=True, help='a classifier of ChnSentiCorp')
    parser.add_argument('--teacher_length', type=int, default=0, help='most tokens that it reads (0: as trained)')
    parser.add_argument('--out', required=True, help='keeps texts, answers and trainings')
    parser.add_argument('--students', default=','.join(STUDENTS), help='joined by commas (default: all)')
    parser.add_argument('--seeds', default='1,2,3', help='joined by commas (default: 1,2,3)')
    parser.add_argument('--processes', type=int, default=1, help='trainings at once (default: 1)')
    return parser.parse_args(argv)


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
