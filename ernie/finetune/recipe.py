"""The numbers of a fine-tuning that were left to `auto`: rules that work for one's own data.

They look at the number of rows, the lengths of the texts, the task, the size of the model and the memory, and at
nothing else. The programs of 2019 keep 2019's defaults.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NUMBERS = ('max_seq_len', 'batch_size', 'epoch', 'learning_rate', 'early_stop', 'keep_layers')
READING, TAGGING = 'mrc', 'sequence_labeling'
TEXT_ENCODERS = ('multilingual-e5-small',)  # that were trained for one vector of a whole text
# Of the lengths, the percent that are to fit. A tag that is cut off is a wrong one, so tagging takes all.
_COVERED = {READING: 95, TAGGING: 100}
_LONGEST = {READING: 384}  # longer documents are read in windows
_SHORTEST = 16
_FREE_SHARE = 0.7  # of the memory that is free: the estimate errs by a quarter, and others want some too
_BATCHES = ((100_000, 64), (2_000, 32), (200, 16), (0, 8))  # from so many rows on
_TAGGED_BATCH = 8  # a sentence has many labels, and tags want updates: see docs/recipes.md
_EPOCHS = (2, 30)
_UPDATES = {READING: 600, TAGGING: 1200}  # for the first hundreds tags are all O
_UPDATES_OF_CLASSES = 750
_RATES = (1e-5, 3e-4)
_LEAST_PATIENCE = 3
_MEGABYTE = 2**20


class Facts(NamedTuple):
    """What the numbers are chosen by.

    Attributes:
        task: a name of `ernie.tasks.table.TASKS`.
        kind: for classification 'classify', 'regression' or 'multilabel'; else None.
        rows: of the training set, the dev share left out; for reading comprehension the questions.
        lengths: dict percentile (50, 90, 95, 99, 100) -> tokens of a row, special tokens included.
        classes: their number; 1 for regression, 0 for reading comprehension.
        positions: tokens that the model can read at most.
        need: (rows of a batch, tokens of a row) -> bytes that a training takes.
        memory: bytes that are free; None where that is not known.
        hidden: hidden size of the model.
        layers: of its encoder.
        makes_vectors: whether it is one of `TEXT_ENCODERS`.
        parts: batches of an update: processes times `gradient_accumulation_steps`.
        least: tokens that an input must have room for, whatever the rows.
    """

    task: str
    kind: str | None
    rows: int
    lengths: Mapping[int, int]
    classes: int
    positions: int
    need: Callable[[int, int], int]
    memory: int | None
    hidden: int = 768
    layers: int = 12
    makes_vectors: bool = False
    parts: int = 1
    least: int = 0


class Choice(NamedTuple):
    """A number and why it is this one, in a few words."""

    value: Any
    reason: str


def choose(facts: Facts, given: Mapping[str, Any]) -> dict[str, Choice]:
    """The numbers of `NUMBERS` that are not given: dict name -> `Choice`.

    given: those that the user has fixed; the others follow from them.
    """
    found = {}
    if 'max_seq_len' not in given:
        found['max_seq_len'] = length_of(facts)
    length = given.get('max_seq_len') or found['max_seq_len'].value
    if 'batch_size' not in given:
        found['batch_size'] = batch_of(facts, length)
    batch = given.get('batch_size') or found['batch_size'].value
    if 'max_seq_len' in found and not fits(facts, batch, length):
        found['max_seq_len'] = _length_that_fits(facts, batch, length)
    if 'epoch' not in given:
        found['epoch'] = epochs_of(facts, batch * facts.parts)
    if 'learning_rate' not in given:
        found['learning_rate'] = rate_of(facts)
    if 'early_stop' not in given:
        found['early_stop'] = patience_of(given.get('epoch') or found['epoch'].value, facts.task)
    if 'keep_layers' not in given:
        found['keep_layers'] = layers_of(facts)
    return found


def length_of(facts: Facts) -> Choice:
    """The length that 99 of 100 rows fit into, or all where that is little more."""
    percent = _COVERED.get(facts.task, 99)
    tokens, longest = (max(facts.lengths[share], facts.least) for share in (percent, 100))
    if longest <= 1.25 * tokens:
        percent, tokens = 100, longest
    rounded = max(8 * math.ceil(tokens / 8), _SHORTEST)
    most = min(facts.positions, _LONGEST.get(facts.task, facts.positions))
    if rounded > most:
        limit = 'the model has' if most == facts.positions else 'this task takes'
        return Choice(most, f'the most that {limit}; {percent} % of the rows have up to {tokens:,} tokens')
    have = f'{f"{percent} % of the" if percent < 100 else "all"} rows have at most {facts.lengths[percent]} tokens'
    return Choice(rounded, have if facts.lengths[percent] >= facts.least else f'{have}, a long question needs more')


def fits(facts: Facts, rows: int, length: int) -> bool:
    """Whether a step with a batch of so many rows and tokens fits into the memory, as far as that is known."""
    return facts.memory is None or facts.need(rows, length) <= _FREE_SHARE * facts.memory


def batch_of(facts: Facts, length: int) -> Choice:
    """By the rows, as large as the memory lets it be; the parts of an update share it.

    length: tokens of the longest input.
    """
    size = next(size for least, size in _BATCHES if facts.rows >= least)
    if facts.task == TAGGING:
        size = min(size, _TAGGED_BATCH)
    wanted = size = max(size // facts.parts, 1)
    while size > 1 and not fits(facts, size, length):
        size //= 2
    if size < wanted:
        return Choice(size, f'what {(facts.memory or 0) / _MEGABYTE:,.0f} MB of memory allow at {length} tokens')
    shared = f', {facts.parts} batches an update' if facts.parts > 1 else ''
    return Choice(size, f'{facts.rows:,} rows{shared}')


def _length_that_fits(facts: Facts, rows: int, length: int) -> Choice:
    while length > _SHORTEST and not fits(facts, rows, length):
        length -= 8
    return Choice(max(length, _SHORTEST), 'more does not fit into the memory')


def epochs_of(facts: Facts, batch: int) -> Choice:
    """Small data take more epochs: a model needs some hundreds of updates, whatever the rows.

    batch: rows of an update.
    """
    updates = _UPDATES.get(facts.task, _UPDATES_OF_CLASSES)
    least, most = _EPOCHS
    count = min(max(round(updates * batch / facts.rows), least), most)
    return Choice(count, f'{count * math.ceil(facts.rows / batch):,} updates of {batch} rows')


def rate_of(facts: Facts) -> Choice:
    """Small models want higher rates, and tags twice as high ones: their updates are few, each with many labels."""
    least, most = _RATES
    rate = 5e-5 * 768 / facts.hidden * (2 if facts.task == TAGGING else 1)
    reason = f'the model has a hidden size of {facts.hidden}'
    return Choice(float(f'{min(max(rate, least), most):.1g}'), reason + (', tags' if facts.task == TAGGING else ''))


def patience_of(epochs: int, task: str = '') -> Choice:
    """Evaluations without a better score, one an epoch. Many: the rate falls to 0, and late epochs are often best."""
    if task == TAGGING:
        return Choice(max(_LEAST_PATIENCE, math.ceil(epochs / 2)), f'half of {epochs} epochs: tags come late')
    return Choice(max(_LEAST_PATIENCE, math.ceil(epochs / 3)), f'a third of {epochs} epochs')


def layers_of(facts: Facts) -> Choice:
    """The uppermost layers of a model for vectors of texts know the text, and hardly its single tokens any more.

    Of multilingual-e5-small 15 % of what the last layer says differs among the tokens of a text, of the ninth 62 %.
    """
    if facts.task == TAGGING and facts.makes_vectors and facts.layers > 3:
        kept = facts.layers * 3 // 4
        return Choice(kept, f'of {facts.layers}: those above have lost the single tokens')
    return Choice(0, 'all')


_SHORT = {'max_seq_len': 'length', 'batch_size': 'batch', 'epoch': 'epochs', 'learning_rate': 'rate'}


def chosen_pairs(chosen: Mapping[str, Choice]) -> list[tuple[str, str]]:
    """What was chosen and why, for the start of a run: (key, text), three lines at most.

    chosen: of `choose`.
    """
    words = [f'{_SHORT[n]} {chosen[n].value:g} ({chosen[n].reason})' for n in _SHORT if n in chosen]
    if 'keep_layers' in chosen and chosen['keep_layers'].value:
        words.append(f'layers {chosen["keep_layers"].value} ({chosen["keep_layers"].reason})')
    lines = [', '.join(words[i : i + 2]) for i in range(0, len(words), 2)]
    return [('' if i else 'chosen', line) for i, line in enumerate(lines)]
