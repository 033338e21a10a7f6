"""What the tasks label."""

from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """One sample of L tokens, special tokens included.

    Attributes:
        token_ids, sentence_types, positions: [L] int.
        segments: [L] int, the `seg_labels`.
        task_id: int, for the task embedding.
        labels: dict name of a task -> int; [L] int for a task with a label per token; None for `knowledge_masking`.
    """

    token_ids: np.ndarray
    sentence_types: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    task_id: int
    labels: dict
