"""Classes with the number of their rows, on a line."""

_LONGEST = 20


def counts_text(names, counts, most=10):
    """`3: 差 1,803, 好 1,797, 中 3`: classes with their counts; of many the largest, and how many more there are."""
    counts = [int(count) for count in counts]
    order = range(len(names)) if len(names) <= most else sorted(range(len(names)), key=lambda i: -counts[i])
    shown = [f'{_short(names[i])} {counts[i]:,}' for i in list(order)[: most if len(names) <= most else most - 2]]
    if len(names) > len(shown):
        rest = [counts[i] for i in list(order)[len(shown) :]]
        shown.append(f'{len(rest)} more of {min(rest):,} to {max(rest):,}' if min(rest) < max(rest) else
                     f'{len(rest)} more of {rest[0]:,}')  # fmt: skip
    return f'{len(names)}: {", ".join(shown)}'


def _short(name):
    return name if len(name) <= _LONGEST else f'{name[: _LONGEST - 1]}…'
