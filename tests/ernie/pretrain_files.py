"""Small files of samples for tests, and streams of them."""

import gzip
import itertools
from pathlib import Path

import numpy as np

from ernie.pretrain.file_list import ListedFile
from ernie.pretrain.masking import VocabularyIds
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.sample_set import Limits
from ernie.pretrain.samples import Sample, format_line
from ernie.pretrain.tasks import make_tasks

IDS = VocabularyIds(pad=0, cls=1, sep=2, mask=3, size=97)
LIMITS = Limits(tokens=97, sentence_types=4, positions=60, tasks=9)
TASKS = ['knowledge_masking', 'capitalization', 'sentence_distance', 'next_sentence']
SMALL = ReaderSettings(batch_size=150, max_seq_len=40, seed=7, buffer_size=30, length_window=3)


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
    text = ''.join(line + '\n' for line in lines)
    Path(path).write_bytes(gzip.compress(text.encode(), mtime=0))  # the same lines are the same bytes at any time
    return str(path)


def mixed_sample(rng, i):
    """Of ERNIE 1.0, or with labels of other tasks, with a capital label for some tokens."""
    sample = random_sample(rng)
    length = len(sample.token_ids)
    if i % 3 == 1:
        labels = {'capitalization': rng.integers(-1, 2, length), 'sentence_distance': int(rng.integers(3))}
        return sample._replace(labels=labels, task_id=4)
    if i % 3 == 2:
        labels = {'capitalization': rng.integers(-1, 2, length), 'knowledge_masking': None}
        return sample._replace(labels=labels, task_id=1)
    return sample


def write_files(folder, counts, seed=1, probabilities=(1.1, 0.5, 0.0)):
    """Files of so many samples: (list of `ListedFile`, list of lists of `Sample`)."""
    rng = np.random.default_rng(seed)
    samples = [[mixed_sample(rng, i) for i in range(count)] for count in counts]
    names = [write_samples(folder / f'{i}.gz', each) for i, each in enumerate(samples)]
    return [ListedFile(name, p) for name, p in zip(names, itertools.cycle(probabilities), strict=False)], samples


def stream(files, tasks=TASKS, settings=SMALL, masking=None, **others):
    return PretrainStream(files, make_tasks(tasks), IDS, LIMITS, settings, masking, **others)


def flat(value):
    """All arrays and numbers in a batch, to be compared."""
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in (key, *flat(value[key]))]
    if isinstance(value, (list, tuple)):
        return [x for each in value for x in flat(each)]
    return [(value.dtype.str, value.shape, value.tobytes())] if isinstance(value, np.ndarray) else [value]


def rows_of(batches, counted_only=True):
    """[(file, line)] of all samples in the order of the batches."""
    parts = [part for batch in batches for part in batch.parts if part.counted or not counted_only]
    return [tuple(row) for part in parts for row in part.rows.tolist()]
