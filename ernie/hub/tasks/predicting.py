"""Evaluation, prediction and export of a trained task."""

import time

import numpy as np

from ernie.hub.log import log
from ernie.hub.reader.base import split_of
from ernie.hub.tasks.states import RunState
from propeller.errors import UsageError, bad_input


class Predicts:
    """The verbs of a trained task; see `ernie.hub.tasks.base.BaseTask`."""

    def evaluate(self, phase):
        """Score a split with the values that the session has: dict, `loss` first."""
        from propeller.data.batching import plan_batches
        from propeller.train.loop import evaluation_pass

        rows, program = self.rows(phase), self.program_of('eval')
        log.info('Evaluation on %s dataset start', phase)
        started, total, pairs = time.monotonic(), 0.0, []
        options = {'in_tokens': self.reader.in_tokens, 'shuffle': False}
        plan = plan_batches(rows.lengths, self.config.batch_size, **options)
        fetch = [*program.outputs.predictions, program.outputs.loss]
        arrays_of = lambda indices: self.arrays(rows, indices, labelled=True)  # noqa: E731
        for indices, (*predictions, loss) in evaluation_pass(self.session, program, plan, fetch, arrays_of):
            total += float(loss) * len(indices)
            pairs.append((rows, indices, predictions))
        scores = {'loss': total / len(rows), **self.measure(pairs)}
        speed = len(plan) / max(time.monotonic() - started, 1e-9)
        said = ' '.join(f'{name}={scores[name]:.5f}' for name in ('loss', *self.scores) if name in scores)
        log.info('[%s dataset evaluation result] %s [step/sec: %.2f]', phase, said, speed)
        return scores

    def eval(self, phase='dev', load_best_model=False):
        """Score a split of the data set: dict `loss` and scores.

        Args:
            phase: `dev` or `val`, `test`, `train`.
            load_best_model: with the best model of the folder; else with what was trained last in this object, if
                something was.
        """
        if split_of(phase) == 'predict':
            raise UsageError('eval: phase predict: expected dev, test or train: those have labels.')
        self.ready(load_best_model or not self.trained)
        return self.evaluate(phase)

    def predict(self, data=None, load_best_model=True, return_result=False):
        """Predict texts: a result for each, in their order.

        Args:
            data: list of [text] or [text_a, text_b]; None: the split `predict` of the data set.
            load_best_model: with the best model of the folder; False: with what was trained last in this object.
            return_result: as a list with what each text is (`result`), in the place of `RunState`s.
        Returns:
            list of `RunState`, one for each batch of `batch_size` texts; `run_results` is a list of arrays [B, ...].
        """
        examples = self.reader.dataset.examples('predict') if data is None and self.reader.dataset else None
        examples = self.reader.given(data) if examples is None else examples
        self.ready(load_best_model)
        log.info('PaddleHub predict start')
        rows = self.reader.encoded(examples, longest=self.program.max_seq_len)
        program, size, states = self.program_of('predict'), self.config.batch_size, []
        for start in range(0, len(rows), size):
            began, indices = time.monotonic(), np.arange(start, min(start + size, len(rows)))
            found = self.session.run(program, self.arrays(rows, indices, False), program.outputs.predictions)
            states.append(RunState(1, len(indices), self.results(rows, indices, found), time.monotonic() - began))
        log.info('PaddleHub predict finished.')
        if return_result:
            return [one for state in states for one in self.named(state.run_results)]
        return states

    def results(self, rows, indices, found):
        """`run_results` of a batch."""
        return found

    def named(self, results):
        """What each text of a batch is."""
        raise NotImplementedError

    def save_inference_model(self, dirname, model_filename=None, params_filename=None, load_best_model=True):
        """Write the trained network as Paddle's inference model: `model.json` and `model.pdiparams`.

        What it gives is compared with the network on texts. Inputs have the names of the feeds.

        Args:
            dirname: a new folder.
            model_filename, params_filename: None: the names above.
        """
        from propeller.storage.folders import whole_folder, write_files

        if model_filename or params_filename:
            raise UsageError('save_inference_model: model_filename and params_filename: expected None: model.json and '
                             'model.pdiparams.')  # fmt: skip
        self.ready(load_best_model)
        program = self.session.portable(self.program_of('predict'))
        examples = self.reader.given([['今天 天气 很 好 。'], ['好']])
        rows = self.reader.encoded(examples, longest=self.program.max_seq_len)
        sample = self.arrays(rows, np.arange(2), labelled=False)
        try:
            with whole_folder(dirname, replace=False) as work:
                self.session.export_inference(program, program.inputs, program.outputs.predictions, work, sample)
                write_files(work, self.files())
        except FileExistsError:
            raise bad_input(dirname, 'a folder that exists', 'a new one') from None
