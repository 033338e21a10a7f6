"""What of a text a model reads, where it cannot read all: which tokens are kept, and what is left out before that."""

import re

# Which tokens of a longer text are kept.
TRUNCATIONS = ('head', 'tail', 'head+tail')
HEAD = TRUNCATIONS[0]
_BREAK = re.compile(r'<[bB][rR]\s*/?>')


def truncate_pair(length_a, length_b, room):
    """What is left of two texts when tokens are dropped from the longer one, from `b` on a tie, until
    `length_a + length_b <= room`: the two lengths.
    """
    if length_a + length_b <= room:
        return length_a, length_b
    if length_b <= room // 2:
        return room - length_b, length_b
    if length_a <= (room + 1) // 2:
        return length_a, room - length_a
    return (room + 1) // 2, room // 2


def kept_tokens(tokens, length, truncation=HEAD):
    """At most `length` of a list of tokens: the first ones, the last ones, or a quarter of them from the beginning and
    the rest from the end (128 and 382 of 510: Sun et al. 2019, How to fine-tune BERT for text classification, 5.3.1).
    """
    if len(tokens) <= length or truncation == HEAD:
        return tokens[:length]
    first = length * 128 // 510 if truncation == 'head+tail' else 0
    return tokens[:first] + tokens[len(tokens) - (length - first) :]


def without_html_breaks(text):
    """A text with spaces in the place of `<br>`, `<br/>` and `<br />`; the other characters stay where they were."""
    return _BREAK.sub(lambda match: ' ' * len(match[0]), text) if '<' in text else text


def text_rules(settings):
    """Of a dict like `labels.json`, what a `RowEncoder` takes of how texts are read: dict."""
    return {
        'for_cn': settings['for_cn'],
        'truncation': settings.get('truncation', HEAD),
        'drop_html_breaks': settings.get('drop_html_breaks', False),
    }
