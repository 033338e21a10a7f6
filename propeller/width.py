"""Text on a terminal: how many columns it takes, filled up or shortened to a number of them."""

import unicodedata


def width_of(text):
    """Columns that a text takes on a terminal: wide characters two, combining ones none."""
    return sum(map(_width, text))


def _width(char):
    if unicodedata.combining(char) or unicodedata.category(char) in ('Cf', 'Mn', 'Me'):
        return 0
    return 2 if unicodedata.east_asian_width(char) in 'WF' else 1


def padded(text, width):
    """`text` with spaces behind it up to `width` columns."""
    return text + ' ' * max(width - width_of(text), 0)


def shortened(text, width):
    """`text` in at most `width` columns; where it is longer, `...` stands for its end."""
    if width_of(text) <= width:
        return text
    kept, left = [], width - 3
    for char in text:
        left -= _width(char)
        if left < 0:
            break
        kept.append(char)
    return f'{"".join(kept)}...'
