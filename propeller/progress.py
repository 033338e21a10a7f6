"""A progress bar around a loop, for work that takes longer than a moment."""

from tqdm import tqdm


def progress(items, desc, total=None, unit='rows', count=lambda item: 1):
    """Iterates over `items`; when that takes more than a second and stderr is a terminal, a bar shows how far it is.

    Args:
        desc: what is being done.
        total: units in all, None if unknown.
        unit: what is counted.
        count: item -> its units.
    """
    with tqdm(total=total, desc=desc, unit=f' {unit}', disable=None, delay=1, leave=False, dynamic_ncols=True) as bar:
        for item in items:
            yield item
            bar.update(count(item))
