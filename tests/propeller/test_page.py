"""The examples of docs/propeller.md that are no files of the tutorial; tests/test_readme.py has those."""

from pathlib import Path

import pytest

from script.documents.page import Page

ROOT = Path(__file__).resolve().parents[2]
PAGE = Page(ROOT / 'docs/propeller.md')
EXAMPLES = [block for block in PAGE.blocks if block.language == 'python' and block.mark not in ('file', 'not run')]


@pytest.mark.parametrize('number', range(len(EXAMPLES)))
def test_an_example_of_the_page_runs(number, tmp_path, monkeypatch):
    """Each by itself, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    block = EXAMPLES[number]
    line = PAGE.text.count('\n', 0, block.start)
    exec(compile('\n' * line + block.text, PAGE.path, 'exec'), {'__name__': 'example'})
