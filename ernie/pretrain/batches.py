"""What one process computes for an update, and from samples to the arrays of a part of it."""

from typing import NamedTuple

import numpy as np

from ernie.pretrain.sample_set import COLUMN, ranges
from ernie.pretrain.samples import MASKED
from ernie.pretrain.tasks.task import NO_LABEL


class PretrainBatch(NamedTuple):
    """What one process computes for one update, with its place in the data.

    Attributes:
        parts: list of `propeller.data.batching.Part`, `arrays` a `PretrainArrays`, `rows` int64 [B, 2] the number of
            the file in the list and the line of each sample (of a negative sample, the one its left part is from).
        step_rows: samples of the update in all parts of all processes.
        counted_parts: parts of the update that count, in all processes.
        label_counts: dict name of a task -> labels of the whole update, in all processes.
        epoch: 1-based.
        progress: (number of the file, 1-based in the order of the epoch; files).
        file: the file that most samples of this process come from.
        mask_type: `mask_word` or `mask_char`, of that file.
        position: where the NEXT batch is, JSON-able, for `seek`.
        real_tokens, fed_tokens: of this process: tokens, and with padding.
        stage: number of the stage of the schedule, from 0.
    """

    parts: list
    step_rows: int
    counted_parts: int
    label_counts: dict
    epoch: int
    progress: tuple
    file: str
    mask_type: str
    position: dict
    real_tokens: int
    fed_tokens: int
    stage: int = 0


class PretrainArrays(NamedTuple):
    """A padded batch of B samples, the longest of T tokens, padding on the right.

    Attributes:
        token_ids: [B, T] int64, as the model sees them, masks included.
        sentence_types, positions: [B, T] int64, 0 on padding.
        task_ids: [B, T] int64, the same along a row.
        input_mask: [B, T] float32, 1 on tokens.
        labels: dict name of a chosen task -> int64 [B], -1 where a sample has none, for a task of sequences; for one of
            tokens a pair (labels [N] int64, positions [N] int64, indices `row * T + column`), which for
            knowledge_masking are the tokens that were selected and their places. N may be 0.
    """

    token_ids: np.ndarray
    sentence_types: np.ndarray
    positions: np.ndarray
    task_ids: np.ndarray
    input_mask: np.ndarray
    labels: dict

    def inputs(self, tasks, use_task_id):
        """A list of arrays in the order of `ernie.pretrain.model.feeds`, the scales left out.

        A task of tokens without any gets one label of -1 at position 0, which adds nothing: an empty array cannot be
        gathered from everywhere.
        """
        arrays = [self.token_ids, self.sentence_types, self.positions, self.input_mask]
        if use_task_id:
            arrays.append(self.task_ids)
        for task in tasks:
            labels = self.labels[task.name]
            if task.level != 'token':
                arrays.append(labels)
            elif len(labels[0]):
                arrays += labels
            else:
                arrays += [np.array([NO_LABEL]), np.array([0])]
        return arrays


def build_arrays(samples, masked, rows, tasks, pad_id):
    """`PretrainArrays` of some samples.

    Args:
        samples: `SampleSet`.
        masked: `masking.Masked` for its tokens.
        rows: [B] int, numbers of samples.
        tasks: list of `PretrainTask`, whose labels are wanted.
        pad_id: token id of padding.
    """
    lengths = samples.lengths[rows]
    shape = len(rows), int(lengths.max())
    source = ranges(samples.offsets[rows], lengths)
    place = ranges(np.arange(shape[0]) * shape[1], lengths)

    def padded(values, fill, dtype=np.int64):
        rectangle = np.full(shape[0] * shape[1], fill, dtype)
        rectangle[place] = values
        return rectangle.reshape(shape)

    return PretrainArrays(
        token_ids=padded(masked.token_ids[source], pad_id),
        sentence_types=padded(samples.sentence_types[source], 0),
        positions=padded(samples.positions[source], 0),
        task_ids=np.repeat(samples.task_ids[rows].astype(np.int64)[:, None], shape[1], axis=1),
        input_mask=padded(1, 0, np.float32),
        labels={task.name: _labels(samples, masked, rows, task, source, place, shape) for task in tasks},
    )


def _labels(samples, masked, rows, task, source, place, shape):
    if task.name == MASKED:
        selected = masked.selected[source]
        return samples.token_ids[source[selected]].astype(np.int64), place[selected]
    column = samples.labels[rows, COLUMN[task.name]]
    if task.level == 'sequence':
        return column
    there = np.flatnonzero(column >= 0)
    lengths = samples.lengths[rows[there]]
    labels = samples.token_labels[ranges(column[there], lengths)]
    place = ranges(there * shape[1], lengths)
    labelled = labels != NO_LABEL
    return labels[labelled].astype(np.int64), place[labelled]


def label_counts(samples, masked, tasks):
    """Labels of each sample for each task: int64 [N, tasks]."""
    counts = np.zeros((samples.count, len(tasks)), np.int64)
    for i, task in enumerate(tasks):
        column = samples.labels[:, COLUMN[task.name]]
        if task.name == MASKED:
            counts[:, i] = np.add.reduceat(masked.selected, samples.offsets[:-1], dtype=np.int64)
        elif task.level == 'sequence':
            counts[:, i] = column >= 0
        else:
            there = np.flatnonzero(column >= 0)
            lengths = samples.lengths[there]
            labelled = samples.token_labels[ranges(column[there], lengths)] != NO_LABEL
            counts[there, i] = np.add.reduceat(labelled, np.cumsum(lengths) - lengths, dtype=np.int64)
    return counts
