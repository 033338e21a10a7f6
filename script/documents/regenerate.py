"""Runs the commands of one page and puts what they print where the page shows it."""

import difflib
from typing import NamedTuple

from script.documents.compare import chosen_lines, cleaned, with_clocks_of
from script.documents.page import FILES


class Fault(NamedTuple):
    """What is wrong with a block. `line` is that of the block in its page."""

    line: int
    text: str


def regenerate(page, scratch, timeout=3600, say=print):
    """The page's text with today's outputs.

    A text that differs in clocks and rates only stays as it is, so that a second run changes nothing.

    Args:
        page: a `Page`.
        scratch: a `Scratch`, in which the pages that this one needs have run.
        timeout: seconds for one block.
        say: called with a line for each block that is run.

    Returns:
        (text, list of `Fault`).
    """
    scratch.forget_shell()
    for block in page.blocks:
        if block.mark == 'file':
            scratch.write(block.value, block.text)
    texts, faults, printed = {}, [], {}
    for number, output in page.outputs():
        block = page.blocks[number]
        if number not in printed:
            say(f'{page.name}:{_line(page, block)}: {_first_command(block)}')
            code, text = scratch.run(block, timeout)
            printed[number] = cleaned(text, scratch.folder)
            if code:
                faults.append(Fault(_line(page, block), f'exit code {code}:\n{printed[number][-2000:]}'))
                break
        if output is not None:
            shown = page.blocks[output]
            text, lost = _today(shown, printed[number], scratch)
            faults += [Fault(_line(page, shown), f'no line of the output is like: {line}') for line in lost]
            texts[output] = with_clocks_of(shown.text, text)
    return page.with_texts(texts), faults


def difference(page, text):
    """Unified diff between the page and its text of today."""
    lines = [t.splitlines(keepends=True) for t in (page.text, text)]
    return ''.join(difflib.unified_diff(*lines, page.name, f'{page.name}, today'))


def _today(shown, printed, scratch):
    """The text that a block should have, and its lines that nothing corresponds to."""
    if shown.mark in FILES:
        printed = cleaned((scratch.folder / shown.value).read_text(encoding='utf-8'), scratch.folder)
    if shown.mark.startswith('some lines') or any(line.strip() == '...' for line in shown.text.splitlines()):
        return chosen_lines(shown.text, printed)
    return printed, []


def _line(page, block):
    return page.text.count('\n', 0, block.start)


def _first_command(block):
    lines = [line for line in block.text.splitlines() if line.strip() and not line.startswith('#')]
    return lines[0][:90] if lines else ''
