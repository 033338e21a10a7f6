"""Numbers of a fine-tuning that work for one's own data: rate, batch, epochs, length, early stop, warm-up.

The rules look at the number of rows, the lengths of the texts, the classes, the task, the size of the model and the
memory, and at nothing else. The programs of 2019 keep 2019's defaults.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ernie.checkpoint.sizes import parameter_count
from ernie.run.memory import MEGABYTE, training_memory

READING, TAGGING = 'mrc', 'sequence_labeling'
QUANTILES = (50, 95, 99, 100)
# Of the lengths, the percent that are to fit. A tag that is cut off is a wrong one, so tagging takes all.
_COVERED = {READING: 95, TAGGING: 100}
_LONGEST = {READING: 384}
_SHORTEST = 16
_FREE_SHARE = 0.7  # of the memory that is there: the estimate errs by a quarter, and others want some too
_BATCHES = ((100_000, 64), (2_000, 32), (200, 16), (0, 8))  # from so many rows on
_TAGGED_BATCH = 16  # a sentence has many labels
_EPOCHS = (2, 30)
_UPDATES = {READING: 600, TAGGING: 1000}
_UPDATES_OF_CLASSES = 750
_NAMES = ('learning_rate', 'batch_size', 'epoch', 'max_seq_len', 'early_stop', 'warmup_proportion')


class Facts(NamedTuple):
    """What the rules look at.

    Attributes:
        task: name of its `TaskSpec`.
        rows: rows that are trained on.
        lengths: dict percent -> tokens that so many percent of the rows have at most, special tokens included, for each
            of `QUANTILES`; see `quantiles`.
        config: `ErnieConfig` of the model.
        classes: classes or labels; 0 where there are none.
        memory: bytes that the training may take; None where that is not known.
        fused, precision, recompute, use_cuda: as `training_memory` has them.
    """

    task: str
    rows: int
    lengths: Mapping[int, int]
    config: object
    classes: int = 0
    memory: int | None = None
    fused: bool = False
    precision: str = 'fp32'
    recompute: bool = False
    use_cuda: bool = False


class Choice(NamedTuple):
    """A number and, in a few words, why."""

    value: float
    reason: str


def quantiles(lengths):
    """dict percent -> tokens, for `Facts`. lengths: [N] int, tokens of each row with special tokens, N at least 1."""
    found = np.percentile(lengths, QUANTILES, method='inverted_cdf')
    return {percent: int(tokens) for percent, tokens in zip(QUANTILES, found, strict=True)}


def recipe(facts, given=()):
    """The numbers of a training.

    Args:
        facts: `Facts`.
        given: dict name -> value of those of the numbers that are settled already, from which others follow.
    Returns:
        dict name -> `Choice` of `learning_rate`, `batch_size`, `epoch`, `max_seq_len`, `early_stop` and
        `warmup_proportion`, without those of `given`.
    """
    given = dict(given)
    length = given['max_seq_len'] if 'max_seq_len' in given else _length(facts)
    tokens, because = length if isinstance(length, Choice) else (length, '')
    batch = given.get('batch_size') or batch_size(facts, tokens)
    rows = batch.value if isinstance(batch, Choice) else batch
    if isinstance(length, Choice) and not fits(facts, rows, tokens):
        tokens, because = _length_that_fits(facts, rows, tokens), 'more does not fit into the memory'
    epochs = given.get('epoch') or epoch(facts, rows)
    count = epochs.value if isinstance(epochs, Choice) else epochs
    found = {
        'learning_rate': learning_rate(facts),
        'batch_size': batch,
        'epoch': epochs,
        'max_seq_len': Choice(tokens, because),
        'early_stop': early_stop(count),
        'warmup_proportion': Choice(0.1, 'a tenth of the steps'),
    }
    return {name: found[name] for name in _NAMES if name not in given}


def learning_rate(facts):
    """Small models want high rates: 2e-4 at a hidden size of 384, 5e-5 (2019's) at 768, 3e-5 at 1024."""
    hidden = facts.config.hidden_size
    rate = min(max(5e-5 * (768 / hidden) ** 2, 1e-5), 3e-4)
    digits = -math.floor(math.log10(rate))
    return Choice(round(rate, digits), f'the model has a hidden size of {hidden}')


def _length(facts):
    percent = _COVERED.get(facts.task, 99)
    tokens, longest = facts.lengths[percent], facts.lengths[100]
    most = min(facts.config.max_position_embeddings, _LONGEST.get(facts.task, math.inf))
    if longest <= 1.25 * tokens:  # that little for all of them
        percent, tokens = 100, longest
    rounded = max(8 * math.ceil(tokens / 8), _SHORTEST)
    if rounded > most:
        limit = 'the model has' if most == facts.config.max_position_embeddings else 'this task takes'
        return Choice(int(most), f'the most that {limit}; {percent} % of the rows have up to {tokens} tokens')
    share = 'all rows' if percent == 100 else f'{percent} % of the rows'
    return Choice(rounded, f'{share} have at most {tokens} tokens')


def fits(facts, rows, length):
    """Whether a step with a batch of so many rows and tokens fits into the memory, as far as that is known."""
    if facts.memory is None:
        return True
    count = parameter_count(facts.config)
    need = training_memory(
        facts.config,
        rows,
        length,
        parameters=count,
        trained=count,
        precision=facts.precision,
        recompute=facts.recompute,
        use_cuda=facts.use_cuda,
        fused=facts.fused,
    )
    return need.total <= _FREE_SHARE * facts.memory


def batch_size(facts, length):
    """By the rows, as large as the memory lets it be. length: tokens of the longest input."""
    size = next(size for least, size in _BATCHES if facts.rows >= least)
    if facts.task == TAGGING:
        size = min(size, _TAGGED_BATCH)
    wanted = size
    while size > 1 and not fits(facts, size, length):
        size //= 2
    if size < wanted:
        return Choice(size, f'what {facts.memory / MEGABYTE:,.0f} MB of memory allow at {length} tokens')
    return Choice(size, f'{facts.rows:,} rows')


def _length_that_fits(facts, rows, length):
    while length > _SHORTEST and not fits(facts, rows, length):
        length -= 8
    return max(length, _SHORTEST)


def epoch(facts, batch):
    """Small data take more epochs: a model needs some hundreds of updates, whatever the rows."""
    updates = _UPDATES.get(facts.task, _UPDATES_OF_CLASSES)
    least, most = _EPOCHS
    count = min(max(round(updates * batch / facts.rows), least), most)
    return Choice(count, f'{count * math.ceil(facts.rows / batch):,} updates of {batch} rows')


def early_stop(epochs):
    """Evaluations without a better score, one an epoch. The rate falls to 0, so that late epochs are often the best."""
    return Choice(max(2, math.ceil(epochs / 3)), f'a third of {epochs} epochs')
