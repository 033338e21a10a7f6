"""Small files of samples for tests."""

import gzip

import numpy as np

from ernie.pretrain.masking import VocabularyIds
from ernie.pretrain.sample_set import Limits
from ernie.pretrain.samples import Sample, format_line

IDS = VocabularyIds(pad=0, cls=1, sep=2, mask=3, size=97)
LIMITS = Limits(tokens=97, sentence_types=4, positions=60, tasks=9)


def random_sample(rng, longest=40, **labels):
    """A sample of two parts, with units of one to four tokens; without labels that of ERNIE 1.0."""
    left, right = (int(rng.integers(1, (longest - 3) // 2 + 1)) for _ in range(2))
    length = left + right + 3
    token_ids = rng.integers(5, IDS.size, length)
    token_ids[[0, left + 1, -1]] = IDS.cls, IDS.sep, IDS.sep
    segments = (rng.random(length) < 0.4).astype(int)
    segments[[1, left + 2]] = 0
    segments[[0, left + 1, -1]] = -1
    types = np.repeat([0, 1], [left + 2, right + 1])
    labels = labels or {'knowledge_masking': None, 'next_sentence': int(rng.integers(2))}
    return Sample(token_ids, types, np.arange(length), segments, labels.pop('task_id', 0), labels)


def write_samples(path, samples):
    """A gzip file of their lines."""
    return write_lines(path, [format_line(sample) for sample in samples])


def write_lines(path, lines):
    """A gzip file of lines."""
    with gzip.open(path, 'wt', encoding='utf-8', newline='') as f:
        f.writelines(line + '\n' for line in lines)
    return str(path)
