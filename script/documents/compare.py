"""Two outputs of one command: the same but for what differs from run to run, and the lines of one that a page shows."""

import difflib
import re
from pathlib import Path

# What differs from run to run on one machine: clocks, rates, ports, process ids, memory.
_VARIABLE = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'\b20\d\d-\d\d-\d\d([ T]\d\d:\d\d(:\d\d([.,]\d+)?)?)?', 'DATE'),
        (r'\b\d+ h(?: \d+ min)?(?: \d+ s)?\b|\b\d+ min(?: \d+ s)?\b', 'TIME'),
        (r'\b[\d.]+ ?(?:s|ms|seconds?|minutes?|hours?)\b', 'TIME'),
        (r'\b\d?\d:\d\d(:\d\d)?\b', 'TIME'),
        (r'(elapsed time|total_time|speed|qps|took)(: ?)[\d.]+', r'\1\2NUMBER'),
        (r'\b[\d,.]+ ?([a-z]+)(/s| a second)', r'NUMBER \1\2'),
        (r'\([\d,.]+ a second\)', 'RATE'),
        (r'(127\.0\.0\.\d+:)\d+', r'\1PORT'),
        (r'\bpid \d+', 'pid NUMBER'),
        (r'(memory[^\n]*?:? about )\d+ MB \([^)]*\)', r'\1MEMORY'),
    )
]
_NUMBER = re.compile(r'[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[+-]?\d+)?')
_COLOURS = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')
_PREFIX = re.compile(r'^\[[A-Z]+\] \S+ \S+ \[[^\]]*\]:\t', re.M)  # that begins the log lines of 2019


def masked(text):
    """The text without what differs from run to run."""
    for pattern, replacement in _VARIABLE:
        text = pattern.sub(replacement, text)
    return text


def with_clocks_of(old, new):
    """The new text, with those lines of the old one that differ in clocks and rates only."""
    old, new = old.splitlines(), new.splitlines()
    matcher = difflib.SequenceMatcher(None, [masked(line) for line in old], [masked(line) for line in new], False)
    for a, b, size in matcher.get_matching_blocks():
        new[b : b + size] = old[a : a + size]
    return '\n'.join(new) + '\n' if new else ''


def cleaned(text, folder):
    """What a terminal would show in the end: no colours, no line that was written over, no path of this machine.

    Args:
        text: what programs printed.
        folder: the working folder of the programs.
    """
    text = _PREFIX.sub('', _COLOURS.sub('', text))
    lines = [line.rsplit('\r', 1)[-1].rstrip() for line in text.replace('\r\n', '\n').split('\n')]
    lines = [line.replace(f'{folder}/', '').replace(str(folder), '.').replace(str(Path.home()), '~') for line in lines]
    return '\n'.join(lines).strip('\n') + '\n' if any(lines) else ''


def chosen_lines(shown, printed):
    """The printed lines that correspond to those that a page shows.

    A line corresponds if it differs in its numbers only. Among several the one with most of the numbers is taken, and
    of equal ones the first; lines come in their order. `...` and empty lines stay.

    Returns:
        (text, list of the shown lines that nothing corresponds to; they stay as they are).
    """
    lines, place, result, lost = printed.splitlines(), 0, [], []
    forms = [_form(line) for line in lines]
    for line in shown.splitlines():
        if line.strip() in ('', '...', '…'):
            result.append(line)
            continue
        form = _form(line)
        candidates = [i for i in range(place, len(lines)) if forms[i] == form]
        if not candidates:
            result.append(line)
            lost.append(line)
            continue
        best = max(candidates, key=lambda i: (_equal_numbers(line, lines[i]), -i))
        result.append(lines[best])
        place = best + 1
    return '\n'.join(result) + '\n', lost


def _form(line):
    return ' '.join(_NUMBER.sub('#', masked(line)).split())


def _equal_numbers(a, b):
    return sum(x == y for x, y in zip(_NUMBER.findall(masked(a)), _NUMBER.findall(masked(b)), strict=False))
