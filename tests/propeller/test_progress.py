"""The progress bar: only on a terminal, only for slow work, and it changes nothing about the items."""

import io
import sys
import time

import pytest

from propeller.progress import progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def slow(items):
    for item in items:
        time.sleep(0.6)
        yield item


@pytest.mark.parametrize('terminal, source, shown', [(True, slow, True), (True, list, False), (False, slow, False)])
def test_bar(monkeypatch, terminal, source, shown):
    monkeypatch.setattr(sys, 'stderr', Stream(terminal))
    items = [[1, 2], [3], [4, 5]]
    assert list(progress(source(items), 'reading x.tsv', 5, count=len)) == items
    text = sys.stderr.getvalue()
    assert ('reading x.tsv' in text and '/5' in text) is shown


def test_what_the_items_raise_passes_through():
    with pytest.raises(ZeroDivisionError):
        list(progress((1 // i for i in (1, 0)), 'dividing'))
