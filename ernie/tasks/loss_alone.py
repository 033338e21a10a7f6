"""Tasks that learn from texts without labels: the score is the loss, and no head is left for predictions."""

import time

import numpy as np

from ernie.checkpoint.model_folder import companion_files
from ernie.run.evaluation import Evaluated, Evaluator


class LossAlone:
    """Before a `Task`: no labels, no head of its own, and the best model is that of the smallest loss."""

    evaluator_class = Evaluator
    last_step_name = None

    def is_new(self, name):
        return False

    def head_hparams(self):
        return {}

    def label_array(self, rows, indices):
        return np.zeros((len(indices), 1), np.int64)

    @property
    def measure(self):
        return 'loss, negative:'

    def answers(self, rows, outputs):
        return None

    def epoch_values(self, values, report):
        return values

    def evaluate(self, predictor, rows, path):
        started, total, count = time.monotonic(), 0.0, 0
        for indices, _, loss in predictor.batches(rows, labelled=True):
            total, count = total + loss * len(indices), count + len(indices)
        values = {'loss': total / count, 'data_num': count, 'elapsed': time.monotonic() - started}
        return Evaluated(values, f'[dev evaluation] loss: {values["loss"]:f}, data_num: {count}')

    def main_value(self, values):
        return -values['loss']

    def checkpoint_files(self):
        return companion_files(self.config, self.tokenizer)
