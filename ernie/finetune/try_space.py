"""Which settings the tries of a search have: points spread over rate, batch, epochs and length, around a centre."""

import random

# What is searched, in the order of the table; the centre of each is what a training without a search takes.
SEARCHED = ('learning_rate', 'batch_size', 'epoch', 'max_seq_len')
_RATES = 3.0  # up and down
_EPOCHS = 2.0
# Shares of the centre, and how much of the range each has. Larger ones might not fit into the memory.
_BATCHES = ((0.5, 0.5), (1.0, 0.5))
_LENGTHS = ((0.5, 0.2), (0.75, 0.3), (1.0, 0.5))
_LEAST_BATCH, _LEAST_LENGTH = 4, 16
# Irrational steps, none of which follows from the others; the first is the most even one there is (the golden ratio).
_STEPS = ((5**0.5 - 1) / 2, 2**0.5, 3**0.5, 7**0.5)


def point(seed, number):
    """Where a try lies: `len(SEARCHED)` numbers from 0 to below 1.

    All of the first N points are spread evenly, whatever N, and none depends on N: a search can be made longer later.

    Args:
        seed: of the search.
        number: of the try, from 1.
    """
    start = random.Random(seed)
    return [(start.random() + number * step) % 1.0 for step in _STEPS]


def settings_of(place, centre, fixed=()):
    """The settings of a try.

    Args:
        place: of `point`.
        centre: dict name -> number for each of `SEARCHED`.
        fixed: names of those that keep the number of the centre.
    Returns:
        dict name -> number.
    """
    rate, batch, epochs, length = place
    found = {
        'learning_rate': float(f'{centre["learning_rate"] * _RATES ** (2 * rate - 1):.2g}'),
        'batch_size': max(
            round(_part(batch, _BATCHES) * centre['batch_size']), min(_LEAST_BATCH, centre['batch_size'])
        ),
        'epoch': max(round(centre['epoch'] * _EPOCHS ** (2 * epochs - 1)), 1),
        'max_seq_len': max(
            8 * round(_part(length, _LENGTHS) * centre['max_seq_len'] / 8), min(_LEAST_LENGTH, centre['max_seq_len'])
        ),
    }
    # A length that is no multiple of 8 is all that the model has, or the user's.
    found['max_seq_len'] = min(found['max_seq_len'], centre['max_seq_len'])
    return {name: centre[name] if name in fixed else found[name] for name in SEARCHED}


def _part(place, shares):
    for share, width in shares:
        if place < width:
            return share
        place -= width
    return shares[-1][0]


def next_settings(seed, number, centre, fixed, before):
    """The settings of a try that none of the tries `before` has, a list of dicts.

    With few numbers left to choose (all but the length are fixed, say) there may be none: None.
    """
    for further in range(64):
        found = settings_of(point(seed, number + 1000 * further), centre, fixed)
        if found not in before:
            return found
    return None
