"""F1 of the chunks of tagged sequences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from propeller import scores
from propeller.train.metrics.base import Metrics, undefined


class ChunkF1(Metrics):
    """F1 (float32) of the chunks of B/I tags, `[CLS]` and `[SEP]` excluded; see `propeller.scores.chunk_counts`.

    Args:
        label: [B, T] tags.
        pred: [B, T] tags.
        seqlen: [B] tokens of each sequence, `[CLS]` and `[SEP]` included.
        num_label: number of tags; the last one is outside of any chunk.
    """

    def __init__(self, label: Any, pred: Any, seqlen: Any, num_label: int) -> None:
        self.num_label = num_label
        super().__init__(label, pred, seqlen)

    def reset(self) -> None:
        self._counts = scores.ChunkCounts(0, 0, 0)

    def update(self, args: Sequence[np.ndarray]) -> None:
        label, pred, seqlen = args
        batch = scores.chunk_counts(label, pred, seqlen, self.num_label)
        self._counts = scores.ChunkCounts(*(a + b for a, b in zip(self._counts, batch, strict=True)))

    def eval(self) -> np.generic:
        counts = self._counts
        if not counts.inferred or not counts.labelled:
            return np.float32(undefined(self, f'{counts.labelled} chunks in the labels, {counts.inferred} predicted'))
        return np.float32(scores.chunk_f1(counts)[2])
