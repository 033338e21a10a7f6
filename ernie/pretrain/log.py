"""Scores of the pre-training tasks, and the log lines and records of a pre-training run."""

import logging

import numpy as np

from ernie.run.blocks import clock
from propeller.log import get_logger
from propeller.train.throughput import ThroughputHook

log = get_logger(__name__)

NEXT_SENTENCE, MASKING = 'next_sentence', 'knowledge_masking'


class Scores:
    """Sums of `PretrainTask.statistics` over batches.

    Args:
        tasks: list of `PretrainTask`.
    """

    def __init__(self, tasks):
        self.tasks = tasks
        self.sums = np.zeros((len(tasks), 3))
        self.batches, self.perplexities = 0, 0.0

    def add(self, statistics):
        """statistics: float [tasks, 3] of one batch."""
        statistics = np.asarray(statistics, np.float64)
        self.sums += statistics
        self.batches += 1
        self.perplexities += np.exp(self._mean(statistics, MASKING, 0))

    def _mean(self, sums, name, column):
        for task, row in zip(self.tasks, sums, strict=True):
            if task.name == name and row[1]:
                return row[column] / row[1]
        return 0.0

    def loss_of(self, name):
        """Mean cross-entropy of a task in nats; 0 without labels."""
        return self._mean(self.sums, name, 0)

    def accuracy_of(self, name):
        """Share of right answers of a task; 0 without labels."""
        return self._mean(self.sums, name, 2)

    def count_of(self, name):
        """Labels of a task."""
        return int(sum(row[1] for task, row in zip(self.tasks, self.sums, strict=True) if task.name == name))

    @property
    def loss(self):
        """Sum over the tasks of their mean losses: what training minimises."""
        return sum(self.loss_of(task.name) for task in self.tasks)

    @property
    def perplexity(self):
        """exp of the mean masked-LM loss over all masked tokens."""
        return float(np.exp(self.loss_of(MASKING)))

    @property
    def mean_perplexity(self):
        """Mean over batches of exp of their masked-LM loss."""
        return float(self.perplexities / max(self.batches, 1))

    def values(self):
        """dict for the records: loss, perplexity, and of each task that has labels loss, accuracy, share of labels."""
        found = {'loss': self.loss}
        total = max(self.sums[:, 1].sum(), 1)
        if self.count_of(MASKING):
            found['ppl'] = self.perplexity
        for task in self.tasks:
            if self.count_of(task.name):
                found[f'{task.name}_loss'] = self.loss_of(task.name)
                found[f'{task.name}_acc'] = self.accuracy_of(task.name)
                found[f'{task.name}_share'] = self.count_of(task.name) / total
        return found

    def task_line(self):
        """`name loss L, acc A, share S` of each task that has labels, joined by semicolons."""
        values = self.values()
        return '; '.join(
            f'{task.name} loss {values[f"{task.name}_loss"]:.4f}, acc {values[f"{task.name}_acc"]:.4f}, '
            f'share {values[f"{task.name}_share"]:.3f}'
            for task in self.tasks
            if f'{task.name}_loss' in values
        )


def level_of_tasks(tasks):
    """The level of the line of all tasks: that of 2019 says all of its own two."""
    return logging.INFO if {task.name for task in tasks} - {NEXT_SENTENCE, MASKING} else logging.DEBUG


class PretrainLogHook(ThroughputHook):
    """The training line of 2019 every `per_step` updates, a line of all tasks, and the same numbers as records.

    Args:
        tasks: those of the program.
        is_shown: whether the console shows the lines; a progress bar stands for them elsewhere.
        session, program, per_step, queue_size, record, last_step: see `ThroughputHook`.
    """

    def __init__(self, session, program, tasks, per_step, queue_size, record, last_step=None, is_shown=True):
        self.tasks, self.level = tasks, logging.INFO if is_shown else logging.DEBUG
        super().__init__(session, program, program.outputs.predictions, per_step, queue_size, record, last_step)

    def restart_clock(self):
        super().restart_clock()
        self.scores = Scores(self.tasks)

    def after_part(self, fetched, number, state):
        if state.batch.parts[number].counted:
            self.scores.add(fetched[0])

    def status(self):
        return f'loss {self.scores.loss:.4f}' if self.scores.batches else ''

    def log_point(self, fetched, state, seconds):
        gathered = self.session.world.all_gather([self.scores.sums, np.array([self.tokens, self.fed])])
        scores, batch = Scores(self.tasks), state.batch
        scores.sums = sum(sums for sums, _ in gathered)
        speeds = self.speeds(seconds, *(int(x) for x in sum(counts for _, counts in gathered)))
        log.debug('feed_queue size %d', self.queue_size())
        log.debug('current learning_rate:%f', self.rate)
        left = self.seconds_left(state)
        log.log(
            self.level,
            'epoch: %d, progress: %d/%d, step: %d, loss: %f, ppl: %f, next_sent_acc: %f, speed: %f steps/s, file: %s, '
            'mask_type: %s%s',
            *(batch.epoch, *batch.progress, state.gstep, scores.loss, scores.perplexity),
            *(scores.accuracy_of(NEXT_SENTENCE), speeds['steps_per_second'], batch.file, batch.mask_type),
            '' if left is None else f', time left: {clock(left)}',
        )
        log.log(min(self.level, level_of_tasks(self.tasks)), 'stage %d, tasks: %s', batch.stage + 1, scores.task_line())
        self.record('train', state.gstep, batch.epoch, {**scores.values(), **speeds, 'stage': batch.stage})
