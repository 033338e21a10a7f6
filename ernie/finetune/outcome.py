"""What a fine-tuning takes from its batches and leaves behind."""

import os
from typing import NamedTuple


class Finetuned(NamedTuple):
    """What a run left.

    Attributes:
        best: folder of the checkpoint that was best on the first dev set; None without a dev set.
        last: folder of the newest checkpoint; None for a mere evaluation, and after several tries.
        scores: dict, what the first dev set gave: of `best`, or of the model that was evaluated; {} without one.
        metrics: path of the records of all numbers that were logged.
        report: path of the page with all of it, report.html; None where nothing was trained or scored.
    """

    best: str | None
    last: str | None
    scores: dict
    metrics: str
    report: str | None = None


def parts_of(batch):
    """The parts of an update as the engine takes them. batch: of a `BatchStream`."""
    return [(part.arrays, part.counted) for part in batch.parts]


def print_kpis(points):
    """The lines of continuous evaluation on stdout: values of the second-last log point."""
    cards = len(os.environ.get('CUDA_VISIBLE_DEVICES', '0').split(','))
    if len(points) < 2:
        print('ce info error')
        return
    print(f'kpis\ttrain_duration_card{cards}\t{points[-2]["seconds"]}')
    print(f'kpis\ttrain_loss_card{cards}\t{points[-2]["loss"]:f}')
    if 'acc' in points[-2]:
        print(f'kpis\ttrain_acc_card{cards}\t{points[-2]["acc"]:f}')
